"""What goes wrong, in one sentence each."""


class MeterError(RuntimeError):
    """The memory statistics are missing or do not tell the truth."""


class TraceError(ValueError):
    """A recording is missing, damaged, or does not hold what was asked of it."""
