"""Test accuracy of trained cells against epochs and against time."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.colours import look_of
from mem_dfa.experiments.store import measured, results, trainings
from mem_dfa.experiments.store.measured import Selection
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.store.trainings import Epochs
from mem_dfa.profiling.render import plot
from mem_dfa.profiling.render.palette import INK, QUIET

_SIZE = (11.0, 4.4)  # inches
_PROCESSES = 3  # that a step's time is the median of


def against_epoch_and_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Test accuracy, the mean over seeds and their range, a line for each algorithm.

    Time is that of steps in processes of their own, over bp's. How long training took would tell
    what else the machine did in those hours.

    Args:
        folder: of the results.
        title: of the figure.
        cells: with epochs those that are trained, without any those whose step is timed.
    """
    trained = [cell for cell in cells if cell.epochs]
    read = {cell: trainings.read(folder, cell) for cell in trained}
    runs: dict[str, list[Epochs]] = {}
    for cell, epochs in read.items():
        if epochs:
            runs.setdefault(cell.name, []).append(epochs)
    untrained = [cell for cell, epochs in read.items() if not epochs]
    rows = results.read(folder)
    timed = [cell for cell in cells if not cell.epochs]
    steps = measured.select(rows, timed, _PROCESSES)
    images = measured.images(rows, trained[0].dataset)
    notes = _notes(images, trained, runs, untrained)
    missing = [*untrained, *steps.missing]
    if not runs:
        return Drawn(None, notes, missing)
    seconds = {Cell.of(row).name: row["step_time_s"] for row in steps.rows}
    notes += [*_note_on_mem_dfa(read), *_notes_on_time(steps)]
    paces = {name: seconds[name] / seconds["bp"] for name in runs if {name, "bp"} <= set(seconds)}
    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        by_epoch, by_time = figure.subplots(1, 2)
        _panel(by_epoch, runs, dict.fromkeys(runs, 1), "a  against epochs", "epoch")
        by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
        shown = {name: runs[name] for name in paces}
        _panel(by_time, shown, paces, "b  against time", "time of steps (1 is an epoch of bp)")
        by_time.set_ylim(by_epoch.get_ylim())
        if not paces:
            by_time.set_xticks([])
            by_time.text(0.5, 0.5, "bp's step was not timed", ha="center", color=QUIET,
                         transform=by_time.transAxes)  # fmt: skip
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=12, color=INK)
        canvas.add_caption(figure, notes)
    return Drawn(figure, notes, missing)


def _note_on_mem_dfa(read: Mapping[Cell, Epochs]) -> list[str]:
    """How far from dfa it is, whose updates are the same but for rounding, in points.

    After the last epoch that both were trained for: which of them an hour holds more of is no
    difference between their updates.
    """
    of_dfa = {_seen_from_dfa(c): e for c, e in read.items() if c.algorithm == "dfa" and e}
    pairs = [
        (epochs, of_dfa[_seen_from_dfa(cell)])
        for cell, epochs in read.items()
        if cell.algorithm == "mem_dfa" and epochs and _seen_from_dfa(cell) in of_dfa
    ]
    if not pairs:
        return []
    last = min(len(epochs) for pair in pairs for epochs in pair)
    ends = [[100 * epochs[last - 1]["test_accuracy"] for epochs in pair] for pair in pairs]
    apart = max(abs(mem_dfa - dfa) for mem_dfa, dfa in ends)
    said = f"After {last} epochs mem_dfa is within {apart:.2f} points of dfa"
    own = [100 * epochs[last - 1]["test_accuracy"] for epochs in of_dfa.values()]
    if len(own) == 1:
        return [f"{said}."]
    return [f"{said} with the same seed; dfa's seeds differ by {max(own) - min(own):.2f}."]


def _seen_from_dfa(cell: Cell) -> Cell:
    """What mem_dfa and dfa have in common, however long each was trained."""
    return dataclasses.replace(cell, algorithm="dfa", epochs=0)


def _notes_on_time(steps: Selection) -> list[str]:
    if not steps.rows:
        return canvas.notes_on(steps)
    shown = ", ".join(map(_step_ms, steps.rows))
    return [
        "Time: epochs times a step's time over bp's. A step, without reading the data, took in the "
        f"median of {_PROCESSES} processes, one after another, {shown}.",
        *canvas.notes_on(steps)[1:],
    ]


def _step_ms(row: Row) -> str:
    usual = row["step_time_s"]
    ends = (row.get(f"step_time_s_{end}") or usual for end in ("min", "max"))
    least, greatest = (f"{1000 * each:.3g}" for each in ends)
    return f"{row['algorithm']} {1000 * usual:.3g} ms ({least} to {greatest})"


def _notes(
    images: str, cells: Sequence[Cell], runs: dict[str, list[Epochs]], missing: Sequence[Cell]
) -> list[str]:
    seeds = {name: len(found) for name, found in runs.items()}
    counts = sorted(set(seeds.values()))
    notes = []
    if counts:
        times = " to ".join(map(str, sorted({counts[0], counts[-1]})))
        several = f"Means of {times} seeds, bands from the least to the greatest."
        notes.append(several if counts[-1] > 1 else "One seed.")
    settings = _grouped(
        (f"{c.optimizer} {c.learning_rate:g}, batch {c.batch_size}", c) for c in cells
    )
    notes.append(f"{images}, no augmentation; {settings}.")
    if missing:
        seeds: dict[str, list[str]] = {}
        for cell in missing:
            seeds.setdefault(cell.name, []).append(str(cell.seed))
        shown = _grouped((f"seed {', '.join(seeds[c.name])}", c) for c in missing)
        epochs = " or ".join(map(str, sorted({cell.epochs for cell in missing})))
        notes.append(f"Not trained, or not for {epochs} epochs: {shown}.")
    return notes


def _grouped(said: Iterable[tuple[str, Cell]]) -> str:
    """What is said of several cells, once, and of which algorithms: "bp, fa: seed 1"."""
    groups: dict[str, dict[str, None]] = {}
    for text, cell in said:
        groups.setdefault(text, {})[cell.name] = None
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())


def _panel(
    axes: Axes, runs: dict[str, list[Epochs]], paces: Mapping[str, float], name: str, xlabel: str
) -> None:
    """A line for each algorithm, whose every epoch takes its pace along the x axis."""
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set(xlabel=xlabel, ylabel="test accuracy (%)")
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)
    ends = []
    for algorithm, trained in runs.items():
        look = look_of(algorithm.split()[0])
        epochs = list(zip(*trained, strict=True))
        places = [number * paces[algorithm] for number in range(1, len(epochs) + 1)]
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
