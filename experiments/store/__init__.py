"""What was measured, in files: written whole or not at all, read again, selected."""
