"""Keras layers that a memory-saving algorithm needs."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras

from mem_dfa.layers.reversible import ReversibleBlock as ReversibleBlock
from mem_dfa.layers.sketched_convolution import SketchedConvolution as SketchedConvolution
