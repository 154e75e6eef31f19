"""Error signals from a loss of each block's own, δ_i = ∂/∂a_i ((1 − β)·L_pred + β·L_sim)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.features import Features
from mem_dfa.feedback.heads import Heads
from mem_dfa.feedback.local_losses import BlockLoss, PredictionLoss, SimilarityLoss
from mem_dfa.graph.ordering import after, in_turn, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.registry import LOCAL_LOSSES

BETA = 0.99
"""β of both losses together, as in the paper."""
SHARES: dict[str, dict[type, float]] = {
    "prediction": {PredictionLoss: 1.0},
    "similarity": {SimilarityLoss: 1.0},
    "both": {SimilarityLoss: BETA, PredictionLoss: 1 - BETA},
}


class LossHeads(Heads):
    """What the losses of each block train: a classifier, a projection, or both."""

    def __init__(self, trainer: Any, local_loss: str, heads: Sequence[str] | None) -> None:
        """Make the heads.

        Args:
            trainer: see `Heads`.
            local_loss: a name in `registry.LOCAL_LOSSES`.
            heads: see `Heads`.

        Raises:
            UnsupportedError: unknown loss; see `Heads` and `SimilarityLoss`.
        """
        if not isinstance(local_loss, str) or local_loss not in SHARES:
            raise UnsupportedError(
                f"{type(trainer).__name__} received local_loss={local_loss!r}: use one of "
                f"{', '.join(LOCAL_LOSSES)}."
            )
        self._kind = local_loss
        self._losses: dict[str, list[tuple[float, BlockLoss]]] = {}
        super().__init__(trainer, heads)

    def _made(self, block: Block, features: Features, seed: int) -> Sequence[keras.Variable]:
        self._losses[block.name] = [
            (share, kind(self._trainer, block, features, seed))
            for kind, share in SHARES[self._kind].items()
        ]
        return [variable for _, loss in self._losses[block.name] for variable in loss.variables]

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {"local_loss": self._kind, **super().get_config()}

    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """δ_i and the gradients of the block's head; see `LocalSignal.signal`.

        Raises:
            UnsupportedError: labels are compared that are neither one-hot nor numbers of classes.
        """
        signals, gradients = [], []
        # One loss after the other: what each takes is as large as a_i.
        with scope("backward", block.name), in_turn():
            for share, loss in self._losses[block.name]:
                values = [outputs, *(variable.value for variable in loss.variables)]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(values)
                    scaled = share * loss.of(outputs, y, sample_weight)
                # δ_i = ∂/∂a_i ((1 − β)·L_pred + β·L_sim)
                zero = tf.UnconnectedGradients.ZERO
                own = tape.gradient(scaled, values, unconnected_gradients=zero)
                signals.append(own[0])
                gradients += own[1:]
            signal = tf.add_n(signals) if len(signals) > 1 else signals[0]
        # What the gradients are made of is not held beside those of the block.
        return after(signal, token(gradients)), gradients

    def step_bytes(self, block: Block, batch_size: int) -> int:
        """Of each loss, beside the δ_i of those before it."""
        losses = [loss for _, loss in self._losses[block.name]]
        return max(
            number * loss.output_bytes(batch_size) + loss.step_bytes(batch_size)
            for number, loss in enumerate(losses)
        )
