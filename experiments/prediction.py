"""What a cell's step should take, from shapes alone. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.algorithms.bp import BP
from mem_dfa.algorithms.dfa import DFA
from mem_dfa.algorithms.fa import FA
from mem_dfa.algorithms.mem_dfa import MemDFA
from mem_dfa.block import Block
from profiling.prediction import LayerBytes, backward_peak_bytes, layer_bytes, predict

# A block updated apart has no other reader of its weights left, so they are written in place.
BLOCKWISE_WEIGHT_COPIES = 1


def step_bytes(trainer: keras.Model, batch_size: int) -> int | None:
    """Predicted step bytes of one graph-mode step; None for an algorithm nobody predicts."""
    kind = type(trainer)
    if kind in (BP, FA):  # FA's detour holds no more than BP's way
        return predict(trainer.network, batch_size).step_bytes
    if kind in (DFA, MemDFA):
        blocks = [_layers(block, batch_size) for block in trainer.chain.blocks]
        return _dfa(blocks) if kind is DFA else _mem_dfa(blocks)
    return None


def _layers(block: Block, batch_size: int) -> list[LayerBytes]:
    operations = [operation for atom in block.atoms for operation in atom.operations]
    return [layer_bytes(operation, batch_size) for operation in operations]


def _kept(layers: Sequence[LayerBytes]) -> int:
    return sum(layer.kept_bytes for layer in layers)


def _block_peak(layers: Sequence[LayerBytes]) -> int:
    """A block's own activations, its error signals, and the update of its weights."""
    return backward_peak_bytes(layers, BLOCKWISE_WEIGHT_COPIES)


def _dfa(blocks: Sequence[Sequence[LayerBytes]]) -> int:
    """Every activation, freed block by block from the last to the first."""
    peak = kept = sum(map(_kept, blocks))
    for layers in reversed(blocks):
        kept -= _kept(layers)
        peak = max(peak, kept + _block_peak(layers))
    return peak


def _mem_dfa(blocks: Sequence[Sequence[LayerBytes]]) -> int:
    """The block at work and the output of the one before it."""
    peak = input_bytes = 0
    for layers in blocks:
        peak = max(peak, input_bytes + _block_peak(layers))
        input_bytes = layers[-1].output_bytes
    return peak
