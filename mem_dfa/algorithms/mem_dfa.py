"""MEM-DFA: direct feedback alignment in memory that does not grow with depth (arXiv 2012.11745).

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    second pass:  for i = 1 … n:  a_i = f_i(a_{i-1}; W_i) again,  δ_i = e·B_i,
                  W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

a_i is computed before W_i changes, so the second pass sees the weights of the first and every
update equals DFA's. Alive at any time: x, e and two adjacent blocks. Where those are worked on in
slices of the batch, one slice runs beside the gradients of the one before, so that no core waits.

What a layer draws or moves beside its own variables, such as Keras's global seed generator, is
what the first pass drew or moved, see `rehearsal`; what cannot be restored, as draws of
`tf.random`, is refused at the first step, see `repeatable`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.random_feedback import RandomFeedback
from mem_dfa.chain.block import Block
from mem_dfa.chain.factored_gradient import TiledGradient, present_tensors
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.outside import Seen
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after, runs_as_a_graph, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.batch_parts import add_parts, cut, cut_errors
from mem_dfa.memory.batch_slices import chain_peak_bytes, first_pass_counts, slice_counts
from mem_dfa.memory.repeated_blocks import Alike, alike
from mem_dfa.optimizer.step import Update, tiled_layers


@keras.saving.register_keras_serializable("mem_dfa")
class MemDFA(RandomFeedback):
    """Two forward passes, the second with an update after each block."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | keras.initializers.Initializer = "uniform",
        slices: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: as in `RandomFeedback`.
            slices: of the batch, in which a block that sets the chain's peak is worked on; 1 for
                whole batches only, None for as many as are worth it, see `slices.slice_counts`.
            **details: as in `RandomFeedback`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; `slices` is no number of them.
        """
        if slices is not None and (
            isinstance(slices, bool) or not isinstance(slices, int) or slices < 1
        ):
            raise UnsupportedError(f"MemDFA received slices={slices!r}: give 1, 2, … or None.")
        super().__init__(network, feedback_initializer, **details)
        self.slices = slices
        self._alike: dict[str, Alike] = {}

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "slices": self.slices}

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work, whole or in slices, and the output of the one before it."""
        blocks = self.chain.blocks
        self.chain.require_known_bytes(batch_size)
        optimizer = getattr(self, "optimizer", None)
        tiled = [layer for block in blocks for layer in tiled_layers(block, optimizer)]
        counts = slice_counts(blocks, batch_size, self.slices, tiled)
        return chain_peak_bytes(blocks, counts, batch_size, tiled)

    def tiled_layers(self) -> list[keras.layers.Layer]:
        """The dense layers whose kernels are updated in row tiles, once the trainer is compiled."""
        update = Update(self.optimizer, compiled=bool(self.jit_compile))
        return [layer for block in self.chain.blocks for layer in update.tiled_layers(block)]

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward for the error alone, then replay and update block by block."""
        blocks = self.chain.blocks
        tiled = {block.name: update.tiled_layers(block) for block in blocks}
        wide = [layer for layers in tiled.values() for layer in layers]
        counts = slice_counts(blocks, inputs.shape[0], self.slices, wide)
        size = inputs.shape[0] or tf.shape(inputs)[0]
        # The last block has no B_i. Eagerly there is nothing to trace; a function would give a
        # gradient in tiles, or a matrix drawn in tiles, whole.
        hidden = [] if tf.executing_eagerly() else blocks[:-1]
        self._alike = alike(
            [
                block
                for block in hidden
                if not (tiled[block.name] or self.matrices.is_drawn_in_tiles(block.name))
            ]
        )
        rehearsal = Rehearsal()
        first_counts = first_pass_counts(blocks, counts, inputs.shape[0], wide)
        logits = self._first_pass(inputs, first_counts, rehearsal)
        error, outputs = self.output_error(inputs, logits, y, sample_weight)
        del logits
        done = token([error])
        errors = {count: cut_errors(error, count, size) for count in set(counts)}
        activations = [inputs]
        numbered = zip(blocks, counts, strict=True)
        for (shared, count), run in itertools.groupby(
            numbered, key=lambda pair: (self._alike.get(pair[0].name), pair[1])
        ):
            same = [block for block, _ in run]
            with scope("replay", same[0].name):
                if len(activations) not in (1, count):
                    # To join slices takes their bytes once more: not before they are done with.
                    activations = [after(activation, done) for activation in activations]
                activations = cut(activations, count, size)
            if shared is not None:
                activations, done = shared.replay(
                    same, activations, errors[count], self.matrices, done, update
                )
                continue
            for block in same:
                activations, done = self._replay(
                    block, activations, errors[count], done, update, rehearsal.seen_by(block)
                )
        return outputs

    def _first_pass(
        self, inputs: tf.Tensor, counts: Sequence[int], rehearsal: Rehearsal
    ) -> tf.Tensor:
        """The logits z = f_n(… f_1(x)), slice by slice through blocks sliced alike."""
        activations, size = [inputs], inputs.shape[0] or tf.shape(inputs)[0]
        numbered = zip(self.chain.blocks, counts, strict=True)
        for count, run in itertools.groupby(numbered, key=lambda pair: pair[1]):
            blocks = [block for block, _ in run]
            with scope("forward", blocks[0].name):
                waiting = cut(activations, count, size)
            activations = []
            while waiting:
                activation = waiting.pop(0)
                with scope("forward", blocks[0].name):
                    if activations:
                        activation = after(activation, token(activations[-1:]))
                for shared, same in itertools.groupby(blocks, lambda b: self._alike.get(b.name)):
                    if shared is not None:
                        activation = shared.forward(list(same), activation)
                        continue
                    for block in same:
                        # Seeds and moving statistics stay as they are, so that the second pass
                        # draws the same dropout masks and moves the statistics once.
                        activation = rehearsal.run(block, activation, "forward")
                activations.append(activation)
        return cut(activations, 1, size)[0]

    def _replay(
        self,
        block: Block,
        activations: list[tf.Tensor],
        errors: list[tf.Tensor],
        done: tf.Tensor | None,
        update: Update,
        seen: Seen,
    ) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """a_i from a_{i-1}, which is freed, both in slices, and W_i updated.

        Returns:
            The slices of a_i, and a token of the update.
        """
        outputs: list[tf.Tensor] = []
        gradients: list[tf.Tensor | TiledGradient | None] = [None] * len(block.trainable_variables)
        tiled = update.tiled_layers(block)
        projected: tf.Tensor | None = None
        for error in errors:
            activation = activations.pop(0)
            # Not before block i-1 is done with; a slice runs beside the gradients of the last one.
            earlier = done if projected is None or not runs_as_a_graph() else projected
            recording = Recording(
                block, activation, "replay", earlier=earlier, tiled=tiled, seen=seen
            )
            output = recording.outputs
            own: list[tf.Tensor | TiledGradient | None] = []
            if recording.variables:
                signal = self._signal(block, output, error, done)
                projected = token([signal])
                own = recording.gradients(signal, self.optimizer.scale_loss, not outputs)
                del signal
            outputs.append(output)
            del output, activation, recording
            # G_iᵀ δ_i, the sum over the slices
            with scope("backward", block.name):
                gradients = add_parts(block.trainable_variables, gradients, own)
                if activations and gradients:
                    # Of the sums, not the summands: TensorFlow would make one addition of all of
                    # them at the end, and keep them until then.
                    done = token(present_tensors(gradients))
            del own
        if gradients:
            # W_i ← W_i − η·G_iᵀ δ_i
            done = update.apply(block.name, gradients, block.trainable_variables)
        return outputs, done

    def _signal(
        self, block: Block, output: tf.Tensor, error: tf.Tensor, done: tf.Tensor | None
    ) -> tf.Tensor:
        """δ_i = e·B_i, not before a_i is there and the slice before is done with."""
        with scope("backward", block.name):
            there = [output] if done is None else [output, done]
            late_error = after(error, token(there))
        return self.error_signal(block.name, late_error, output.shape[1:])
