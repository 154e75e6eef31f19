"""Measures everything that the figures and tables show, draws them, and writes the page.

``python -m experiments.reproduce`` runs one command after another, as `planned_figures` lists
them. What is measured already is left out, so an interrupted run goes on where it stopped. It says
beforehand about how long it will take. ``--quick`` does the same in small, without accuracies.

Exit status: 0 when all was measured and drawn, 1 when a part failed, 2 for arguments that make no
sense.
"""

import sys
import time
from collections.abc import Mapping, Sequence

from mem_dfa.experiments import figures
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.cli import arguments, screen
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.paper import commands, estimate, planned_figures
from mem_dfa.experiments.run import guarded
from mem_dfa.experiments.store import measured, results

DEFAULT_OUT, QUICK_OUT = "results", "results/quick"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    parser = arguments.Parser(
        prog="python -m experiments.reproduce",
        description="Measures all that the figures and tables show, and draws them.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--quick", action="store_true", help="few layers, mostly one process a cell, no accuracies"
    )
    parser.add_argument(
        "--out", metavar="DIR", help=f"default: {DEFAULT_OUT}, or {QUICK_OUT} with --quick"
    )
    options = parser.parse(argv)
    out = options.out or (QUICK_OUT if options.quick else DEFAULT_OUT)
    results.check_writable(out)
    lines = planned_figures.all_lines(options.quick)
    waiting = [line for line in lines if not commands.is_done(line, out)]
    screen.note(f"{len(lines) - len(waiting)} of {len(lines)} commands are done already")
    failed = _measure(waiting, out)
    names = [figure.name for figure in planned_figures.FIGURES]
    status = figures.draw(out, out, names, options.quick)
    for line in failed:
        screen.note(f"failed: {commands.shown(line, out)}")
    return 1 if failed else status


def _measure(lines: Sequence[str], out: str) -> list[str]:
    """Runs the lines and returns those that failed."""
    if not lines:
        return []
    expected = _expected(lines, out)
    _tell(expected, out)
    failed = []
    for number, line in enumerate(lines, start=1):
        left = sum(expected[later] or 0 for later in lines[number - 1 :])
        screen.note(
            f"{number}/{len(lines)} {commands.shown(line, out)} "
            f"(about {screen.duration(left)} left)"
        )
        status = commands.run(line, out)
        if status == 1 and line in planned_figures.CLAIMS and commands.is_done(line, out):
            screen.note("not every claim holds: see the tables")
        elif status:
            failed.append(line)
    return failed


def _expected(lines: Sequence[str], out: str) -> dict[str, float | None]:
    """Seconds of each line; None where nothing tells."""
    with screen.progress("timing one small cell") as report:
        start = time.perf_counter()
        small = make_cell("bp", "mlp", 1)
        row, _ = processes.measure(processes.check([small], report)[0], report, repeats=1)
    if row["status"] != "ok":
        raise processes.MeterSilentError(f"{small.title}: {row['status']}: {row['error']}")
    # Two processes: one that checked, one that measured.
    process_s = (time.perf_counter() - start) / 2
    rows, runs = measured.read(out), commands.read_runs(out)
    return estimate.seconds_of(lines, out, rows, runs, process_s)


def _tell(expected: Mapping[str, float | None], out: str) -> None:
    known = sum(seconds or 0 for seconds in expected.values())
    least, greatest = (
        screen.duration(known * factor)
        for factor in (1 / estimate.UNCERTAINTY, estimate.UNCERTAINTY)
    )
    screen.note(
        f"{len(expected)} commands to run: about {screen.duration(known)}, a guess that may be "
        f"wrong by a factor of {estimate.UNCERTAINTY:g} ({least} to {greatest})"
    )
    unknown = [line for line, seconds in expected.items() if seconds is None]
    if unknown:
        names = "; ".join(commands.shown(line, out) for line in unknown)
        screen.note(f"and what nothing tells beforehand: {names}")


if __name__ == "__main__":
    sys.exit(main())
