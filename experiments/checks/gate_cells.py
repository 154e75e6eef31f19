"""The cells of the gate, and what holds of them on any machine, with no baseline.

Batches are small, because the shape of memory does not depend on them.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain under DFA, MEM-DFA, checkpointing or RevNet asks for the same in every
process to a fifth of a percent, and mostly to the byte. Where Keras differentiates the net as one,
as under BP, FA and in microbatches, TensorFlow may run a layer's two gradients in either order or
at once, which moves the peak by up to 5 %: its tolerance is wider, and what the forward pass leaves
for the backward pass, which no order changes, is judged as closely as everything else.
"""

from collections.abc import Mapping
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.baseline import QUANTITIES, Parts, Weights
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.checks.claim import Claim, Known
from mem_dfa.experiments.checks.finding import Finding, judge

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
SQUARE_ROOT = "checkpoint depth_net, 12, 24, 48 layers: grow as n^e, e is from 0.5 by"
HELD = "mem_dfa depth_net, regenerated feedback: resident bytes but weights, a layer"
REVERSIBLE_FLAT = "revnet depth_revnet {}, 5, 20 layers: differ by"
RELATIONS = [
    Claim("mem_dfa conv20 graph, 5, 20 layers: differ by", "requested_spread", FLAT, 3.0),
    # Two adjacent activations need a seventh.
    Claim("mem_dfa conv20, 20 layers: over dfa's", "requested_share", [FLAT[-1], DIRECT], 1 / 5),
    Claim(SQUARE_ROOT, "growth 0.5", CHECKPOINTED, 0.15),
    Claim(REVERSIBLE_FLAT.format("eager"), "requested_spread", REVERSIBLE, 5.0),
    Claim(REVERSIBLE_FLAT.format("graph"), "requested_spread", REVERSIBLE_GRAPH, 5.0),
    Claim(HELD, "held_a_layer", REGENERATED, 2048),  # a stored matrix is 160 times as large
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
    rows = {title: _row(parts) for title, parts in weights.items()}
    known = Known(lambda cell, repeats: rows.get(cell.title, {}))
    return [judge(claim, known) for claim in RELATIONS]


def _row(parts: Mapping[str, Parts]) -> dict[str, int]:
    """What a row of measurements would say."""
    resident = parts["resident"]
    weights = {name: size for name, size in resident.items() if name.endswith("/parameter")}
    sums = [sum(sizes.values()) for sizes in (parts["step"], resident, weights)]
    names = ("step_requested_bytes", "resident_bytes", "variable_allocated_bytes")
    return dict(zip(names, sums, strict=True))
