"""One half of a reversible block run backward: its input and its error signals."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from mem_dfa.chain.atom import LayerAtom
from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.outside import NOTHING_SEEN, Seen
from mem_dfa.graph.ordering import in_turn
from mem_dfa.graph.profile_scope import scope
from mem_dfa.layers.reversible import ReversibleBlock


class Half:
    """y from x and N(z), N one of F and G: x is rebuilt, and N differentiated, by one run of N."""

    def __init__(
        self,
        name: str,
        layer: ReversibleBlock,
        network: keras.layers.Layer,
        z: tf.Tensor,
        y: tf.Tensor,
        earlier: tf.Tensor,
        seen: Seen = NOTHING_SEEN,
    ) -> None:
        """Run N again, not before `earlier`.

        Args:
            name: of the block.
            layer: says how x and N(z) are coupled.
            network: N.
            z: the half that N sees, known.
            y: the half that N changed.
            earlier: a scalar from `ordering.token`.
            seen: what N's first run found outside of its own variables.
        """
        self._layer = layer
        block = Block(name, [LayerAtom(network)])
        # A normalisation's statistics need z alone, which is held back by none of its weights.
        with tf.control_dependencies([earlier]):
            self.recording = Recording(
                block, z, "replay", earlier, differentiate_input=True, seen=seen
            )
        with scope("replay", name):
            # x = y − N(z), or what the coupling makes of it
            self.x = layer.uncouple(y, self.recording.outputs)

    def backward(
        self, error_y: tf.Tensor, error_z: tf.Tensor, scale_loss: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor | None]]:
        """Differentiate N and free its run.

        Args:
            error_y: δ at y.
            error_z: δ at z from what follows.
            scale_loss: the optimizer's loss scale, which the error signals carry already.

        Returns:
            x, δ at x, δ at z with N's share, and the gradients of N's weights.
        """
        name, x = self.recording.block.name, self.x
        error_x, error_result = error_y, error_y
        if self._layer.coupling == "affine":
            with scope("backward", name), tf.GradientTape() as tape:
                result = self.recording.outputs
                tape.watch([x, result])
                y = self._layer.couple(x, result)
            error_x, error_result = tape.gradient(y, [x, result], output_gradients=error_y)
        # δ_z ← δ_z + (∂N/∂z)ᵀ δ_y
        # x needs the whole run of N, the gradient all but the end: both at once would hold more.
        with in_turn(x):
            gradients, share = self.recording.backward(error_result, scale_loss)
        with scope("backward", name):
            error_z = error_z if share is None else error_z + share
        return x, error_x, error_z, gradients
