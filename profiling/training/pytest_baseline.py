"""What a test takes beside its baseline, a file in a folder beside the test's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mem_dfa.profiling import baseline
from mem_dfa.profiling.errors import TraceError

if TYPE_CHECKING:
    from mem_dfa.profiling.facade import Timeline

OPTION = "--update-memory-baseline"
_QUANTITY = "step"


def judge(
    test: str, file: Path, timeline: Timeline | None, tolerance_percent: float, *, updates: bool
) -> str:
    """What is wrong with the memory that a test took; "" if nothing is, or it was written.

    Compared are the bytes that operations asked for, which neither the allocator's rounding nor
    what earlier tests left behind changes.

    Args:
        test: its name in its file, such as "test_step[a]".
        file: of the test.
        timeline: of the test's body, or of the step that it recorded; None if nothing was.
        tolerance_percent: how far it may be from the baseline, up or down.
        updates: write what moved into the baseline.
    """
    if timeline is None:
        return (
            "Nothing of this test was recorded to compare with its baseline: run the step within "
            "'with device_memory.trace(model):'."
        )
    try:
        return _judged(test, file, timeline, tolerance_percent, updates)
    except TraceError as error:
        return str(error)


def _judged(test: str, file: Path, timeline: Timeline, percent: float, updates: bool) -> str:
    timeline.require_exact()
    folder = Path(os.path.relpath(file.parent / baseline.FOLDER / file.stem))
    versions = _versions(timeline.device)
    path, known = baseline.path_of(folder, versions), baseline.read_all(folder)
    cells = known.get(path, {}).get("cells", {})
    taken = {_QUANTITY: baseline.parts_of(timeline.requested_at_peak())}
    pairs = baseline.pairs(cells, {**cells, test: taken}, {(test, _QUANTITY): percent})
    (own,) = (pair for pair in pairs if pair.name == test)
    if updates:
        if own.updated != own.before:
            baseline.write(path, versions, pairs)
        return ""
    if not own.has_moved:
        return ""
    command = f"python -m pytest {OPTION}"
    if own.before is None:
        others = "".join(f"; there is {one.name}" for one in known if one != path)
        return (
            f"{path} has no baseline of this test{others}. Make it with {command}, and commit it."
        )
    from mem_dfa.profiling.render import moved

    return f"{moved.text(own)}\nIf that is meant, run {command}, and commit {path}."


def _versions(device: str) -> dict[str, str]:
    import keras
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__, "device": device}
