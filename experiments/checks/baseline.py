"""What the gate compares with: a file for each TensorFlow version and kind of device.

Its lines are made to be read in a diff: for each cell the requested bytes of what the forward pass
leaves for the backward pass, of a step's peak, and of what is there before it, block by block and
category by category.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mem_dfa.experiments.store import results
from mem_dfa.profiling.files import replace

FOLDER = "results/baselines"
FORMAT_VERSION = 2
QUANTITIES = ("kept", "step", "resident")
VERSIONS = ("tensorflow", "keras", "device")

Content = dict[str, Any]
Parts = dict[str, int]
"""Bytes by "block/category"."""
Weights = Mapping[str, Mapping[str, Parts]]
"""Of each cell, by its title, the parts of each quantity."""


@dataclass(frozen=True)
class Move:
    """A quantity of a cell in the baseline and now; None where there is no such cell."""

    title: str
    quantity: str
    before: Parts | None
    after: Parts | None
    tolerance_percent: float

    @property
    def sums(self) -> tuple[int | None, int | None]:
        """Bytes before and after."""
        before, after = (
            None if parts is None else sum(parts.values()) for parts in (self.before, self.after)
        )
        return before, after

    @property
    def is_beyond_tolerance(self) -> bool:
        """Whether it is another cell, or its bytes went up or down by more than is tolerated."""
        before, after = self.sums
        if before is None or after is None:
            return True
        return abs(after - before) > before * self.tolerance_percent / 100

    def differences(self) -> pd.DataFrame:
        """Which blocks made it, the table of `Timeline.diff`."""
        from mem_dfa.profiling.timeline.data import difference

        return difference(*(_series(parts or {}) for parts in (self.before, self.after)))


def _series(parts: Parts) -> pd.Series:
    pairs = [tuple(name.rsplit("/", 1)) for name in parts]
    index = pd.MultiIndex.from_tuples(pairs, names=["block", "category"])
    return pd.Series(list(parts.values()), index=index, dtype="int64")


def path_of(versions: Mapping[str, str]) -> Path:
    """The file for a TensorFlow version and a device such as "GPU:0", in the working directory."""
    kind = versions["device"].split(":")[0].lower()
    return Path(FOLDER, f"tensorflow_{versions['tensorflow']}_{kind}.json")


def read_all() -> dict[Path, Content]:
    """What every baseline holds: versions and ``cells``.

    Raises:
        results.ResultsError: one is no baseline, or of another format version.
    """
    return {path: _read(path) for path in sorted(Path(FOLDER).glob("*.json"))}


def _read(path: Path) -> Content:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']}, not {FORMAT_VERSION}")
        for cell in content["cells"].values():
            for quantity in QUANTITIES:
                _check(cell[quantity])
        for name in VERSIONS:
            if not isinstance(content[name], str):
                raise ValueError(f"{name} is {content[name]!r}")
        if path != path_of(content):
            raise ValueError(f"it holds what belongs in {path_of(content)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise results.ResultsError(
            f"{path} is no baseline ({type(error).__name__}: {error}); restore it, or remove it "
            "and make another with --update-baseline"
        ) from error
    return content


def _check(parts: Parts) -> None:
    for name, size in parts.items():
        if not re.fullmatch(r".+/[^/]+", name) or type(size) is not int:
            raise ValueError(f"{name!r}: {size!r} is no block/category with its bytes")


def check_writable() -> None:
    """Makes sure, before anything is measured, that a baseline can be written.

    Raises:
        results.ResultsError: it cannot.
    """
    try:
        Path(FOLDER).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=FOLDER):
            pass
    except OSError as error:
        raise _unwritable(error) from error


def write(versions: Mapping[str, str], weights: Weights) -> Path:
    """Writes a baseline, whole or not at all, and returns its path.

    Raises:
        results.ResultsError: it cannot be written.
    """
    cells = {
        title: {quantity: dict(sorted(cell[quantity].items())) for quantity in QUANTITIES}
        for title, cell in weights.items()
    }
    content = {"format_version": FORMAT_VERSION, **versions, "cells": cells}
    path = path_of(versions)
    try:
        replace(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise _unwritable(error) from error
    return path


def _unwritable(error: OSError) -> results.ResultsError:
    reason = error.strerror or type(error).__name__
    return results.ResultsError(
        f"{Path(FOLDER).absolute()} cannot be written ({reason}); run this where it can, such as "
        "the folder of the checkout"
    )


def moves(before: Weights, after: Weights, tolerance: Callable[[str, str], float]) -> list[Move]:
    """What differs by more than its tolerance, up or down, and cells that only one side has.

    Args:
        before: the baseline.
        after: what was measured.
        tolerance: percent, for a title and a quantity.
    """
    found = [
        Move(
            title,
            quantity,
            before[title][quantity] if title in before else None,
            after[title][quantity] if title in after else None,
            tolerance(title, quantity),
        )
        for title in dict.fromkeys([*after, *before])
        for quantity in QUANTITIES
    ]
    return [move for move in found if move.is_beyond_tolerance]


def updated(before: Weights, after: Weights, moved: Sequence[Move]) -> Weights:
    """What was measured where it moved or was renamed, and otherwise the baseline as it is.

    So a file's diff shows what moved and nothing else, and small steps in one direction do not
    pass one by one.
    """
    changed = {(move.title, move.quantity) for move in moved}

    def parts(title: str, quantity: str) -> Parts:
        new = after[title][quantity]
        if (title, quantity) in changed:
            return new
        old = before[title][quantity]
        is_renamed = new.keys() != old.keys() and sum(new.values()) == sum(old.values())
        return new if is_renamed else old

    return {title: {quantity: parts(title, quantity) for quantity in QUANTITIES} for title in after}
