"""Zeros that TensorFlow keeps for its sums of gradients, as large as a layer's output.

Where Grappler's memory optimizer expects a function to take more than 80 % of a device's memory, of
which every CPU has 256 MiB for it, it has each sum X of three gradients or more that is made at the
peak, such as those of BatchNormalization, added up in a temporary variable, `X/tmp_var`. That one
begins with `X/tmp_var_zeros`, which another optimizer folds into a constant: it is made with the
first step and stays as long as the function does, and Python knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mem_dfa.profiling.recording.events import AllocationEvent

_SUM, _ZEROS = "/tmp_var", "/tmp_var_zeros"


def are_zeros(op: str) -> bool:
    """Whether an operation makes zeros for a sum."""
    return op.endswith(_ZEROS)


def kept_zeros(events: Sequence[AllocationEvent]) -> dict[str, AllocationEvent]:
    """The zeros that must be there because a recording uses them and does not make them.

    Returns:
        By the operation that made them: the allocation of the sum that begins with them, which has
        their bytes and shape.
    """
    sums = {event.op: event for event in events if event.op.endswith(_SUM)}
    made = {event.op for event in events if are_zeros(event.op)}
    zeros = {op.removesuffix(_SUM) + _ZEROS: event for op, event in sums.items()}
    return {op: event for op, event in zeros.items() if op not in made}
