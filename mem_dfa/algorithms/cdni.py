"""Synthetic gradients that see the label (cDNI: Jaderberg et al., arXiv 1608.05343).

    δ̂_i = s_i(a_i, y; θ_i) / B,  δ̂_n = e,  W_i ← W_i − η·G_iᵀ δ̂_i,
    θ_{i-1} ← θ_{i-1} − η·∇½‖s_{i-1} − B·J_iᵀ δ̂_i‖²

y is one-hot: C further inputs of a dense predictor, or C further channels, each 0 or 1 all over the
image, of a convolutional one. Otherwise it is `dni`.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.dni import DNI


@keras.saving.register_keras_serializable("mem_dfa")
class CDNI(DNI):
    """A bootstrapped sweep whose predictors see a block's output and the labels."""

    takes_labels = True
