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
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import in_turn
from mem_dfa.graph.profile_scope import scope
from mem_dfa.layers.reversible import Pair, ReversibleBlock
from mem_dfa.memory.rebuilt_inputs import (
    BEYOND_BOUND,
    LOW_PRECISION,
    NOT_FINITE,
    Greatest,
    relative_distance,
)
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.inverse import Inverse, is_reversible
from mem_dfa.shapes.layer_bytes import backward_peak_bytes, bytes_of_calls
from mem_dfa.shapes.layer_calls import calls_of_model

DEFAULT_BOUND = 1e-2


@keras.saving.register_keras_serializable("mem_dfa")
class RevNet(Blockwise):
    """Backpropagation through reversible blocks that rebuilds their inputs."""

    alone = (ReversibleBlock,)

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
        self.reconstruction_bound = reconstruction_bound
        if not any(map(is_reversible, self.chain.blocks)):
            raise UnsupportedError(
                f"RevNet found no ReversibleBlock in model '{network.name}': build it with "
                "mem_dfa.layers.ReversibleBlock, or train with 'checkpoint'."
            )
        for block in self.chain.blocks:
            if is_reversible(block):
                _refuse_shared_halves(block.layers[0])
        self.reconstruction_error = Greatest(name="reconstruction_error")

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "reconstruction_bound": self.reconstruction_bound}

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The ordinary blocks' inputs, and the block at work with its state and error signals.

        Raises:
            UnknownBytesError: an F or G is no Sequential or functional model.
        """
        self.chain.require_known_bytes(batch_size)
        peak = held = 0
        for number, block in enumerate(self.chain.blocks):
            size = block.bytes(batch_size)
            if is_reversible(block):
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
                    held += self.chain.blocks[number - 1].bytes(batch_size).output
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

    def schedule(self, update: Update, batch_size: int | None) -> Inverse:
        """Forward with the ordinary blocks' inputs kept, then invert or replay backward."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return Inverse(*given, check=self.check)

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
        layers = (block.layers[0] for block in self.chain.blocks if is_reversible(block))
        least = min((layer.compute_dtype for layer in layers), key=lambda d: tf.as_dtype(d).size)
        why = LOW_PRECISION.format(least) if tf.as_dtype(least).size < 4 else ""
        return BEYOND_BOUND.format(self.reconstruction_bound, why)


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
