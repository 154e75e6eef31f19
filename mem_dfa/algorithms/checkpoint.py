"""Checkpointing (Griewank and Walther, 2000; Chen et al., arXiv 1604.06174): BP's own gradient.

    forward:   keep a_i at the segments' borders only
    backward:  for each segment, last to first:  run it again from its checkpoint,
               δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it

The second run draws the dropout masks of the first and moves BatchNormalization's statistics for
both, so the gradient is exact. Each block is recomputed at most once; `planning` places the
borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.algorithms.fa import FA
from mem_dfa.chain.chain import Chain
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.outside import NOTHING_SEEN
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after, token
from mem_dfa.memory import checkpoint_plan
from mem_dfa.memory.checkpoint_plan import NOMINAL_BATCH, Plan, Segment
from mem_dfa.optimizer.step import Update


@keras.saving.register_keras_serializable("mem_dfa")
class Checkpoint(Blockwise):
    """Backpropagation that keeps checkpoints and recomputes what lies between them."""

    def __init__(
        self,
        network: keras.Model,
        every: int | None = None,
        blocks: Sequence[str] | None = None,
        budget: str | int | None = None,
        batch_size: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`; without further words the borders make the peak least (√n).

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            every: a checkpoint every so many blocks.
            blocks: names of the blocks whose input is a checkpoint, such as "block_005".
            budget: step bytes, such as "64 MiB", to stay within with as little recomputation as
                possible.
            batch_size: what the budget is for; needed where batches are of no fixed size.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut, or the arguments make no sense.
        """
        super().__init__(network, **details)
        self._chain = Chain.from_model(network)
        self.every, self.blocks, self.budget, self.batch_size = every, blocks, budget, batch_size
        given = [name for name in ("every", "blocks", "budget") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UnsupportedError(
                f"Checkpoint received {' and '.join(given)}: they say the same thing in different "
                "words; give one of every, blocks, budget, or none."
            )
        if budget is not None and (batch_size is None or None in self._chain.input.shape[1:]):
            checkpoint_plan.budget_bytes(budget)  # the batch is not known yet
        else:
            self.plan(batch_size or NOMINAL_BATCH)

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it."""
        return self._chain

    def plan(self, batch_size: int) -> Plan:
        """Which blocks are recomputed for a batch of that size.

        Raises:
            UnsupportedError: no plan fits the budget, or the arguments name no such blocks.
        """
        costs = checkpoint_plan.block_costs(self._chain.blocks, batch_size)
        if self.budget is not None:
            checkpoint_plan.refuse_unknown(
                f"Checkpoint received budget={self.budget!r}",
                lambda: self._chain.require_known_bytes(batch_size),
                "every=... or blocks=[...]",
            )
            return checkpoint_plan.within_budget(costs, checkpoint_plan.budget_bytes(self.budget))
        if self.every is not None:
            if not isinstance(self.every, int) or self.every < 1:
                raise UnsupportedError(
                    f"Checkpoint received every={self.every!r}: give a whole number of blocks, "
                    "at least 1."
                )
            return checkpoint_plan.at_boundaries(costs, range(0, len(costs), self.every))
        if self.blocks is not None:
            return checkpoint_plan.at_boundaries(costs, self._positions(self.blocks))
        return checkpoint_plan.least_peak(costs)

    def _positions(self, names: Sequence[str]) -> list[int]:
        known = [block.name for block in self._chain.blocks]
        unknown = [name for name in names if name not in known]
        if unknown or isinstance(names, str):
            raise UnsupportedError(
                f"Checkpoint received blocks={names!r}: give a list of some of "
                f"{known[0]} to {known[-1]}; print(trainer.chain.summary()) shows them."
            )
        return [known.index(name) for name in names]

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The plan's peak."""
        self.chain.require_known_bytes(batch_size)
        return self.plan(batch_size).peak_bytes

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("every", "blocks", "budget", "batch_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward with checkpoints, then segment by segment backward."""
        kept: list[tuple[Segment, tf.Tensor, list[Recording]]] = []
        activation, rehearsal = inputs, Rehearsal()
        for segment in self.plan(self._known_batch_size(inputs)).segments:
            checkpoint, recordings = activation, []
            if segment.recomputed:
                for block in self._chain.blocks[segment.start : segment.stop]:
                    activation = rehearsal.run(block, activation, "forward")
            else:
                recordings = self._record(segment, activation, "forward", None)
                activation = recordings[-1].outputs
            kept.append((segment, checkpoint, recordings))
            del checkpoint, recordings
        error, outputs = self.output_error(inputs, activation, y, sample_weight)
        del activation
        done: tf.Tensor | None = None
        while kept:
            segment, checkpoint, recordings = kept.pop()
            if segment.recomputed:
                # Not before the segment after this one is updated and freed.
                earlier = done if error is None else token([error])
                recordings = self._record(segment, checkpoint, "replay", earlier, rehearsal)
            del checkpoint
            error, done = self._backward(recordings, error, update)
        return outputs

    def _known_batch_size(self, inputs: tf.Tensor) -> int:
        size = self.batch_size or inputs.shape[0]
        if size is None and self.budget is not None:
            raise UnsupportedError(
                f"Checkpoint received budget={self.budget!r} and batches of no fixed size: give "
                "batch_size=..., or batch the data with drop_remainder=True."
            )
        return size or NOMINAL_BATCH

    def _record(
        self,
        segment: Segment,
        activation: tf.Tensor,
        phase: str,
        earlier: tf.Tensor | None,
        rehearsal: Rehearsal | None = None,
    ) -> list[Recording]:
        recordings = []
        for position in range(segment.start, segment.stop):
            block = self._chain.blocks[position]
            seen = rehearsal.seen_by(block) if rehearsal else NOTHING_SEEN
            recordings.append(Recording(block, activation, phase, earlier, position > 0, seen=seen))
            activation = recordings[-1].outputs
        return recordings

    def _backward(
        self, recordings: list[Recording], error: tf.Tensor, update: Update
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """δ at the segment's input, which is there when its blocks are updated, and a token of it.

        Where no gradient arrives there is no δ, as behind `keras.ops.stop_gradient`; the blocks
        have run, for their statistics and seeds.
        """
        done = None
        while recordings:
            recording = recordings.pop()
            name, variables = recording.block.name, recording.variables
            if error is None:
                self._refuse_penalties(recording)
                done = token([recording.outputs])
                continue
            # δ_{i-1} = J_iᵀ δ_i
            gradients, error = recording.backward(error, self.optimizer.scale_loss)
            # W_i ← W_i − η·G_iᵀ δ_i, when nothing needs the old W_i any more
            done = update.apply(name, gradients, variables, [] if error is None else [error])
            if error is not None and done is not None:
                # Otherwise the weights' gradient is formed, or applied, beside the next block's
                # error signal, and what both need is held at once.
                error = after(error, done)
            del recording, gradients
        return error, done

    def _refuse_penalties(self, recording: Recording) -> None:
        if any(variable.regularizer is not None for variable in recording.variables):
            raise UnsupportedError(
                f"{type(self).__name__}: no gradient reaches {recording.block.name} "
                f"({recording.block.layer_names}), which is regularised: freeze what lies before "
                "the stop, or train with 'bp'."
            )


@keras.saving.register_keras_serializable("mem_dfa")
class CheckpointFA(FA, Checkpoint):
    """Feedback alignment whose activations are recomputed from checkpoints."""

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The plan's peak."""
        return Checkpoint._predict_step_bytes(self, batch_size)
