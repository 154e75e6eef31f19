"""Blocks that are alike, traced once and called: what makes a chain of a thousand traceable.

A traced step holds each block's operations at least twice. Where many consecutive blocks do the
same with other weights, their operations stand once in a function that takes the weights, and a
block costs one call. In a profile such blocks have one name together, so short chains, whose
blocks a reader wants to tell apart, are traced block by block.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.feedback.matrices import Matrices
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.graph.traced_call import TracedOnce, read
from mem_dfa.memory.batch_parts import add_parts
from mem_dfa.memory.batch_slices import can_be_sliced
from mem_dfa.optimizer.step import Update

Tensor = tf.Tensor

# Shorter runs of blocks are traced one by one.
LEAST_ALIKE = 48
# In the first pass, which keeps nothing, one call runs several of them.
BLOCKS_A_CALL = 25


class Alike:
    """A run of blocks that differ in their weights alone, as functions of those."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Take consecutive blocks of one signature."""
        first, last = blocks[0], blocks[-1]
        self.name = f"{first.name}_to_{last.name.removeprefix('block_')}"
        self._block = Block(self.name, first.atoms)
        self._call = TracedOnce()

    def forward(self, blocks: Sequence[Block], activation: Tensor) -> Tensor:
        """What consecutive ones of the blocks make of an activation, without side effects."""
        for start in range(0, len(blocks), BLOCKS_A_CALL):
            part = blocks[start : start + BLOCKS_A_CALL]
            weights = [_handles(block) for block in part]
            activation = self._call(self._forward_bodies, activation, weights)
        return activation

    def replay(
        self,
        blocks: Sequence[Block],
        activations: list[Tensor],
        errors: Sequence[Tensor],
        matrices: Matrices,
        earlier: Tensor,
        update: Update,
    ) -> tuple[list[Tensor], Tensor]:
        """a_i of the last of consecutive blocks, in slices, and a token of their gradients.

        Args:
            blocks: which.
            activations: a_{i-1} of the first, each of shape (batch, ...); taken out of the list.
            errors: e, each of shape (batch, C).
            matrices: that each B_i is one of.
            earlier: a scalar from `ordering.token` that has to be there before anything starts.
            update: collects the gradients.
        """
        for start in range(0, len(blocks), BLOCKS_A_CALL):
            part = blocks[start : start + BLOCKS_A_CALL]
            with scope("backward", self._block.name):
                sources = matrices.sources([block.name for block in part], earlier)
            for block, source in zip(part, sources, strict=True):
                activations, gradients, earlier = self._replay_one(
                    block, activations, errors, matrices, source, earlier
                )
                update.collect(self.name, gradients, block.trainable_variables)
        return activations, earlier

    def _replay_one(
        self,
        block: Block,
        activations: list[Tensor],
        errors: Sequence[Tensor],
        matrices: Matrices,
        source: Tensor,
        earlier: Tensor,
    ) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
        """The same of one block, whose B_i is made of `source`, and its weights' gradients."""

        def made(source: Tensor, error: Tensor) -> Tensor:
            with scope("backward", self._block.name):
                return tf.cast(matrices.made(source, block.name, error), error.dtype)

        def feedback_body(source: Tensor, error: Tensor, earlier: Tensor) -> Tensor:
            # A matrix that is drawn is drawn now, not when the step starts.
            return made(source, after(error, earlier))

        def replay_body(source: Tensor, *rest: Any) -> tuple[Tensor, list[Tensor], Tensor]:
            return self._replay_slice(*rest, lambda error: made(source, error))

        def replay_slice_body(feedback: Tensor, *rest: Any) -> tuple[Tensor, list[Tensor], Tensor]:
            return self._replay_slice(*rest, lambda error: feedback)

        body = replay_body
        if len(errors) > 1:  # one draw for all slices
            source, body = self._call(feedback_body, source, errors[0], earlier), replay_slice_body
        weights, outputs = _handles(block), []
        gradients: list[Tensor | None] = [None] * len(block.trainable_variables)
        for error in errors:
            output, gradients, earlier = self._call(
                body, source, activations.pop(0), weights, error, earlier, gradients
            )
            outputs.append(output)
        return outputs, gradients, earlier

    def _weights(self, handles: list[Tensor]) -> list[Tensor]:
        """The values of a block's variables, read in the function that was given `_handles`."""
        pairs = zip(self._block.variables, handles, strict=True)
        return [read(variable, handle) for variable, handle in pairs]

    def _forward_bodies(self, activation: Tensor, weights: list[list[Tensor]]) -> Tensor:
        for own in weights:
            activation = self._call(self._forward_body, activation, own)
        return activation

    def _forward_body(self, activation: Tensor, weights: list[Tensor]) -> Tensor:
        pairs = zip(self._block.variables, self._weights(weights), strict=True)
        return self._block.run_with(activation, "forward", list(pairs))

    def _replay_slice(
        self,
        activation: Tensor,
        weights: list[Tensor],
        error: Tensor,
        earlier: Tensor,
        gradients: list[Tensor | None],
        feedback: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """a_i of one slice, the gradients with its share, and a token of those.

        `feedback` makes B_i, not before the error signal that it is given.
        """
        # XLA looks into functions and starts what does not depend on `earlier`.
        with scope("replay", self._block.name):
            weights = [after(weight, earlier) for weight in self._weights(weights)]
        # a_i = f_i(a_{i-1}; W_i)
        recording = Recording(self._block, activation, "replay", weights=weights)
        outputs = recording.outputs
        with scope("backward", self._block.name):
            # δ_i = e·B_i, not before a_i is there.
            error = after(tf.reshape(error, [tf.shape(error)[0], -1]), token([outputs]))
            signal = tf.reshape(error @ feedback(error), tf.shape(outputs))
        own = recording.gradients(signal, lambda loss: loss)
        with scope("backward", self._block.name):
            sums = add_parts(self._block.trainable_variables, gradients, own)
            return outputs, sums, token(sums)


def alike(blocks: Sequence[Block]) -> dict[str, Alike]:
    """The long runs of blocks that are alike, by the name of each block in one."""
    found: dict[str, Alike] = {}
    for signature, run in itertools.groupby(blocks, key=_signature):
        same = list(run)
        if signature is not None and len(same) >= LEAST_ALIKE:
            found |= dict.fromkeys((block.name for block in same), Alike(same))
    return found


def _handles(block: Block) -> list[Tensor]:
    return [variable.value.handle for variable in block.variables]


def _signature(block: Block) -> str | None:
    """What blocks that are alike have in common; None for a block that is like no other."""
    single = all(len(atom.operations) == 1 for atom in block.atoms)
    regularised = any(v.regularizer is not None for v in block.trainable_variables)
    if not (single and can_be_sliced(block) and block.trainable_variables) or regularised:
        return None
    own = [(type(layer).__name__, _configuration(layer)) for layer in block.layers]
    shapes = [tuple(v.shape) for v in block.variables]
    return json.dumps([block.atoms[0].before.shape, shapes, own], default=str, sort_keys=True)


def _configuration(layer: keras.layers.Layer) -> dict[str, Any]:
    """What a layer does, without its name and what its weights began with."""
    config = layer.get_config()
    return {k: v for k, v in config.items() if k != "name" and not k.endswith("_initializer")}
