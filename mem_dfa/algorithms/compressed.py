"""Checkpoints in few bits, as ActNN keeps activations (Chen et al., 2021, arXiv 2104.14129).

    forward:   â_j = Q(a_j) at the segments' borders, with E Q(a) = a
    backward:  for each segment, last to first:  run it again from â_j,
               δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it

The first pass computes with a_j itself, so that the output and e are exact; J_i and G_i are those
at what the second run computes from â_j. Q is one of `keepers`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mem_dfa.algorithms.checkpoint import Checkpoint
from mem_dfa.errors import UnsupportedError
from mem_dfa.memory import keepers


@keras.saving.register_keras_serializable("mem_dfa")
class Compressed(Checkpoint):
    """Backpropagation from checkpoints that are nearly what was computed."""

    def __init__(self, network: keras.Model, bits: int = 8, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            bits: of each value that is kept: 16 (bfloat16), 8 or 2, which are rounded at random.
            **details: as of `Checkpoint`; `seed` is what is drawn from.

        Raises:
            UnsupportedError: the network cannot be cut, or the arguments make no sense.
        """
        if isinstance(bits, bool) or not isinstance(bits, int) or bits not in keepers.BITS:
            known = ", ".join(map(str, keepers.BITS))
            raise UnsupportedError(f"Compressed received bits={bits!r}: give one of {known}.")
        self.bits = bits  # what is planned depends on it
        super().__init__(network, **details)
        seeds = np.random.default_rng(self.seed).integers(2**31 - 1, size=len(self.chain.blocks))
        self.keeper = keepers.keeper_of(self, bits, seeds.tolist())

    @property
    def kept_bytes(self) -> Callable[[int], int]:
        """What is held of so many values."""
        return functools.partial(keepers.kept_bytes, self.bits)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "bits": self.bits}
