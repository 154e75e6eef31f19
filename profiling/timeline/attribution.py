"""Where an allocation belongs: its layer, block, phase and category, from its operation's path.

Paths come from TensorFlow: `StatefulPartitionedCall/sequential_1/conv_3_1/BiasAdd` for a layer's
operation (a number makes each name unique), the same behind `gradient_tape/` for its gradient, and
`adam/Mul_3` for the optimizer's. Code that opens scopes of the form `replay/block_004/` says the
phase and the block itself.

`adam/Mul_579` names no variable, but an optimizer repeats the same operations for each, in the
variables' order. So operation number k of a type belongs to variable k // m, where each variable
takes m operations of that type. m is not stated anywhere, but it is the number with which all
shapes agree.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mem_dfa.profiling.recording.held_tensors import Names
from mem_dfa.profiling.words import ACTIVATION, GRADIENT, OTHER, PHASES, TEMPORARY

_CATEGORY_OF_PHASE = {
    "forward": ACTIVATION,
    "replay": ACTIVATION,
    "backward": GRADIENT,
    "update": TEMPORARY,
    OTHER: TEMPORARY,
}
# fmt: off
_OPTIMIZERS = frozenset({
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lamb", "lion",
    "loss_scale_optimizer", "muon", "nadam", "rmsprop", "schedule_free_adamw", "sgd",
})
# fmt: on
_LOSSES = ("compile_loss", "loss")
_CALLS = re.compile(r"^(\w*PartitionedCall|cond\w*|while\w*|body|then|else)$")
_NUMBER = re.compile(r"_\d+$")
# Adafactor, which takes most of one type, takes 14.
_MOST_REPEATS = 24


class Place(NamedTuple):
    """Where one allocation belongs; "" where it is not known."""

    layer: str
    block: str
    phase: str
    category: str


class Attribution:
    """Places allocations; remembers what it found for each operation."""

    def __init__(self, names: Names, operations: Iterable[tuple[str, str]] = ()) -> None:
        """Take the names of the model whose step was recorded.

        Args:
            names: an empty `Names()` where there is no model.
            operations: path and shape of all that is to be placed.
        """
        self._names = names
        self._optimizers = _OPTIMIZERS | names.optimizers
        self._known: dict[tuple[str, str, str], Place] = {}
        self._block_of_layer: dict[str, str] = {}
        self._layer_of_update = self._updates(operations)

    def _updates(self, operations: Iterable[tuple[str, str]]) -> dict[str, str]:
        chosen = [
            (op, shape) for op, shape in operations if any(map(self._is_optimizer, op.split("/")))
        ]
        variables = self._names.variables
        found = variables_of_updates(chosen, [shape for shape, _ in variables])
        by_number = {op: variables[number][1] for op, number in found.items()}
        # Where only one layer has a variable of that shape, counting is not needed.
        owners: dict[str, set[str]] = {}
        for shape, layer in variables:
            owners.setdefault(shape, set()).add(layer)
        by_shape = {
            op: next(iter(owners[shape])) for op, shape in chosen if len(owners.get(shape, ())) == 1
        }
        return by_number | by_shape

    def place(self, op: str, scope: str, region_type: str) -> Place:
        """The place of one allocation; see `AllocationEvent` for the arguments."""
        key = op, scope, region_type
        if key not in self._known:
            self._known[key] = self._find(f"{scope}/{op}" if scope else op, region_type, op)
        return self._known[key]

    def block_of_layer(self, layer: str) -> str:
        """The block that ran a layer; the layer itself where no scope names blocks."""
        return self._block_of_layer.get(layer, layer)

    def _find(self, path: str, region_type: str, op: str) -> Place:
        parts = [part for part in path.split("/")[:-1] if not _CALLS.match(part)]
        phase, block = self._phase(parts), self._stated_block(parts)
        layer = self._layer([part for part in parts if part != block])
        if phase == "update" and not (layer or block):
            layer = self._layer_of_update.get(op, "")
        if layer and block:
            self._block_of_layer.setdefault(layer, block)
        if not (layer or block) and any(part.startswith(_LOSSES) for part in parts):
            block = "loss"
        if phase == OTHER and (layer or block):
            phase = "forward"
        category = TEMPORARY if region_type in ("temp", "scratch") else _CATEGORY_OF_PHASE[phase]
        return Place(layer, block or self.block_of_layer(layer), phase, category)

    def _phase(self, parts: list[str]) -> str:
        if "gradient_tape" in parts:
            return "backward"
        stated = next((part for part in parts if part in PHASES), None)
        # An optimizer may run inside any scope, so it is looked for first.
        if any(map(self._is_optimizer, parts)):
            return "update"
        return stated or OTHER

    def _stated_block(self, parts: list[str]) -> str:
        for phase, block in itertools.pairwise(parts):
            if phase in PHASES:
                return "" if self._is_optimizer(block) else block
        return ""

    def _is_optimizer(self, part: str) -> bool:
        part = part.lower()  # a scope has the name as it was given
        return part in self._optimizers or _NUMBER.sub("", part) in self._optimizers

    def _layer(self, parts: list[str]) -> str:
        for part in reversed(parts):
            bare = _NUMBER.sub("", part)
            if self._names.layers:
                # Keras numbers a layer's scope even when it is the first of its name.
                found = next((name for name in (bare, part) if name in self._names.layers), "")
                if found:
                    return found
            elif bare != part and not self._is_optimizer(part):
                return bare
        return ""


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
        stem = _NUMBER.sub("", op)
        types.setdefault(stem, []).append((op, int(op[len(stem) + 1 :] or 0), shape))
    found: dict[str, int] = {}
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
