"""XConv (Louboutin et al., 2021, arXiv 2106.06998): convolutions that keep sketches.

    forward:   a_i = f_i(a_{i-1}),  of a convolution's a_{i-1} keep X̄ = Zᵀ a_{i-1}
    backward:  δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·∇̂_i,  E ∇̂_i = G_iᵀ δ_i

The error signals are BP's, since a convolution's Jacobian needs no input; its weights' gradients
are right on average. ReLUs keep a bit of each value. The first layer with weights reads the batch,
which is there anyway, and stays exact, as do layers of other kinds.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.chain.atom import leaf_layers
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.step_seeds import StepSeeds
from mem_dfa.sketches.convolution import has_relu, relu_in_bits, sketched, why_not
from mem_dfa.sketches.probes import checked_probes


@keras.saving.register_keras_serializable("mem_dfa")
class XConv(Algorithm):
    """Keras's own step, in which convolutions keep random sketches of their inputs."""

    def __init__(
        self,
        network: keras.Model,
        probes: int = 8,
        probing: str = "independent",
        **details: Any,
    ) -> None:
        """Wrap `network`, which is left as it is.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            probes: r; 0 keeps everything and is exact.
            probing: a name in `probes.PROBES`.
            **details: `seed`, which the probes are drawn from, and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: there is no convolution to sketch; the arguments make no sense.
        """
        super().__init__(network, **details)
        self._probes = checked_probes(type(self).__name__, probes, probing)
        self.probes, self.probing = probes, probing
        layers = list({id(layer): layer for layer in leaf_layers(network)}.values())
        weighted = [layer for layer in layers if layer.weights]
        self._convolutions = [layer for layer in weighted[1:] if not why_not(layer)]
        self._relus = [layer for layer in layers if has_relu(layer)]
        if not self._convolutions:
            raise UnsupportedError(
                f"{type(self).__name__} received model '{network.name}' without a convolution to "
                f"sketch: {_reasons(weighted)}."
            )
        seeds = np.random.default_rng(self.seed).integers(2**31 - 1, size=len(self._convolutions))
        self._seeds = StepSeeds(self, seeds.tolist())

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's own, in which convolutions and ReLUs keep less."""
        if self._probes is None:
            return super().train_step(data)
        with ExitStack() as stack:
            stack.enter_context(self._seeds.of_step(self))
            for number, layer in enumerate(self._convolutions):
                if layer.trainable:  # a frozen one keeps nothing at all
                    seed = functools.partial(self._seeds.seed, number)
                    stack.enter_context(sketched(layer, self._probes, seed))
            for layer in self._relus:
                stack.enter_context(relu_in_bits(layer))
            return super().train_step(data)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "probes": self.probes, "probing": self.probing}


def _reasons(layers: list[keras.layers.Layer]) -> str:
    """Why none of the layers with weights behind the first can be sketched, and what to do."""
    # A model among them was not opened.
    closed = next((layer for layer in layers if isinstance(layer, keras.Model)), None)
    if closed is not None:
        return (
            f"'{closed.name}' ({type(closed).__name__}) has a call of its own, so that it is one "
            "layer and not opened; make a Sequential or functional model of it, or use 'bp', with "
            "mem_dfa.layers.SketchedConvolution in the place of its convolutions"
        )
    if len(layers) < 2:
        return "it has one layer with weights, which reads the batch; use 'bp' or 'checkpoint'"
    behind = layers[1:]
    shown = [f"'{layer.name}' ({type(layer).__name__}): {why_not(layer)}" for layer in behind[:3]]
    return "; ".join(shown) + ("; …" if len(behind) > 3 else "") + "; use 'bp' or 'checkpoint'"
