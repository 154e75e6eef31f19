"""What a figure of results shows, read back from it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper import commands


def cells(line: str) -> Sequence[Cell]:
    return commands.plan_of(line).cells


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """The points of each named line."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): line.get_xydata().tolist() for line in named}


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
