"""Blocks of one linear layer, opened: the linear map, what keeps its shape, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mem_dfa.chain.atom import ActivationPart, Atom, LinearPart, is_linear
from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError


@dataclass(frozen=True)
class LinearBlock:
    """One block in three parts, which run one after another.

    Attributes:
        whole: the block.
        linear: up to its linear map, the activation not included.
        elementwise: what comes next and keeps the shape, such as an activation; maybe nothing.
        rest: what comes after that, such as pooling; maybe nothing.
    """

    whole: Block
    linear: Block
    elementwise: Block
    rest: Block


def opened(owner: str, block: Block) -> LinearBlock:
    """A block's parts.

    Args:
        owner: name of the algorithm, for messages.
        block: which.

    Raises:
        UnsupportedError: it holds weights beside those of one linear layer, or runs code that is
            not Keras's.
    """
    if not block.runs_only_keras:
        raise UnsupportedError(
            f"{owner} received {block.name} ({block.layer_names}), in which code runs that is not "
            "Keras's and may draw or move what two runs at once do not share: use Keras's layers, "
            "or train with 'mem_dfa'."
        )
    with_weights = [layer for layer in block.layers if layer.weights]
    at = [
        number
        for number, atom in enumerate(block.atoms)
        if len(atom.operations) == 1 and is_linear(atom.operations[0])
    ]
    if len(with_weights) != 1 or len(at) != 1:
        other = next((layer for layer in with_weights if not is_linear(layer)), with_weights[-1])
        raise UnsupportedError(
            f"{owner} received layer '{other.name}' ({type(other).__name__}): its blocks are one "
            "dense or convolutional layer and layers without weights; remove it, or train with "
            "'mem_dfa'."
        )
    before, atom, after = block.atoms[: at[0]], block.atoms[at[0]], block.atoms[at[0] + 1 :]
    parts = (atom.before, atom.after, atom.nodes)
    if getattr(atom.operations[0], "activation", None) is not None:
        atom, after = LinearPart(*parts), (ActivationPart(*parts), *after)
    count = next((n for n, each in enumerate(after) if not _keeps_shape(each)), len(after))
    return LinearBlock(
        block,
        _part(block, [*before, atom]),
        _part(block, after[:count]),
        _part(block, after[count:]),
    )


def _keeps_shape(atom: Atom) -> bool:
    return isinstance(atom, ActivationPart) or atom.before.shape == atom.after.shape


def _part(block: Block, atoms: Sequence[Atom]) -> Block:
    part = Block(block.name, atoms)
    part.output = atoms[-1].after if atoms else None
    return part
