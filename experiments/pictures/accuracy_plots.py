"""Test accuracy of trained cells against epochs and against time."""

import collections
import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from mem_dfa.experiments.cells.cell import REPEATS, Cell, names_of
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.pictures import canvas, findings, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.results import Selection
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.store.trainings import Epochs

from mem_dfa.data import prepared


def against_epoch_and_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Test accuracy, the mean over seeds and their range, a line for each algorithm.

    Time is that of steps in processes of their own, over bp's: cells without epochs. How long
    training took would tell what else the machine did in those hours.
    """
    asked = [cell for cell in cells if cell.epochs]
    read = {cell: epochs for cell in asked if (epochs := trainings.read(folder, cell))}
    untrained = [cell for cell in asked if cell not in read]
    rows = results.read(folder)
    steps = results.select(rows, [cell for cell in cells if not cell.epochs], REPEATS)
    missing = [*untrained, *steps.missing]
    if not read:
        return Drawn(None, missing=missing)
    notes = [
        *_notes(read, asked, results.images(rows, asked[0].dataset)),
        *canvas.listed("Not trained", [f"{cell.name} seed {cell.seed}" for cell in untrained]),
        *_note_on_mem_dfa(read),
        *_notes_on_published(read),
        *_notes_on_time(steps),
    ]
    names, runs = names_of(read), dict[str, list[Epochs]]()
    for cell, epochs in read.items():
        runs.setdefault(names[cell], []).append(epochs)
    seconds = {
        name: row["step_time_s"]
        for row in steps.rows
        for name in (row["algorithm"], Cell.of(row).name)
    }
    paces = {name: seconds[name] / seconds["bp"] for name in runs if {name, "bp"} <= set(seconds)}
    ends = {
        name: 100 * statistics.fmean(epochs[-1]["test_accuracy"] for epochs in own)
        for name, own in runs.items()
    }
    finding = findings.behind(ends, len(next(iter(read.values()))))
    with canvas.captioned(title, notes, finding=finding) as figure:
        by_epoch, by_time = figure.subplots(1, 2)
        canvas.prepare(by_epoch, "a  against epochs", xlabel="epoch", ylabel="test accuracy (%)")
        by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
        _draw_lines(by_epoch, runs, dict.fromkeys(runs, 1))
        canvas.prepare(
            by_time, "b  against time", xlabel="time of steps (1 is an epoch of bp)",
            ylabel="test accuracy (%)", ylim=by_epoch.get_ylim(),
        )  # fmt: skip
        _draw_lines(by_time, runs, paces)
    return Drawn(figure, notes, missing, finding=finding)


def _draw_lines(
    axes: Axes, runs: Mapping[str, Sequence[Epochs]], paces: Mapping[str, float]
) -> None:
    """A line for each algorithm, whose every epoch takes its pace along the x axis."""
    ends = []
    for name, pace in paces.items():
        every = zip(*runs[name], strict=True)
        epochs = [[100 * run["test_accuracy"] for run in epoch] for epoch in every]
        means = list(map(statistics.fmean, epochs))
        line = [(number * pace, mean) for number, mean in enumerate(means, start=1)]
        ranges = [(min(values), max(values)) for values in epochs]
        text, algorithm = f"{name} {means[-1]:.1f} %", name.partition(" ")[0]
        ends.append(canvas.draw_line(axes, algorithm, text, line, ranges, label=name))
    labels.label_ends(axes, ends)


def _notes(read: Mapping[Cell, Epochs], asked: Sequence[Cell], images: str) -> list[str]:
    """How many seeds, which images, and how each algorithm was trained on them."""
    counts = sorted(collections.Counter(cell.name for cell in read).values())
    times = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    several = f"Means of {times} seeds, bands from the least to the greatest."
    settings: dict[str, dict[str, None]] = {}
    for cell in asked:
        how = f"{cell.optimizer} {cell.learning_rate:g}, batch {cell.batch_size}"
        settings.setdefault(how, {})[cell.name] = None
    said = "; ".join(f"{', '.join(names)}: {how}" for how, names in settings.items())
    seeds = several if counts[-1] > 1 else "One seed."
    is_augmented = prepared.DATASETS[asked[0].dataset].is_augmented
    changed = "training images cropped and flipped" if is_augmented else "no augmentation"
    return [seeds, f"{images}, {changed}; {said}."]


def _note_on_mem_dfa(read: Mapping[Cell, Epochs]) -> list[str]:
    """How far from dfa it is, whose updates are the same but for rounding, in points."""
    ends = {(c.algorithm, c.seed): 100 * e[-1]["test_accuracy"] for c, e in read.items()}
    of_dfa = {seed: end for (name, seed), end in ends.items() if name == "dfa"}
    both = [seed for seed in of_dfa if ("mem_dfa", seed) in ends]
    apart = [abs(ends["mem_dfa", seed] - of_dfa[seed]) for seed in both]
    if not apart:
        return []
    epochs = len(next(iter(read.values())))
    said = f"After {epochs} epochs mem_dfa is within {max(apart):.2f} points of dfa"
    range_of_dfa = max(of_dfa.values()) - min(of_dfa.values())
    more = f" with the same seed; dfa's seeds differ by {range_of_dfa:.2f}"
    return [f"{said}{more if len(of_dfa) > 1 else ''}."]


def _notes_on_published(read: Mapping[Cell, Epochs]) -> list[str]:
    """What others reached with the rules and models that are shown."""
    by_source: dict[str, list[str]] = {}
    for model, name in dict.fromkeys((cell.model, cell.name) for cell in read):
        for source, accuracies in rules.published(model).items():
            if name in accuracies:
                by_source.setdefault(source, []).append(f"{name} {accuracies[name]:g} %")
    return [f"Published: {', '.join(own)}, {source}." for source, own in by_source.items()]


def _notes_on_time(steps: Selection) -> list[str]:
    if not steps.rows:
        return canvas.notes_on(steps)
    names = names_of(map(Cell.of, steps.rows))
    shown = ", ".join(f"{names[Cell.of(row)]} {_step_ms(row)}" for row in steps.rows)
    return [
        "Time: epochs times a step's time over bp's. A step, without reading the data, took in the "
        f"median of {REPEATS} processes, one after another, {shown}.",
        *canvas.notes_on(steps)[1:],
    ]


def _step_ms(row: Row) -> str:
    least, greatest = canvas.spread(row, "step_time_s", 1000)
    return f"{1000 * row['step_time_s']:.3g} ms ({least:.3g} to {greatest:.3g})"
