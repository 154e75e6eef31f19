"""Measures everything that the figures and tables show, draws them, and writes the page.

``python -m experiments.reproduce`` measures the cells that figures want and that are not known yet,
so an interrupted run goes on where it stopped. It says beforehand how long they took when they were
measured before. ``--quick`` does the same in small, without accuracies.

Exit status: 0 when all was measured and drawn, 1 when a part failed, 2 for arguments that make no
sense.
"""

import sys
from collections.abc import Sequence

from mem_dfa.experiments import bench, claims, figures, fit, sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, room
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.paper import missing, planned_figures
from mem_dfa.experiments.paper.planned_figures import ALL, FIGURES, PlannedFigure, Wanted
from mem_dfa.experiments.store import results
from mem_dfa.experiments.terminal import screen

DEFAULT_OUT, QUICK_OUT = "results", "results/quick"


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    out = options.out or (QUICK_OUT if options.quick else DEFAULT_OUT)
    results.check_writable(out)
    chosen = [figure for figure in FIGURES if figure.name in options.figure]
    wanted = _merged(chosen, options.quick, out)
    _tell(chosen, wanted, options.quick, out)
    statuses = [_measure(one, out) for one in wanted]
    if len(chosen) == len(FIGURES) and not options.quick:
        statuses += _tables(out)
    return max([figures.draw(out, out, options.figure, options.quick), *statuses])


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        "reproduce", "Measures all that the figures and tables show, and draws them."
    )
    parser.add_argument(
        "--quick", action="store_true", help="few layers, mostly one process a cell, no accuracies"
    )
    names = [figure.name for figure in FIGURES]
    parser.add_argument(
        "--figure",
        type=arguments.some_of("a figure", names),
        default=names,
        metavar="NAME,...",
        help=f"{', '.join(names)} (default: all, and the tables)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help=f"default: {DEFAULT_OUT}, or {QUICK_OUT} with --quick"
    )
    return parser


def _merged(chosen: Sequence[PlannedFigure], quick: bool, out: str) -> list[Wanted]:
    """What the figures lack; cells that are measured in the same way are measured together."""
    groups: dict[tuple, dict[str, Cell]] = {}
    for figure in chosen:
        for one in missing.missing_of(figure, quick, out):
            turns = figure.name if one.takes_turns else ""
            how = (one.repeats, one.is_traced, turns, one.limits)
            groups.setdefault(how, {}).update({cell.key(): cell for cell in one.cells})
    return [
        Wanted(tuple(cells.values()), repeats, is_traced, bool(turns), limits)
        for (repeats, is_traced, turns, limits), cells in groups.items()
    ]


def _tell(chosen: Sequence[PlannedFigure], wanted: Sequence[Wanted], quick: bool, out: str) -> None:
    """Says how much there is to measure, and how long that took before."""
    asked = {
        cell.key()
        for figure in chosen
        for one in planned_figures.wanted_by(figure, quick)
        for cell in one.cells
    }
    waiting = list({cell.key(): cell for one in wanted for cell in one.cells}.values())
    screen.note(f"{len(asked) - len(waiting)} of {len(asked)} cells are known already")
    if waiting:
        rows = [row for folder in dict.fromkeys([DEFAULT_OUT, out]) for row in results.read(folder)]
        seconds, unknown = missing.recorded_seconds(waiting, rows)
        more = f", and {unknown} of which no time is recorded" if unknown else ""
        screen.note(
            f"{len(waiting)} to measure: {screen.duration(seconds)} when they were measured "
            f"before{more}"
        )


def _measure(one: Wanted, out: str) -> int:
    """Measures cells and returns the status."""
    if one.takes_turns:
        return bench.compare(one.cells, out, one.repeats)
    limits = one.limits or room.alone(max(cell.epochs for cell in one.cells))
    with engines.opened(None, 1) as engine:
        return sweep.measure(one.cells, out, one.repeats, limits, engine, is_traced=one.is_traced)


def _tables(out: str) -> list[int]:
    """Makes the tables that no figure shows, where they are not there."""
    statuses = []
    if not missing.is_fitted(out):
        words = ["--memory", f"{missing.FIT_MEMORY_BYTES // 2**20}MiB", "--algo", ",".join(ALL)]
        statuses.append(fit.main([*words, "--model", missing.FIT_MODEL, "--out", out]))
    for part in claims.PARTS:
        if not missing.is_claimed(part, out):
            status = claims.main(["--part", part, "--out", out])
            # A claim that does not hold is in the table, and is no failure to make that.
            statuses.append(0 if missing.is_claimed(part, out) else status)
    return statuses


if __name__ == "__main__":
    sys.exit(main())
