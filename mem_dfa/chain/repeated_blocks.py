"""Blocks that are alike, traced once and called: what makes a chain of a thousand traceable.

A traced step holds each block's operations at least twice. Where many consecutive blocks do the
same with other weights, their operations stand once in a function that takes the weights, and a
block costs one call. In a profile such blocks have one name together, so short chains, whose
blocks a reader wants to tell apart, are traced block by block.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block, name_of_run
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.chain.sliceable import can_be_sliced
from mem_dfa.graph.ordering import after
from mem_dfa.graph.profile_scope import scope
from mem_dfa.graph.traced_call import TracedOnce, read

Tensor: TypeAlias = tf.Tensor

# Shorter runs of blocks are traced one by one.
LEAST_ALIKE = 48
# What is taken for several of them at a time, such as a first pass, which keeps nothing.
BLOCKS_A_CALL = 25


class _AnyOf(Block):
    """Any one of blocks that are alike, in a function that is given handles of its weights."""

    def __init__(self, name: str, like: Block, handles: Sequence[Tensor]) -> None:
        """Stand for a block like that one, whose variables have these handles, in their order."""
        super().__init__(name, like.atoms)
        self.output, self._handles = like.output, handles

    def values(self, earlier: Tensor | None = None) -> list[tuple[keras.Variable, Tensor]]:
        """What stands for the variables, not before `earlier`."""
        pairs = zip(self.variables, self._handles, strict=True)
        return [(variable, after(read(variable, handle), earlier)) for variable, handle in pairs]

    def hold_back(
        self, inputs: Tensor, phase: str, earlier: Tensor | None
    ) -> tuple[Tensor, list[tuple[keras.Variable, Tensor]]]:
        """XLA looks into functions and starts what does not depend on `earlier`: all weights do."""
        with scope(phase, self.name):
            return inputs, self.values(earlier)


class Alike:
    """A run of blocks that differ in their weights alone, as functions of those."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Take consecutive blocks of one signature."""
        self.name = name_of_run(blocks)
        self._like, self._call = blocks[0], TracedOnce()

    def call(self, body: Callable[..., Any], block: Block, *arguments: Any) -> Any:
        """`body(block, *arguments)`, where another block stands for this one, traced once.

        Args:
            body: of a block and nested tensors; one of its name.
            block: which of the run.
            *arguments: nested tensors, and None where there is none.
        """

        def any_body(handles: list[Tensor], *arguments: Any) -> Any:
            # Lists of its own, of which the body may take out what is in them.
            given = tf.nest.map_structure(lambda tensor: tensor, arguments)
            return body(_AnyOf(self.name, self._like, handles), *given)

        any_body.__name__ = body.__name__
        return self._call(any_body, _handles(block), *arguments)

    def forward(self, blocks: Sequence[Block], activation: Tensor) -> Tensor:
        """What consecutive ones of the blocks make of an activation, without side effects."""

        def forward_body(handles: list[Tensor], activation: Tensor) -> Tensor:
            block = _AnyOf(self.name, self._like, handles)
            return block.run_with(activation, "forward", block.values())

        def forward_bodies(weights: list[list[Tensor]], activation: Tensor) -> Tensor:
            for handles in weights:
                activation = self._call(forward_body, handles, activation)
            return activation

        for part in _parts(blocks):
            activation = self._call(forward_bodies, [_handles(b) for b in part], activation)
        return activation


class Repeated:
    """Which blocks of a step are alike, so that what is done with one of them is traced once."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Look for long runs among consecutive blocks."""
        self._runs = alike(blocks)

    def of(self, block: Block) -> Alike | None:
        """The run that a block is in."""
        return self._runs.get(block.name)

    def parts(self, blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
        """Consecutive blocks of one run, or of none, as many as something is taken for at once."""
        yield from [blocks] if self.of(blocks[0]) is None else _parts(blocks)

    def call(self, body: Callable[..., Any], block: Block, *arguments: Any) -> Any:
        """`body(block, *arguments)`, of blocks that are alike by a call, see `Alike.call`."""
        run = self.of(block)
        return body(block, *arguments) if run is None else run.call(body, block, *arguments)

    def rehearse(self, rehearsal: Rehearsal, blocks: Sequence[Block], activation: Tensor) -> Tensor:
        """What the first run of consecutive blocks makes of an activation."""
        for run, same in itertools.groupby(blocks, key=self.of):
            if run is not None:
                activation = run.forward(list(same), activation)
                continue
            for block in same:
                # Seeds and moving statistics stay as they are, so that the second run draws the
                # same dropout masks and moves the statistics once.
                activation = rehearsal.run(block, activation, "forward")
        return activation


def alike(blocks: Sequence[Block]) -> dict[str, Alike]:
    """The long runs of blocks that are alike, by the name of each block in one."""
    found: dict[str, Alike] = {}
    for signature, run in itertools.groupby(blocks, key=_signature):
        same = list(run)
        if signature is not None and len(same) >= LEAST_ALIKE:
            found |= dict.fromkeys((block.name for block in same), Alike(same))
    return found


def _parts(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    for start in range(0, len(blocks), BLOCKS_A_CALL):
        yield blocks[start : start + BLOCKS_A_CALL]


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
