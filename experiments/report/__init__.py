"""The one page and its tables."""
