"""A Keras model cut into a chain of blocks.

A tensor that alone separates what comes before from what comes after it is a *separator*; what
lies between two separators is an *atom* (one layer, or a whole residual unit). A *block* is an
atom that holds weights together with the weightless and normalising atoms after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras

from mem_dfa.chain.atom import Atom
from mem_dfa.chain.block import Block
from mem_dfa.chain.block_bytes import StepBytes
from mem_dfa.chain.cutting import atoms_of
from mem_dfa.chain.head import split_head
from mem_dfa.chain.refuse_model import refuse_shared, refuse_unsupported
from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_calls import spec_of

# Where the batch is not known: hardly anything that is compared depends on it.
NOMINAL_BATCH = 32
# What is planned for where an axis of the batch has no fixed size: of pixels or words.
NOMINAL_SIZE = 224


@dataclass(frozen=True)
class Chain:
    """Blocks f_1 .. f_n with a_i = f_i(a_{i-1}), then the `head` that turns logits into outputs.

    Attributes:
        blocks: the blocks in the order of the forward pass; the last one ends in the logits z.
        pieces: the blocks as the model is cut, of which `blocks` are groups.
        head: the model's last activation and what only reshapes after it, or may be an activation
            itself; empty for a model that ends in logits.
        input: the model's symbolic input (its shape and dtype).
    """

    blocks: tuple[Block, ...]
    pieces: tuple[Block, ...]
    head: Block
    input: keras.KerasTensor

    @classmethod
    def from_model(cls, model: keras.Model, alone: type[keras.layers.Layer] | tuple = ()) -> Chain:
        """Cut a built Sequential or functional model; nested ones are flattened.

        Args:
            model: a `keras.Sequential` or functional `keras.Model` with one input and one output.
                It is not changed: the chain runs the model's own layers.
            alone: kinds of layers that make a block of their own, without the weightless layers
                after them.

        Raises:
            UnsupportedError: the model cannot be cut, or holds something that blocks trained
                apart from each other cannot honour.
        """
        atoms = list(atoms_of(model))
        if keras.tree.is_nested(getattr(model, "_outputs_struct", None)):
            raise UnsupportedError(
                f"Model '{model.name}' returns its output inside a list or dictionary: "
                "make it with the tensor itself, keras.Model(inputs, output)."
            )
        refuse_unsupported(model, atoms)
        if getattr(model.outputs[0], "_keras_mask", None) is not None:
            raise UnsupportedError(
                f"The output of model '{model.name}' has a mask, which is not handed from block to "
                "block and so not to the loss: give fit sample weights instead, or train with 'bp'."
            )
        body, tail = split_head(atoms)
        if not any(atom.weight_layers for atom in body):
            raise UnsupportedError(
                f"Model '{model.name}' has no layer with weights: there is nothing to train."
            )
        groups: list[list[Atom]] = [[]]
        ended = False  # whether the last group takes no more
        for atom in body:
            stands_alone = isinstance(atom.operations[0], alone)
            opens_block = bool(atom.weight_layers) and any(a.weight_layers for a in groups[-1])
            if (opens_block or stands_alone or ended) and groups[-1]:
                groups.append([])
            groups[-1].append(atom)
            ended = stands_alone
        blocks = tuple(Block(f"block_{i:03d}", group) for i, group in enumerate(groups, start=1))
        head = Block("head", tail, is_head=True)
        refuse_shared((*blocks, head))
        chain = cls(blocks, blocks, head, model.inputs[0])
        # A nested model's own tensors have the shapes it was built with, not those of this call.
        output = chain.input
        for block in chain.blocks_and_head:
            output = block.output = block.follow(output)
        chain.see(chain.input.shape)
        return chain

    def grouped(self, starts: Sequence[int]) -> Chain:
        """The chain whose blocks are groups of consecutive blocks of this one.

        Args:
            starts: positions, from 0 on and rising, of the blocks that begin a group.
        """
        borders = itertools.pairwise([*starts, len(self.blocks)])
        groups = tuple(Block.joined(self.blocks[start:stop]) for start, stop in borders)
        return replace(self, blocks=groups)

    @property
    def blocks_and_head(self) -> tuple[Block, ...]:
        """All that runs, in order."""
        return (*self.blocks, self.head) if self.head.atoms else self.blocks

    def see(self, shape: Sequence[int | None]) -> None:
        """Plan for batches of that shape, (batch, ...), from now on.

        Where sizes are None, bytes are planned for `NOMINAL_SIZE` and said to be unknown.
        """
        sizes = tuple(NOMINAL_SIZE if size is None else size for size in shape[1:])
        unknown = "" if None not in shape[1:] else f"its batches have the shape {tuple(shape)}"
        example = spec_of(self.input, 1, sizes)
        for blocks in (self.pieces, self.blocks):
            try:
                following = example
                for block in blocks:
                    block.plan_for(following, unknown)
                    following = block.follow(following)
            except Exception:
                # The nominal size need not suit the net. A batch that does not says so when it
                # runs.
                unknown = unknown or f"it does not take batches of shape {tuple(shape)}"
                for block in blocks:
                    block.plan_for(None, unknown)

    def expect(self, step: StepBytes) -> None:
        """Count what a step takes beside the blocks' passes; the loss with the last block."""
        for blocks in (self.pieces, self.blocks):
            for block in blocks:
                block.step = replace(step, loss=step.loss if block is blocks[-1] else None)

    def require_known_bytes(self, batch_size: int) -> None:
        """Raise UnknownBytesError, with the reason, where bytes of a block are estimates only."""
        for block in self.blocks:
            unknown = block.bytes(batch_size).unknown
            if unknown:
                raise UnknownBytesError(unknown)

    def summary(self) -> str:
        """A table: one line a block with its layers, output shape and number of parameters."""
        column = max(len("block_000"), *(len(block.name) for block in self.blocks)) + 1
        lines = [f"{'block':<{column}} {'output':<22} {'parameters':>12}  layers"]
        for block in self.blocks:
            names = ", ".join(layer.name for layer in block.layers)
            several = len(block.weight_layers)
            note = f" [{several} weight layers: gradient of BP inside]" if several > 1 else ""
            shape, parameters = str(block.output_shape), f"{block.parameters:,}"
            lines.append(f"{block.name:<{column}} {shape:<22} {parameters:>12}  {names}{note}")
        if self.head.atoms:
            names = ", ".join(atom.name for atom in self.head.atoms)
            lines.append(f"{'head':<{column}} {self.head.output_shape!s:<22} {0:>12,}  {names}")
        return "\n".join(lines)
