"""The largest batches that `experiments.fit` found, as bars."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.plan import FIT_MEMORY_BYTES
from mem_dfa.experiments.pictures import canvas, findings
from mem_dfa.experiments.pictures.canvas import Drawn, look_of
from mem_dfa.experiments.store import fit_rows
from mem_dfa.profiling.render.palette import INK, QUIET

_INCHES = 0.34  # of a bar with the room around it


def largest_batches(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A bar for each algorithm, the longest below, with its size and how many of bp's it is."""
    found = fit_rows.largest_batches(folder, cells[0].model, FIT_MEMORY_BYTES)
    rows = [row for row in found if row["algorithm"] in {cell.algorithm for cell in cells}]
    missing = [cell for cell in cells if cell.algorithm not in {row["algorithm"] for row in rows}]
    if not rows:
        return Drawn(None, missing=missing)
    sizes = {row["algorithm"]: row["size"] for row in rows}
    said = findings.largest(sizes)
    finding = f"In {FIT_MEMORY_BYTES // 2**30} GiB {said[0].lower()}{said[1:]}" if said else ""
    measured = {f"{row['device']}, TensorFlow {row['tensorflow']}" for row in rows}
    random = [name for name in sizes if not findings.is_exact(name)]
    most = max(row["repeats"] for row in rows)
    notes = [
        f"Batches that trained in {most} processes whose allocator has that much memory for all it "
        f"holds; one image more did not. {rows[0]['optimizer']}, {rows[0]['dataset']} images.",
        *canvas.listed("Other gradients, which train to other accuracies", random),
        *(f"Measured on {source}." for source in sorted(measured)),
        *canvas.listed("Not searched", [cell.name for cell in missing]),
    ]
    with canvas.captioned(title, notes, (7.6, 1.6 + _INCHES * len(rows)), finding) as figure:
        axes = figure.subplots()
        canvas.prepare(axes, xlabel="images in the largest batch that trains")
        axes.grid(visible=False)
        colours = [look_of(name).colour for name in sizes]
        bars = axes.barh(list(sizes), list(sizes.values()), height=0.66, color=colours)
        base = sizes.get("bp")
        told = [
            f"{size:,}" + (f" ({size / base:.1f} times bp's)" if base and name != "bp" else "")
            for name, size in sizes.items()
        ]
        axes.bar_label(bars, told, padding=4, fontsize=9, color=INK)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.margins(x=0.3)
        axes.grid(axis="x", color=QUIET, alpha=0.18, linewidth=0.6)
        axes.set_axisbelow(True)
    return Drawn(figure, notes, missing, finding=finding)
