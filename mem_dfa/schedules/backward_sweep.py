"""Backward sweep: forward keeping what a plan says, then blocks updated from the last to the first.

forward:   keep every a_i, or of a segment its input alone
backward:  for each segment, last to first:  run it again if it was not kept;
for each of its blocks, last to first:  δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.graph.ordering import after, token
from mem_dfa.memory.checkpoint_plan import Segment
from mem_dfa.schedules.schedule import Schedule, Targets


class BackwardSweep(Schedule):
    """Each block is run again at most once, and updated when its error signal is there."""

    def __init__(self, *given: Any, segments: Sequence[Segment] | None = None) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            segments: of the plan, in the order of the forward pass; None to keep everything.
        """
        super().__init__(*given)
        self._segments = segments or [Segment(0, len(self._blocks), recomputed=False)]
        self._projection = self._signal if isinstance(self._signal, OutputFeedback) else None
        self._rehearsal = Rehearsal()

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Forward, then segment by segment backward."""
        kept: list[tuple[Segment, tf.Tensor, list[Recording]]] = []
        activation = inputs
        for segment in self._segments:
            checkpoint, recordings = activation, []
            if segment.recomputed:
                for block in self._blocks[segment.start : segment.stop]:
                    activation = self._rehearsal.run(block, activation, "forward")
            else:
                recordings = self._record(segment, activation, "forward", None)
                activation = recordings[-1].outputs
            kept.append((segment, checkpoint, recordings))
            del checkpoint, recordings
        error = targets.error_of(activation)
        del activation
        done = None if self._projection is None else token([error])
        while kept:
            segment, checkpoint, recordings = kept.pop()
            if segment.recomputed:
                # Not before the segment after this one is updated and freed.
                earlier = done if self._projection or error is None else token([error])
                recordings = self._record(segment, checkpoint, "replay", earlier)
            del checkpoint
            while recordings:
                if self._projection is None:
                    error, done = self._pass_on(recordings.pop(), error)
                else:
                    done = self._project(self._projection, recordings.pop(), error, done)

    def _record(
        self, segment: Segment, activation: tf.Tensor, phase: str, earlier: tf.Tensor | None
    ) -> list[Recording]:
        recordings = []
        for position in range(segment.start, segment.stop):
            block = self._blocks[position]
            passes_on = position > 0 and self._projection is None
            seen = self._rehearsal.seen_by(block)
            recordings.append(Recording(block, activation, phase, earlier, passes_on, seen=seen))
            activation = recordings[-1].outputs
        return recordings

    def _pass_on(
        self, recording: Recording, error: tf.Tensor | None
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """δ at a block's input, which is there when the block is updated, and a token of that.

        Where no gradient arrives there is no δ, as behind `keras.ops.stop_gradient`; the blocks
        have run, for their statistics and seeds.
        """
        block = recording.block
        if error is None:
            self._refuse_penalties(recording)
            return None, token([recording.outputs])
        outputs = recording.outputs if self._signal.learned(block) else None
        # δ_{i-1} = J_iᵀ δ_i
        gradients, error_before = recording.backward(error, self._scale_loss)
        if outputs is not None:
            gradients += self._signal.learn(block, outputs, error, gradients)
        # W_i ← W_i − η·G_iᵀ δ_i, when nothing needs the old W_i any more
        readers = [] if error_before is None else [error_before]
        done = self._update.apply(block.name, gradients, self._trained(block), readers)
        if error_before is not None and done is not None:
            # Otherwise the weights' gradient is formed, or applied, beside the next block's error
            # signal, and what both need is held at once.
            error_before = after(error_before, done)
        return error_before, done

    def _refuse_penalties(self, recording: Recording) -> None:
        if any(variable.regularizer is not None for variable in recording.variables):
            raise UnsupportedError(
                f"{self._owner}: no gradient reaches {recording.block.name} "
                f"({recording.block.layer_names}), which is regularised: freeze what lies before "
                "the stop, or train with 'bp'."
            )
