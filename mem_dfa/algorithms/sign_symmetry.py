"""Sign-symmetry (Liao et al., arXiv 1510.05067; uSF, brSF, frSF of Moskovitz et al., 1812.06488).

    δ_n = e,  δ_{i-1} = J_i(K_i)ᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i
    uSF    K_i = s·sign(W_i)
    brSF   K_i = |M_t| ⊙ sign(W_i), M_t drawn anew each step t
    frSF   K_i = |M| ⊙ sign(W_i), M fixed

J_i(K_i) is the layer's Jacobian with K_i in place of W_i. Keeps every activation, as BP does.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.fa import KernelStep
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.sign_symmetry import (
    FixedSigns,
    RedrawnSigns,
    SignSymmetry,
    UniformSigns,
)


class _SignStep(KernelStep):
    """Error signals pass layers by kernels with the signs of the layers' own."""

    signs: type[SignSymmetry]

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: what M is drawn from, a name in `distributions.INITIALIZERS`; for
                frSF a Keras initializer, too; None for "xavier_uniform".
            **details: `seed`, which M is drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer.
        """
        super().__init__(network, **details)
        self.signal = self.signs(self, feedback_initializer)


@keras.saving.register_keras_serializable("mem_dfa")
class USF(_SignStep):
    """Signs of W times one number a layer; nothing is held."""

    signs = UniformSigns


@keras.saving.register_keras_serializable("mem_dfa")
class BRSF(_SignStep):
    """Signs of W times random sizes, drawn anew each step; nothing is held."""

    signs = RedrawnSigns


@keras.saving.register_keras_serializable("mem_dfa")
class FRSF(_SignStep):
    """Signs of W times fixed random sizes, which are held."""

    signs = FixedSigns
