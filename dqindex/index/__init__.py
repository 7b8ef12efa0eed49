"""ANN indexes that stock FAISS reads."""
