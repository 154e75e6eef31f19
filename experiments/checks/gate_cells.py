"""The cells of the gate: small batches, because the shape of memory does not depend on them.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain under DFA, MEM-DFA, checkpointing or RevNet asks for the same in every
process to a fifth of a percent, and mostly to the byte. Where Keras differentiates the net as one,
as under BP, FA and in microbatches, TensorFlow may run a layer's two gradients in either order or
at once, which moves the peak by up to 5 %: its tolerance is wider, and what the forward pass leaves
for the backward pass, which no order changes, is judged as closely as everything else.
"""

import dataclasses
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.baseline import QUANTITIES, Parts
from mem_dfa.experiments.checks.findings import make_cell

TOLERANCE_PERCENT, TWO_GRADIENTS_PERCENT = 1.0, 10.0
STEPS = 3
BATCH_SIZE, SLICED_BATCH_SIZE, WIDE_BATCH_SIZE = 16, 64, 8


def _cell(algorithm: str, model: str, layers: int | None = None, **changes: Any) -> Cell:
    """A cell on synthetic images, with the command line's defaults but `changes`."""
    usual = {"dataset": "synthetic", "batch_size": BATCH_SIZE, "steps": STEPS}
    return dataclasses.replace(make_cell(algorithm, model, layers), **usual | changes)


FLAT = [_cell("mem_dfa", "conv20", layers) for layers in (5, 20)]
# What keeps every activation takes 10 MiB.
OTHERWISE_EXECUTED = [_cell("mem_dfa", "conv20", 10, execution=how) for how in ("eager", "xla")]
DIRECT = _cell("dfa", "conv20", 20)
CHECKPOINTED = [_cell("checkpoint", "depth_net", layers) for layers in (12, 24, 48)]
REGENERATED = [
    _cell("mem_dfa", "depth_net", layers, options={"feedback": "regenerated"})
    for layers in (10, 60)
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
    _cell("mem_dfa", "conv20", 10, batch_size=SLICED_BATCH_SIZE),  # large enough for slices
    _cell("mem_dfa", "vgg16", batch_size=WIDE_BATCH_SIZE),
    *REGENERATED,
    *CHECKPOINTED,
    _cell("checkpoint_fa", "conv20", 20),
    *REVERSIBLE,
    *REVERSIBLE_GRAPH,
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
