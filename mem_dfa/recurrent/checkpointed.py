"""Backpropagation through time with checkpoints (Gruslys et al., arXiv 1606.03401): exact.

    forward:   s_{k+1} = f(x_k, s_k; W) for each segment k of time; kept are the states that the
               plan says, or a segment's internals
    backward:  for each segment, last to first:  run it again, unless its internals were kept,
               from the nearest kept state,
               (δ_k, ∇W_k) = gradient of L_k + ⟨δ_{k+1}, s_{k+1}⟩ by (s_k, W);  W ← W − η·Σ_k ∇W_k

Within a segment Keras's own gradient holds all time steps, so that with segments of √t steps and
every border kept, √t states and the internals of √t steps are held: the step of full BPTT, with one
more forward pass.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.memory import revolve
from mem_dfa.memory.actions import Action
from mem_dfa.recurrent.base import Recurrent
from mem_dfa.recurrent.sweep import Sweep


@keras.saving.register_keras_serializable("mem_dfa")
class CheckpointedBPTT(Recurrent):
    """Full backpropagation through time that keeps few states and runs the rest again."""

    def __init__(
        self,
        network: keras.Model,
        segment: int | None = None,
        plan: revolve.Kind = "hidden",
        slots: int | None = None,
        internal_slots: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`; without further words segments of √t steps and every border's state.

        Args:
            network: a built Sequential or functional model with SimpleRNN, LSTM or GRU layers.
            segment: time steps that run, and are differentiated, at once; None for ⌈√t⌉.
            plan: what is kept between segments, a kind of `revolve`: states (`hidden`), the
                internals of whole segments (`internal`), or both (`mixed`).
            slots: how many states, or of `internal` how many segments' internals, are kept at one
                time; None for as many as are of use.
            internal_slots: of `mixed`, how many states a segment's internals take: measured about 5
                a time step for an LSTM layer, 2 for a SimpleRNN.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be run a segment of time at a time, or the
                arguments make no sense.
        """
        super().__init__(network, **details)
        self.segment, self.plan_kind, self.slots = segment, plan, slots
        self.internal_slots = internal_slots
        if (plan == "mixed") != (internal_slots is not None):
            raise UnsupportedError(
                f"CheckpointedBPTT received plan={plan!r} and internal_slots={internal_slots!r}: "
                "plan='mixed' needs internal_slots, and no other takes it."
            )
        self.plan(4)

    def segments(self, steps: int) -> list[tuple[int, int]]:
        """First time step and length of each segment of a sequence."""
        length = math.isqrt(steps - 1) + 1 if self.segment is None else self.segment
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise UnsupportedError(
                f"CheckpointedBPTT received segment={self.segment!r}: give a whole number of time "
                "steps, at least 1."
            )
        return [(start, min(length, steps - start)) for start in range(0, steps, length)]

    def plan(self, steps: int) -> list[Action]:
        """What is done with the segments of a sequence, in order; see `revolve.plan`.

        Raises:
            UnsupportedError: the arguments make no sense.
        """
        count = len(self.segments(steps))
        slots = self.slots
        if slots is None:
            slots = count if self.internal_slots is None else 1 + count * self.internal_slots
        return revolve.plan(self.plan_kind, count, slots, self.internal_slots or 1)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        own = {"segment": self.segment, "plan": self.plan_kind, "slots": self.slots}
        return {**super().get_config(), **own, "internal_slots": self.internal_slots}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step by the gradient of the whole sequences."""
        sequences = self.sequences(data)
        sweep = Sweep(self, sequences, self.segments(sequences.steps))
        for action in self.plan(sequences.steps):
            sweep.do(action)
        gradients, loss, outputs = sweep.finish()
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(sequences.x)[0])
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.logs(sequences, outputs)
