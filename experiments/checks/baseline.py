"""What the gate compares with: a file for each TensorFlow version and kind of device.

Its lines are to be read in a diff: for each cell the requested bytes, by block and category, left
for the backward pass, of a step's peak, and there before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mem_dfa.experiments.cells.errors import ResultsError
from mem_dfa.profiling.files import write_whole

FOLDER = Path("results/baselines")
FORMAT_VERSION = 2
QUANTITIES = ("kept", "step", "resident")
RACING = ("bp", "fa", "microbatch")  # whose peak is no sharp measure, see `gate`
VERSIONS = ("tensorflow", "keras", "device")

Parts = Mapping[str, int]  # bytes by "block/category"
Weights = Mapping[str, Mapping[str, Any]]  # of each cell, by its title, the parts of each quantity


@dataclass(frozen=True)
class Pair:
    """A quantity of a cell in the baseline and now; None where there is no such cell."""

    title: str
    quantity: str
    before: Parts | None
    after: Parts | None

    @property
    def tolerance_percent(self) -> float:
        """How far it may be from the baseline, up or down."""
        return 10.0 if self.quantity == "step" and self.title.split()[0] in RACING else 1.0

    @property
    def sums(self) -> list[int | None]:
        """Bytes before and after."""
        sides = (self.before, self.after)
        return [None if parts is None else sum(parts.values()) for parts in sides]

    @property
    def has_moved(self) -> bool:
        """Whether it is another cell, or its bytes went up or down by more than is tolerated."""
        before, after = self.sums
        if before is None or after is None:
            return True
        return abs(after - before) > before * self.tolerance_percent / 100

    @property
    def updated(self) -> Parts | None:
        """What was measured where it moved or blocks were renamed, otherwise what was before.

        So a diff shows what moved alone, and small steps in one direction do not pass one by one.
        """
        before, after = self.sums
        is_renamed = before == after and set(self.before or ()) != set(self.after or ())
        return self.after if self.has_moved or is_renamed else self.before

    def differences(self) -> pd.DataFrame:
        """Which blocks made it, the table of `Timeline.diff`."""
        from mem_dfa.profiling.timeline.data import difference

        sides = [
            pd.Series({tuple(name.rsplit("/", 1)): size for name, size in parts.items()})
            for parts in (self.before or {}, self.after or {})
        ]
        return difference(*sides)


def path_of(versions: Mapping[str, str]) -> Path:
    """The file for a TensorFlow version and a device such as "GPU:0", in the working directory."""
    kind = versions["device"].split(":")[0].lower()
    return FOLDER / f"tensorflow_{versions['tensorflow']}_{kind}.json"


def read_all() -> dict[Path, dict[str, Any]]:
    """What every baseline holds: versions and ``cells``; raises ResultsError where one is none."""
    return {path: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        told = content["format_version"], content["keras"], path
        if told != (FORMAT_VERSION, str(content["keras"]), path_of(content)):
            raise ValueError(f"of other versions: {told}")
        parts = [cell[quantity] for cell in content["cells"].values() for quantity in QUANTITIES]
        for name, size in (pair for some in parts for pair in some.items()):
            if "/" not in name or type(size) is not int:
                raise ValueError(f"{name!r}: {size!r} is no block/category with its bytes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{path} is no baseline ({type(error).__name__}: {error}); restore it, or remove it "
            "and make another with --update-baseline"
        ) from error
    return content


def pairs(before: Weights, after: Weights) -> list[Pair]:
    """All quantities of the cells that were measured and of those in the baseline."""
    return [
        Pair(title, name, before.get(title, {}).get(name), after.get(title, {}).get(name))
        for title in {**after, **before}
        for name in QUANTITIES
    ]


def write(versions: Mapping[str, str], pairs: Sequence[Pair]) -> Path:
    """Writes what belongs in a baseline, whole; raises TraceError where it cannot be written."""
    cells: dict[str, dict[str, Parts]] = {pair.title: {} for pair in pairs}
    for pair in pairs:
        cells[pair.title][pair.quantity] = dict(sorted((pair.updated or {}).items()))
    content = {"format_version": FORMAT_VERSION, **versions, "cells": cells}
    return write_whole(path_of(versions), (json.dumps(content, indent=1) + "\n").encode())
