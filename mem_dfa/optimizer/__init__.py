"""One optimizer step, taken block by block, and in tiles where a kernel is wide."""
