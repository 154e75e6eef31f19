"""Blocks trained by the output error through a fixed random matrix each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.algorithms.base import FeedbackAlgorithm
from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.chain import Chain
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.matrices import KINDS, Matrices, check_bytes, check_kind
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.checkpoint_plan import NOMINAL_BATCH
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_bytes import backpropagation_bytes, variable_bytes


class RandomFeedback(FeedbackAlgorithm, Blockwise):
    """Blocks whose error signal is δ_i = e·B_i: what DFA and MEM-DFA share.

    The schedule, `update_blocks`, is each algorithm's own.
    """

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | keras.initializers.Initializer = "uniform",
        feedback: str = "stored",
        projected: Sequence[str] | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `feedback.INITIALIZERS`, or a Keras initializer.
            feedback: "stored", "regenerated" or "shared", see `matrices`.
            projected: names of the blocks that get a matrix; None for those that have something to
                train now. A saved trainer keeps its own, whatever was frozen since.
            **details: `seed`, which the matrices are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer or kind
                of feedback; a Keras initializer for matrices that are not stored.
        """
        check_kind(feedback)
        self.feedback, self._projected = feedback, projected  # before what draws by it
        super().__init__(network, feedback_initializer, **details)

    def _draw_feedback(self) -> None:
        """Cut the network into blocks and make a feedback matrix for each but the last."""
        self._chain = Chain.from_model(self.network)
        *hidden, last = self._chain.blocks
        names = self._projected
        if names is None:
            names = [block.name for block in hidden if block.trainable_variables]
        # Of every block, so that they do not depend on which blocks are frozen.
        seeds = np.random.default_rng(self.seed).integers(2**31 - 1, size=(len(hidden), 2))
        widths = {block.name: block.width for block in hidden if block.name in names}
        check_bytes(self.feedback, last.width, list(widths.values()), self._bp_bytes())
        self._matrices = KINDS[self.feedback](
            self.feedback_initializer,
            last.width,
            widths,
            {block.name: pair for block, pair in zip(hidden, seeds, strict=True)},
            self.add_weight,
        )

    def _bp_bytes(self) -> int | None:
        """Step bytes of BP on a nominal batch; None where they are not known."""
        try:
            return backpropagation_bytes(self.network, NOMINAL_BATCH)
        except UnknownBytesError:
            return None

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        projected = list(self._matrices.widths)
        return {**super().get_config(), "feedback": self.feedback, "projected": projected}

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it."""
        return self._chain

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the feedback matrices that are held."""
        return variable_bytes(list(self._matrices.held.values()))

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        self._refuse_unfrozen()
        if not self._chain.head.atoms and _expects_probabilities(self.loss):
            last = self._chain.blocks[-1].atoms[-1].operations[-1]
            raise UnsupportedError(
                f"{type(self).__name__} received loss={self.loss!r}, which takes probabilities, "
                f"and a model that ends in '{last.name}' ({type(last).__name__}), where no "
                "activation is to be seen to take the error before: end the model in a "
                "keras.layers.Softmax or an activation of a Dense, or in logits and give the loss "
                "from_logits=True."
            )

    def _refuse_unfrozen(self) -> None:
        for block in self._chain.blocks[:-1]:
            if block.trainable_variables and block.name not in self._matrices.widths:
                raise UnsupportedError(
                    f"{type(self).__name__}: {block.name} ({block.layer_names}) was frozen when "
                    "the trainer was made and has no feedback matrix: unfreeze its layers before "
                    "making the trainer."
                )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One batch, see `Blockwise`; layers may have been unfrozen since `compile`."""
        self._refuse_unfrozen()
        return super().train_step(data)

    def error_signal(self, block: str, error: tf.Tensor, width: tuple[int, ...]) -> tf.Tensor:
        """δ_i from the output error.

        Args:
            block: name of block i; the last block's error signal is e itself.
            error: e = dL/dz, shape (batch, ...).
            width: shape of a_i without its batch axis.

        Returns:
            δ_i, shape (batch, *width).
        """
        batch = tf.shape(error)[0]
        if block == self._chain.blocks[-1].name:
            return error
        with scope("backward", block):
            # δ_i = e·B_i
            signal = self._matrices.project(block, tf.reshape(error, [batch, -1]))
            return tf.reshape(signal, [batch, *width])

    @property
    def matrices(self) -> Matrices:
        """The feedback matrices."""
        return self._matrices


def _expects_probabilities(loss: Any) -> bool:
    """Whether a loss, as `compile` takes it, is one of logits or probabilities, and of these."""
    (loss,) = keras.tree.flatten(loss)
    if loss in ("crossentropy", "ce"):  # which Keras chooses a function for
        return True
    loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return not getattr(loss, "from_logits", True)
    parameter = inspect.signature(loss).parameters.get("from_logits")
    return parameter is not None and not parameter.default
