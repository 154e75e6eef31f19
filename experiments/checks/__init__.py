"""What is promised of memory, and the gate that watches it."""
