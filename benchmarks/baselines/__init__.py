"""Neural quantisers that recommenders use for semantic IDs, in torch: RQ-VAE and VQ-VAE."""
