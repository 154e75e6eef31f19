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

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.block import Block
from mem_dfa.chain.chain import Chain
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after, in_turn, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.layers.reversible import Pair, ReversibleBlock, join, split
from mem_dfa.memory.inverse import Half
from mem_dfa.memory.rebuilt_inputs import (
    BEYOND_BOUND,
    LOW_PRECISION,
    NOT_FINITE,
    Greatest,
    relative_distance,
)
from mem_dfa.optimizer.step import Update
from mem_dfa.shapes.layer_bytes import backward_peak_bytes, bytes_of_calls
from mem_dfa.shapes.layer_calls import calls_of_model

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
            UnsupportedError: the network cannot be cut or has no reversible block, or one whose F
                and G share a layer.
        """
        super().__init__(network, **details)
        self._chain = Chain.from_model(network, alone=ReversibleBlock)
        self.reconstruction_bound = reconstruction_bound
        if not any(map(_is_reversible, self._chain.blocks)):
            raise UnsupportedError(
                f"RevNet found no ReversibleBlock in model '{network.name}': build it with "
                "mem_dfa.layers.ReversibleBlock, or train with 'checkpoint'."
            )
        for block in self._chain.blocks:
            if _is_reversible(block):
                _refuse_shared_halves(block.layers[0])
        self.reconstruction_error = Greatest(name="reconstruction_error")

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it; a reversible layer is a block of its own."""
        return self._chain

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "reconstruction_bound": self.reconstruction_bound}

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The ordinary blocks' inputs, and the block at work with its state and error signals.

        Raises:
            UnknownBytesError: an F or G is no Sequential or functional model.
        """
        self._chain.require_known_bytes(batch_size)
        peak = held = 0
        for number, block in enumerate(self._chain.blocks):
            size = block.bytes(batch_size)
            if _is_reversible(block):
                layer = block.layers[0]
                own = 2 * size.output + max(
                    backward_peak_bytes(
                        bytes_of_calls(calls_of_model(half, batch_size)),
                        weight_copies=1,
                        input_error_bytes=size.output // 2,
                    )
                    for half in (layer.f, layer.g)
                )
            else:
                if number:
                    held += self._chain.blocks[number - 1].bytes(batch_size).output
                own = size.backward_peak
            peak = max(peak, held + own)
        return peak

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras; under XLA each call of the function is checked when it returns."""
        made = self.train_function is None or force
        super().make_train_function(force)
        if made and self.jit_compile:
            self.train_function = self._checked(self.train_function)

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(iterator: Any) -> Any:
            logs = function(iterator)
            error = float(logs["reconstruction_error"])
            if not error < self.reconstruction_bound:
                message = self._beyond_bound() if math.isfinite(error) else NOT_FINITE
                raise tf.errors.InvalidArgumentError(None, None, message)
            return logs

        return checked

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Forward with the ordinary blocks' inputs kept, then invert or replay backward."""
        *body, last = self._chain.blocks
        kept: list[tuple[Block, tf.Tensor | None]] = []
        activation, rehearsal = inputs, Rehearsal()
        for block in body:
            kept.append((block, None if _is_reversible(block) else activation))
            halves = (block.layers[0].f, block.layers[0].g) if _is_reversible(block) else ()
            activation = rehearsal.run(block, activation, "forward", halves)
        head = Recording(last, activation, "forward", differentiate_input=True)
        error, outputs = self.output_error(inputs, head.outputs, y, sample_weight)
        backward = _Backward(self, update, rehearsal)
        errors: tf.Tensor | Pair = backward.differentiate(head, error)
        state: tf.Tensor | Pair = activation
        del head, error, activation
        while kept:
            block, block_input = kept.pop()
            if errors is None:
                raise UnsupportedError(
                    f"RevNet: no gradient reaches {block.name} ({block.layer_names}), as behind "
                    "keras.ops.stop_gradient: train with 'checkpoint'."
                )
            if block_input is None:
                state, errors = backward.invert(block, state, errors)
            else:
                errors = backward.replay(block, block_input, state, errors, bool(kept))
                state = block_input
            del block_input
        if isinstance(state, tuple):
            self.check(state, inputs)
        return outputs

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """As in Keras; nothing is rebuilt in a test, so no error of that is told."""
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name != "reconstruction_error"}

    def check(self, rebuilt: Pair, true: tf.Tensor) -> tf.Tensor:
        """Measure ‖x̂ − x‖_∞ / ‖x‖_∞ and stop where it is beyond the bound.

        Returns:
            The distance, a scalar.
        """
        # One part after another: all at once would take as much as what is compared.
        with scope("replay", "check"), in_turn():
            error = relative_distance(rebuilt, true)
        self.reconstruction_error.update_state(error)
        # Under XLA, which leaves assertions out, `make_train_function` sees to it.
        tf.debugging.assert_less(error, tf.cast(math.inf, error.dtype), NOT_FINITE)
        tf.debugging.assert_less(
            # Otherwise either message may come first.
            tf.where(tf.math.is_finite(error), error, tf.zeros_like(error) - 1),
            tf.cast(self.reconstruction_bound, error.dtype),
            self._beyond_bound(),
        )
        return error

    def _beyond_bound(self) -> str:
        layers = (block.layers[0] for block in self._chain.blocks if _is_reversible(block))
        least = min((layer.compute_dtype for layer in layers), key=lambda d: tf.as_dtype(d).size)
        why = LOW_PRECISION.format(least) if tf.as_dtype(least).size < 4 else ""
        return BEYOND_BOUND.format(self.reconstruction_bound, why)


