"""What a search for learning rates and feedback distributions found, and what it says to take."""

from collections.abc import Collection, Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.store import results, trainings
from mem_dfa.profiling.render.palette import INK

_NEARLY = 0.97  # of what the best gained over guessing
# Of distributions of the feedback that are not the usual one.
_STYLES = {"dashed": "--", "dotted": ":", "dashed and dotted": "-."}


def read_search(folder: str, cells: Sequence[Cell]) -> dict[Cell, float]:
    """Training accuracy (%) in the last epoch of each cell that was trained, in this order.

    By it settings are compared: test images have no say in what is chosen.
    """
    read = {cell: trainings.read(folder, cell)[-1:] for cell in cells}
    return {
        cell: 100 * last["train_accuracy"]
        for cell, epochs in read.items()
        for last in epochs
        if last["train_accuracy"] is not None
    }


def chosen(found: dict[Cell, float], diverged: Collection[Cell] = ()) -> dict[str, Cell]:
    """What is taken for each algorithm: of the least learning rate that is nearly the best.

    Nearly is a part of what was gained over guessing, since a few points are nothing to 96 % and
    most of what there is to 14 %. The rate at which a short training does best may be too large for
    a long one: `dfa` on `mlp`, with the best rate of two epochs, fell from 90 to 68 % after eleven.
    Cells whose settings diverged, here or in a long training, are not taken.
    """
    by_algorithm: dict[str, list[Cell]] = {}
    for cell in found:
        if cell not in diverged:
            by_algorithm.setdefault(cell.algorithm, []).append(cell)
    taken = {}
    for name, cells in by_algorithm.items():
        guessing = 100 / cells[0].classes
        enough = guessing + _NEARLY * (max(found[cell] for cell in cells) - guessing)
        good = [cell for cell in cells if found[cell] >= enough]
        taken[name] = min(good, key=lambda cell: (cell.learning_rate, -found[cell]))
    return taken


def _initializer(cell: Cell) -> str:
    return str(dict(cell.options).get("feedback_initializer", ""))


def _named(cell: Cell) -> str:
    return f"{cell.algorithm} {_initializer(cell)}".strip()


def against_learning_rate(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Training accuracy against the learning rate, a line for each algorithm and distribution."""
    found = read_search(folder, cells)
    diverged = {cell for cell in found if trainings.diverged(folder, cell)}
    missing = [cell for cell in cells if cell not in found]
    if not found:
        return Drawn(None, missing=missing)
    taken = chosen(found, diverged).values()
    rates = ", ".join(f"{_named(cell)} {cell.learning_rate:g}" for cell in taken)
    finding = f"Learning rates to take: {rates}" if taken else ""
    notes = [
        f"{results.images(results.read(folder), cells[0].dataset)}, {cells[0].optimizer}, "
        f"one seed, training accuracy in epoch {cells[0].epochs}.",
        f"Ringed is what is taken, the least rate with {100 * _NEARLY:.0f} % of the best's gain "
        "over guessing.",
    ]
    others = dict.fromkeys(filter(None, map(_initializer, found)))
    styles = dict(zip(others, _STYLES, strict=False))
    if others:
        said = [f"{style}: {initializer}" for initializer, style in styles.items()]
        notes.append(f"Solid: uniform feedback; {'; '.join(said)}.")
    if diverged:
        notes.append("Crossed out: a training diverged, here or with more epochs.")
    points = {cell: (cell.learning_rate, found[cell]) for cell in found}
    lines: dict[str, list[Cell]] = {}
    for cell in sorted(found, key=lambda cell: cell.learning_rate):
        lines.setdefault(_named(cell), []).append(cell)
    with canvas.captioned(title, notes, (7.6, 4.4), finding) as figure:
        axes = figure.subplots()
        xlabel = canvas.logarithmic("learning rate")
        canvas.prepare(axes, xlabel=xlabel, ylabel="training accuracy (%)", xscale="log")
        ends = []
        for name, own in lines.items():
            style = _STYLES.get(styles.get(_initializer(own[0]), ""), "-")
            line, algorithm = [points[cell] for cell in own], own[0].algorithm
            ends.append(canvas.draw_line(axes, algorithm, name, line, zorder=2, linestyle=style))
        for cell in (cell for cell in found if cell in diverged):  # always in one order
            axes.plot(*points[cell], "x", markersize=13, color=INK)
        for cell in taken:
            look = look_of(cell.algorithm)
            size = 9 + 2.5 * look.width  # so that equal ones lie within each other
            axes.plot(*points[cell], "o", fillstyle="none", color=look.colour, markersize=size)
        tried = sorted({cell.learning_rate for cell in found})
        axes.set_xticks(tried, [f"{rate:g}" for rate in tried])
        axes.minorticks_off()
        labels.label_ends(axes, ends)
    return Drawn(figure, notes, missing, finding=finding)
