"""Sparse direct feedback alignment (SSDFA: Crafton et al., Front. Neurosci. 2019).

    δ_n = e,  δ_i = e·B_i with s non-zeros in each column of B_i,  W_i ← W_i − η·G_iᵀ δ_i

It is `dfa` with sparse feedback, and keeps what that does; `mem_dfa` takes the same matrices.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.dfa import DFA
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer

KINDS = ("sparse", "regenerated_sparse")


@keras.saving.register_keras_serializable("mem_dfa")
class SSDFA(DFA):
    """Direct feedback alignment in which each unit is sent few components of the error."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        feedback: str = "sparse",
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, see `feedback.sparse`.
            feedback: "sparse" or "regenerated_sparse".
            **details: as of `DFA`.

        Raises:
            UnsupportedError: as of `DFA`; feedback that is not sparse.
        """
        if feedback not in KINDS:
            raise UnsupportedError(
                f"SSDFA received feedback={feedback!r}, but its matrices are sparse: use "
                f"{' or '.join(map(repr, KINDS))}, or train with 'dfa'."
            )
        super().__init__(network, feedback_initializer, feedback, **details)
