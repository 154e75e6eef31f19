"""What blocks that are trained apart from each other cannot honour, whatever the algorithm."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import keras

from mem_dfa.chain.atom import Atom
from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError


def refuse_unsupported(model: keras.Model, atoms: list[Atom]) -> None:
    """Raise UnsupportedError for a layer that says or does what its block alone cannot know."""
    leaves = [leaf for atom in atoms for leaf in atom.layers]
    # Wrappers and custom layers hold others.
    for layer in (inner for leaf in leaves for inner in leaf._flatten_layers()):
        where = f"Layer '{layer.name}' ({type(layer).__name__}) of model '{model.name}'"
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UnsupportedError(
                f"{where} has an activity regulariser, whose gradient would have to pass through "
                "the blocks before it: use a weight regulariser, or train with 'bp'."
            )
        call = inspect.unwrap(type(layer).call)
        if "add_loss" in getattr(getattr(call, "__code__", None), "co_names", ()):
            raise UnsupportedError(
                f"{where} calls add_loss, whose gradient would have to pass through the blocks "
                "before it: put the term into the loss function, or train with 'bp'."
            )
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
            raise UnsupportedError(
                f"{where} makes a mask, which is not handed from block to block: "
                "remove the mask, or train with 'bp'."
            )
        if getattr(layer, "stateful", False):
            raise UnsupportedError(
                f"{where} is stateful: its state would move twice where a block runs twice; "
                "use stateful=False, or train with 'bp'."
            )
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise UnsupportedError(
                f"{where} changes its own weights in the forward pass, which cannot be run twice: "
                "use another normalisation, or train with 'bp'."
            )


def refuse_shared(blocks: Sequence[Block]) -> None:
    """Raise UnsupportedError for a layer that is used in two blocks."""
    owner: dict[int, tuple[Block, str]] = {}
    for block in blocks:
        for layer in block.layers:
            for variable in layer.variables:
                first, name = owner.setdefault(id(variable), (block, layer.name))
                if first is not block:
                    raise UnsupportedError(
                        f"Layer '{layer.name}' shares '{variable.name}' between {first.name} "
                        f"('{name}') and {block.name}: a layer may be used in one block only; "
                        "give each use a layer of its own, or train with 'bp'."
                    )
