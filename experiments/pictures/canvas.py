"""What every figure has in common: a caption below, and files that are whole."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.measured import Selection
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling import files
from mem_dfa.profiling.render.palette import QUIET

_CHARACTERS_PER_INCH, _LINE_INCHES = 15, 0.165  # of a caption's letters
_LISTED = 6  # failures that a caption names before it counts the rest


@dataclass(frozen=True)
class Drawn:
    """A figure, or why there is none."""

    figure: Figure | None
    notes: list[str] = field(default_factory=list)
    """What a reader has to know, a sentence each; the caption."""
    missing: Sequence[Cell] = ()
    """Cells that it was to show and that nobody measured."""
    problem: str = ""
    """Why nothing, or not all, could be drawn where that is not for missing cells."""


def notes_on(selection: Selection, spread: str = "bands") -> list[str]:
    """Where numbers came from and what is not shown, as sentences for a caption.

    Args:
        selection: what the figure shows.
        spread: how it shows the spread over processes.
    """
    rows, notes = selection.rows, []
    repeats = sorted({row["repeats"] for row in rows if row["repeats"]})
    if repeats:
        processes = " or ".join(map(str, repeats))
        several = f"Medians of {processes} processes, {spread} from the least to the greatest."
        notes.append(several if repeats[-1] > 1 else "One process each.")
    sources = sorted({f"{row['device']}, TensorFlow {row['tensorflow']}" for row in rows})
    notes += [f"Measured on {source}." for source in sources]
    notes += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in selection.left_out]
    if selection.failed:
        notes.append(f"Failed and left out: {_listed([_failure(r) for r in selection.failed])}.")
    if selection.missing:
        notes.append(f"Not measured: {_listed([_place(cell) for cell in selection.missing])}.")
    return notes


def _failure(row: Row) -> str:
    return f"{_place(Cell.of(row))} ({row['status'].replace('_', ' ')})"


def _place(cell: Cell) -> str:
    layers = "" if cell.layers is None else f" {cell.layers} layers"
    return f"{cell.name}{layers} batch {cell.batch_size}"


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _LISTED
    return "; ".join(items[:_LISTED]) + (f"; and {more} more" if more > 0 else "")


def add_caption(figure: Figure, notes: Sequence[str]) -> None:
    """Writes the notes below a figure with a constrained layout, which becomes higher by them."""
    if not notes:
        return
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(" ".join(notes), int(width * _CHARACTERS_PER_INCH))
    room = len(lines) * _LINE_INCHES + 0.2
    share = room / (height + room)
    figure.set_size_inches(width, height + room)
    figure.draw_without_rendering()
    below = [legend for legend in figure.legends if _place_of(legend).y1 < 0.5]
    # The layout leaves no room for a legend that is moved, as those below are by the caption.
    legends = max((_place_of(legend).height for legend in below), default=0.0)
    for legend in below:
        legend.set_bbox_to_anchor((0, share, 1, legends), figure.transFigure)
    figure.get_layout_engine().set(rect=(0, share + legends, 1, 1 - share - legends))
    figure.text(
        0.01, share * (1 - 0.1 / room), "\n".join(lines), va="top", fontsize=8, color=QUIET,
        linespacing=1.4,
    )  # fmt: skip


def _place_of(legend: Legend) -> Bbox:
    """Where a legend is, as shares of its figure."""
    figure = legend.get_figure()
    return legend.get_window_extent().transformed(figure.transFigure.inverted())


def save(figure: Figure, stem: Path, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Writes a figure, each file whole or not at all; equal figures make equal files.

    Args:
        figure: what is drawn.
        stem: the files' name without their kind.
        kinds: "png", "svg" or both.

    Returns:
        The files.

    Raises:
        profiling.TraceError: a file cannot be written.
    """
    written = []
    for kind in kinds:
        content = io.BytesIO()
        # Without a date and with names of its own, an SVG changes only when what it shows does.
        metadata = {"Date": None} if kind == "svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": stem.name}):
            figure.savefig(content, format=kind, dpi=160, metadata=metadata)
        written.append(files.write_whole(stem.with_name(f"{stem.name}.{kind}"), content.getvalue()))
    return written
