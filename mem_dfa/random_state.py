"""Python's and NumPy's random numbers: what a layer draws from them, drawn again or not at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def random_state() -> tuple[Any, Any]:
    """The state that the next draws follow from."""
    return random.getstate(), np.random.get_state()


def set_random_state(state: tuple[Any, Any]) -> None:
    """Draw next what was drawn when `random_state` gave `state`."""
    random.setstate(state[0])
    np.random.set_state(state[1])


def is_same_state(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether the same draws follow."""
    pairs = zip(one[1], other[1], strict=True)
    return one[0] == other[0] and all(np.array_equal(*pair) for pair in pairs)


@contextmanager
def restored_draws() -> Iterator[None]:
    """After the context Python and NumPy draw as if nothing had been drawn in it."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)
