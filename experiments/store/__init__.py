"""What was measured, in files: written whole or not at all, read again, selected.

What cannot be written, or read because it is damaged, raises `files.ResultsError`.
"""
