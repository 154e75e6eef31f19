"""Bootstrapped sweep: one forward pass, in which blocks are updated by predicted error signals.

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ̂_i = s_i(a_i; θ_i) / B,  δ̂_n = e,
                    δ_{i-1} = J_iᵀ δ̂_i,  W_i ← W_i − η·G_iᵀ δ̂_i,
                    θ_{i-1} trained on δ_{i-1},  free a_{i-1}

δ_{i-1} is made of W_i before its update. A prediction is not kept for the training of its
predictor, which runs a second time then: alive at any time are the batch, two adjacent blocks and
one predictor.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.predictors import Predictors
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.schedules.schedule import Schedule, Targets


class BootstrappedSweep(Schedule):
    """Each block not before the predictor of the one before it is trained.

    Blocks before the first that has something to train only run.
    """

    _signal: Predictors

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Run, predict, differentiate, update and free block by block."""
        activation, done = inputs, None
        before: Block | None = None  # whose predictor waits for its target
        for block in self._blocks:
            block_input, done = self._input_of(block, activation, inputs, done)
            tiled = self._update.tiled_layers(block)
            # a_i = f_i(a_{i-1}; W_i)
            recording = Recording(block, block_input, "forward", done, before is not None, tiled)
            del block_input
            outputs = recording.outputs
            if block is self._blocks[-1]:
                error = targets.error_of(outputs)
            elif recording.variables or before is not None:
                # δ̂_i = s_i(a_i; θ_i) / B
                error = self._signal.predicted(block, outputs, targets.y)
            else:
                activation = outputs
                continue
            arriving, done = self._update_by(recording, error)
            del recording, error
            if before is not None:
                arriving, done = self._arrived(block, arriving, done)
                done = self._train(before, activation, targets.y, arriving, done)
            del arriving
            before, activation = block, outputs

    def _input_of(
        self, block: Block, activation: tf.Tensor, inputs: tf.Tensor, done: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What a block runs on, and a token of what it has to wait for.

        Args:
            block: which.
            activation: a_{i-1}.
            inputs: x.
            done: a token of what is over.
        """
        return activation, done

    def _update_by(
        self, recording: Recording, error: tf.Tensor
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """J_iᵀ δ̂_i where it was asked for, and W_i updated, with a token of that."""
        block = recording.block
        # δ_{i-1} = J_iᵀ δ̂_i, of the old W_i
        gradients, arriving = recording.backward(error, self._scale_loss)
        readers = [] if arriving is None else [arriving]
        # W_i ← W_i − η·G_iᵀ δ̂_i
        return arriving, self._update.apply(block.name, gradients, self._trained(block), readers)

    def _arrived(
        self, block: Block, arriving: tf.Tensor | None, done: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The signal that came through a block, and a token of it and of the block's update."""
        if arriving is None:
            raise UnsupportedError(
                f"{self._owner}: no gradient passes back through {block.name} "
                f"({block.layer_names}), as behind keras.ops.stop_gradient, so that nothing "
                "trains the predictor before it: freeze what lies before the stop and make it a "
                "model of its own, or train with 'bp'."
            )
        return arriving, token([arriving] if done is None else [arriving, done])

    def _train(
        self, block: Block, outputs: tf.Tensor, y: Any, arriving: tf.Tensor, done: tf.Tensor
    ) -> tf.Tensor | None:
        """θ_i trained on what came back to a_i; a token of that."""
        predictor = self._signal.blocks[block.name]
        tiled = self._update.tiled_layers(predictor)
        recording = self._signal.recorded(block, outputs, y, done, tiled)
        with scope("backward", block.name):
            predicted = self._signal.signal_of(recording.outputs)
            arriving = tf.reshape(after(arriving, done), tf.shape(predicted))
            # ∂L_i/∂P_i = δ̂_i − J_{i+1}ᵀ δ̂_{i+1}
            error = predicted - tf.cast(arriving, predicted.dtype)
        del predicted, arriving
        gradients = recording.gradients(error, self._scale_loss)
        return self._update.apply(block.name, gradients, predictor.trainable_variables)
