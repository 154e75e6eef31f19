"""Draws a figure of your own from rows that were measured.

``python -m experiments.plot --x layers --y peak --by algorithm --where model=vgg16`` reads
``measurements.csv`` under ``--from`` and writes a picture. Lines that differ in more than ``--by``
are drawn each by itself and say in what. Rows that failed are named; those without ``--x`` or
``--y`` are counted.

Exit status: 0 when a figure was drawn, 2 for columns that are not there, or no rows.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.schemas import Row
from mem_dfa.experiments.terminal import screen

SHORT = {
    "peak": "peak_bytes",
    "step": "step_bytes",
    "resident": "resident_bytes",
    "requested": "step_requested_bytes",
    "time": "step_time_s",
}
"""Short names of columns."""
NUMBERS = ("accuracy", "loss", "layers", "batch_size", "repeats", "epochs", "learning_rate")
"""Columns of numbers without a unit."""
MOST_LINES = 16


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    rows = results.newest_rows(results.read(options.source))
    for name, value in options.where:
        values = sorted({str(row[name]) for row in rows})
        rows = [row for row in rows if str(row[name]) == value]
        if not rows:
            raise UsageError(
                f"--where {name}={value}: no such row is left under {options.source}; those "
                f"before it have {', '.join(values[:8]) or 'nothing'}"
            )
    good = _drawn(rows, options)
    if not good:
        raise UsageError(
            f"no row under {options.source} has {options.x} and {options.y}; measure some with "
            "experiments.sweep, or ask for other columns"
        )
    from mem_dfa.experiments.pictures import canvas, own_plot

    differing, lines = own_plot.lines_of(good, options.x, options.by)
    if len(lines) > MOST_LINES:
        raise UsageError(
            f"that makes {len(lines)} lines, more than {MOST_LINES}; they differ in "
            f"{', '.join(differing)}: choose by --where, such as --where {differing[0]}="
            f"{good[0][differing[0]]}"
        )
    file = options.file or Path(options.source, "figures", f"{options.y}_by_{options.x}.png")
    figure = own_plot.draw(good, options.x, options.y, options.by)
    canvas.save(figure, Path(file).with_suffix(""), [Path(file).suffix[1:]])
    print(f"figure: {file}")
    return 0


def _drawn(rows: Sequence[Row], options: argparse.Namespace) -> list[Row]:
    """The rows that have both numbers; tells what the others lack."""
    for row in rows:
        if row["status"] != "ok":
            screen.note(f"not drawn: {screen.title_of(row)}: {row['status']}")
    good = [row for row in rows if row["status"] == "ok"]
    for axis, column in (("--x", options.x), ("--y", options.y)):
        lacking = [row for row in good if row[column] is None]
        good = [row for row in good if row[column] is not None]
        if lacking:
            have = "1 row has" if len(lacking) == 1 else f"{len(lacking)} rows have"
            such_as = f"such as {screen.title_of(lacking[0])}"
            screen.note(f"not drawn: {have} no {column}, {such_as}; choose another {axis}")
    return good


def _parser() -> arguments.Parser:
    parser = arguments.Parser("plot", "Draws a figure of your own from rows that were measured.")
    names = ", ".join([*SHORT, "or any column of measurements.csv"])
    axes = parser.group("what is drawn", "--x layers --y peak --by algorithm")
    axes.add_argument("--x", type=_column, required=True, metavar="COLUMN", help=names)
    axes.add_argument("--y", type=_number, required=True, metavar="COLUMN", help="of numbers")
    axes.add_argument(
        "--by",
        type=_column,
        default="algorithm",
        metavar="COLUMN",
        help="a line for each (default: algorithm)",
    )
    rows = parser.group("which rows", "--where model=vgg16 --where batch_size=64")
    rows.add_argument(
        "--where",
        type=_condition,
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="such rows alone; may be given again",
    )
    arguments.add_from_option(rows)
    parser.group("output", "--file peak.svg").add_argument(
        "--file", type=_picture, metavar="FILE", help=".png or .svg (default: below --from)"
    )
    arguments.add_renamed(parser, "--out", "--file")
    return parser


def _column(text: str) -> str:
    name = SHORT.get(text, text)
    if name not in results.COLUMNS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no column; take {', '.join([*SHORT, *results.COLUMNS])}"
        )
    return name


def _number(text: str) -> str:
    name = _column(text)
    if not name.endswith(("_bytes", "_s", "_bytes_min", "_bytes_max")) and name not in NUMBERS:
        raise argparse.ArgumentTypeError(f"{text!r} holds no numbers to draw; take peak, step, …")
    return name


def _condition(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise argparse.ArgumentTypeError(f"{text!r} is no condition; take column=value")
    return _column(name), value


def _picture(text: str) -> str:
    if not text.endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"{text!r} is no picture; take a name ending in .png")
    return text


if __name__ == "__main__":
    sys.exit(main())
