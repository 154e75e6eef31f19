"""Random number generators that layers hold, whose state no keras.Variable has."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mem_dfa.chain.block import Block
from mem_dfa.chain.foreign_code import OWN_PACKAGES, parts_of

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
# Of the modules `random` and `numpy.random` themselves: their state is restored.
GLOBAL_GENERATORS = (random._inst, np.random.mtrand._rand)


def held_generators(block: Block) -> Iterator[Any]:
    """Generators in reach of the code of a block's layers: attributes, closures, global names."""
    waiting: list[Any] = []
    for operation in block.operations:
        for part in parts_of(operation):
            waiting += vars(part).values()
            waiting += (
                method
                for kind in type(part).__mro__
                if not kind.__module__.startswith(OWN_PACKAGES)
                for method in vars(kind).values()
            )
    known: dict[int, Any] = {}  # kept alive, so that no two have the same id
    while waiting:
        value = waiting.pop()
        if id(value) in known:
            continue
        known[id(value)] = value
        value = inspect.unwrap(value) if callable(value) else value
        if inspect.ismethod(value) or inspect.isbuiltin(value):
            waiting.append(value.__self__)
            value = getattr(value, "__func__", None)
        if isinstance(value, GENERATORS) and value not in GLOBAL_GENERATORS:
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, functools.partial):
            waiting += (value.func, *value.args, *value.keywords.values())
        elif inspect.isfunction(value) and not value.__module__.startswith(OWN_PACKAGES):
            waiting += _reached_by(value)


def _reached_by(function: Callable[..., Any]) -> Iterator[Any]:
    """What a function finds in its closure and among the names of its module that it uses."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            yield cell.cell_contents
    codes = [function.__code__]
    for code in codes:
        codes += (constant for constant in code.co_consts if inspect.iscode(constant))
        yield from (function.__globals__.get(name) for name in code.co_names)
