"""What ends a command: one sentence for the user each."""


class UsageError(Exception):
    """Arguments that make no sense: one sentence for the user, exit status 2."""


class ResultsError(Exception):
    """Results cannot be written where they should be: one sentence for the user."""


class MachineError(Exception):
    """What cells are measured with failed, and no cell is to blame: one sentence."""


class MeterSilentError(Exception):
    """The allocator's numbers cannot be trusted, so nothing is measured: one sentence."""
