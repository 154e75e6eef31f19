"""For each algorithm, what the networks of the common tests have to be like for it."""

import keras

from mem_dfa import ALGORITHMS, Algorithm
from mem_dfa.layers.reversible import ReversibleBlock

# They take the step block by block themselves; the others leave it to Keras.
BLOCK_BY_BLOCK = ("dfa", "mem_dfa", "checkpoint", "revnet")
# They run blocks a second time in the backward pass.
REPLAYING = ("mem_dfa", "checkpoint", "checkpoint_fa", "revnet")
# Any network will do: RevNet needs a ReversibleBlock in it, so that a given one may be refused.
ANY_NETWORK = tuple(name for name in ALGORITHMS if name != "revnet")
# Eight slices, where nothing is said, make a graph eight times as large: slow to trace.
ARGUMENTS = {"microbatch": {"slices": 3}}


def trainer_by(algorithm: str, network: keras.Model, **how) -> Algorithm:  # noqa: ANN003
    """An algorithm's trainer with what the common tests give it."""
    return ALGORITHMS[algorithm](network, **ARGUMENTS.get(algorithm, {}), **how)


def normalisation(algorithm: str, **how) -> keras.layers.Layer:  # noqa: ANN003
    """BatchNormalization, or what stands for it where examples must not meet."""
    layers = keras.layers
    return (layers.LayerNormalization if algorithm == "microbatch" else layers.BatchNormalization)(
        **how
    )


def dense_branch(width: int, dtype: str | None = None) -> keras.Sequential:
    return keras.Sequential([keras.layers.Dense(width, activation="tanh", dtype=dtype)])


def convolution_branch(channels: int, dtype: str | None = None) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [
            layers.BatchNormalization(dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.Conv2D(channels, 3, padding="same", use_bias=False, dtype=dtype),
        ]
    )


def reversible(algorithm: str, channels: int, rank: int = 1, dtype: str | None = None) -> list:
    """A ReversibleBlock to put behind a layer with that many channels, for RevNet alone."""
    if algorithm != "revnet":
        return []
    branch = dense_branch if rank == 1 else convolution_branch
    halves = [branch(channels // 2, dtype) for _ in range(2)]
    return [ReversibleBlock(*halves, dtype=dtype)]
