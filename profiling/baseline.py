"""What memory is compared with: files of bytes, one for each TensorFlow version and device.

Their lines are to be read in a diff: for each cell of the gate, or test, and each quantity of it,
the bytes by layer and category.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "memory-baselines"
TOLERANCE_PERCENT = 1.0
WHOLE_TOLERANCE_PERCENT = 10.0
"""Of a step whose net Keras differentiates as one: two gradients of a layer run in either order."""
FORMAT_VERSION = 2
VERSIONS = ("tensorflow", "keras", "device")

Parts = Mapping[str, int]  # bytes by "layer/category"
Weights = Mapping[str, Mapping[str, Parts]]  # of each name the parts of each quantity


@dataclass(frozen=True)
class Pair:
    """A quantity of a cell, or test, in the baseline and now; None where there is none."""

    name: str
    quantity: str
    before: Parts | None
    after: Parts | None
    tolerance_percent: float = TOLERANCE_PERCENT
    """How far it may be from the baseline, up or down."""

    @property
    def sums(self) -> list[int | None]:
        """Bytes before and after."""
        sides = (self.before, self.after)
        return [None if parts is None else sum(parts.values()) for parts in sides]

    @property
    def has_moved(self) -> bool:
        """Whether it came, went, or its bytes went up or down by more than is tolerated."""
        before, after = self.sums
        if before is None or after is None:
            return True
        return abs(after - before) > before * self.tolerance_percent / 100

    @property
    def updated(self) -> Parts | None:
        """What was measured where it moved or layers were renamed, otherwise what was before.

        So a diff shows what moved alone, and small steps in one direction do not pass one by one.
        """
        before, after = self.sums
        is_renamed = before == after and set(self.before or ()) != set(self.after or ())
        return self.after if self.has_moved or is_renamed else self.before

    def differences(self) -> pd.DataFrame:
        """Which layers made it, the table of `Timeline.diff`."""
        import pandas as pd
        from mem_dfa.profiling.timeline.data import difference

        sides = [
            pd.Series({tuple(name.rsplit("/", 1)): size for name, size in parts.items()})
            for parts in (self.before or {}, self.after or {})
        ]
        return difference(*sides)


def parts_of(sums: pd.Series) -> dict[str, int]:
    """Bytes by "layer/category" from bytes by (layer, category)."""
    return {"/".join(place): int(size) for place, size in sums.items()}


def path_of(folder: Path, versions: Mapping[str, str]) -> Path:
    """The file in a folder for a TensorFlow version and a device such as "GPU:0"."""
    kind = versions["device"].split(":")[0].lower()
    return folder / f"tensorflow_{versions['tensorflow']}_{kind}.json"


def read_all(folder: Path) -> dict[Path, dict[str, Any]]:
    """What every baseline of a folder holds: versions and ``cells``.

    Raises:
        TraceError: a file is none.
    """
    return {path: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        told = content["format_version"], content["keras"], path
        if told != (FORMAT_VERSION, str(content["keras"]), path_of(path.parent, content)):
            raise ValueError(f"of other versions: {told}")
        parts = [some for cell in content["cells"].values() for some in cell.values()]
        for name, size in (pair for some in parts for pair in some.items()):
            if "/" not in name or type(size) is not int:
                raise ValueError(f"{name!r}: {size!r} is no layer/category with its bytes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(
            f"{path} is no baseline ({type(error).__name__}: {error}); restore it, or remove it "
            "and make another"
        ) from error
    return content


def pairs(
    before: Weights, after: Weights, tolerances: Mapping[tuple[str, str], float]
) -> list[Pair]:
    """All quantities of what was measured and of what is in the baseline.

    Args:
        before: of the baseline.
        after: as measured.
        tolerances: in percent, by name and quantity, where it is not the usual one.
    """
    return [
        Pair(
            name,
            quantity,
            before.get(name, {}).get(quantity),
            after.get(name, {}).get(quantity),
            tolerances.get((name, quantity), TOLERANCE_PERCENT),
        )
        for name in {**after, **before}
        for quantity in {**after.get(name, {}), **before.get(name, {})}
    ]


def write(path: Path, versions: Mapping[str, str], pairs: Sequence[Pair]) -> Path:
    """Writes what belongs in a baseline, whole; raises TraceError where it cannot be written."""
    cells: dict[str, dict[str, Parts]] = {pair.name: {} for pair in pairs}
    for pair in pairs:
        cells[pair.name][pair.quantity] = dict(sorted((pair.updated or {}).items()))
    content = {"format_version": FORMAT_VERSION, **versions, "cells": cells}
    return write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
