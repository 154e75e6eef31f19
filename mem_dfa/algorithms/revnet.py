"""RevNet (Gomez et al., arXiv 1707.04585): BP's gradient without keeping what can be inverted.

    forward:   through a run of reversible blocks nothing is kept but the run's output
    backward:  x₂ = y₂ − G(y₁);  γ = δ_{y₁} + (∂G/∂y₁)ᵀ δ_{y₂}
               x₁ = y₁ − F(x₂);  δ_{x₂} = δ_{y₂} + (∂F/∂x₂)ᵀ γ;  δ_{x₁} = γ

F and G run once in the forward pass, and once more in the backward pass, where the inverse and the
gradient share one run: 4F, where codes that run them for each take 5F. Blocks that are not
reversible keep their input and run again. Known limit: the inverse is exact only up to rounding;
how far it is off is measured at every ordinary block and reported as `reconstruction_error`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.block import Block, Recording
from mem_dfa.chain import Chain
from mem_dfa.coupling import Half
from mem_dfa.errors import UnsupportedError
from mem_dfa.layers.reversible import Pair, ReversibleBlock, join, split
from mem_dfa.ordering import token
from mem_dfa.update import Update

DEFAULT_BOUND = 1e-2


@keras.saving.register_keras_serializable("mem_dfa")
class RevNet(Blockwise):
    """Backpropagation through reversible blocks that rebuilds their inputs."""

    def __init__(
        self, network: keras.Model, reconstruction_bound: float = DEFAULT_BOUND, **details: Any
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model with `ReversibleBlock` layers and
                ordinary ones between.
            reconstruction_bound: largest allowed ‖x̂ − x‖_∞ / ‖x‖_∞ of a rebuilt input; beyond it
                a step fails rather than follow a wrong gradient.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut or has no reversible block.
        """
        super().__init__(network, **details)
        self._chain = Chain.from_model(network, alone=ReversibleBlock)
        self.reconstruction_bound = reconstruction_bound
        if not any(map(_is_reversible, self._chain.blocks)):
            raise UnsupportedError(
                f"RevNet found no ReversibleBlock in model '{network.name}': build it with "
                "mem_dfa.layers.ReversibleBlock, or train with 'checkpoint'."
            )
        self.reconstruction_error = Greatest(name="reconstruction_error")

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it; a reversible layer is a block of its own."""
        return self._chain

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "reconstruction_bound": self.reconstruction_bound}

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward with the ordinary blocks' inputs kept, then invert or replay backward."""
        *body, last = self._chain.blocks
        kept: list[tuple[Block, tf.Tensor | None]] = []
        activation = inputs
        for block in body:
            kept.append((block, None if _is_reversible(block) else activation))
            activation = block.rehearse(activation, "forward")
        head = Recording(last, activation, "forward", differentiate_input=True)
        error, outputs = self.output_error(inputs, head.outputs, y, sample_weight)
        error = self._update(head, error, update)
        del head
        state = activation
        del activation
        errors: tf.Tensor | Pair = error
        del error
        while kept:
            block, block_input = kept.pop()
            if block_input is None:
                if not isinstance(state, tuple):
                    state, errors = split(state), split(errors)
                state, errors = self._invert(block, state, errors, update)
                continue
            rebuilt = join(state) if isinstance(state, tuple) else None
            error = join(errors) if isinstance(errors, tuple) else errors
            replayed = Recording(block, block_input, "replay", token([error]), bool(kept))
            if rebuilt is not None:
                self._check(rebuilt, replayed.outputs)
            del rebuilt
            errors = self._update(replayed, error, update)
            state = block_input
            del replayed, error, block_input
        if isinstance(state, tuple):
            self._check(join(state), inputs)
        return outputs

    def _update(self, recording: Recording, error: tf.Tensor, update: Update) -> tf.Tensor | None:
        """δ at a recorded block's input, and its weights updated."""
        name, variables = recording.block.name, recording.variables
        gradients, error = recording.backward(error, self.optimizer.scale_loss)
        update.apply(name, gradients, variables, [] if error is None else [error])
        return error

    def _invert(self, block: Block, state: Pair, errors: Pair, update: Update) -> tuple[Pair, Pair]:
        """(x₁, x₂) and their error signals from those at the block's output."""
        (y1, y2), (error_y1, error_y2) = state, errors
        layer = block.layers[0]
        # x₂ = y₂ − G(y₁),  γ = δ_{y₁} + (∂G/∂y₁)ᵀ δ_{y₂}
        g = Half(block.name, layer, layer.g, y1, y2, token([error_y1, error_y2]))
        x2, error_x2, gamma = g.backward(error_y2, error_y1, update, self.optimizer)
        del y2, error_y1, error_y2, g
        # x₁ = y₁ − F(x₂),  δ_{x₂} = δ_{y₂} + (∂F/∂x₂)ᵀ γ
        f = Half(block.name, layer, layer.f, x2, y1, token([gamma]))
        x1, error_x1, error_x2 = f.backward(gamma, error_x2, update, self.optimizer)
        return (x1, x2), (error_x1, error_x2)

    def _check(self, rebuilt: tf.Tensor, true: tf.Tensor) -> None:
        """Measure ‖x̂ − x‖_∞ / ‖x‖_∞ and stop where it is beyond the bound."""
        distance = tf.reduce_max(tf.abs(rebuilt - true)) / tf.reduce_max(tf.abs(true))
        self.reconstruction_error.update_state(distance)
        tf.debugging.assert_less(
            distance,
            tf.cast(self.reconstruction_bound, distance.dtype),
            f"RevNet: a rebuilt input is further from the true one than reconstruction_bound="
            f"{self.reconstruction_bound}, so the gradient would be wrong: lower the learning "
            "rate, use fewer blocks between ordinary ones, or train with 'checkpoint'.",
        )


def _is_reversible(block: Block) -> bool:
    return len(block.layers) == 1 and isinstance(block.layers[0], ReversibleBlock)


@keras.saving.register_keras_serializable("mem_dfa")
class Greatest(keras.metrics.Metric):
    """The greatest value seen since the last reset."""

    def __init__(self, name: str = "greatest", **details: Any) -> None:
        """Start from 0."""
        super().__init__(name=name, **details)
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, value: tf.Tensor) -> None:
        """Take one more value; NaN stays, because nothing is greater."""
        value = tf.cast(value, self.value.dtype)
        self.value.assign(tf.where(value <= self.value.value, self.value.value, value))

    def result(self) -> tf.Tensor:
        """The greatest value."""
        return self.value.value
