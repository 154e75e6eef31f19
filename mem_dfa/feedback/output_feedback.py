"""The output error through a fixed random matrix for each block: δ_n = e, δ_i = e·B_i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer, check_initializer
from mem_dfa.feedback.learned import gradient
from mem_dfa.feedback.logits import refuse_probabilities
from mem_dfa.feedback.matrices import KINDS, NOTHING_SAID, KindArguments
from mem_dfa.feedback.matrix_bytes import check_bytes, check_kind
from mem_dfa.feedback.signal import Signal, serialized
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_bytes import backpropagation_bytes, variable_bytes


class OutputFeedback(Signal):
    """Blocks whose error signal is the output error, projected to the size of their outputs."""

    def __init__(
        self,
        trainer: Any,
        initializer: str | Initializer,
        kind: str,
        projected: Sequence[str] | None,
        arguments: KindArguments = NOTHING_SAID,
    ) -> None:
        """Make a feedback matrix for each block but the last.

        Args:
            trainer: whose blocks they are for, which holds and saves them: its `chain`, `network`
                and `seed` are looked at.
            initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            kind: a name in `matrices.KINDS`.
            projected: names of the blocks that get a matrix; None for those that have something to
                train now. A saved trainer keeps its own, whatever was frozen since.
            arguments: of the kind.

        Raises:
            UnsupportedError: unknown initializer or kind; a Keras initializer for a kind that
                cannot draw by it; arguments of another kind, or out of range; more bytes than
                there are.
        """
        check_kind(kind)
        check_initializer(initializer)
        self._owner, self._chain, self._kind = type(trainer).__name__, trainer.chain, kind
        *hidden, last = self._chain.blocks
        names = projected
        if names is None:
            names = [block.name for block in hidden if block.trainable_variables]
        # Of every block, so that they do not depend on which blocks are frozen.
        seeds = np.random.default_rng(trainer.seed).integers(2**31 - 1, size=(len(hidden), 2))
        blocks = [block for block in hidden if block.name in names]
        KINDS[kind].refuse_arguments(last.width, arguments)
        check_bytes(kind, last.width, blocks, arguments, _step_bytes(trainer.network))
        self.matrices = KINDS[kind](
            initializer,
            last.width,
            blocks,
            {block.name: pair for block, pair in zip(hidden, seeds, strict=True)},
            trainer.add_weight,
            arguments,
        )

    @property
    def held(self) -> Sequence[keras.Variable]:
        """The matrices between two steps."""
        return [variable for held in self.matrices.held.values() for variable in held]

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        arguments = asdict(self.matrices.arguments)
        return {
            "feedback_initializer": serialized(self.matrices.initializer),
            "feedback": self._kind,
            "projected": list(self.matrices.widths),
            **{name: value for name, value in arguments.items() if name in self.matrices.takes},
        }

    def project(self, block: Block, error: tf.Tensor, source: Any = None) -> tf.Tensor:
        """δ_i from the output error.

        Args:
            block: the last one's error signal is e itself.
            error: e = dL/dz, shape (batch, ...).
            source: of the block's matrix, where it was taken before, see `Matrices.sources`.

        Returns:
            δ_i, shape of a_i.
        """
        batch = tf.shape(error)[0]
        if block.name == self._chain.blocks[-1].name:
            return error
        with scope("backward", block.name):
            # δ_i = e·B_i
            signal = self.matrices.project(block, tf.reshape(error, [batch, -1]), source)
            return tf.reshape(signal, [batch, *block.output_shape[1:]])

    @property
    def gradient_bytes(self) -> int:
        """Of the largest ∇B_i, which a step makes for one block at a time."""
        learned = (self.learned(block) for block in self._chain.blocks)
        return max(map(variable_bytes, learned))

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """B_i, where the kind trains it."""
        return self.matrices.learned(block)

    def learn(
        self,
        block: Block,
        outputs: tf.Tensor,
        error: tf.Tensor,
        gradients: Sequence[Any],
    ) -> Sequence[tf.Tensor]:
        """∇B_i = eᵀ a_i."""
        with scope("backward", block.name):
            return [gradient(outputs, error, gradients, one) for one in self.learned(block)]

    def refuse_learned(self) -> None:
        """Raise UnsupportedError for matrices that learn from e, where e does not come."""
        if any(self.learned(block) for block in self._chain.blocks):
            raise UnsupportedError(
                f"{self._owner} received feedback={self._kind!r}, which learns from the output "
                "error, but its blocks are updated before there is one: use another kind, or train "
                "with 'asrbp'."
            )

    def end_step(self) -> None:
        """B_i ← (1 − λ)·B_i and W_i ← (1 − λ)·W_i, for the kernels of blocks with a learned B_i."""
        decay, done = self.matrices.arguments.feedback_decay, None
        if not decay:
            return
        for block in self._chain.blocks:
            learned = self.learned(block)
            kernels = [v for v in block.trainable_variables if len(v.shape) > 1]
            for variable in [*learned, *kernels] if learned else []:
                # One after another: each is there twice while it is multiplied.
                with scope("update", block.name):
                    variable.assign(after(variable.value, done) * (1 - decay))
                    done = token([variable.value])

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError where e cannot be had at the logits."""
        self.refuse_unfrozen()
        refuse_probabilities(self._owner, self._chain, loss)

    def refuse_unfrozen(self) -> None:
        """Raise UnsupportedError for blocks that have something to train and no matrix."""
        for block in self._chain.blocks[:-1]:
            if block.trainable_variables and block.name not in self.matrices.widths:
                raise UnsupportedError(
                    f"{self._owner}: {block.name} ({block.layer_names}) was frozen when "
                    "the trainer was made and has no feedback matrix: unfreeze its layers before "
                    "making the trainer."
                )


def _step_bytes(network: keras.Model) -> int | None:
    """Of BP on a nominal batch; None where they are not known."""
    try:
        return backpropagation_bytes(network, NOMINAL_BATCH)
    except UnknownBytesError:
        return None
