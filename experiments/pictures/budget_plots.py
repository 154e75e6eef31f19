"""What a step asks for within rising budgets, beside the budget and what was planned."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.table import Row
from mem_dfa.profiling.render.palette import QUIET

from mem_dfa.units import MEBIBYTE, parse_bytes


def planned_and_physical(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A panel for each model: requested step bytes against the budget, and the plan's peak."""
    selection = results.select(results.read(folder), cells)
    notes = [
        "Requested bytes of a step, beside what is there before it, from the allocator's events. "
        "Above the grey line the budget would be exceeded.",
        *canvas.notes_on(selection),
    ]
    if not selection.rows:
        return Drawn(None, notes, selection.missing)
    models = list(dict.fromkeys(cell.model for cell in cells))
    finding = _finding(selection.rows)
    with canvas.captioned(title, notes, (11.0, 3.6), finding) as figure:
        panels = figure.subplots(1, len(models), squeeze=False)[0]
        for axes, letter, model in zip(panels, "abcdefgh", models, strict=False):
            rows = [row for row in selection.rows if row["model"] == model]
            canvas.prepare(axes, f"{letter}  {model}", xlabel="budget (MiB)")
            if not rows:
                continue
            rows.sort(key=_budget)
            budgets = [_budget(row) / MEBIBYTE for row in rows]
            look = canvas.look_of(rows[0]["algorithm"])
            axes.plot([0, budgets[-1]], [0, budgets[-1]], color=QUIET, linewidth=1, label="budget")
            for column, words, how in (
                ("predicted_step_bytes", "planned", {"linestyle": "--", "linewidth": 1.2}),
                ("step_requested_bytes", "measured", {"marker": look.marker, "linewidth": 0}),
            ):
                sizes = [row[column] / MEBIBYTE for row in rows]
                axes.plot(budgets, sizes, color=look.colour, label=words, **how)
            axes.set(xlim=(0, 1.05 * budgets[-1]), ylim=(0, 1.05 * budgets[-1]))
        panels[0].set_ylabel("step memory (MiB)")
        panels[0].legend(frameon=False, fontsize=8)
    return Drawn(figure, notes, selection.missing, finding=finding)


def _budget(row: Row) -> int:
    return parse_bytes(str(dict(Cell.of(row).options)["budget"]))


def _finding(rows: Sequence[Row]) -> str:
    """In how many budgets a step stayed, and how much of them it used."""
    shares = [row["step_requested_bytes"] / _budget(row) for row in rows]
    kept = sum(share <= 1 for share in shares)
    return (
        f"{kept} of {len(shares)} budgets are kept; used is {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of them"
    )
