"""Heads: what is trained beside each block, to make its error signal of its output and the labels.

They are weights of the trainer, updated by the same call of the optimizer as their block.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.features import Features
from mem_dfa.feedback.logits import refuse_probabilities
from mem_dfa.feedback.signal import LocalSignal


class Heads(LocalSignal):
    """A head for each block but the last, which has the true error."""

    def __init__(self, trainer: Any, heads: Sequence[str] | None) -> None:
        """Make the heads.

        Args:
            trainer: whose blocks they are for, which holds and saves them: its `chain` and `seed`
                are looked at.
            heads: names of the blocks that get one; None for those that have something to train
                now. A saved trainer keeps its own, whatever was frozen since.

        Raises:
            UnsupportedError: a block has an output that no head fits.
        """
        self._owner, self._trainer, self._chain = type(trainer).__name__, trainer, trainer.chain
        *hidden, self._last = self._chain.blocks
        # Of every block, so that they do not depend on which blocks are frozen.
        drawn = np.random.default_rng(trainer.seed).integers(2**31 - 1, size=len(hidden))
        self._seeds = dict(zip((block.name for block in hidden), map(int, drawn), strict=True))
        if heads is None:
            heads = [block.name for block in hidden if block.trainable_variables]
        own = [block for block in hidden if block.name in heads]
        self._features = {block.name: Features(self._owner, block) for block in own}
        self._heads = {
            block.name: self._made(block, self._features[block.name], self._seeds[block.name])
            for block in own
        }

    @abstractmethod
    def _made(self, block: Block, features: Features, seed: int) -> Sequence[keras.Variable]:
        """The variables of one block's head."""

    @property
    def held(self) -> Sequence[keras.Variable]:
        """All variables of the heads."""
        return [variable for head in self._heads.values() for variable in head]

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """Of the block's head."""
        return self._heads.get(block.name, ())

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {"heads": list(self._heads)}

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError where the net's logits are not to be seen."""
        self.refuse_unfrozen()
        refuse_probabilities(self._owner, self._chain, loss)

    def refuse_unfrozen(self) -> None:
        """Raise UnsupportedError for blocks that have something to train and no head."""
        for block in self._chain.blocks[:-1]:
            if block.trainable_variables and block.name not in self._heads:
                raise UnsupportedError(
                    f"{self._owner}: {block.name} ({block.layer_names}) was frozen when "
                    "the trainer was made and has no head: unfreeze its layers before "
                    "making the trainer."
                )


def zero_classifier(trainer: Any, block: Block, inputs: Sequence[int]) -> list[keras.Variable]:
    """Kernel, shape (*inputs, C), and bias, shape (C,), of a linear classifier of a block's output.

    They start at zero, so that the first step moves nothing but them.

    Args:
        trainer: that holds them.
        block: which.
        inputs: the kernel's shape but for the net's logits, C.
    """
    logits = trainer.chain.blocks[-1].width
    shapes = {"kernel": (*inputs, logits), "bias": (logits,)}
    return [
        trainer.add_weight(shape=shape, initializer="zeros", name=f"{block.name}_classifier_{name}")
        for name, shape in shapes.items()
    ]
