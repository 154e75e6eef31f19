"""Commands of this package as lines of text: what they measure, and running them.

A line names a module of `experiments` and its options, as "sweep --algo bp --model mlp".
"""

import csv
import dataclasses
import functools
import io
import os
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from mem_dfa.experiments import depth
from mem_dfa.experiments import run as run_command
from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.cli import arguments, sweep_options
from mem_dfa.experiments.measure.server import die_with
from mem_dfa.experiments.paper import planned_figures
from mem_dfa.experiments.store import files, histories, machine, measured, results, traces, values

_CELL_COMMANDS = ("sweep", "run")
RUNS_FILE = "commands.csv"
RUN_COLUMNS = ("command", "started", "seconds", "exit_status", "machine")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a line measures, cell by cell."""

    cells: tuple[Cell, ...]
    repeats: int
    is_traced: bool


def shown(line: str, out: str | None = None) -> str:
    """A line as one types it.

    Args:
        line: of this package's commands.
        out: the folder that it writes to; None for the usual one.
    """
    folder = [] if out in (None, "results") else ["--out", out]
    module, *words = shlex.split(line)
    return shlex.join(["python", "-m", f"experiments.{module}", *words, *folder])


def run(line: str, out: str) -> int:
    """Runs a line in a process of its own, which shows its progress, and returns its status.

    On Linux that process ends with this one, however this one ends.

    When it ran, how long and on what is a row of commands.csv under `out`.

    Raises:
        results.ResultsError: that row cannot be written.
    """
    module, *words = shlex.split(line)
    started, start = datetime.now(UTC), time.perf_counter()
    command = [sys.executable, "-m", f"experiments.{module}", *words, "--out", out]
    status = subprocess.run(command, preexec_fn=functools.partial(die_with, os.getpid())).returncode
    seconds = round(time.perf_counter() - start, 1)
    began = started.isoformat(timespec="seconds")
    told = (shown(line), began, seconds, status, machine.description())
    path = files.behind_links(Path(out, RUNS_FILE))
    with files.locked(path):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, RUN_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*read_runs(out), dict(zip(RUN_COLUMNS, told, strict=True))])
        files.replace(path, text.getvalue())
    return status


def read_runs(out: str) -> list[dict[str, str]]:
    """The rows that `run` left, the latest last.

    Raises:
        results.ResultsError: the file is another.
    """
    path = Path(out, RUNS_FILE)
    files.check_is_file(path)
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            if set(row) != set(RUN_COLUMNS) or None in row.values():
                raise ValueError("its columns are others")
            values.fraction("seconds", row["seconds"])
    except (OSError, ValueError, csv.Error) as error:
        raise results.ResultsError(
            f"{path} is no list of commands ({error}); move it away"
        ) from error
    return rows


def plan_of(line: str) -> Plan:
    """What a line measures; no cells for commands that make tables of another kind.

    Raises:
        arguments.UsageError: its options make no sense.
    """
    module, *words = shlex.split(line)
    if module not in _CELL_COMMANDS:
        return Plan((), 1, False)
    if module == "sweep":
        options = sweep_options.parser().parse(words)
        return Plan(tuple(sweep_options.cells(options)), options.repeats, False)
    options = run_command.parser().parse(words)
    return Plan(tuple(arguments.cells(options)), REPEATS, options.trace)


def is_done(line: str, out: str) -> bool:
    """Whether all that a line measures is known, as far as the files tell.

    Raises:
        results.ResultsError: a file that would tell is damaged.
    """
    module = shlex.split(line)[0]
    if missing_cells(line, out):
        return False
    if module in _CELL_COMMANDS:
        return True
    if not all(Path(out, name).exists() for name in files_of(line)):
        return False
    if module == "bench" and not is_of_bench(line, out):
        return False
    ended = {run["command"] for run in read_runs(out) if run["exit_status"] == "0"}
    return module not in _TOLD or shown(line) in ended


# What commands without cells of their own leave. Some write while they go on, and run again find
# what is done, or leave the same file whatever they measure: whether these came to their end only
# the list of commands tells.
_FILES = {
    "bench": ("bench.csv",),
    "depth": ("depth.csv",),
    "fit": ("fit.csv",),
}
_TOLD = ("bench", "depth", "fit")


def files_of(line: str) -> tuple[str, ...]:
    """The tables that a line adds to or writes."""
    if line in planned_figures.CLAIMS:
        return (f"claims_{line.split()[-1]}.csv",)
    return _FILES.get(shlex.split(line)[0], (results.FILE_NAME,))


def is_of_bench(line: str, out: str) -> bool:
    """Whether bench.csv, of which each run takes the place of the one before, is of this line.

    Raises:
        results.ResultsError: the file cannot be read.
    """
    path = Path(out, *files_of(line))
    files.check_is_file(path)
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            wanted, told = shlex.split(line)[1:], csv.DictReader(file)
            commands = [shlex.split(row.get("command") or "")[3:] for row in told]
    except (OSError, ValueError, csv.Error) as error:
        raise results.ResultsError(f"{path} is no table of experiments.bench ({error})") from error
    count = len(wanted)
    return bool(commands) and all(
        words[:count] == wanted
        and words[count : count + 1] in ([], ["--out"])
        and len(words) <= count + 2
        for words in commands
    )


def missing_cells(line: str, out: str) -> list[Cell]:
    """The cells of a line that are neither measured nor known to fail.

    One that is recorded has to have its timeline, whether it failed or not.
    Where a line of the same figure was measured with a newer TensorFlow, that counts alone, as it
    does for the figure.
    """
    module, *words = shlex.split(line)
    if module == "depth":
        return depth.missing(words, out)
    plan = plan_of(line)
    if plan.is_traced:
        return [cell for cell in plan.cells if not traces.found(cell, out)]
    beside = [cell for other in planned_figures.lines_beside(line) for cell in plan_of(other).cells]
    selection = measured.select(measured.read(out), [*beside, *plan.cells], plan.repeats)
    own = set(plan.cells)
    missing = [cell for cell in selection.missing if cell in own]
    untrained = [cell for cell in plan.cells if cell.epochs and not histories.read(out, cell)]
    return list(dict.fromkeys([*missing, *untrained]))
