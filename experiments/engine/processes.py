"""Cells checked and measured, each in fresh processes; see `engine.worker`."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.cells.errors import MeterSilentError as MeterSilentError
from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.engine.worker import MachineError, Report
from mem_dfa.experiments.store import results

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the cells of a sweep have in common."""

    device: str
    tensorflow: str


def silent(note: str, done: float) -> None:
    """A `Report` that tells nobody."""


def check(cells: Sequence[Cell], report: Report) -> list[Cell]:
    """Finds out whether the cells make sense, and returns them with their device's name.

    A sweep over depths is checked at its two ends.

    Raises:
        UsageError: a model, algorithm, data set or device that cannot be had.
        MeterSilentError: the allocator's statistics are missing or wrong.
    """
    depths = {min(_depths(cells)), max(_depths(cells))}
    result = worker.call("check", [cell for cell in cells if (cell.layers or 0) in depths], report)
    if result["status"] == "refused":
        raise UsageError(result["error"])
    if result["status"] == "no_meter":
        raise MeterSilentError(result["error"])
    # Whatever else went wrong, such as too little memory, is each cell's own to find out.
    device = result.get("device")
    return [dataclasses.replace(cell, device=device or cell.device) for cell in cells]


def survey(cells: Sequence[Cell], report: Report) -> Survey:
    """Finds out whether a sweep makes sense: each model and each algorithm has one that it fits.

    The shallowest cell of each pair is built; what cannot be built otherwise becomes a row.

    Raises:
        UsageError: a model, algorithm, data set or device that cannot be had.
        MeterSilentError: the allocator's statistics are missing or wrong.
        MachineError: the process that finds it out died.
    """
    pairs: dict[tuple[str, str], Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.layers or 0):
        pairs.setdefault((cell.model, cell.algorithm), cell)
    result = worker.call("survey", list(pairs.values()), report)
    if result["status"] == "refused":
        raise UsageError(result["error"])
    if result["status"] == "no_meter":
        raise MeterSilentError(result["error"])
    if result["status"] != "ok":
        raise MachineError(f"the check before measuring {result['status']}: {result['error']}")
    refusals = dict(zip(pairs, result["refusals"], strict=True))
    for part in (0, 1):
        fitting = {pair[part] for pair, refusal in refusals.items() if refusal is None}
        for pair, refusal in refusals.items():
            if pair[part] not in fitting:
                raise UsageError(refusal)
    return Survey(result["device"], result["tensorflow"])


def _depths(cells: Sequence[Cell]) -> list[int]:
    return [cell.layers or 0 for cell in cells]


def measure(
    cell: Cell,
    report: Report,
    repeats: int = REPEATS,
    limits: worker.Limits = worker.NO_LIMITS,
) -> tuple[Row, list[Row]]:
    """The row of one cell: the median and the spread over fresh processes, trained if asked for.

    A failure is a row as well: its ``status`` and ``error`` say which.

    Args:
        cell: what is measured.
        report: is told of the progress.
        repeats: number of processes.
        limits: of each of them.

    Returns:
        The row, and one row per epoch of training.
    """
    started = time.perf_counter()
    row, epochs = _measured(cell, report, repeats, limits)
    return {**row, "cell_time_s": round(time.perf_counter() - started, 1)}, epochs


def _measured(
    cell: Cell, report: Report, repeats: int, limits: worker.Limits
) -> tuple[Row, list[Row]]:
    parts = repeats + (cell.epochs > 0)
    samples: list[Row] = []
    for number in range(repeats):
        note = f"process {number + 1} of {repeats}: "
        # One timeline is enough, and the others' processes have less to do.
        traced = cell.trace_file if number == repeats - 1 else None
        task = dataclasses.replace(cell, trace_file=traced)
        sample = worker.call("measure", [task], _part(report, note, number, parts), limits)
        if sample["status"] != "ok":
            return _row(cell, sample), []
        samples.append(sample)
    row = _row(cell, _merge(samples))
    if cell.epochs:
        told = _part(report, "training: ", repeats, parts)
        trained = worker.call("train", [cell], told, limits)
        history = trained.pop("history", [])
        row.update(trained)
        return row, history
    return row, []


def failed(cell: Cell, error: Exception) -> Row:
    """The row of a cell whose measurement itself broke."""
    text = " ".join(str(error).split())
    return _row(cell, {"status": "failed", "error": f"{type(error).__name__}: {text}"})


def _part(report: Report, prefix: str, number: int, parts: int) -> Report:
    return lambda note, done: report(prefix + note, (number + done) / parts)


def _merge(samples: list[Row]) -> Row:
    """The sample in the middle by step bytes, so that its bytes belong together, and the spread."""
    merged = dict(sorted(samples, key=lambda sample: sample["step_bytes"])[len(samples) // 2])
    for column in results.SPREAD_COLUMNS:
        values = [sample[column] for sample in samples if sample[column] is not None]
        if values:
            merged[f"{column}_min"], merged[f"{column}_max"] = min(values), max(values)
    for column in ("step_time_s", "first_step_s", "step_requested_bytes"):
        values = [sample[column] for sample in samples if sample[column] is not None]
        merged[column] = statistics.median_low(values) if values else None
    # Of a timeline, which may be of one process alone.
    faults = [sample["error"] for sample in samples if sample.get("error")]
    return {**merged, "repeats": len(samples), "error": faults[0] if faults else None}


def _row(cell: Cell, result: Row) -> Row:
    row = {
        **cell.row(),
        "trace_file": cell.trace_file,
        **result,
        "format_version": results.FORMAT_VERSION,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": results.machine(),
    }
    return {column: row.get(column) for column in results.COLUMNS}
