"""Second forward pass: forward for the error alone, then forward again with an update a block.

    z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

Where blocks are worked on in slices of the batch, one slice runs beside the gradients of the one
before, so that no core waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.factored_gradient import TiledGradient, present_tensors
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.chain.repeated_blocks import Repeated
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.graph.ordering import after, runs_as_a_graph, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.batch_parts import add_parts, cut, cut_errors
from mem_dfa.memory.batch_slices import first_pass_counts, slice_counts
from mem_dfa.schedules.schedule import Schedule, Targets

Gradients = list[tf.Tensor | TiledGradient | None]


class SecondForward(Schedule):
    """Two forward passes, the second with an update after each block, for output feedback."""

    _signal: OutputFeedback

    def __init__(self, *given: Any, slices: int | None = None) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            slices: of the batch, see `batch_slices.slice_counts`.
        """
        super().__init__(*given)
        self._slices, self._rehearsal = slices, Rehearsal()
        tiled = {block.name: self._update.tiled_layers(block) for block in self._blocks}
        self._tiled = [layer for layers in tiled.values() for layer in layers]
        # The last block has no B_i. Eagerly there is nothing to trace; a function would give a
        # gradient in tiles whole.
        hidden = [] if tf.executing_eagerly() else self._blocks[:-1]
        self._repeated = Repeated([block for block in hidden if not tiled[block.name]])

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Forward for the error alone, then replay and update block by block."""
        blocks, batch_size, wide = self._blocks, inputs.shape[0], self._tiled
        counts = slice_counts(blocks, batch_size, self._slices, wide)
        first_counts = first_pass_counts(blocks, counts, batch_size, wide)
        # z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
        error = targets.error_of(self._first_pass(blocks, first_counts, inputs))
        self._second_pass(blocks, counts, [inputs], error, token([error]))

    def _first_pass(
        self, blocks: Sequence[Block], counts: Sequence[int], inputs: tf.Tensor
    ) -> tf.Tensor:
        """What consecutive blocks make of their input, slice by slice where they are sliced."""
        activations, size = [inputs], inputs.shape[0] or tf.shape(inputs)[0]
        numbered = zip(blocks, counts, strict=True)
        for count, run in itertools.groupby(numbered, key=lambda pair: pair[1]):
            alike = [block for block, _ in run]
            with scope("forward", alike[0].name):
                waiting = cut(activations, count, size)
            activations = []
            while waiting:
                activation = waiting.pop(0)
                with scope("forward", alike[0].name):
                    if activations:
                        activation = after(activation, token(activations[-1:]))
                activations.append(self._repeated.rehearse(self._rehearsal, alike, activation))
        return cut(activations, 1, size)[0]

    def _second_pass(
        self,
        blocks: Sequence[Block],
        counts: Sequence[int],
        activations: list[tf.Tensor],
        error: tf.Tensor,
        done: tf.Tensor | None,
    ) -> tf.Tensor | None:
        """Replay consecutive blocks, each in its count of slices, and update each.

        The input of the first is in a list, which it is taken out of; nothing else is to hold it.
        Nothing starts before the token `done`; one of the last update is returned.
        """
        size = error.shape[0] or tf.shape(error)[0]
        errors = {count: cut_errors(error, count, size) for count in set(counts)}
        numbered = zip(blocks, counts, strict=True)
        for (alike, count), run in itertools.groupby(
            numbered, key=lambda pair: (self._repeated.of(pair[0]), pair[1])
        ):
            same = [block for block, _ in run]
            with scope("replay", same[0].name):
                if len(activations) not in (1, count):
                    # To join slices takes their bytes once more: not before they are done with.
                    activations = [after(activation, done) for activation in activations]
                activations = cut(activations, count, size)
            for part in self._repeated.parts(same):
                sources: Sequence[tf.Tensor | None] = [None] * len(part)
                if alike is not None:
                    with scope("backward", alike.name):
                        names = [block.name for block in part]
                        sources = self._signal.matrices.sources(names, done)
                for block, source in zip(part, sources, strict=True):
                    activations, done = self._replay(
                        block, activations, errors[count], done, source
                    )
        return done

    def _replay(
        self,
        block: Block,
        activations: list[tf.Tensor],
        errors: Sequence[tf.Tensor],
        done: tf.Tensor | None,
        source: tf.Tensor | None,
    ) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """a_i from a_{i-1}, which is freed, both in slices, and W_i updated.

        Returns:
            The slices of a_i, and a token of the update.
        """
        variables, outputs, earlier = self._trained(block), [], done
        gradients: Gradients = [None] * len(variables)
        for error in errors:
            output, gradients, done, earlier = self._repeated.call(
                self._slice, block, [activations.pop(0)], error, done, earlier, gradients, source
            )
            outputs.append(output)
        alike = self._repeated.of(block)
        if alike is not None:
            updated = self._update.collect(alike.name, gradients, variables)
            done = done if updated is None else token([done, updated])
        elif gradients:
            # W_i ← W_i − η·G_iᵀ δ_i
            done = self._update.apply(block.name, gradients, variables)
        return outputs, done

    def _slice(
        self,
        block: Block,
        activation: list[tf.Tensor],
        error: tf.Tensor,
        done: tf.Tensor | None,
        earlier: tf.Tensor | None,
        gradients: Gradients,
        source: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Gradients, tf.Tensor | None, tf.Tensor | None]:
        """a_i of one slice of the batch, and G_iᵀ δ_i, the sum over the slices so far.

        Args:
            block: which.
            activation: a_{i-1}, taken out of the list, so that nothing else holds it.
            error: e.
            done: a token of what has to be over before δ_i is made.
            earlier: one of what has to be over before the block runs.
            gradients: of the slices before.
            source: of B_i, see `Matrices.sources`.

        Returns:
            a_i, the sums, a token of them, and one that lets the next slice start.
        """
        # a_i = f_i(a_{i-1}; W_i)
        recording = Recording(
            block,
            activation.pop(),
            "replay",
            earlier,
            tiled=self._update.tiled_layers(block),
            seen=self._rehearsal.seen_by(block),
        )
        outputs = recording.outputs
        if not recording.variables:
            return outputs, gradients, done, done
        # δ_i = e·B_i, not before a_i is there and the slice before is done with.
        with scope("backward", block.name):
            error = after(error, token([outputs] if done is None else [outputs, done]))
        signal = self._signal.project(block, error, source)
        started = token([signal])
        is_first = all(gradient is None for gradient in gradients)
        own = recording.gradients(signal, self._scale_loss, penalties=is_first)
        if self._signal.learned(block):
            own += self._signal.learn(block, outputs, error, own)
        del signal, recording
        with scope("backward", block.name):
            gradients = add_parts(self._trained(block), gradients, own)
            done = token(present_tensors(gradients))
        return outputs, gradients, done, started if runs_as_a_graph() else done
