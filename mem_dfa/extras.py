"""What comes with ``pip install 'mem-dfa[experiments]'`` and the like, told to who lacks it."""

from __future__ import annotations

import re
import sys
from types import TracebackType

DISTRIBUTION = "mem-dfa"
_MODULES = {"google": "protobuf"}
"""Distributions that are not called as their module is."""


def missing(error: ModuleNotFoundError, extra: str = "experiments") -> str:
    """One sentence about a module that comes with this distribution; empty for any other.

    Args:
        error: what importing it raised.
        extra: that has all that was wanted, this module among it.
    """
    module = (error.name or "").partition(".")[0]
    name = _MODULES.get(module, module.replace("_", "-"))
    if not any(re.match(rf"{name}(?![\w-])", line) for line in _requirements()):
        return ""
    needs = f"{name} is not installed, which mem_dfa.{extra} needs"
    return f"{needs}: pip install '{DISTRIBUTION}[{extra}]'"


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For ``sys.excepthook``: that sentence in place of a traceback."""
    told = missing(error) if isinstance(error, ModuleNotFoundError) else ""
    if told:
        print(f"error: {told}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _requirements() -> list[str]:
    from importlib import metadata

    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # used without being installed
        return []
