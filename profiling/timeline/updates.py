"""Which variable an optimizer's operation belongs to: `adam/Mul_579` names none.

An optimizer repeats the same operations for each variable, in the variables' order. So operation
number k of a type belongs to variable k // m, where each variable takes m operations of that type.
m is not stated anywhere, but it is the number with which all shapes agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?$")
# Adafactor, which takes most of one type, takes 14.
_MOST_REPEATS = 24


def variables_of_updates(
    operations: Iterable[tuple[str, str]], variable_shapes: Sequence[str]
) -> dict[str, int]:
    """The number of the variable that each operation works on.

    Args:
        operations: paths and shapes of the optimizer's operations, such as
            ("adam/Mul_579", "[1,1,160,960]").
        variable_shapes: of the optimizer's variables, in its order.

    Returns:
        By path; operations that fit no variable are left out, and so are those of a type for which
        shapes do not tell.
    """
    types: dict[str, list[tuple[str, int, str]]] = {}
    for op, shape in set(operations):
        stem, number = _NUMBERED.fullmatch(op).groups()
        types.setdefault(stem, []).append((op, int(number or 0), shape))
    found = {}
    for members in types.values():
        # A scalar, as the learning rate's, is none of the variable's own values.
        members = [member for member in members if member[2] != "[]"]
        repeats = _repeats([(number, shape) for _, number, shape in members], variable_shapes)
        if repeats:
            found |= {op: number // repeats for op, number, _ in members}
    return found


def _repeats(members: Sequence[tuple[int, str]], variable_shapes: Sequence[str]) -> int:
    """How many operations of this type a variable takes; 0 when no number fits, or several do."""
    fitting = [
        repeats
        for repeats in range(1, _MOST_REPEATS + 1)
        if all(
            number // repeats < len(variable_shapes) and variable_shapes[number // repeats] == shape
            for number, shape in members
        )
    ]
    # Several numbers fit where all shapes are alike; then none is known to be right.
    return fitting[0] if len(fitting) == 1 else 0
