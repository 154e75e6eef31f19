"""What a figure of results shows, read back from it."""

import shlex

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from mem_dfa.experiments import run, sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.paper.planned_figures import FIGURES


def cells(line: str) -> list[Cell]:
    """What a command such as "sweep --algo bp --model mlp" measures."""
    module, *words = shlex.split(line)
    if module == "sweep":
        return arguments.cells(sweep.parser().parse_args(words))
    return arguments.cells(run.parser().parse_args(words))


def wanted(name: str) -> tuple[Cell, ...]:
    """The cells of a planned figure."""
    return next(figure.cells for figure in FIGURES if figure.name == name)


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """The points of each named line."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): line.get_xydata().tolist() for line in named}


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
