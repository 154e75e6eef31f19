"""Processes that measure, many cells after each other or at once, sizes that are searched."""
