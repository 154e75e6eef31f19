"""The exact steps of calibrated feedback alone: what `anchor` is to be compared with.

    batch t = 1, 2, …:  if k divides t:  BP's own step, by checkpoints
                        else:            nothing, not even the count of a step

What `dfa` or `mem_dfa` with the same `anchor` reaches beyond this is due to random feedback.
Metrics are of the batches that are trained on.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.anchored import Anchored, Logs, refuse_no_count
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.backward_sweep import BackwardSweep

DEFAULT_ANCHOR = 10


@keras.saving.register_keras_serializable("mem_dfa")
class AnchorSteps(Anchored):
    """Backpropagation on every k-th batch and nothing on the others."""

    anchor: int

    def __init__(self, network: keras.Model, anchor: int = DEFAULT_ANCHOR, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            anchor: k, every so many batches are trained on.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut; `anchor` is no number of batches.
        """
        refuse_no_count(type(self).__name__, anchor)
        super().__init__(network, anchor, **details)

    @property
    def batches_a_step(self) -> int:
        """One in so many is trained on."""
        return self.anchor

    def train_step(self, data: Any) -> Logs:
        """One batch: an exact step, or nothing."""
        exact = lambda: self.step_by(self.exact_schedule, data)  # noqa: E731
        return self.alternated(exact, self.get_metrics_result)

    def schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """That of the batches that are trained on."""
        return self.exact_schedule(update, batch_size)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Of an exact step."""
        self.chain.require_known_bytes(batch_size)
        return self.exact_step_bytes(batch_size)
