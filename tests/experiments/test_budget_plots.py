"""Planned and measured bytes are drawn beside the budget they are for."""

from pathlib import Path

from mem_dfa.experiments.checks.claims import cells_of
from mem_dfa.experiments.pictures import budget_plots
from mem_dfa.experiments.store import results

from tests.experiments.drawn import lines, texts, wanted
from tests.experiments.made import MIB, row

BUDGETS = (20, 40, 80)
ASKED = cells_of(
    f"checkpoint conv20 20 plan=rotor budget={','.join(f'{size}MiB' for size in BUDGETS)}"
)


def record(folder: Path, *measured: int) -> None:
    rows = []
    for cell, size in zip(ASKED, measured, strict=False):
        sizes = {"step_requested_bytes": size * MIB, "predicted_step_bytes": (size - 1) * MIB}
        rows.append(row("checkpoint", 20) | cell.row() | {"device": "CPU:0", **sizes})
    results.append(folder, rows)


def test_bytes_are_drawn_against_the_budget(tmp_path: Path) -> None:
    record(tmp_path, 18, 41, 60)
    drawn = budget_plots.planned_and_physical(str(tmp_path), "title", ASKED)
    (axes,) = drawn.figure.axes
    found = lines(axes)
    assert found["measured"] == [[20, 18], [40, 41], [80, 60]]
    assert found["planned"] == [[budget, size - 1] for budget, size in found["measured"]]
    assert found["budget"] == [[0, 0], [80, 80]]
    assert drawn.finding == "2 of 3 budgets are kept; used is 75 to 102 % of them"
    assert not drawn.missing


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    record(tmp_path, 18, 30)
    drawn = budget_plots.planned_and_physical(str(tmp_path), "title", ASKED)
    assert [dict(cell.options)["budget"] for cell in drawn.missing] == ["80MiB"]
    assert "Not measured: checkpoint" in texts(drawn.figure)
    nothing = budget_plots.planned_and_physical(str(tmp_path / "no"), "title", ASKED)
    assert nothing.figure is None


def test_ten_budgets_of_four_nets_are_planned() -> None:
    planned = wanted("budgets_rotor")
    models = {cell.model for cell in planned}
    assert len(models) == 4 and len(planned) == 40
