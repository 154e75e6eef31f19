"""Blocked direct feedback alignment (Espinosa Zarlenga and Niklasson, 2018).

    for each group b of consecutive blocks, top(b) the last of them:
        δ_top(b) = e·B_b;  of the last group δ_n = e
        δ_{i-1} = J_iᵀ δ_i inside,  W_i ← W_i − η·G_iᵀ δ_i

The output error reaches each group directly, and BP runs inside. With one block a group it is DFA,
with one group BP. A group is one coarser block, so matrices are needed at the tops alone. Every
activation is kept, as in DFA.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.dfa import DFA
from mem_dfa.algorithms.grouped import Grouped


@keras.saving.register_keras_serializable("mem_dfa")
class BDFA(Grouped, DFA):
    """DFA whose blocks are groups of blocks."""
