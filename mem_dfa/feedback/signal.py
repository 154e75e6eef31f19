"""A signal says where the error signal δ_i of each block comes from.

It is a collaborator of a trainer, not a kind of one: what is random in it is held by the trainer as
weights, so that it is saved with it.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.distributions import Initializer


class Signal:
    """The exact one, δ_{i-1} = J_iᵀ δ_i: the chain rule, and nothing held. Others change that."""

    @property
    def held(self) -> Sequence[keras.Variable]:
        """The random weights between two steps."""
        return ()

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it, as in Keras."""
        return {}

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError for what this signal cannot honour.

        Args:
            loss: as the trainer's `compile` was given it.
        """

    def refuse_unfrozen(self) -> None:
        """Raise UnsupportedError for blocks that were unfrozen after it was made."""

    def way_back(self, trainer: keras.Model) -> contextlib.AbstractContextManager[Any]:
        """Within the context the trainer's layers pass error signals back as this signal says."""
        return contextlib.nullcontext()

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """What of the signal is trained with a block, by the same optimizer call."""
        return ()

    def learn(
        self,
        block: Block,
        outputs: tf.Tensor,
        error: tf.Tensor,
        gradients: Sequence[Any],
    ) -> Sequence[tf.Tensor]:
        """The gradients of what is `learned` with a block; asked for where there is something.

        Args:
            block: which.
            outputs: a_i, or a slice of the batch where the block runs in slices.
            error: what the signal was made of: e for output feedback, else δ_i; not yet cast to
                the dtype of a_i.
            gradients: of the block's trainable variables.

        Returns:
            One gradient for each of `learned`, in which loss scales and slices count as they do
            in `gradients`.
        """
        return ()

    def end_step(self) -> None:
        """What else changes with a step, when every weight is updated."""


class LocalSignal(Signal, ABC):
    """A signal made of a block's own output and the targets alone: what a local sweep needs."""

    @abstractmethod
    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """δ_i of any block but the last, whose signal is e.

        Args:
            block: which.
            outputs: a_i, before which nothing of it may be made.
            y: the labels, as they were given.
            sample_weight: as it was given, or None.

        Returns:
            δ_i, shape of a_i, and one gradient for each variable `learned` with the block, all
            times the optimizer's loss scale.
        """

    def step_bytes(self, block: Block, batch_size: int) -> int:
        """Of what is there beside a_i and what the block keeps, while δ_i is made of a batch."""
        return 0


class Exact(Signal):
    """The error signal of backpropagation."""


def serialized(initializer: str | Initializer) -> str | dict[str, Any]:
    """A feedback initializer for `get_config`."""
    if isinstance(initializer, str):
        return initializer
    return keras.saving.serialize_keras_object(initializer)
