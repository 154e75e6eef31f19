"""How measured rows are drawn."""
