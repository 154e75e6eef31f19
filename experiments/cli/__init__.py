"""What the user types and sees: options, progress, tables."""
