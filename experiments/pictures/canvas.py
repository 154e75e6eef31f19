"""What figures have in common: how algorithms look, a caption below, and files that are whole."""

import contextlib
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures.labels import Label
from mem_dfa.experiments.store.results import Selection
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling import files
from mem_dfa.profiling.render import plot
from mem_dfa.profiling.render.palette import INK, QUIET

from mem_dfa import registry

LOOKS = {name: entry.look for name, entry in {**registry.ALGORITHMS, **catalogue.PEERS}.items()}
_CHARACTERS_PER_INCH, _LETTERS_PER_INCH = 15, 10  # of a caption, of a heading
_LISTED = 6  # cells that a caption names before it counts the rest


def look_of(algorithm: str) -> registry.Look:
    """How an algorithm is drawn, everywhere the same."""
    return LOOKS.get(algorithm, registry.OWN_LOOK)


@dataclass(frozen=True)
class Drawn:
    """A figure, or why there is none."""

    figure: Figure | None
    notes: list[str] = field(default_factory=list)  # the caption, a sentence each
    missing: Sequence[Cell] = ()  # cells that it was to show and that nobody measured
    problem: str = ""  # why nothing, or not all, could be drawn, but for missing cells
    finding: str = ""  # what it shows in one sentence, where there is anything to say


@contextlib.contextmanager
def captioned(
    title: str, notes: Sequence[str], size: tuple[float, float] = (11.0, 4.4), finding: str = ""
) -> Iterator[Figure]:
    """A figure of so many inches to draw on, above it what it shows, the notes below."""
    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=size, layout="constrained")
        text = heading(title, finding, size[0])
        figure.suptitle(text, x=0.01, horizontalalignment="left", fontsize=12, color=INK)
        yield figure
        add_caption(figure, notes, title if finding else "")


def heading(title: str, finding: str, width: float) -> str:
    """What stands above a figure: the finding with room below for the title, or that alone.

    Args:
        title: what was measured.
        finding: what it says, if anything.
        width: of the figure, in inches.
    """
    return textwrap.fill(finding, int(width * _LETTERS_PER_INCH)) + "\n" if finding else title


def logarithmic(name: str) -> str:
    """The name of an axis whose scale is logarithmic."""
    return f"{name}, log scale"


def prepare(axes: Axes, name: str = "", **settings: Any) -> None:
    """Names a panel and sets what `Axes.set` takes, such as the names of its axes."""
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set(**settings)
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)


def draw_line(
    axes: Axes,
    algorithm: str,
    text: str,
    points: Sequence[tuple[float, float]],
    ranges: Sequence[tuple[float, float]] = (),
    **how: Any,
) -> Label:
    """Draws an algorithm's line, and a band of ranges; the text is to stand beside its end."""
    look, (places, values) = look_of(algorithm), zip(*points, strict=True)
    usual: dict[str, Any] = {"marker": look.marker, "markersize": look.width + 2}
    # The narrow ones above.
    usual |= {"label": algorithm, "linewidth": look.width, "zorder": 5 - look.width / 2}
    axes.plot(places, values, color=look.colour, **usual | how)
    if ranges:
        least, most = zip(*ranges, strict=True)
        axes.fill_between(places, least, most, color=look.colour, alpha=0.2, linewidth=0, zorder=1)
    return Label(places[-1], values[-1], text, look.colour)


def spread(row: Row, name: str, scale: float) -> tuple[float, float]:
    """The least and the greatest that the processes of a row measured, times ``scale``."""
    least, greatest = (row.get(f"{name}_{end}") or row[name] for end in ("min", "max"))
    return scale * least, scale * greatest


def notes_on(selection: Selection, shown: str = "bands") -> list[str]:
    """Where numbers came from, how their spread is shown, and what is left out: a caption."""
    rows, notes = selection.rows, []
    repeats = sorted({row["repeats"] for row in rows if row["repeats"]})
    if repeats:
        processes = " or ".join(map(str, repeats))
        several = f"Medians of {processes} processes, {shown} from the least to the greatest."
        notes.append(several if repeats[-1] > 1 else "One process each.")
    sources = sorted({f"{row['device']}, TensorFlow {row['tensorflow']}" for row in rows})
    notes += [f"Measured on {source}." for source in sources]
    notes += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in selection.left_out]
    failed = [f"{_place(Cell.of(r))} ({r['status'].replace('_', ' ')})" for r in selection.failed]
    missing = [_place(cell) for cell in selection.missing]
    return [*notes, *listed("Failed and left out", failed), *listed("Not measured", missing)]


def _place(cell: Cell) -> str:
    layers = "" if cell.layers is None else f" {cell.layers} layers"
    return f"{cell.name}{layers} batch {cell.batch_size}"


def listed(what: str, items: Sequence[str]) -> list[str]:
    """A sentence that names some items and counts the rest; none where there are no items."""
    more = [f"and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return [f"{what}: {'; '.join([*items[:_LISTED], *more])}."] if items else []


def add_caption(figure: Figure, notes: Sequence[str], subtitle: str = "") -> None:
    """Writes the notes below a figure, outside it: `save` takes in what is there.

    The subtitle stands in the last, empty line of its `heading`.
    """
    lines = textwrap.wrap(" ".join(notes), int(figure.get_figwidth() * _CHARACTERS_PER_INCH))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is laid out stays so, in the middle of a higher picture
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    if subtitle:
        above = figure.texts[0]  # the heading, which is written first
        box = above.get_window_extent().transformed(figure.transFigure.inverted())
        figure.text(box.x0, box.y0, subtitle, va="bottom", fontsize=9, color=QUIET)
    figure.text(0.01, -0.02, "\n".join(lines), va="top", fontsize=8, color=QUIET, linespacing=1.4)


def save(figure: Figure, stem: Path, kinds: Sequence[str]) -> None:
    """Writes a figure as PNG, SVG or both, each whole, alike if it is; TraceError if it cannot."""
    for kind in kinds:
        content = io.BytesIO()
        # Without a date and with names of its own, an SVG changes only when what it shows does.
        metadata = {"Date": None} if kind == "svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": stem.name}):
            figure.savefig(content, format=kind, dpi=160, metadata=metadata, bbox_inches="tight")
        files.write_whole(stem.with_name(f"{stem.name}.{kind}"), content.getvalue())
