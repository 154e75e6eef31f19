"""What became of a figure, and what to do where it is not whole."""

import shlex
from dataclasses import dataclass, field

from mem_dfa.experiments.paper.planned_figures import PlannedFigure


@dataclass(frozen=True)
class Outcome:
    """What became of one figure."""

    figure: PlannedFigure
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    """Why it is not drawn, or not whole; empty where it is."""
    is_drawn: bool = False


def command_of(figure: PlannedFigure, out: str, quick: bool) -> str:
    """The command that measures what a figure lacks."""
    words = ["python", "-m", "experiments.reproduce", "--figure", figure.name]
    words += ["--quick"] if quick else []
    return shlex.join([*words, "--out", out])
