"""Angles between each block's update and backpropagation's, as training goes on."""

import math
import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, findings
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.store import trainings
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render.palette import QUIET

_ACROSS = 8  # panels
_WIDTH, _HEIGHT = 2.3, 2.1  # inches of a panel
_NETWORK = "network"  # in the place of a block's name
_RIGHT_ANGLE = 90

Angles = Mapping[int, Sequence[float]]
"""Of the hidden blocks in order, after so many epochs; 0 is before training."""


def against_block(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A panel for each rule: the angle of every block before training and after each epoch."""
    read = trainings.read_alignments(folder, cells)
    missing = [cell for cell in cells if cell not in read]
    if not read:
        return Drawn(None, missing=missing)
    angles = {cell: _by_epoch(rows) for cell, rows in read.items()}
    hidden = {
        cell.name: statistics.fmean(last)
        for cell, own in angles.items()
        if (last := [angle for angle in own[max(own)] if not math.isnan(angle)])
    }
    first = next(iter(read))
    finding = findings.aligned(hidden, first.epochs)
    notes = [
        "Grey before training, in colour after each epoch, the last one darkest; dotted is 90°, "
        "where an update has nothing in common with bp's. Hidden blocks alone: the last one always "
        "has bp's own update.",
        f"One batch of {first.batch_size} training images; {first.epochs} epochs, "
        f"{first.optimizer} {first.learning_rate:g}, seed {first.seed}. In the heading are means "
        "over blocks.",
        *canvas.listed("Not measured", [cell.name for cell in missing]),
    ]
    rows = math.ceil(len(angles) / _ACROSS)
    across = min(_ACROSS, len(angles))
    size = (max(7.6, _WIDTH * across), 0.9 + _HEIGHT * rows)
    with canvas.captioned(title, notes, size, finding) as figure:
        panels = figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(angles) :]:
            axes.set_visible(False)
        for axes, (cell, own) in zip(panels.flat, angles.items(), strict=False):
            canvas.prepare(axes, _panel(cell), ylim=(0, 180), yticks=(0, 45, 90, 135, 180))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _draw(axes, cell, own)
        for axes in panels[:, 0]:
            axes.set_ylabel("angle (°)")
        for place in range(across):
            below = len(angles) - 1 - (len(angles) - 1 - place) % across
            lowest = panels.flat[below]
            lowest.set_xlabel("block")
            lowest.tick_params(labelbottom=True)
    return Drawn(figure, notes, missing, finding=finding)


def _panel(cell: Cell) -> str:
    """The rule, its options on a line of their own, which would be too wide beside it."""
    return cell.name.replace(" ", "\n", 1)


def _by_epoch(rows: Sequence[Row]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["block"] != _NETWORK:
            known = row["angle_degrees"]
            found.setdefault(row["after_epoch"], []).append(math.nan if known is None else known)
    return {epoch: blocks[:-1] for epoch, blocks in found.items()}


def _draw(axes: Axes, cell: Cell, angles: Angles) -> None:
    axes.axhline(_RIGHT_ANGLE, color=QUIET, linestyle=":", linewidth=0.8)
    look, last = look_of(cell.algorithm), max(angles)
    for epoch, line in angles.items():
        blocks = range(1, len(line) + 1)
        if epoch == 0:
            axes.plot(blocks, line, color=QUIET, linewidth=1.4, label="before training")
        else:
            share = epoch / last
            axes.plot(
                blocks, line, color=look.colour, alpha=0.25 + 0.75 * share,
                linewidth=0.8 + share, marker=look.marker if epoch == last else None,
                markersize=4, label=f"epoch {epoch}",
            )  # fmt: skip
