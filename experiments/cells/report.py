"""Who is told how far something is."""

from collections.abc import Callable

Report = Callable[[str, float], None]
"""Takes a note, and which part is done, 0 to 1."""
