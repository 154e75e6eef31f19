"""The cells of the gate: small batches, because the shape of memory does not depend on them.

Step bytes are those that operations ask for, which neither the allocator's rounding nor the kind
of processor changes. A chain under DFA, MEM-DFA, checkpointing or RevNet asks for the same in every
process to a fifth of a percent, and mostly to the byte. Where BP differentiates a layer, as FA and
microbatches do, its two gradients may or may not run at once, which is up to 4 %: the tolerance is
wider. Of several steps the one in the middle is taken.
"""

import dataclasses
from typing import Any

from experiments.findings import make_cell
from experiments.plan import Cell

TOLERANCE_PERCENT, TWO_GRADIENTS_PERCENT = 1.0, 5.0
STEPS, RACING_STEPS = 3, 9
BATCH_SIZE, SLICED_BATCH_SIZE, WIDE_BATCH_SIZE = 16, 64, 8


def _cell(algorithm: str, model: str, layers: int | None = None, **changes: Any) -> Cell:
    """A cell on synthetic images, with the command line's defaults but `changes`."""
    usual = {"dataset": "synthetic", "batch_size": BATCH_SIZE, "steps": STEPS}
    return dataclasses.replace(make_cell(algorithm, model, layers), **usual | changes)


FLAT = [_cell("mem_dfa", "conv20", layers) for layers in (5, 10, 20)]
DIRECT = _cell("dfa", "conv20", 20)
CHECKPOINTED = [_cell("checkpoint", "depth_net", layers) for layers in (12, 24, 48)]
REGENERATED = [_cell("mem_dfa", "depth_net", layers, feedback="regenerated") for layers in (10, 60)]
REVERSIBLE = [_cell("revnet", "depth_revnet", n, execution="eager") for n in (5, 20)]
# Its check of the inverse may run beside the gradient that follows, as it does in a few steps of a
# hundred on a busy machine.
REVERSIBLE_GRAPH = [_cell("revnet", "depth_revnet", n, steps=RACING_STEPS) for n in (5, 20)]
RACING = [
    *(_cell(algorithm, "conv20", 20, steps=RACING_STEPS) for algorithm in ("bp", "fa")),
    _cell("microbatch", "conv20", 20, batch_size=SLICED_BATCH_SIZE, slices=8, steps=RACING_STEPS),
]
CELLS = [
    *RACING,
    DIRECT,
    *FLAT,
    _cell("mem_dfa", "conv20", 20, batch_size=SLICED_BATCH_SIZE),  # large enough for slices
    _cell("mem_dfa", "vgg16", batch_size=WIDE_BATCH_SIZE),
    *REGENERATED,
    *CHECKPOINTED,
    _cell("checkpoint_fa", "conv20", 20),
    *REVERSIBLE,
    *REVERSIBLE_GRAPH,
]
_OF_STEPS = {cell.title: TWO_GRADIENTS_PERCENT for cell in RACING}


def tolerance_percent(title: str, quantity: str) -> float:
    """How far a quantity of a cell may be from the baseline, up or down."""
    return _OF_STEPS.get(title, TOLERANCE_PERCENT) if quantity == "step" else TOLERANCE_PERCENT
