"""What goes to disk, and how it stays whole."""
