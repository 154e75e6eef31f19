"""What the user sees: notes, progress and tables."""
