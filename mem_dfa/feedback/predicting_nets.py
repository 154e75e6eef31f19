"""Small nets that predict a tensor from another one, made as blocks that are run and trained.

    hidden layers, each linear, BatchNormalization, ReLU; then a linear layer of zeros

Between images of one size the linear maps are 5×5 convolutions that keep it, and hidden layers have
64 channels (Jaderberg et al., 2017); in other numbers of dimensions convolutions likewise. Anything
else is flattened into dense layers of 4 n units, at most 1024, for n predicted ones: the width of
the paper's nets on MNIST.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from mem_dfa.chain.block import Block
from mem_dfa.chain.cutting import atoms_of
from mem_dfa.errors import UnsupportedError
from mem_dfa.machine_memory import memory_limit_bytes
from mem_dfa.shapes.layer_calls import spec_of
from mem_dfa.units import show_bytes

MOST_LAYERS = 3
KERNEL_SIZE, CHANNELS = 5, 64
MOST_UNITS = 1024
CONVOLUTIONS = {
    2: keras.layers.Conv1D,
    3: keras.layers.Conv2D,
    4: keras.layers.Conv3D,
}
"""By the number of axes of one example."""

Shape: TypeAlias = tuple[int, ...]


def predicting_net(
    name: str,
    inputs: keras.KerasTensor,
    output_shape: Shape,
    seeds: Sequence[int],
    dtype: Any,
) -> keras.Sequential:
    """A net that predicts zeros until it is trained.

    Args:
        name: of the net, and what its layers' names begin with.
        inputs: shape (batch, ...), fixed but for the batch; channels come last.
        output_shape: of one example of what is predicted.
        seeds: one for each hidden layer.
        dtype: of its layers, or their policy.

    Raises:
        UnsupportedError: its weights are more than the memory that this process may take.
    """
    layers, shape = keras.layers, tuple(inputs.shape[1:])
    is_image = shape[:-1] == output_shape[:-1] and len(shape) in CONVOLUTIONS
    width = math.prod(output_shape)
    hidden_size = CHANNELS if is_image else min(4 * width, MOST_UNITS)
    if not is_image:
        _refuse_large(name, [math.prod(shape), *[hidden_size] * len(seeds), width])

    def linear(size: int, part: str, **how: Any) -> keras.layers.Layer:
        how = {**how, "dtype": dtype, "name": f"{name}_{part}"}
        if not is_image:
            return layers.Dense(size, **how)
        own: Any = CONVOLUTIONS[len(shape)]
        return own(size, KERNEL_SIZE, padding="same", data_format="channels_last", **how)

    body: list[Any] = [keras.Input(shape, dtype=inputs.dtype)]
    if not is_image and len(shape) > 1:
        body.append(layers.Flatten(data_format="channels_last", dtype=dtype))
    for number, seed in enumerate(seeds, start=1):
        draw = keras.initializers.HeNormal(seed=seed)
        body += [
            # BatchNormalization takes the mean off, and a bias with it.
            linear(hidden_size, f"hidden_{number}", use_bias=False, kernel_initializer=draw),
            layers.BatchNormalization(dtype=dtype, name=f"{name}_normalised_{number}"),
            layers.ReLU(dtype=dtype, name=f"{name}_relu_{number}"),
        ]
    last = output_shape[-1] if is_image else width
    body.append(linear(last, "output", kernel_initializer="zeros"))
    if not is_image and len(output_shape) > 1:
        body.append(layers.Reshape(output_shape, dtype=dtype))
    return keras.Sequential(body, name=name)


def _refuse_large(name: str, sizes: Sequence[int]) -> None:
    """Before anything is taken: dense layers between wide blocks can be larger than the network."""
    own, limit = 4 * sum(map(math.prod, itertools.pairwise(sizes))), memory_limit_bytes()
    if own > limit:
        raise UnsupportedError(
            f"The predictor '{name}' from {sizes[0]} to {sizes[-1]} units takes {show_bytes(own)}, "
            f"more than the {show_bytes(limit)} of memory there are: make the block's output "
            "smaller, or train with 'lel'."
        )


def as_block(net: keras.Sequential, name: str) -> Block:
    """The net as one block.

    Args:
        net: of `predicting_net`.
        name: what its operations are called after in a profile.
    """
    block = Block(name, list(atoms_of(net)))
    block.output = net.outputs[0]
    block.plan_for(spec_of(net.inputs[0], 1), "")
    return block


def check_layers(owner: str, hidden_layers: Any) -> None:
    """Accept 0 to 3.

    Raises:
        UnsupportedError: it is none of them.
    """
    is_count = isinstance(hidden_layers, int) and not isinstance(hidden_layers, bool)
    if not is_count or not 0 <= hidden_layers <= MOST_LAYERS:
        raise UnsupportedError(
            f"{owner} received predictor_layers={hidden_layers!r}: give the number of hidden "
            f"layers of each predictor, from 0 to {MOST_LAYERS}."
        )


def shape_of(owner: str, block: Block) -> tuple[int, ...]:
    """Of one example of a_i, or, where the block flattens it last, of what it flattens.

    Raises:
        UnsupportedError: it is not fixed, so that nothing can predict it.
    """
    sizes = block.output_shape[1:]
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        raise UnsupportedError(
            f"{owner}: {block.name} ({block.layer_names}) ends in shape {block.output_shape}, and "
            "a predictor needs a fixed one: give the model's Input its full shape, or train with "
            "'checkpoint'."
        )
    for atom in reversed(block.atoms):
        shape = atom.before.shape[1:]
        is_flatten = all(isinstance(one, keras.layers.Flatten) for one in atom.operations)
        # A model inside another one has the shapes that it was built with.
        if not is_flatten or None in shape or math.prod(shape) != math.prod(known):
            break
        known = tuple(shape)
    return known or (1,)


def seeds_of(seed: int, nets: int, layers: int, purpose: int = 0) -> list[list[int]]:
    """Seeds of the hidden layers of each net; other ones for another purpose."""
    generator = np.random.default_rng((purpose, seed))
    return generator.integers(2**31 - 1, size=(nets, layers)).tolist()