class _Backward:
    """The way back through the blocks, each not before the one after it is updated and freed."""

    def __init__(self, trainer: RevNet, update: Update, rehearsal: Rehearsal) -> None:
        self._trainer, self._update, self._rehearsal = trainer, update, rehearsal
        self._done: list[tf.Tensor] = []  # a token of the last update

    def _earlier(self, errors: tf.Tensor | Pair) -> tf.Tensor:
        return token([*(errors if isinstance(errors, tuple) else (errors,)), *self._done])

    def _apply(
        self, recording: Recording, gradients: list[tf.Tensor | None], readers: list[tf.Tensor]
    ) -> None:
        done = self._update.apply(recording.block.name, gradients, recording.variables, readers)
        self._done = [] if done is None else [done]

    def differentiate(self, recording: Recording, error: tf.Tensor) -> tf.Tensor | None:
        """δ at a recorded block's input, and its weights updated."""
        with in_turn():
            gradients, error = recording.backward(error, self._trainer.optimizer.scale_loss)
        self._apply(recording, gradients, [] if error is None else [error])
        return error

    def replay(
        self,
        block: Block,
        inputs: tf.Tensor,
        state: tf.Tensor | Pair,
        errors: tf.Tensor | Pair,
        has_predecessor: bool,
    ) -> tf.Tensor | None:
        """δ at an ordinary block's input, which was kept."""
        error = errors
        if isinstance(errors, tuple):
            # While halves are joined they are there twice: not beside the last update.
            with scope("backward", block.name):
                earlier = self._earlier(errors)
                error = join((after(errors[0], earlier), after(errors[1], earlier)))
        seen, earlier = self._rehearsal.seen_by(block), self._earlier(error)
        recording = Recording(block, inputs, "replay", earlier, has_predecessor, seen=seen)
        if isinstance(state, tuple):
            distance = self._trainer.check(state, recording.outputs)
            # The rebuilt state is freed before the block is differentiated.
            error = after(error, token([distance]))
        return self.differentiate(recording, error)

    def invert(
        self, block: Block, state: tf.Tensor | Pair, errors: tf.Tensor | Pair
    ) -> tuple[Pair, Pair]:
        """(x₁, x₂) and their error signals from those at the block's output."""
        if not isinstance(state, tuple):
            # While a tensor is halved it is there twice: first the one, then the other, neither
            # beside the last update. The state is there since the forward pass.
            with scope("backward", block.name):
                errors = split(after(errors, self._earlier(errors)))
            with scope("replay", block.name):
                state = split(after(state, self._earlier(errors)))
        (y1, y2), (error_y1, error_y2) = state, errors
        layer, scale_loss = block.layers[0], self._trainer.optimizer.scale_loss
        # x₂ = y₂ − G(y₁),  γ = δ_{y₁} + (∂G/∂y₁)ᵀ δ_{y₂}
        seen_by_f, seen_by_g = map(self._rehearsal.seen_by, (layer.f, layer.g))
        g = Half(block.name, layer, layer.g, y1, y2, self._earlier(errors), seen_by_g)
        x2, error_x2, gamma, gradients = g.backward(error_y2, error_y1, scale_loss)
        self._apply(g.recording, gradients, [gamma])
        # x₁ = y₁ − F(x₂),  δ_{x₂} = δ_{y₂} + (∂F/∂x₂)ᵀ γ
        f = Half(block.name, layer, layer.f, x2, y1, self._earlier((gamma, x2)), seen_by_f)
        x1, error_x1, error_x2, gradients = f.backward(gamma, error_x2, scale_loss)
        self._apply(f.recording, gradients, [error_x2])
        return (x1, x2), (error_x1, error_x2)


def _is_reversible(block: Block) -> bool:
    return len(block.layers) == 1 and isinstance(block.layers[0], ReversibleBlock)


def _refuse_shared_halves(layer: ReversibleBlock) -> None:
    # G is updated before F runs again, and seeds of G's draws move on.
    of_f = {id(variable) for variable in layer.f.variables}
    shared = [
        inner.name
        for inner in layer.g._flatten_layers()
        if any(id(variable) in of_f for variable in inner.variables)
    ]
    if shared:
        raise UnsupportedError(
            f"RevNet: F and G of ReversibleBlock '{layer.name}' share layer '{shared[-1]}': give "
            "each one of its own, or train with 'checkpoint'."
        )
