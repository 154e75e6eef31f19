"""The tables of claims: what fails holds no claim, and stops none of the others."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import claims
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import planning, reading
from mem_dfa.experiments.checks.claims import FAIL, PARTS, PASS, cells_of, judge
from mem_dfa.experiments.checks.claims import claims as claims_of
from mem_dfa.experiments.checks.quantities import QUANTITIES, Claim
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results

from tests.experiments.made import history


def judged(quantity: str, limit: float | str, *numbers: float | None) -> dict[str, Any]:
    """A claim about so many cells, with these numbers of bytes; None failed."""
    cells = [Cell("bp", "conv20", layers + 1) for layers in range(len(numbers))]

    def row(cell: Cell, repeats: int) -> dict[str, float | None]:
        names = ("step_bytes", "step_requested_bytes", "feedback_bytes")
        return dict.fromkeys(names, numbers[cell.layers - 1])

    return judge(Claim("one", quantity, cells, limit, None, None, row))


@pytest.mark.parametrize(
    ("sizes", "exponent", "distance"),
    [([3, 5, 9], 1.0, 0.0), ([20, 30, 30 + 10 * 2**0.5], 0.5, 0.0), ([10, 20, 30], 0.5, 0.5)],
)
def test_growth_is_told_apart_from_what_stays(
    sizes: list[float], exponent: float, distance: float
) -> None:
    assert judged(f"growth {exponent}", 0, *sizes)["measured"] == pytest.approx(distance)


@pytest.mark.parametrize("sizes", [[1, 1, 2], [2, 1, 3], [1, 3, 2]])
def test_what_does_not_grow_has_no_exponent(sizes: list[int]) -> None:
    assert judged("growth 0.5", 1e9, *sizes)["measured"] == math.inf


def test_claims_judge_at_the_boundary() -> None:
    """The limit itself holds, a byte more does not, and neither does what was not measured."""
    assert judged("step_bytes", 28, 28 * 2**20)["verdict"] == PASS
    assert judged("step_bytes", 28, 28 * 2**20 + 1)["verdict"] == FAIL
    assert judged("step_bytes", 28, None)["verdict"] == FAIL
    assert judged("requested_spread", 3.0, 100, 103, 102)["verdict"] == PASS
    assert judged("requested_spread", 3.0, 100, 104, 102)["verdict"] == FAIL
    assert judged("requested_spread", 3.0, 100, 103, None)["verdict"] == FAIL


def of_budgets(quantity: str, *requested: float) -> float:
    """A quantity of cells with budgets of 10, 20, 30 MiB, of which so many MiB were asked for."""
    cells = cells_of("mem_dfa conv20 20 budget=10MiB,20MiB,30MiB")
    sizes = dict(zip(cells, requested, strict=True))
    row = lambda cell, repeats: {"step_requested_bytes": sizes[cell] * 2**20}  # noqa: E731
    return judge(Claim("one", quantity, cells, 0, None, None, row))["measured"]


def test_budgets_are_kept_and_larger_ones_used() -> None:
    assert of_budgets("budget_excess", 9, 19, 30) == 0
    assert of_budgets("budget_excess", 9, 21, 25) == 1
    assert of_budgets("budget_fall", 8, 16, 24) == -50
    assert of_budgets("budget_fall", 9, 20, 15) == 25


def test_the_worst_rule_is_behind_the_first() -> None:
    cells = cells_of("bp,usf,fa mlp - epochs=1 seed=0,1")
    shares = {"bp": 0.9, "usf": 0.88, "fa": 0.7}
    row = lambda cell, repeats: {"accuracy": shares[cell.algorithm] + 0.01 * cell.seed}  # noqa: E731
    found = judge(Claim("one", "accuracy_behind", cells, 20.5, None, None, row))
    assert found["measured"] == pytest.approx(20)
    assert found["verdict"] == PASS


def test_a_limit_that_is_measured_too() -> None:
    assert judged("step_bytes", "budget 1", 2**20) == judged("step_bytes", 1.0, 2**20)
    assert judged("step_bytes", "budget 0.9", 2**20)["verdict"] == FAIL
    assert judged("feedback_bytes", "budget 0.9", None)["limit"] is None


def unknown(cell: Cell, repeats: int) -> dict[str, Any]:
    """What is known of cells that nobody measured."""
    return {}


@pytest.mark.parametrize("part", PARTS)
def test_the_committed_tables_are_of_these_claims(part: str) -> None:
    path = Path(__file__).parents[2] / "results" / "tables" / f"claims_{part}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = claims_of(part, unknown)
    told = [(row["claim"], row["unit"], float(row["reference"] or 0)) for row in rows]
    assert told == [
        (c.title, QUANTITIES[c.quantity.split()[0]][0], c.reference or 0) for c in known
    ]
    for row, claim in zip(rows, known, strict=True):
        assert isinstance(claim.limit, str) or float(row["limit"]) == claim.limit


def test_titles_tell_of_their_cells() -> None:
    """Every cell's model and depth, where these are few."""
    known = [claim for part in PARTS for claim in claims_of(part, unknown)]
    assert len({claim.title for claim in known}) == len(known)
    for claim in known:
        if len(claim.cells) == 1 and claim.quantity == "step_bytes":
            (cell,) = claim.cells
            words = re.split(r"[ ,:]+", claim.title)
            assert {cell.algorithm, cell.model} <= set(words)
            assert cell.layers is None or f"{cell.layers} layers" in claim.title
            assert "batch" not in words or f"batch {cell.batch_size}" in claim.title
            assert cell.optimizer in ("sgd", "momentum") or cell.optimizer in words
            assert cell.execution == "graph" or cell.execution in claim.title.lower()


@pytest.mark.parametrize("part", PARTS)
def test_a_machine_on_which_everything_fails(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(cell: Cell, *_: Any, **__: Any) -> tuple[dict[str, Any], list]:
        failed = {"status": "failed", "error": "no room"}
        return {**dict.fromkeys(results.COLUMNS), **cell.row(), **failed}, []

    seconds = reading.seconds
    monkeypatch.setattr(reading, "seconds", lambda count: seconds(count // 100))
    monkeypatch.setattr(planning, "seconds", lambda blocks: 0.5)
    monkeypatch.setattr(processes, "check", lambda cells, report: cells)
    monkeypatch.setattr(processes, "measure", measure)
    monkeypatch.setattr(worker, "call", lambda *_, **__: {"status": "failed", "error": "no room"})
    assert claims.main(["--part", part, "--out", str(tmp_path)]) == 1
    with (tmp_path / "tables" / f"claims_{part}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Neither reading made events into a timeline nor planning needs a cell.
    without = re.compile("reading |.*time of planning")
    measured = [row for row in rows if not without.match(row["claim"])]
    assert {(row["verdict"], row["measured"]) for row in measured} == {(FAIL, "")}
    assert "Traceback" not in capsys.readouterr().err


def test_accuracies_are_those_of_recorded_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not trained is named, and nothing is trained for a claim."""
    first, second = cells_of("bp,fa mlp - dataset=mnist epochs=2")
    history(tmp_path, first, [0.5, 0.75, 0.9])
    assert claims._row(str(tmp_path), first, 1) == {"accuracy": 0.75}
    assert claims._row(str(tmp_path), second, 1) == {}
    assert capsys.readouterr().err.strip().endswith(f"not trained: {second.title} seed 0")
