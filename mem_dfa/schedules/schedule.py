"""What every schedule is given and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.signal import Signal
from mem_dfa.optimizer.step import Update


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
    def run(self, inputs: tf.Tensor, error_of: Callable[[tf.Tensor], tf.Tensor]) -> None:
        """Update every block once.

        Args:
            inputs: x, shape (batch, ...).
            error_of: gives e = dL/dz for the logits z; called once.
        """
