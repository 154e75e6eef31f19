"""What recurrent nets reach, or how long they take, against the memory of one update."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from mem_dfa.experiments.pictures import canvas, labels
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.pictures.labels import Label
from mem_dfa.experiments.store.schemas import RECURRENT
from mem_dfa.experiments.store.table import Row, Table

from mem_dfa.units import MEBIBYTE

TITLE = "Recurrent nets: bits a step and time against memory"
_NAMES = {
    "tbptt": ("truncated to {chunk} steps", "bp"),
    "dni": ("to {chunk} steps, predicted errors", "dni"),
    "tbptt_long": ("truncated to {chunk} steps", "fa"),
    "bptt": ("all {chunk} steps", "bp"),
    "checkpointed": ("checkpoints, √t", "checkpoint"),
    "checkpointed_10": ("ten checkpoints", "checkpoint_fa"),
}
"""How each variant is called here, and the algorithm that it is drawn as."""
_PANELS = {
    "delay": ("the bit eight steps ago", "last_bits", "bits a step"),
    "text": ("the next character", "last_bits", "bits a step"),
    "unroll": ("an LSTM through a thousand steps", "ratio_to_bp", "time / all steps kept"),
}
"""Of each task its name, what is drawn of it, and what that is."""


def against_memory(folder: str) -> Drawn:
    """A panel for each task that has rows; of runs with the same seed the newest counts."""
    newest = {
        (row["task"], row["variant"], row["seed"]): row for row in Table(folder, RECURRENT).read()
    }
    tasks = [task for task in _PANELS if any(key[0] == task for key in newest)]
    if not tasks:
        return Drawn(None)
    found = {
        task: _by_variant([r for key, r in newest.items() if key[0] == task]) for task in tasks
    }
    notes = [
        "Memory is what the operations of one update ask for at one time, without the allocator's "
        "rounding. Large points are means of the seeds, which are small ones.",
    ]
    finding = _finding(found)
    width = 3.9 * len(tasks)
    with canvas.captioned(TITLE, notes, (width, 4.0), finding) as figure:
        panels = figure.subplots(1, len(tasks), squeeze=False).flat
        for axes, letter, task in zip(panels, "abc", tasks, strict=False):
            name, column, said = _PANELS[task]
            memory = canvas.logarithmic("an update (MiB)")
            canvas.prepare(axes, f"{letter}  {name}", xlabel=memory, ylabel=said, xscale="log")
            _draw(axes, found[task], column)
    return Drawn(figure, notes, finding=finding)


def _by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    names = dict.fromkeys(row["variant"] for row in rows)
    return {name: [row for row in rows if row["variant"] == name] for name in names}


def _draw(axes: Axes, variants: Mapping[str, Sequence[Row]], column: str) -> None:
    points = []
    for variant, rows in variants.items():
        text, algorithm = _NAMES[variant]
        look = look_of(algorithm)
        sizes = [row["step_requested_bytes"] / MEBIBYTE for row in rows]
        values = [row[column] for row in rows]
        x, y = statistics.fmean(sizes), statistics.fmean(values)
        axes.plot(sizes, values, look.marker, color=look.colour, alpha=0.35, markersize=4)
        axes.plot([x], [y], look.marker, color=look.colour, markersize=9, label=variant)
        points.append(Label(x, y, text.format(chunk=rows[0]["chunk"]), look.colour))
    axes.margins(x=0.35, y=0.15)
    axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    labels.label_points(axes, points)


def _finding(found: Mapping[str, Mapping[str, Sequence[Row]]]) -> str:
    """What predicted errors gain for their memory, or checkpoints in time."""

    def mean(task: str, variant: str, column: str) -> float:
        return statistics.fmean(row[column] for row in found[task][variant])

    told = []
    if {"tbptt", "dni"} <= found.get("delay", {}).keys():
        before, after = (mean("delay", name, "last_bits") for name in ("tbptt", "dni"))
        told.append(f"Predicted errors bring {before:.2f} bits a step down to {after:.2f}")
    if {"bptt", "checkpointed"} <= found.get("unroll", {}).keys():
        sizes = [mean("unroll", n, "step_requested_bytes") for n in ("checkpointed", "bptt")]
        time = mean("unroll", "checkpointed", "ratio_to_bp")
        told.append(f"checkpoints in time take {sizes[0] / sizes[1]:.0%}".replace("%", " %"))
        told[-1] += f" of the memory in {time:.2f} of the time"
    return "; ".join(told)
