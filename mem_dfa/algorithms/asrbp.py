"""Adaptive skipped random backpropagation (ASRBP: Baldi, Sadowski and Lu, Artif. Intell. 2018).

    δ_n = e,  δ_i = e·B_i,  W_i ← W_i − η·G_iᵀ δ_i,  B_i ← B_i − η·eᵀ a_i

It is `dfa` with learned feedback, and keeps what that does; under `mem_dfa` with feedback="learned"
the same is trained in memory that does not grow with depth. With `feedback_decay` it is Direct
Kolen-Pollack.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.dfa import DFA


@keras.saving.register_keras_serializable("mem_dfa")
class ASRBP(DFA):
    """Direct feedback alignment with matrices that are trained."""

    kinds = ("learned",)
