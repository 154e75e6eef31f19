"""Test errors against the number of hidden layers, beside those that were published."""

from collections.abc import Mapping, Sequence

from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.pictures.labels import Label
from mem_dfa.experiments.store import results, trainings
from mem_dfa.profiling.render.palette import QUIET

_FLOOR = "hidden layers frozen"
_TICKS = (1, 2, 3, 5, 10, 20, 50, 90)  # % of errors

Line = Mapping[int, float]
"""Errors (%) by the number of hidden layers, rising."""


def errors_beside_published(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A line for each rule, dashed what others published of it, and in grey the floor.

    The floor is the model whose hidden layers learn nothing.
    """
    read = {cell: epochs for cell in cells if (epochs := trainings.read(folder, cell))}
    missing = [cell for cell in cells if cell not in read]
    ours: dict[tuple[str, str], dict[int, float]] = {}
    for cell, epochs in sorted(read.items(), key=lambda one: one[0].layers or 0):
        error = 100 * (1 - epochs[-1]["test_accuracy"])
        ours.setdefault((cell.model, cell.name), {})[cell.layers or 0] = error
    if not ours:
        return Drawn(None, missing=missing)
    first = cells[0]
    notes = [
        f"Solid: {results.images(results.read(folder), first.dataset)}, {first.epochs} epochs, "
        f"{first.optimizer} {first.learning_rate:g}, batch {first.batch_size}, seed {first.seed}, "
        "linear predictors. Dashed: Jaderberg et al. (arXiv 1608.05343), after 500,000 steps at "
        "the best of several predictors.",
        *canvas.listed("Not trained", [f"{c.name} {c.layers} layers" for c in missing]),
    ]
    finding = _finding(ours)
    with canvas.captioned(title, notes, (11.0, 4.0), finding) as figure:
        axes = figure.subplots()
        depths = sorted({cell.layers or 0 for cell in cells})
        canvas.prepare(axes, xlabel="hidden layers", ylabel="test error (%), log scale")
        axes.set(yscale="log", xlim=(depths[0] - 0.15, depths[-1] + 0.15), xticks=depths)
        axes.yaxis.set_major_locator(FixedLocator(_TICKS))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        ends = []
        for (model, name), line in ours.items():
            is_floor = model != first.model
            look = canvas.look_of(name)
            colour = QUIET if is_floor else look.colour
            text = _FLOOR if is_floor else name
            axes.plot(list(line), list(line.values()), color=colour, marker=look.marker, label=text)
            known = {
                depth: 100 - accuracy
                for (rule, depth), accuracy in rules.references(model).items()
                if rule == name and depth in depths
            }
            if known:
                axes.plot(
                    list(known), list(known.values()), "--", color=colour, marker=look.marker,
                    markerfacecolor="white", linewidth=1.2, label=f"{text}, published",
                )  # fmt: skip
            ends.append(Label(max(line), line[max(line)], text, colour))
        labels.label_ends(axes, ends)
    return Drawn(figure, notes, missing, finding=finding)


def _finding(ours: Mapping[tuple[str, str], Line]) -> str:
    """The errors of the deepest nets, the least first."""
    depth = max(max(line) for line in ours.values())
    models = list(dict.fromkeys(model for model, _ in ours))
    reached = {
        name if model == models[0] else _FLOOR: line[depth]
        for (model, name), line in ours.items()
        if depth in line
    }
    ranked = sorted(reached.items(), key=lambda one: one[1])
    said = ", ".join(f"{name} {error:.1f}" for name, error in ranked)
    return f"Errors at {depth} hidden layers (%): {said}" if len(ranked) > 1 else ""
