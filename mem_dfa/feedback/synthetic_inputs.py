"""Synthetic inputs: what comes into a block, predicted from what comes into the network.

    â_{i-1} = I_i(x; ψ_i)
    L = ½ · mean over the batch of the sum over units of (â_{i-1} − a_{i-1})²

a_{i-1} is what the block before made of its own synthetic input. The first block has x itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.predicting_nets import as_block, predicting_net, seeds_of, shape_of
from mem_dfa.feedback.predictors import Predictors
from mem_dfa.graph.ordering import after
from mem_dfa.graph.profile_scope import scope


class SyntheticInputs(Predictors):
    """Predictors of error signals, and a net of the same kind for the input of each block.

    Where a_{i-1} is an image of another size than x, I_i is given x in that size.

    Attributes:
        inputs: the nets as blocks, by the name of the block whose input they predict.
    """

    def __init__(self, trainer: Any, hidden_layers: int) -> None:
        """Make the nets.

        Args:
            trainer: whose blocks they are for, which holds and saves them as `predictors` and
                `synthetic_inputs`.
            hidden_layers: of each net, 0 to 3.

        Raises:
            UnsupportedError: as `Predictors`; inputs that are no numbers of a fixed shape.
        """
        super().__init__(trainer, hidden_layers)
        x, blocks = self._chain.input, self._chain.blocks
        dtype = keras.backend.standardize_dtype(x.dtype)
        if None in x.shape[1:] or not keras.backend.is_float_dtype(dtype) or x.sparse:
            kind = "sparse " if x.sparse else ""
            raise UnsupportedError(
                f"{self._owner} received a model whose input has the shape {tuple(x.shape)} and "
                f"the type {kind}{dtype}: it predicts each block's input from it, which takes "
                "dense real numbers of a fixed shape; train with 'dni'."
            )
        seeds = seeds_of(trainer.seed, len(blocks) - 1, hidden_layers, purpose=1)
        self._shapes = {
            block.name: shape_of(self._owner, before)
            for before, block in itertools.pairwise(blocks)
        }
        trainer.synthetic_inputs = [
            predicting_net(
                f"feedback_input_{name}", self._given_to(name), shape, own, trainer.dtype_policy
            )
            for (name, shape), own in zip(self._shapes.items(), seeds, strict=True)
        ]
        nets = zip(self._shapes, trainer.synthetic_inputs, strict=True)
        self.inputs = {name: as_block(net, name) for name, net in nets}

    @property
    def held(self) -> Sequence[keras.Variable]:
        """θ_i and ψ_i, and moving statistics."""
        nets = self._trainer.synthetic_inputs
        return [*super().held, *(variable for net in nets for variable in net.variables)]

    def recorded_input(
        self,
        block: Block,
        x: tf.Tensor,
        earlier: tf.Tensor | None,
        tiled: Sequence[keras.layers.Layer],
    ) -> Recording:
        """â_{i-1} of any block but the first, for the gradient of ψ_i.

        Args:
            block: which.
            x: what the network is given, shape (batch, ...).
            earlier: a token of what has to be over before anything starts.
            tiled: as of `Recording`.
        """
        sizes = self._given_to(block.name).shape[1:-1]
        if tuple(sizes) != tuple(x.shape[1:-1]):
            with scope("forward", block.name):
                x = tf.cast(tf.image.resize(after(x, earlier), sizes), x.dtype)
        return Recording(self.inputs[block.name], x, "forward", earlier, tiled=tiled)

    def _given_to(self, name: str) -> keras.KerasTensor:
        """Shape and dtype of what the net for a block's input is given."""
        x, shape = self._chain.input, self._shapes[name]
        sizes = shape[:-1] if len(x.shape) == 4 and len(shape) == 3 else x.shape[1:-1]
        return keras.KerasTensor((None, *sizes, x.shape[-1]), x.dtype)
