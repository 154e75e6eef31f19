"""A block's forward pass, kept for its local gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.factored_gradient import TiledGradient, recorded_uses, tiled_gradients
from mem_dfa.chain.outside import NOTHING_SEEN, Seen
from mem_dfa.graph.ordering import in_turn
from mem_dfa.graph.profile_scope import scope

Tensor: TypeAlias = tf.Tensor


class Recording:
    """A block's forward pass, kept for its local gradient."""

    def __init__(
        self,
        block: Block,
        inputs: Tensor,
        phase: str,
        earlier: Tensor | None = None,
        differentiate_input: bool = False,
        tiled: Sequence[keras.layers.Layer] = (),
        seen: Seen = NOTHING_SEEN,
    ) -> None:
        """Run `block` and keep what its gradient needs.

        Args:
            block: the block.
            inputs: a_{i-1}, shape (batch, ...).
            phase: see `Block.run`.
            earlier: a scalar from `ordering.token` that has to be there before anything starts.
            differentiate_input: whether `backward` also gives the error signal at the input.
            tiled: dense layers of the block whose kernels get a `TiledGradient`.
            seen: what the block's first run found outside of its own variables.
        """
        self.block = block
        self.variables = block.trainable_variables
        in_tiles = {id(layer.kernel) for layer in tiled}
        inputs, values = block.hold_back(inputs, phase, earlier)
        values = [*values, *seen.values(earlier)]
        stand_ins = {id(variable): value for variable, value in values}
        self._sources = [
            stand_ins.get(id(v), v.value) for v in self.variables if id(v) not in in_tiles
        ]
        # The input is a constant here: what lies before is another block's.
        inputs = tf.stop_gradient(inputs)
        self._has_input_error = differentiate_input
        if differentiate_input:
            self._sources.append(inputs)
        with (
            tf.GradientTape(watch_accessed_variables=False) as self._tape,
            recorded_uses(tiled, self._tape) as self._uses,
            seen.draws(),
        ):
            self._tape.watch(self._sources)
            self.outputs = block.run_with(inputs, phase, values)

    def gradients(
        self, error: Tensor, scale_loss: Callable[[Tensor], Tensor], penalties: bool = True
    ) -> list[Tensor | TiledGradient | None]:
        """The gradients of the weights alone, see `backward`."""
        return self.backward(error, scale_loss, penalties)[0]

    def backward(
        self, error: Tensor, scale_loss: Callable[[Tensor], Tensor], penalties: bool = True
    ) -> tuple[list[Tensor | TiledGradient | None], Tensor | None]:
        """G_iᵀδ_i plus the gradient of the weights' regularisers; frees the forward pass.

        Args:
            error: δ_i = dL/da_i, shape of the block's output.
            scale_loss: the optimizer's loss scale, which δ_i carries already.
            penalties: whether the regularisers count; of several slices of a batch they do once.

        Returns:
            The weights' gradients, without penalties where tiled, and δ_{i-1} if it was asked for
            and exists.
        """
        uses = [use for calls in self._uses.values() for use in calls]
        with scope("backward", self.block.name):
            # In mixed precision e has the dtype of the logits, which need not be the block's.
            error = tf.cast(error, self.outputs.dtype)
            # ∇W_i = (∂f_i/∂W_i)ᵀ δ_i,  δ_{i-1} = J_iᵀ δ_i. Of several layers each one's δ is done
            # with before the next one's: those of a group, or of branches, would be held otherwise.
            with in_turn() if len(self.block.weight_layers) > 1 else nullcontext():
                found = self._tape.gradient(
                    self.outputs,
                    [*self._sources, *(use.outputs for use in uses)],
                    output_gradients=error,
                )
            errors, found = found[len(self._sources) :], found[: len(self._sources)]
            input_error = found.pop() if self._has_input_error else None
            tiled = tiled_gradients(self._uses, errors)
            del self._tape, self._sources, self._uses, self.outputs, uses
            whole = iter(found)
            gradients = [tiled[id(v)] if id(v) in tiled else next(whole) for v in self.variables]
            for position, variable in enumerate(self.variables):
                if tiled.get(id(variable)) is not None:
                    continue  # the update of a tile adds the penalty
                if penalties and variable.regularizer is not None:
                    gradients[position] = added(
                        gradients[position], _penalty_gradient(variable, scale_loss, error)
                    )
        return gradients, input_error


def _penalty_gradient(
    variable: keras.Variable, scale_loss: Callable[[Tensor], Tensor], error: Tensor
) -> Tensor:
    # The penalty depends on nothing but the weights, so it would be formed for all blocks at the
    # start of the step: let it wait for this block's error signal.
    with tf.control_dependencies([] if tf.executing_eagerly() else [error]):
        with tf.GradientTape() as tape:
            penalty = scale_loss(variable.regularizer(variable))
        return tape.gradient(penalty, variable.value)


def added(
    first: Tensor | TiledGradient | None, second: Tensor | TiledGradient | None
) -> Tensor | TiledGradient | None:
    """The sum of two gradients of a variable, either of which may be missing."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, tf.IndexedSlices) and isinstance(second, tf.IndexedSlices):
        # Of an Embedding: rows that occur in both count twice.
        return tf.IndexedSlices(
            tf.concat([first.values, second.values], 0),
            tf.concat([first.indices, second.indices], 0),
            first.dense_shape,
        )
    if isinstance(first, tf.IndexedSlices) or isinstance(second, tf.IndexedSlices):
        first, second = tf.convert_to_tensor(first), tf.convert_to_tensor(second)
    return first + second
