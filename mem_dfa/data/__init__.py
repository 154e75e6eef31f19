"""Data sets, prepared once, and batches of them."""
