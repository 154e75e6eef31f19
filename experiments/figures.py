"""Draws every figure of the reproduction from what was measured, and the page with all of it.

``python -m experiments.figures`` reads the tables and timelines under ``--from``, measures nothing,
and writes ``figures/NAME.png`` and ``.svg`` and ``page.html`` under ``--out``.

Exit status: 0 when all is drawn, 1 when data is missing or damaged, and then which commands make it
is said, and what can be drawn is; 2 for arguments that make no sense.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mem_dfa.experiments.cli import arguments, screen
from mem_dfa.experiments.paper import commands, planned_figures
from mem_dfa.experiments.paper.planned_figures import Kind, PlannedFigure
from mem_dfa.experiments.run import guarded
from mem_dfa.experiments.store import results
from mem_dfa.profiling import TraceError

if TYPE_CHECKING:  # it imports matplotlib
    from mem_dfa.experiments.pictures.canvas import Drawn


@dataclass(frozen=True)
class Outcome:
    """What became of one figure."""

    figure: PlannedFigure
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    """Why it is not drawn, or not whole; empty where it is."""
    lines: list[str] = field(default_factory=list)
    """The commands that make what is missing, see `paper.commands`."""
    is_drawn: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse(argv)
    source = options.source
    if not Path(source).is_dir():
        raise arguments.UsageError(
            f"--from {source!r} is no folder; name one that experiments.sweep wrote to"
        )
    return draw(source, options.out or source, options.figure)


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog="python -m experiments.figures",
        description="Draws every figure from what was measured, and writes a page with all of it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=arguments.folder,
        default="results",
        metavar="DIR",
        help="with the tables and timelines (default: results)",
    )
    parser.add_argument("--out", metavar="DIR", help="default: as --from")
    names = [figure.name for figure in planned_figures.FIGURES]
    parser.add_argument(
        "--figure",
        type=arguments.some_of("a figure", names),
        default=names,
        metavar="NAME,...",
        help=f"{', '.join(names)} (default: all)",
    )
    return parser


def draw(source: str, out: str, names: Sequence[str], quick: bool = False) -> int:
    """Draws figures and writes the page; tells the user, and returns the exit status.

    Args:
        source: the folder of what was measured.
        out: the folder that is written to.
        names: of figures.
        quick: whether the figures are those of the quick commands.

    Raises:
        results.ResultsError: nothing can be written.
    """
    from mem_dfa.experiments.report import page

    chosen = [figure for figure in planned_figures.FIGURES if figure.name in names]
    outcomes = []
    with screen.progress("drawing", quiet=True) as tell:
        for number, figure in enumerate(chosen):
            tell(f"figure {number + 1} of {len(chosen)}", number / len(chosen))
            outcomes.append(_drawn(figure, source, out, quick))
    for outcome in outcomes:
        if outcome.is_drawn:
            print(f"figure: {stem_of(outcome.figure, out)}.png and .svg")
    try:
        print(f"page: {page.write(source, out, outcomes, quick)}")
    except TraceError as error:
        raise results.ResultsError(str(error)) from error
    incomplete = [outcome for outcome in outcomes if outcome.problem]
    for outcome in incomplete:
        state = "not whole" if outcome.is_drawn else "not drawn"
        screen.note(f"{state}: {outcome.figure.name}: {outcome.problem}")
        for line in outcome.lines:
            screen.note(f"    {commands.shown(line, source)}")
    return 1 if incomplete else 0


def stem_of(figure: PlannedFigure, out: str | Path) -> Path:
    """The files of a figure, without their endings."""
    return Path(out, "figures", figure.name)


def _drawn(figure: PlannedFigure, source: str, out: str, quick: bool) -> Outcome:
    from mem_dfa.experiments.pictures import canvas
    from mem_dfa.experiments.pictures.drawings import DRAWINGS

    lines = planned_figures.lines_of(figure, quick)
    if not lines:
        return Outcome(figure)
    asked = dict.fromkeys(cell for line in lines for cell in commands.plan_of(line).cells)
    try:
        drawn = DRAWINGS[figure.kind](source, figure.title, list(asked))
        problems, wanted = _gaps(figure.kind, drawn, lines, source)
    except results.ResultsError as error:
        return Outcome(figure, problem=str(error), lines=list(lines))
    if drawn.figure is not None:
        try:
            canvas.save(drawn.figure, stem_of(figure, out))
        except TraceError as error:
            raise results.ResultsError(str(error)) from error
    return Outcome(figure, drawn.notes, "; ".join(problems), wanted, drawn.figure is not None)


def _gaps(
    kind: Kind, drawn: "Drawn", lines: Sequence[str], source: str
) -> tuple[list[str], list[str]]:
    """What a figure lacks, in words, and which of its lines make that."""
    cells = {line: set(commands.plan_of(line).cells) for line in lines}
    missing, is_drawn = set(drawn.missing), drawn.figure is not None
    problems = [drawn.problem] if drawn.problem else []
    if is_drawn and kind is Kind.TAKING_TURNS and not commands.is_of_bench(lines[0], source):
        problems.append("bench.csv is of another command; made by")
    if is_drawn and kind is Kind.AGAINST_DEPTH:
        depths = len(commands.missing_cells(lines[0], source))
        problems += [f"{depths} of its cells are missing; made by"] if depths else []
    if missing:
        count = len(set().union(*cells.values()))
        problems.append(f"{len(missing)} of {count} cells are missing; made by")
    if not problems and not is_drawn:
        return ["every cell failed; measured again by"], [f"{line} --retry" for line in lines]
    wanted = [line for line in lines if not cells[line] or missing & cells[line]]
    return problems, wanted if problems else []


if __name__ == "__main__":
    sys.exit(main())
