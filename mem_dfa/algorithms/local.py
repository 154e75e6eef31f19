"""Algorithms of one forward pass: each block is updated as soon as it has run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.fixed_classifiers import FixedClassifiers
from mem_dfa.feedback.matrices import KindArguments
from mem_dfa.feedback.signal import LocalSignal
from mem_dfa.feedback.target_projection import TargetProjection
from mem_dfa.memory.batch_slices import chain_peak_bytes
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.local_sweep import LocalSweep
from mem_dfa.shapes.layer_bytes import variable_bytes


class Local(Blockwise):
    """A blockwise algorithm by a local sweep, for a `LocalSignal`."""

    signal: LocalSignal

    def schedule(self, update: Update, batch_size: int | None) -> LocalSweep:
        """Run, differentiate and update block by block."""
        return LocalSweep(type(self).__name__, self.chain.blocks, self.signal, update)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work, with what makes its signal, and the output of the one before it."""
        blocks = self.chain.blocks
        self.chain.require_known_bytes(batch_size)
        optimizer = getattr(self, "optimizer", None)
        tiled = [layer for block in blocks for layer in tiled_layers(block, optimizer)]
        peaks = [chain_peak_bytes(blocks, [1] * len(blocks), batch_size, tiled)]
        inputs = 0  # the batch itself is there before the step
        for block in blocks[:-1]:
            own = block.bytes(batch_size, tiled)
            if block.trainable_variables:
                peaks.append(inputs + own.kept + self.signal.step_bytes(block, batch_size))
                learned = variable_bytes(self.signal.learned(block))
                peaks.append(inputs + own.replay_peak + learned)
            inputs = own.output
        return max(peaks)


class LocalFeedback(Local):
    """One whose signal is made by random matrices."""

    kind_of_signal: type[TargetProjection | FixedClassifiers]

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        feedback: str = "stored",
        projected: Sequence[str] | None = None,
        nonzeros: int | None = None,
        rank: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            feedback: what is held of the matrices, a name in `matrices.KINDS` that does not learn.
            projected: names of the blocks that get a matrix, as of `DFA`.
            nonzeros: of each column of a sparse matrix, s; None for 1.
            rank: of a matrix of low rank, r; None for ⌈√C⌉.
            **details: `seed`, which the matrices are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; see `OutputFeedback`.
        """
        super().__init__(network, **details)
        made = (feedback_initializer, feedback, projected, KindArguments(nonzeros, rank))
        self.signal = self.kind_of_signal(self, *made)
