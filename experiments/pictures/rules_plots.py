"""Test accuracy of every rule of learning against the number of hidden layers."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.pictures import canvas, findings, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.labels import Label
from mem_dfa.experiments.store import results, trainings
from mem_dfa.profiling.render.palette import QUIET

_GREY = {"bp": ":", "dfa": "--"}  # what every family is compared with
_STYLES = ("-", "--", ":")  # of an algorithm's several options
_PANELS = (2, 3)
_TICKS = (10, 50, 70, 80, 90, 95, 97, 98, 99)  # of accuracy
_LIMITS = (0, 99)
_LEAST_ERROR = 0.1  # for the scale, which has no place for none


def against_depth(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A panel for each family of rules, a line for each rule, with bp and dfa in grey.

    Every rule at every depth has the best of the rates that were searched.
    """
    found = rules.accuracies(folder, cells)
    unneeded = rules.passed_over(folder, cells)
    missing = [c for c in cells if c not in unneeded and not trainings.read(folder, c)]
    if not found:
        return Drawn(None, missing=missing)
    depths = sorted({cell.depth or 0 for cell in cells})
    means = {
        name: {depth: statistics.fmean(line[depth]) for depth in sorted(line)}
        for name, line in found.items()
    }
    finding = findings.at_depth(means)
    families = [(name, own) for name, own in rules.FAMILIES.items() if not set(own) <= _GREY.keys()]
    with canvas.captioned(title, _notes(folder, cells, found), (16.0, 7.0), finding) as figure:
        panels = figure.subplots(*_PANELS, sharey=True).flat
        for number, (axes, (family, own)) in enumerate(zip(panels, families, strict=True)):
            name = f"{'abcdef'[number]}  {family}"
            canvas.prepare(axes, name, xlabel="hidden layers", ylabel="test accuracy (%)")
            axes.tick_params(labelleft=True)
            axes.set_xticks(range(len(depths)), list(map(str, depths)))
            axes.set_yscale("function", functions=(_up, _down))
            axes.set(xlim=(-0.3, len(depths) - 0.7), ylim=_LIMITS)
            axes.set_yticks(_TICKS, list(map(str, _TICKS)))
            ends = [_grey(axes, name, means[name], depths) for name in _GREY if name in means]
            told = [name for name in own if name in found and name not in _GREY]
            ends += _draw_lines(axes, {name: found[name] for name in told}, depths)
            labels.label_ends(axes, ends)
    return Drawn(figure, _notes(folder, cells, found), missing, finding=finding)


def _up(accuracy: np.ndarray) -> np.ndarray:
    """Where an accuracy (%) stands: by the logarithm of the error, of which little is left."""
    return -np.log10(np.maximum(100 - accuracy, _LEAST_ERROR))


def _down(place: np.ndarray) -> np.ndarray:
    return 100 - 10**-place


def _grey(axes: Axes, name: str, line: Mapping[int, float], depths: Sequence[int]) -> Label:
    places = [depths.index(depth) for depth in line]
    axes.plot(places, list(line.values()), _GREY[name], color=QUIET, linewidth=1.4, label=name)
    return Label(places[-1], list(line.values())[-1], name, QUIET)


def _draw_lines(
    axes: Axes, lines: Mapping[str, Mapping[int, Sequence[float]]], depths: Sequence[int]
) -> list[Label]:
    ends, seen = [], []
    for name, line in lines.items():
        algorithm = name.partition(" ")[0]
        seen.append(algorithm)
        known = sorted(line)
        points = [(depths.index(depth), statistics.fmean(line[depth])) for depth in known]
        ranges = [(min(line[depth]), max(line[depth])) for depth in known]
        how = {"linestyle": _STYLES[seen.count(algorithm) - 1], "linewidth": 1.6, "markersize": 4}
        label = canvas.draw_line(axes, algorithm, name, points, ranges, **{**how, "label": name})
        ends.append(label)
    return ends


def _notes(folder: str, cells: Sequence[Cell], found: rules.Accuracies) -> list[str]:
    first = cells[0]
    rates = " or ".join(f"{rate:g}" for rate in sorted({cell.learning_rate for cell in cells}))
    counts = sorted({len(seeds) for line in found.values() for seeds in line.values()})
    few = f"{counts[0]} to " if counts[0] < counts[-1] else ""
    several = f"means of {few}{counts[-1]} seeds, bands from the least to the greatest"
    unknown = sorted({cell.name for cell in cells} - found.keys())
    return [
        f"{results.images(results.read(folder), first.dataset)}, {first.epochs} epochs, "
        f"{first.optimizer}, batch {first.batch_size}; "
        f"{several if counts[-1] > 1 else 'one seed'}.",
        f"The learning rate, {rates}, is chosen for each rule and depth by the training accuracy "
        "of another seed. Upwards errors are shown on a logarithmic scale.",
        *canvas.listed("Not trained", unknown),
    ]
