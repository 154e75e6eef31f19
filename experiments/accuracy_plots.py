"""Test accuracy of trained cells against epochs and against seconds."""

import statistics
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments import histories, labels, measured, pictures
from experiments.catalogue import datasets
from experiments.colours import look_of
from experiments.histories import Epochs
from experiments.pictures import Drawn
from experiments.plan import Cell
from profiling import plot
from profiling.palette import INK, QUIET

_SIZE = (11.0, 4.4)  # inches
_TIME = "train_time_s"


def against_epoch_and_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Test accuracy, the mean over seeds and their range, a line for each algorithm."""
    read = {cell: histories.read(folder, cell) for cell in cells}
    runs: dict[str, list[Epochs]] = {}
    for cell, epochs in read.items():
        if epochs:
            runs.setdefault(measured.name_of(vars(cell)), []).append(epochs)
    missing = [cell for cell, epochs in read.items() if not epochs]
    timeless = [cell for cell, epochs in read.items() if epochs and _TIME not in epochs[-1]]
    notes = _notes(cells, runs, missing)
    if not runs:
        return Drawn(None, notes, missing)
    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        by_epoch, by_time = figure.subplots(1, 2)
        _panel(by_epoch, runs, "epoch", 1, "a  against epochs", "epoch")
        by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
        timed = {n: r for n, r in runs.items() if all(_TIME in epochs[-1] for epochs in r)}
        longest = max((epochs[-1][_TIME] for r in timed.values() for epochs in r), default=0)
        unit, name = (60, "minutes") if longest >= 300 else (1, "seconds")
        _panel(by_time, timed, _TIME, unit, "b  against time", f"{name} of training")
        by_time.set_ylim(by_epoch.get_ylim())
        if not timed:
            by_time.set_xticks([])
            by_time.text(0.5, 0.5, "no times were recorded", ha="center", color=QUIET,
                         transform=by_time.transAxes)  # fmt: skip
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=12, color=INK)
        pictures.add_caption(figure, notes)
    problem = (
        f"{len(timeless)} histories were written without {_TIME}; train again into another folder"
        if timeless
        else ""
    )
    return Drawn(figure, notes, [*missing, *timeless], problem)


def _notes(cells: Sequence[Cell], runs: dict[str, list[Epochs]], missing: Sequence[Cell]) -> list:
    seeds = {name: len(found) for name, found in runs.items()}
    counts = sorted(set(seeds.values()))
    notes = []
    if counts:
        times = " to ".join(map(str, sorted({counts[0], counts[-1]})))
        several = f"Means of {times} seeds, bands from the least to the greatest."
        notes.append(several if counts[-1] > 1 else "One seed.")
    notes.append("Seconds are of training alone, without testing, and with tracing.")
    title = datasets().DATASETS[cells[0].dataset].title
    settings = _grouped(
        (f"{c.optimizer} {c.learning_rate:g}, batch {c.batch_size}", c) for c in cells
    )
    notes.append(f"{title}, no augmentation; {settings}.")
    if missing:
        seeds: dict[str, list[str]] = {}
        for cell in missing:
            seeds.setdefault(measured.name_of(vars(cell)), []).append(str(cell.seed))
        shown = _grouped(
            (f"seed {', '.join(seeds[measured.name_of(vars(c))])}", c) for c in missing
        )
        notes.append(f"Not trained, or not for {cells[0].epochs} epochs: {shown}.")
    return notes


def _grouped(said: Iterable[tuple[str, Cell]]) -> str:
    """What is said of several cells, once, and of which algorithms: "bp, fa: seed 1"."""
    groups: dict[str, dict[str, None]] = {}
    for text, cell in said:
        groups.setdefault(text, {})[measured.name_of(vars(cell))] = None
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())


def _panel(
    axes: Axes, runs: dict[str, list[Epochs]], column: str, unit: int, name: str, xlabel: str
) -> None:
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set(xlabel=xlabel, ylabel="test accuracy (%)")
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)
    ends = []
    for algorithm, trained in runs.items():
        look = look_of(algorithm.split()[0])
        epochs = list(zip(*trained, strict=True))
        places = [statistics.fmean(run[column] for run in epoch) / unit for epoch in epochs]
        values = [[100 * run["test_accuracy"] for run in epoch] for epoch in epochs]
        means = [statistics.fmean(epoch) for epoch in values]
        axes.plot(
            places, means, color=look.colour, marker=look.marker, markersize=look.width + 2,
            linewidth=look.width, label=algorithm, zorder=5 - look.width / 2,
        )  # fmt: skip
        axes.fill_between(
            places,
            [min(epoch) for epoch in values],
            [max(epoch) for epoch in values],
            color=look.colour,
            alpha=0.2,
            linewidth=0,
            zorder=1,
        )
        # The caption says the rest, and beside other settings of the same algorithm the label.
        alone = sum(other.split()[0] == algorithm.split()[0] for other in runs) == 1
        text = f"{algorithm.split()[0] if alone else algorithm} {means[-1]:.1f} %"
        ends.append(labels.Label(places[-1], means[-1], text, look.colour))
    labels.label_ends(axes, ends, 0.74 * _SIZE[1])
