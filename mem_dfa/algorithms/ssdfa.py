"""Sparse direct feedback alignment (SSDFA: Crafton et al., Front. Neurosci. 2019).

    δ_n = e,  δ_i = e·B_i with s non-zeros in each column of B_i,  W_i ← W_i − η·G_iᵀ δ_i

It is `dfa` with sparse feedback, and keeps what that does; `mem_dfa` takes the same matrices.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.dfa import DFA


@keras.saving.register_keras_serializable("mem_dfa")
class SSDFA(DFA):
    """Direct feedback alignment in which each unit is sent few components of the error."""

    kinds = ("sparse", "regenerated_sparse")
