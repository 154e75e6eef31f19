"""Draws every figure of the reproduction from what was measured, and the page with all of it.

``python -m experiments.figures`` reads the tables and timelines under ``--from``, measures nothing,
and writes ``figures/NAME.png``, ``report.html`` and an index under ``--out``.

Exit status: 0 when all is drawn, 1 when data is missing or damaged, and then which command makes it
is said, and what can be drawn is; 2 for arguments that make no sense.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments.cli import arguments, values
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.terminal import screen


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    description = "Draws every figure from what was measured, and writes a page with all of it."
    parser = arguments.Parser("figures", description)
    group = parser.group("figures", "--figure layers_vgg16,depth --from results --svg")
    add_figure_option(group)
    arguments.add_from_option(group)
    arguments.add_out_option(group, "as --from")
    group.add_argument("--svg", action="store_true", help="as SVG as well as PNG")
    options = parser.parse_args(argv)
    if not Path(options.source).is_dir():
        raise arguments.UsageError(
            f"--from {options.source!r} is no folder; name one that experiments.sweep wrote to"
        )
    out = options.out or options.source
    return draw(options.source, out, options.figure, quick=False, with_svg=options.svg)


def add_figure_option(group: arguments.Group) -> None:
    """Adds a list of names of figures, which are all by default."""
    names = [figure.name for figure in FIGURES]
    group.add_argument(
        "--figure",
        type=values.some_of("a figure", names),
        default=names,
        metavar="NAME,...",
        help=f"{', '.join(names)} (default: all)",
    )


def draw(source: str, out: str, names: Sequence[str], quick: bool, with_svg: bool = False) -> int:
    """Draws figures, the small ones if ``quick``, and writes the page; returns the exit status.

    Reads what was measured from the folder ``source`` and writes to the folder ``out``.

    Raises:
        profiling.TraceError: nothing can be written.
    """
    from mem_dfa.experiments.pictures import drawings
    from mem_dfa.experiments.report import page

    kinds = ["png", "svg"] if with_svg else ["png"]
    chosen = [figure for figure in FIGURES if figure.name in names]
    every = {}
    with screen.progress("drawing", quiet=True) as tell:
        for number, figure in enumerate(chosen):
            tell(f"figure {number + 1} of {len(chosen)}", number / len(chosen))
            stem = Path(out, "figures", figure.name)
            every[figure.name] = drawings.draw(figure, quick, source, stem, kinds)
    paths = page.write(source, out, every, quick), page.write_index(out)
    for figure in chosen:
        drawn = every[figure.name]
        for kind in kinds if drawn.figure else ():
            print(f"figure: {Path(out, 'figures', figure.name)}.{kind}")
        if drawn.problem:
            state = "not whole" if drawn.figure else "not drawn"
            screen.note(f"{state}: {figure.name}: {drawn.problem}")
            screen.note(f"    {figure.command(source, quick)}")
    print("page: {}\nindex: {}".format(*paths))
    return 1 if any(drawn.problem for drawn in every.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
