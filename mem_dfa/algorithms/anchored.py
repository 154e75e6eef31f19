"""Algorithms of which every so many steps are exact: calibrated feedback.

    step t = 1, 2, …:  if k divides t:  BP's own step, by checkpoints,  δ_{i-1} = J_iᵀ δ_i
                       else:            the algorithm's own

Between two such steps random feedback goes on from weights that BP has aligned with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.signal import Exact
from mem_dfa.memory.checkpoint_plan import least_peak
from mem_dfa.memory.segments import Plan, block_costs
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.backward_sweep import BackwardSweep

Logs = dict[str, tf.Tensor]


class Anchored(Blockwise):
    """A blockwise algorithm that takes every k-th step by checkpointing, if it is asked to."""

    def __init__(self, network: keras.Model, anchor: int | None = None, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            anchor: k, every so many batches are an exact step; None for none. The batches are
                counted by the trainer and the count is saved with it.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut; `anchor` is no number of batches.
        """
        if anchor is not None:
            refuse_no_count(type(self).__name__, anchor)
        super().__init__(network, **details)
        self.anchor = anchor
        if anchor is not None:
            # A variable of int32 has no kernel on a GPU.
            self.batches_seen = self.add_weight(
                shape=(), dtype="int64", initializer="zeros", trainable=False, name="batches_seen"
            )

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "anchor": self.anchor}

    def train_step(self, data: Any) -> Logs:
        """One batch: an exact step, or one of the algorithm's own."""
        if self.anchor is None:
            return super().train_step(data)
        return self.alternated(
            lambda: self.step_by(self.exact_schedule, data),
            lambda: self.step_by(self.schedule, data),
        )

    def alternated(self, exact: Callable[[], Logs], own: Callable[[], Logs]) -> Logs:
        """One of the two, the exact one on every k-th batch; a traced step holds both."""
        self.batches_seen.assign_add(1)
        return tf.cond(tf.equal(self.batches_seen % self.anchor, 0), exact, own)

    def exact_schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """Forward with checkpoints, then segment by segment backward."""
        given = (type(self).__name__, self.chain.pieces, Exact(), update)
        return BackwardSweep(*given, actions=self.exact_plan(batch_size or NOMINAL_BATCH).actions)

    def exact_step_bytes(self, batch_size: int) -> int:
        """What an exact step takes, from shapes; 0 where there is none."""
        return 0 if self.anchor is None else self.exact_plan(batch_size).peak_bytes

    def exact_plan(self, batch_size: int) -> Plan:
        """Which blocks an exact step runs again."""
        return least_peak(block_costs(self.chain.pieces, batch_size))


def refuse_no_count(owner: str, anchor: Any) -> None:
    """Raise UnsupportedError where `anchor` is no number of batches."""
    if not isinstance(anchor, int) or isinstance(anchor, bool) or anchor < 1:
        raise UnsupportedError(
            f"{owner} received anchor={anchor!r}: give a whole number of batches, at least 1."
        )
