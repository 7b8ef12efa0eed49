"""A generator of semantic IDs in the manner of TIGER, in torch: model, training, search."""
