"""Draws every figure of the reproduction from what was measured, and the page with all of it.

``python -m experiments.figures`` reads the tables and timelines under ``--from``, measures nothing,
and writes ``figures/NAME.png`` and ``.svg`` and ``report.html`` under ``--out``.

Exit status: 0 when all is drawn, 1 when data is missing or damaged, and then which commands make it
is said, and what can be drawn is; 2 for arguments that make no sense.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import arguments, commands, display, paper, results
from experiments.paper import Kind, PlannedFigure
from experiments.run import guarded
from profiling.xplane import TraceError


@dataclass(frozen=True)
class Outcome:
    """What became of one figure."""

    figure: PlannedFigure
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    """Why it is not drawn, or not whole; empty where it is."""
    lines: list[str] = field(default_factory=list)
    """The commands that make what is missing, see `experiments.commands`."""
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
        default="results",
        metavar="DIR",
        help="with the tables and timelines (default: results)",
    )
    parser.add_argument("--out", metavar="DIR", help="default: as --from")
    names = [figure.name for figure in paper.FIGURES]
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
    from experiments import report

    chosen = [figure for figure in paper.FIGURES if figure.name in names]
    outcomes = []
    with display.progress("drawing", quiet=True) as tell:
        for number, figure in enumerate(chosen):
            tell(f"figure {number + 1} of {len(chosen)}", number / len(chosen))
            outcomes.append(_drawn(figure, source, out, quick))
    for outcome in outcomes:
        if outcome.is_drawn:
            print(f"figure: {stem_of(outcome.figure, out)}.png and .svg")
    try:
        print(f"page: {report.write(source, out, outcomes, quick)}")
    except TraceError as error:
        raise results.ResultsError(str(error)) from error
    incomplete = [outcome for outcome in outcomes if outcome.problem]
    for outcome in incomplete:
        state = "not whole" if outcome.is_drawn else "not drawn"
        display.note(f"{state}: {outcome.figure.name}: {outcome.problem}")
        for line in outcome.lines:
            display.note(f"    {commands.shown(line, source)}")
    return 1 if incomplete else 0


def stem_of(figure: PlannedFigure, out: str | Path) -> Path:
    """The files of a figure, without their endings."""
    return Path(out, "figures", figure.name)


def _drawn(figure: PlannedFigure, source: str, out: str, quick: bool) -> Outcome:
    from experiments import pictures
    from experiments.drawings import DRAWINGS

    lines = paper.lines_of(figure, quick)
    if not lines:
        return Outcome(figure)
    cells = {line: commands.plan_of(line).cells for line in lines}
    asked = list(dict.fromkeys(cell for line in lines for cell in cells[line]))
    try:
        drawn = DRAWINGS[figure.kind](source, figure.title, asked)
        of_others = figure.kind is Kind.TAKING_TURNS and drawn.figure is not None
        of_others = of_others and not commands.is_of_bench(lines[0], source)
    except results.ResultsError as error:
        return Outcome(figure, problem=str(error), lines=list(lines))
    if drawn.figure is not None:
        try:
            pictures.save(drawn.figure, stem_of(figure, out))
        except TraceError as error:
            raise results.ResultsError(str(error)) from error
    problems = [drawn.problem] if drawn.problem else []
    if of_others:
        problems.append("bench.csv is of another command; made by")
    if drawn.missing:
        problems.append(f"{len(drawn.missing)} of {len(asked)} cells are missing; made by")
    missing = set(drawn.missing)
    return Outcome(
        figure,
        drawn.notes,
        "; ".join(problems),
        [line for line in lines if problems and (not asked or missing & set(cells[line]))],
        drawn.figure is not None,
    )


if __name__ == "__main__":
    sys.exit(main())
