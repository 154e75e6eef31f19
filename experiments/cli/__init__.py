"""What the user types: the options of commands."""
