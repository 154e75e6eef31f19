"""What every rule of learning reached at one depth, beside what was computed independently."""

import statistics
from pathlib import Path

from mem_dfa.experiments.paper import rules

HEADS = ["rule", "rate", "mean", "least", "greatest", "seeds", "reference", "apart"]


def lines(folder: str | Path, layers: int) -> list[dict[str, str]]:
    """A line for each rule that was trained on so many hidden layers, by `HEADS`; accuracies in %.

    Args:
        folder: of the results.
        layers: one of `rules.TABLED`.
    """
    cells = [cell for cell in rules.planned() if cell.layers == layers]
    rates = rules.best_rates(folder, cells)
    known = rules.references()
    names = {cell.name: rates.get(rules.setting(cell)) for cell in cells}
    shown = []
    for name, by_depth in rules.accuracies(folder, cells).items():
        reached = by_depth[layers]
        mean, due = statistics.fmean(reached), known.get((name, layers))
        numbers = [mean, min(reached), max(reached)]
        beside = ["-", "-"] if due is None else [f"{due:.2f}", f"{mean - due:+.2f}"]
        values = [name, f"{names[name]:g}", *(f"{number:.2f}" for number in numbers)]
        shown.append(dict(zip(HEADS, [*values, str(len(reached)), *beside], strict=True)))
    return shown
