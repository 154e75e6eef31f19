"""Adaptive skipped random backpropagation (ASRBP: Baldi, Sadowski and Lu, Artif. Intell. 2018).

    δ_n = e,  δ_i = e·B_i,  W_i ← W_i − η·G_iᵀ δ_i,  B_i ← B_i − η·eᵀ a_i

It is `dfa` with learned feedback, and keeps what that does; under `mem_dfa` with feedback="learned"
the same is trained in memory that does not grow with depth. With `feedback_decay` it is Direct
Kolen-Pollack.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.dfa import DFA
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer


@keras.saving.register_keras_serializable("mem_dfa")
class ASRBP(DFA):
    """Direct feedback alignment with matrices that are trained."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        feedback: str = "learned",
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            feedback: "learned".
            **details: as of `DFA`.

        Raises:
            UnsupportedError: as of `DFA`; feedback that is not learned.
        """
        if feedback != "learned":
            raise UnsupportedError(
                f"ASRBP received feedback={feedback!r}: learned feedback has to be stored, each "
                "block's by itself: use 'learned', or train with 'dfa'."
            )
        super().__init__(network, feedback_initializer, feedback, **details)
