"""Measures everything that the figures and tables show, draws them, and writes the page.

``python -m experiments.reproduce`` measures the cells that figures want and that are not known yet,
so an interrupted run goes on where it stopped. It says beforehand how long they took when they were
measured before. ``--quick`` does the same in small, without accuracies.

Exit status: 0 when all was measured and drawn, 1 when a part failed, 2 for arguments that make no
sense.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments import bench, claims, figures, fit, sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, room
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.paper import plan
from mem_dfa.experiments.paper.plan import FIT_MEMORY_BYTES, How
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.store import results
from mem_dfa.experiments.terminal import screen

DEFAULT_OUT, QUICK_OUT = "results", "results/quick"


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    out = options.out or (QUICK_OUT if options.quick else DEFAULT_OUT)
    results.check_writable(out)
    # What several figures want is measured once, and together what is measured in the same way.
    asked: set[str] = set()
    waiting: dict[How, dict[str, Cell]] = {}
    for figure in FIGURES:
        if figure.name in options.figure:
            wanted = figure.wanted(options.quick)
            asked |= {cell.key() for cells in wanted.values() for cell in cells}
            for how, cells in plan.missing(wanted, out).items():
                waiting.setdefault(how, {}).update({cell.key(): cell for cell in cells})
    _tell(asked, waiting, out)
    statuses = [_measure(how, list(cells.values()), out) for how, cells in waiting.items()]
    if len(options.figure) == len(FIGURES) and not options.quick:
        statuses += _tables(out)
    return max([figures.draw(out, out, options.figure, options.quick), *statuses])


def _parser() -> arguments.Parser:
    description = "Measures all that figures show, and draws them; of all figures the tables, too."
    parser = arguments.Parser("reproduce", description)
    group = parser.group("figures", "--figure layers_vgg16 --quick")
    figures.add_figure_option(group)
    group.add_argument(
        "--quick", action="store_true", help="few layers, mostly one process a cell, no accuracies"
    )
    arguments.add_out_option(group, f"{DEFAULT_OUT}, or {QUICK_OUT} with --quick")
    return parser


def _tell(asked: set[str], waiting: dict[How, dict[str, Cell]], out: str) -> None:
    """Says how much there is to measure, and how long that took before."""
    cells = {key: cell for cells in waiting.values() for key, cell in cells.items()}
    screen.note(f"{len(asked) - len(cells)} of {len(asked)} cells are known already")
    if cells:
        rows = [row for folder in dict.fromkeys([DEFAULT_OUT, out]) for row in results.read(folder)]
        seconds, unknown = plan.recorded_seconds(cells.values(), rows)
        took = f"{screen.duration(seconds)} when they were measured before"
        more = f", and {unknown} of which no time is recorded" if unknown else ""
        screen.note(f"{len(cells)} to measure: {took}{more}")


def _measure(how: How, cells: Sequence[Cell], out: str) -> int:
    """Measures cells and returns the status."""
    if how.takes_turns:
        return bench.compare(cells, out, how.repeats)
    if how.is_fitted:
        words = ["--memory", f"{FIT_MEMORY_BYTES // 2**20}MiB", "--model", cells[0].model]
        algorithms = ",".join(cell.algorithm for cell in cells)
        words += ["--algo", algorithms, "--dataset", "synthetic"]  # whose number has no end
        return fit.main([*words, "--out", out])
    limits = how.limits or room.alone(max(cell.epochs for cell in cells))
    with engines.opened(None, 1) as engine:
        return sweep.measure(cells, out, how.repeats, limits, engine, is_traced=how.is_traced)


def _tables(out: str) -> list[int]:
    """Makes the tables that no figure shows, where they are not there."""
    statuses = []
    for part in claims.PARTS:
        table = Path(out, "tables", f"claims_{part}.csv")
        if not table.exists():
            status = claims.main(["--part", part, "--out", out])
            # A claim that does not hold is in the table, and is no failure to make that.
            statuses.append(0 if table.exists() else status)
    return statuses


if __name__ == "__main__":
    sys.exit(main())
