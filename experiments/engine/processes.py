"""Cells checked and measured, each in fresh processes; see `engine.worker`."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.cells.errors import MeterSilentError as MeterSilentError
from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.engine.worker import NO_LIMITS, Limits, MachineError, Report
from mem_dfa.experiments.store import results, schemas

Row = dict[str, Any]


class Survey(NamedTuple):
    """What the cells of a sweep have in common."""

    device: str
    tensorflow: str


def check(cells: Sequence[Cell], report: Report) -> list[Cell]:
    """Finds out whether each of the cells makes sense, and returns them with their device's name.

    Of several depths the two ends are built. Raises UsageError where something cannot be had,
    MeterSilentError without the allocator's statistics, MachineError where the process died.
    """
    depths = sorted(cell.layers or 0 for cell in cells)
    ends = [cell for cell in cells if (cell.layers or 0) in (depths[0], depths[-1])]
    found = _looked_at(ends, report)
    for refusal in filter(None, found["refusals"]):
        raise UsageError(refusal)
    return [dataclasses.replace(cell, device=found["device"]) for cell in cells]


def survey(cells: Sequence[Cell], report: Report) -> Survey:
    """Finds out whether a sweep makes sense: each model and each algorithm has one that it fits.

    The smallest cell of each pair is built; what else cannot be becomes a row. Raises as `check`.
    """
    pairs: dict[tuple[str, str], Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.layers or 0, cell.batch_size)):
        pairs.setdefault((cell.model, cell.algorithm), cell)
    found = _looked_at(list(pairs.values()), report)
    refusals = dict(zip(pairs, found["refusals"], strict=True))
    for part in (0, 1):
        fitting = {pair[part] for pair, refusal in refusals.items() if refusal is None}
        for pair, refusal in refusals.items():
            if pair[part] not in fitting:
                raise UsageError(refusal)
    return Survey(found["device"], found["tensorflow"])


def _looked_at(cells: Sequence[Cell], report: Report) -> dict[str, Any]:
    """What `measure.child.survey` says of cells."""
    result = worker.call("survey", cells, report)
    status, error = result["status"], result.get("error")
    if status == "ok":
        return result
    if status in ("refused", "no_meter"):
        raise (UsageError if status == "refused" else MeterSilentError)(error)
    raise MachineError(f"the check before measuring {status}: {error}")


def measure(
    cell: Cell, report: Report, repeats: int = REPEATS, limits: Limits = NO_LIMITS
) -> tuple[Row, list[Row]]:
    """The row of one cell, the median and spread over fresh processes, and one per trained epoch.

    A failure is a row as well: its ``status`` and ``error`` say which. The limits are of each of
    the processes, of which there are ``repeats`` for memory.
    """
    started = time.perf_counter()
    parts = repeats + (cell.epochs > 0)

    def told(prefix: str, number: int) -> Report:
        return lambda note, done: report(prefix + note, (number + done) / parts)

    samples: list[Row] = []
    while len(samples) < repeats and all(sample["status"] == "ok" for sample in samples):
        number = len(samples)
        # One timeline is enough, and the others' processes have less to do.
        traced = cell.trace_file if number + 1 == repeats else None
        one = dataclasses.replace(cell, trace_file=traced)
        note = told(f"process {number + 1} of {repeats}: ", number)
        samples.append(worker.call("measure", [one], note, limits))
    row = _merge(samples)
    if row["status"] == "ok" and cell.epochs:
        row |= worker.call("train", [cell], told("training: ", repeats), limits)
    epochs = row.pop("history", [])
    return _row(cell, row | {"cell_time_s": round(time.perf_counter() - started, 1)}), epochs


def failed(cell: Cell, error: Exception) -> Row:
    """The row of a cell whose measurement itself broke."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return _row(cell, {"status": "failed", "error": text})


def _merge(samples: list[Row]) -> Row:
    """The sample in the middle by step bytes, so that its bytes belong together, and the spread."""
    if samples[-1]["status"] != "ok":
        return samples[-1]
    merged = sorted(samples, key=lambda sample: sample["step_bytes"])[len(samples) // 2] | {
        "repeats": len(samples),
        # Of a timeline, which may be of one process alone.
        "error": next((sample["error"] for sample in samples if sample.get("error")), None),
    }
    for column in (*schemas.SPREAD_COLUMNS, "first_step_s"):
        values = [sample[column] for sample in samples if sample[column] is not None]
        if values:
            merged |= {f"{column}_min": min(values), f"{column}_max": max(values)}
        if column not in ("peak_bytes", "step_bytes"):
            merged[column] = statistics.median_low(values) if values else None
    return merged


def _row(cell: Cell, result: Row) -> Row:
    row = {
        **cell.row(),
        "trace_file": cell.trace_file,
        **result,
        "format_version": schemas.FORMAT_VERSION,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": results.machine(),
    }
    return {column: row.get(column) for column in results.COLUMNS}
