"""Local error learning with fixed random classifiers (Mostafa, Ramesh and Cauwenberghs, 2018).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  z_i = a_i·B_iᵀ,
                    e_i = dL/dz at z_i,  δ_i = e_i·B_i,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

With a softmax and cross-entropy e_i = (softmax(z_i) − y) / B. B_i, shape (C, n_i), is random and
stays as it is: each block learns to be told apart by its own classifier. One forward pass, in
which nothing is kept.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.local import LocalFeedback
from mem_dfa.feedback.fixed_classifiers import FixedClassifiers


@keras.saving.register_keras_serializable("mem_dfa")
class LEL(LocalFeedback):
    """A local sweep whose signals are the errors of fixed random classifiers."""

    kind_of_signal = FixedClassifiers
