"""Draws every figure of the reproduction from what was measured, and the page with all of it.

``python -m experiments.figures`` reads the tables and timelines under ``--from``, measures nothing,
and writes ``figures/NAME.png``, ``report.html`` and an index under ``--out``.

Exit status: 0 when all is drawn, 1 when data is missing or damaged, and then which command makes it
is said, and what can be drawn is; 2 for arguments that make no sense.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.paper import planned_figures
from mem_dfa.experiments.paper.outcome import Outcome, command_of
from mem_dfa.experiments.paper.planned_figures import PlannedFigure, wanted_by
from mem_dfa.experiments.store import results
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling import TraceError


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    source = options.source
    if not Path(source).is_dir():
        raise arguments.UsageError(
            f"--from {source!r} is no folder; name one that experiments.sweep wrote to"
        )
    kinds = ("png", "svg") if options.svg else ("png",)
    return draw(source, options.out or source, options.figure, kinds=kinds)


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        "figures", "Draws every figure from what was measured, and writes a page with all of it."
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
    parser.add_argument("--svg", action="store_true", help="as SVG as well as PNG")
    return parser


def draw(
    source: str,
    out: str,
    names: Sequence[str],
    quick: bool = False,
    kinds: Sequence[str] = ("png",),
) -> int:
    """Draws figures and writes the page; tells the user, and returns the exit status.

    Args:
        source: the folder of what was measured.
        out: the folder that is written to.
        names: of figures.
        quick: whether the figures are the small ones.
        kinds: of files, "png" and "svg".

    Raises:
        results.ResultsError: nothing can be written.
    """
    from mem_dfa.experiments.report import index, page

    chosen = [figure for figure in planned_figures.FIGURES if figure.name in names]
    outcomes = []
    with screen.progress("drawing", quiet=True) as tell:
        for number, figure in enumerate(chosen):
            tell(f"figure {number + 1} of {len(chosen)}", number / len(chosen))
            outcomes.append(_drawn(figure, source, out, quick, kinds))
    for outcome in outcomes:
        if outcome.is_drawn:
            for kind in kinds:
                print(f"figure: {stem_of(outcome.figure, out)}.{kind}")
    try:
        print(f"page: {page.write(source, out, outcomes, quick)}")
        print(f"index: {index.write(out)}")
    except TraceError as error:
        raise results.ResultsError(str(error)) from error
    incomplete = [outcome for outcome in outcomes if outcome.problem]
    for outcome in incomplete:
        state = "not whole" if outcome.is_drawn else "not drawn"
        screen.note(f"{state}: {outcome.figure.name}: {outcome.problem}")
        screen.note(f"    {command_of(outcome.figure, source, quick)}")
    return 1 if incomplete else 0


def stem_of(figure: PlannedFigure, out: str | Path) -> Path:
    """The files of a figure, without their endings."""
    return Path(out, "figures", figure.name)


def _drawn(
    figure: PlannedFigure, source: str, out: str, quick: bool, kinds: Sequence[str]
) -> Outcome:
    from mem_dfa.experiments.pictures import canvas
    from mem_dfa.experiments.pictures.drawings import DRAWINGS

    wanted = dict.fromkeys(cell for one in wanted_by(figure, quick) for cell in one.cells)
    if not wanted:
        return Outcome(figure)
    try:
        drawn = DRAWINGS[figure.kind](source, figure.title, list(wanted))
    except results.ResultsError as error:
        return Outcome(figure, problem=str(error))
    if drawn.figure is not None:
        try:
            canvas.save(drawn.figure, stem_of(figure, out), kinds)
        except TraceError as error:
            raise results.ResultsError(str(error)) from error
    problems = [drawn.problem] if drawn.problem else []
    if drawn.missing:
        problems.append(f"{len(drawn.missing)} of {len(wanted)} cells are missing; measured by")
    if not problems and drawn.figure is None:
        problems = ["every cell failed; `experiments.sweep --retry` measures them again, or"]
    return Outcome(figure, drawn.notes, "; ".join(problems), drawn.figure is not None)


if __name__ == "__main__":
    sys.exit(main())
