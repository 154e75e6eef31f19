"""The kernels that an error signal may pass layers by, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mem_dfa import registry
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.kernels import KernelFeedback
from mem_dfa.feedback.learned_kernels import LearnedKernels

WAYS_BACK: Mapping[str, type[KernelFeedback]] = registry.Loaded(registry.WAYS_BACK)


def kernel_feedback(
    trainer: Any, way_back: str, initializer: str | Initializer | None, decay: float
) -> KernelFeedback:
    """The signal of that name.

    Args:
        trainer: whose network it is for, which holds and saves it.
        way_back: a name in WAYS_BACK.
        initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer; None for the
            way back's own.
        decay: of W and of a learned B in each step; 0 for none.

    Raises:
        UnsupportedError: unknown name or initializer, a decay of what is not learned, or a network
            that cannot be trained so.
    """
    owner = type(trainer).__name__
    if not isinstance(way_back, str) or way_back not in WAYS_BACK:
        raise UnsupportedError(
            f"{owner} received way_back={way_back!r}: use one of {', '.join(WAYS_BACK)}."
        )
    kind = WAYS_BACK[way_back]
    if issubclass(kind, LearnedKernels):
        return kind(trainer, initializer, decay)
    if decay != 0:
        raise UnsupportedError(
            f"{owner} received feedback_decay={decay!r} and way_back={way_back!r}, which is not "
            "learned: leave feedback_decay out, or give way_back='learned'."
        )
    return kind(trainer, initializer)
