"""Keras layers that a memory-saving algorithm needs."""

from mem_dfa.layers.reversible import ReversibleBlock as ReversibleBlock
