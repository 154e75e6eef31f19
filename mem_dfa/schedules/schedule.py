"""What every schedule is given and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.feedback.signal import Signal
from mem_dfa.graph.ordering import after
from mem_dfa.graph.profile_scope import scope
from mem_dfa.optimizer.step import Update


@dataclass(frozen=True)
class Targets:
    """What a batch is to come to.

    Attributes:
        y: the labels, as they were given.
        sample_weight: as it was given, or None.
        error_of: gives e = dL/dz for the logits z, and keeps track of the loss; called once.
    """

    y: Any
    sample_weight: Any
    error_of: Callable[[tf.Tensor], tf.Tensor]


class Schedule(ABC):
    """The passes of one step over a chain's blocks."""

    def __init__(self, owner: str, blocks: Sequence[Block], signal: Signal, update: Update) -> None:
        """Prepare a step.

        Args:
            owner: name of the algorithm, for messages.
            blocks: f_1 … f_n.
            signal: where δ_i comes from.
            update: the optimizer's step.
        """
        self._owner, self._blocks, self._signal, self._update = owner, blocks, signal, update
        self._scale_loss = update.optimizer.scale_loss

    @abstractmethod
    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Update every block once.

        Args:
            inputs: x, shape (batch, ...).
            targets: of the batch.
        """

    def _trained(self, block: Block) -> list[keras.Variable]:
        """What is changed when a block is updated: its own weights, and what is learned beside."""
        return [*block.trainable_variables, *self._signal.learned(block)]

    def _project(
        self,
        projection: OutputFeedback,
        recording: Recording,
        error: tf.Tensor,
        done: tf.Tensor | None,
    ) -> tf.Tensor | None:
        """A block updated by a signal made of e, and a token of that."""
        block = recording.block
        if not recording.variables:
            return done
        # δ_i = e·B_i, one block at a time: all of them at once would be as large as the
        # activations.
        with scope("backward", block.name):
            late_error = after(error, done)
        signal = projection.project(block, late_error)
        outputs = recording.outputs if projection.learned(block) else None
        gradients = recording.gradients(signal, self._scale_loss)
        if outputs is not None:
            gradients += projection.learn(block, outputs, late_error, gradients)
        # W_i ← W_i − η·G_iᵀ δ_i
        return self._update.apply(block.name, gradients, self._trained(block))
