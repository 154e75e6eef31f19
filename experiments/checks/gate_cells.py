"""The cells of the gate, and what holds of them on any machine, with no baseline.

Batches are small, because the shape of memory does not depend on them.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain under DFA, MEM-DFA, checkpointing or RevNet asks for the same in every
process to a fifth of a percent, and mostly to the byte. Where Keras differentiates the net as one,
as under BP, FA and in microbatches, TensorFlow may run a layer's two gradients in either order or
at once, which moves the peak by up to 5 %: its tolerance is wider, and what the forward pass leaves
for the backward pass, which no order changes, is judged as closely as everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.checks.baseline import QUANTITIES, Parts, Weights
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.checks.finding import Claim, Finding, NotMeasuredError, judge
from mem_dfa.experiments.checks.quantities import (
    HELD_A_LAYER,
    REQUESTED_SHARE,
    REQUESTED_SPREAD,
    growth,
)

TOLERANCE_PERCENT, TWO_GRADIENTS_PERCENT = 1.0, 10.0
USUAL = {"dataset": "synthetic", "batch_size": 16, "steps": 3}


def _cell(algorithm: str, model: str, layers: int | None = None, **changes: Any) -> Cell:
    """A cell on synthetic images, with the command line's defaults but `changes`."""
    return make_cell(algorithm, model, layers, **USUAL | changes)


FLAT = [_cell("mem_dfa", "conv20", n) for n in (5, 20)]
# What keeps every activation takes 10 MiB.
OTHERWISE_EXECUTED = [_cell("mem_dfa", "conv20", 10, execution=how) for how in ("eager", "xla")]
DIRECT = _cell("dfa", "conv20", 20)
CHECKPOINTED = [_cell("checkpoint", "depth_net", n) for n in (12, 24, 48)]
REGENERATED = [
    _cell("mem_dfa", "depth_net", n, options={"feedback": "regenerated"}) for n in (10, 60)
]
REVERSIBLE = [_cell("revnet", "depth_revnet", n, execution="eager") for n in (5, 20)]
REVERSIBLE_GRAPH = [_cell("revnet", "depth_revnet", n) for n in (5, 20)]
RACING = [
    *(_cell(algorithm, "conv20", 20) for algorithm in ("bp", "fa")),
    _cell("microbatch", "conv20", 20, options={"slices": 2}),
]
CELLS = [
    *RACING,
    DIRECT,
    *FLAT,
    *OTHERWISE_EXECUTED,
    _cell("mem_dfa", "conv20", 10, batch_size=64),  # large enough for slices
    _cell("mem_dfa", "vgg16", batch_size=8),
    *REGENERATED,
    *CHECKPOINTED,
    _cell("checkpoint_fa", "conv20", 20),
    *REVERSIBLE,
    *REVERSIBLE_GRAPH,
]
RELATIONS = [
    Claim("mem_dfa conv20 graph, 5, 20 layers: differ by", REQUESTED_SPREAD, FLAT, 3.0),
    # Two adjacent activations need a seventh.
    Claim("mem_dfa conv20, 20 layers: over dfa's", REQUESTED_SHARE, [FLAT[-1], DIRECT], 1 / 5),
    Claim(
        "checkpoint depth_net, 12, 24, 48 layers: grow as n^e, e is from 0.5 by",
        growth(0.5),
        CHECKPOINTED,
        0.15,
    ),
    Claim("revnet depth_revnet eager, 5, 20 layers: differ by", REQUESTED_SPREAD, REVERSIBLE, 5.0),
    Claim(
        "revnet depth_revnet graph, 5, 20 layers: differ by",
        REQUESTED_SPREAD,
        REVERSIBLE_GRAPH,
        5.0,
    ),
    # A layer's stored matrix is 160 times as large.
    Claim(
        "mem_dfa depth_net, regenerated feedback: resident bytes but weights, a layer",
        HELD_A_LAYER,
        REGENERATED,
        2048,
    ),
]
_RACING_TITLES = {cell.title for cell in RACING}


def weights_of(title: str, result: dict[str, Any]) -> dict[str, Parts]:
    """What is judged of a cell's result; what is kept only where the peak is no sharp measure."""
    kept = {} if title in _RACING_TITLES else {"kept": {}}
    return {quantity: result[quantity] for quantity in QUANTITIES} | kept


def tolerance_percent(title: str, quantity: str) -> float:
    """How far a quantity of a cell may be from the baseline, up or down."""
    is_racing = quantity == "step" and title in _RACING_TITLES
    return TWO_GRADIENTS_PERCENT if is_racing else TOLERANCE_PERCENT


def relations(weights: Weights) -> list[Finding]:
    """Judges the relations; one whose cells were not all measured does not hold."""
    return [judge(claim, _Weighed(weights)) for claim in RELATIONS]


@dataclass(frozen=True)
class _Weighed:
    """Weights as `Known`."""

    weights: Weights

    def numbers(self, cells: Sequence[Cell], what: str, repeats: int = REPEATS) -> list[int]:
        if any(cell.title not in self.weights for cell in cells):
            raise NotMeasuredError
        return [_number(self.weights[cell.title], what) for cell in cells]


def _number(parts: Mapping[str, Parts], what: str) -> int:
    resident = parts["resident"]
    numbers = {
        "step_requested_bytes": sum(parts["step"].values()),
        "resident_bytes": sum(resident.values()),
        "variable_allocated_bytes": sum(
            size for name, size in resident.items() if name.endswith("/parameter")
        ),
    }
    return numbers[what]
