"""Semantic IDs: extraction, uniqueness, quality, stability, export."""
