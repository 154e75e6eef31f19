"""What a figure of results shows, read back from it."""

import shlex
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from mem_dfa.experiments import run
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, sweep_options


def cells(line: str) -> Sequence[Cell]:
    """Those that a command line of `experiments.run` or `experiments.sweep` asks for."""
    module, *words = shlex.split(line)
    if module == "run":
        return arguments.cells(run.parser().parse(words))
    return sweep_options.cells(sweep_options.parser().parse(words))


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """The points of each named line."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): line.get_xydata().tolist() for line in named}


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
