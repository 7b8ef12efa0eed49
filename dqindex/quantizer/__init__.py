"""The method: moments, balance, rotation, codebooks."""
