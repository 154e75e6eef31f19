"""The cells of the gate, and what holds of them on any machine, with no baseline.

Batches are small, because the shape of memory does not depend on them.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain under DFA, MEM-DFA, checkpointing or RevNet asks for the same in every
process to a fifth of a percent, and mostly to the byte. Where Keras differentiates the net as one,
as under BP, FA and in microbatches, TensorFlow may run a layer's two gradients in either order or
at once, which moves the peak by up to 5 %: its tolerance is wider, and what the forward pass leaves
for the backward pass, which no order changes, is judged as closely as everything else.
"""

import functools
from collections.abc import Mapping
from typing import Any

from mem_dfa.experiments.checks.baseline import QUANTITIES, Parts, Weights
from mem_dfa.experiments.checks.cells import cells_of, make_cell
from mem_dfa.experiments.checks.claim import Known
from mem_dfa.experiments.checks.claims_table import GATE, claims
from mem_dfa.experiments.checks.finding import Finding, judge

TOLERANCE_PERCENT, TWO_GRADIENTS_PERCENT = 1.0, 10.0
_make = functools.partial(make_cell, dataset="synthetic", steps=3, batch_size=16)
_cells = functools.partial(cells_of, make=_make)

RACING = _cells("bp,fa conv20 20; microbatch conv20 20 slices=2")
DIRECT = _cells("dfa conv20 20")
REGENERATED = _cells("mem_dfa depth_net 10,60 feedback=regenerated")
CELLS = [
    *RACING,
    *DIRECT,
    *_cells("mem_dfa conv20 5,20"),
    # What keeps every activation takes 10 MiB.
    *_cells("mem_dfa conv20 10 execution=eager; mem_dfa conv20 10 execution=xla"),
    # Large enough for slices.
    *_cells("mem_dfa conv20 10 batch_size=64"),
    *_cells("mem_dfa vgg16 - batch_size=8"),
    *REGENERATED,
    *_cells("checkpoint depth_net 12,24,48; checkpoint_fa conv20 20"),
    *_cells("revnet depth_revnet 5,20 execution=eager; revnet depth_revnet 5,20"),
]
RELATIONS = claims(GATE, _make)
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
