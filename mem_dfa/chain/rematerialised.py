"""Layers made in a keras.RematScope, run without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras

from mem_dfa.chain.foreign_code import parts_of


@contextmanager
def without_rematerialisation(operations: Sequence[keras.Operation]) -> Iterator[None]:
    """Within the context nothing in `operations` recomputes itself for its gradient.

    Keras would run it outside of the run that the gradient belongs to: with other draws, a second
    move of its statistics, and weights that were not handed to it.
    """
    wrapped = [
        (part, part._remat_mode)
        for operation in operations
        for part in parts_of(operation)
        if getattr(part, "_remat_mode", None) is not None
    ]
    for part, _ in wrapped:
        part.__dict__["_remat_mode"] = None
    try:
        yield
    finally:
        for part, mode in wrapped:
            part.__dict__["_remat_mode"] = mode
