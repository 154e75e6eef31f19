"""Blocked DFA in the memory of one group (Espinosa Zarlenga and Niklasson, 2018; arXiv 2012.11745).

    first pass:   z = f_n(… f_1(x)),  e = dL/dz; nothing else is kept
    second pass:  for each group b, first to last:  run its blocks again and keep them,
                  δ_top(b) = e·B_b,  δ_{i-1} = J_iᵀ δ_i inside,
                  W_i ← W_i − η·G_iᵀ δ_i,  free the group

A group runs again with the weights of the first pass, so every update is that of blocked DFA (see
`bdfa`); the two passes are those of MEM-DFA, which it is with one block a group. Alive at any time:
x, e and one group.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.grouped import Grouped
from mem_dfa.algorithms.mem_dfa import MemDFA


@keras.saving.register_keras_serializable("mem_dfa")
class MemBDFA(Grouped, MemDFA):
    """MEM-DFA whose blocks are groups of blocks."""
