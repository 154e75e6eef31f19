"""A second forward pass of some blocks; the others are kept from the first one on.

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; kept is what the plan says
    kept blocks:  for each, last to first:  δ_i = e·B_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it
    second pass:  for each run of the others, last to first, from what came into its first one:
                  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

Once e is there, the updates may come in any order: δ_i needs no other block's, and each a_i was, or
is, computed before W_i changes. Kept blocks come first, so that their bytes are not held beside
those of the second pass.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mem_dfa.chain.local_gradient import Recording
from mem_dfa.graph.ordering import token
from mem_dfa.memory.budget_plan import Plan
from mem_dfa.memory.kept_blocks import Part
from mem_dfa.schedules.schedule import Targets
from mem_dfa.schedules.second_forward import SecondForward


class PartlyKept(SecondForward):
    """One forward pass of the blocks that a plan keeps, two of the others, for output feedback."""

    def __init__(self, *given: Any, plan: Plan) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            plan: what is kept, and in what slices the rest runs.
        """
        super().__init__(*given)
        self._plan = plan

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Forward, then the kept blocks' updates, then the replay of the others with theirs."""
        kept: list[Recording] = []
        runs: list[tuple[Part, list[tf.Tensor]]] = []
        activation = inputs
        for part in self._plan.parts:
            of_part = slice(part.start, part.stop)
            blocks = self._blocks[of_part]
            if part.recomputed:
                runs.append((part, [activation]))
                counts = self._plan.first_counts[of_part]
                activation = self._first_pass(blocks, counts, activation)
                continue
            for block in blocks:
                tiled = self._update.tiled_layers(block)
                recording = Recording(block, activation, "forward", tiled=tiled)
                activation = recording.outputs
                if recording.variables:
                    kept.append(recording)
                del recording
        error = targets.error_of(activation)
        del activation
        done = token([error])
        while kept:
            done = self._project(self._signal, kept.pop(), error, done)
        while runs:
            part, start = runs.pop()
            of_part = slice(part.start, part.stop)
            counts = self._plan.counts[of_part]
            done = self._second_pass(self._blocks[of_part], counts, start, error, done)
