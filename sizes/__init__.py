"""Bytes, from shapes and from words: what the other packages share. Knows nothing of them."""
