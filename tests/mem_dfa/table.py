"""For each algorithm, what the common tests expect of it and what their networks have to be like.

The common tests run for every algorithm of the registry: one more needs a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from mem_dfa import ALGORITHMS, Algorithm
from mem_dfa.layers.reversible import ReversibleBlock


@dataclass(frozen=True)
class Row:
    """An algorithm, to the common tests."""

    is_exact: bool = False
    """Its gradient is BP's."""
    opens: bool = True
    """It cuts the network into blocks; one that does not runs whatever `call` the network has."""
    is_block_by_block: bool = False
    """It takes the step block by block itself; the others leave it to Keras."""
    replays: bool = False
    """It runs blocks a second time in the backward pass."""
    takes_outputs: bool = False
    """It trains networks of several outputs."""
    needs_reversible: bool = False
    """It refuses a network without a ReversibleBlock."""
    has_true_end: bool = True
    """The last layer has its true gradient."""
    takes_linear_blocks_alone: bool = False
    """Its blocks are one dense or convolutional layer and what has no weights, of Keras's alone."""
    takes_images: bool = True
    """It trains convolutions."""
    slices: int = 1
    """Into which it cuts a batch, between which examples must not meet."""
    learns: float = 0.85
    """The share of `blobs` that it tells apart after three epochs."""
    takes_its_step_as: str = ""
    """The algorithm whose step it takes, with a signal of its own: tests of steps run for that."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the common tests give it."""
    again: Mapping[str, Any] = field(default_factory=dict)
    """With what it runs the blocks of small networks again, too."""


TABLE = {
    "bp": Row(is_exact=True, opens=False, takes_outputs=True),
    "bp_fused": Row(is_exact=True, is_block_by_block=True, takes_its_step_as="checkpoint"),
    "fa": Row(takes_outputs=True),
    "usf": Row(takes_outputs=True, takes_its_step_as="fa"),
    "brsf": Row(takes_outputs=True, takes_its_step_as="fa"),
    "frsf": Row(takes_outputs=True, takes_its_step_as="fa"),
    "arbp": Row(takes_outputs=True, takes_its_step_as="fa"),
    "dfa": Row(is_block_by_block=True),
    "ssdfa": Row(is_block_by_block=True, takes_its_step_as="dfa"),
    "asrbp": Row(is_block_by_block=True, takes_its_step_as="dfa"),
    "mem_dfa": Row(is_block_by_block=True, replays=True),
    "bdfa": Row(is_block_by_block=True, takes_its_step_as="dfa"),
    "mem_bdfa": Row(is_block_by_block=True, replays=True, takes_its_step_as="mem_dfa"),
    "drtp": Row(is_block_by_block=True, learns=0.7, takes_its_step_as="lel"),
    "lel": Row(is_block_by_block=True),
    "local_loss": Row(is_block_by_block=True, takes_its_step_as="lel"),
    "forward_gradient": Row(is_block_by_block=True, takes_its_step_as="lel"),
    "dni": Row(is_block_by_block=True),
    "cdni": Row(is_block_by_block=True, takes_its_step_as="dni"),
    "unlock": Row(is_block_by_block=True, takes_its_step_as="dni"),
    "forward_forward": Row(is_block_by_block=True, takes_images=False, takes_its_step_as="lel"),
    "pepita": Row(
        is_block_by_block=True,
        replays=True,
        has_true_end=False,
        takes_linear_blocks_alone=True,
        learns=0.5,
    ),
    # Of every batch, so that the common tests see it train.
    "anchor_steps": Row(
        is_exact=True,
        is_block_by_block=True,
        replays=True,
        takes_its_step_as="checkpoint",
        arguments={"anchor": 1},
    ),
    "checkpoint": Row(is_exact=True, is_block_by_block=True, replays=True, again={"every": 1}),
    "checkpoint_fa": Row(replays=True, again={"every": 1}),
    "compressed": Row(
        is_block_by_block=True, replays=True, takes_its_step_as="checkpoint", again={"every": 1}
    ),
    "offload": Row(
        is_exact=True,
        is_block_by_block=True,
        replays=True,
        takes_its_step_as="checkpoint",
        arguments={"host": "CPU:1"},
    ),
    "xconv": Row(takes_its_step_as="fa"),
    "revnet": Row(is_exact=True, is_block_by_block=True, replays=True, needs_reversible=True),
    # Eight slices, where nothing is said, make a graph eight times as large: slow to trace.
    "microbatch": Row(
        is_exact=True, opens=False, takes_outputs=True, slices=2, arguments={"slices": 2}
    ),
}
ORDINARY = Row()
"""For networks that no algorithm is named for."""

STEPS = tuple(name for name, row in TABLE.items() if not row.takes_its_step_as)
"""For tests of how a step is taken, whatever the signal."""
EXACT = tuple(name for name in STEPS if TABLE[name].is_exact)
BLOCK_BY_BLOCK = tuple(name for name in STEPS if TABLE[name].is_block_by_block)
REPLAYING = tuple(name for name in STEPS if TABLE[name].replays)
ANY_BLOCKS = tuple(name for name in STEPS if not TABLE[name].takes_linear_blocks_alone)
ANY_NETWORK = tuple(name for name in STEPS if not TABLE[name].needs_reversible)
TRUE_END = tuple(name for name in STEPS if TABLE[name].has_true_end)


def with_the_same_nets(algorithm: str) -> str:
    """The first algorithm that networks are made for in the same way."""

    def needs(row: Row) -> tuple[bool, ...]:
        return row.needs_reversible, row.slices > 1, row.takes_linear_blocks_alone

    return next(name for name, row in TABLE.items() if needs(row) == needs(TABLE[algorithm]))


def trainer_by(algorithm: str, network: keras.Model, **how) -> Algorithm:  # noqa: ANN003
    """An algorithm's trainer with what the common tests give it."""
    return ALGORITHMS[algorithm](network, **TABLE[algorithm].arguments, **how)


def normalisation(algorithm: str, **how) -> keras.layers.Layer:  # noqa: ANN003
    """BatchNormalization, or what stands for it where examples must not meet, or none can be."""
    layers, row = keras.layers, TABLE.get(algorithm, ORDINARY)
    if row.takes_linear_blocks_alone:
        return layers.Identity()
    apart = row.slices > 1
    return (layers.LayerNormalization if apart else layers.BatchNormalization)(**how)


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
    """A ReversibleBlock to put behind a layer with that many channels, for those that need one."""
    if not TABLE.get(algorithm, ORDINARY).needs_reversible:
        return []
    branch = dense_branch if rank == 1 else convolution_branch
    halves = [branch(channels // 2, dtype) for _ in range(2)]
    return [ReversibleBlock(*halves, dtype=dtype)]
