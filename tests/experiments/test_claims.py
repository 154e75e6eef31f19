"""The tables of claims: what fails holds no claim, and stops none of the others."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import claims
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.checks.claims_table import PARTS
from mem_dfa.experiments.checks.finding import FAIL, PASS, Claim, Known, Quantity, judge
from mem_dfa.experiments.checks.quantities import off_growth, requested_spread, step_bytes
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results


@pytest.mark.parametrize(
    ("sizes", "exponent", "distance"),
    [([3, 5, 9], 1.0, 0.0), ([20, 30, 30 + 10 * 2**0.5], 0.5, 0.0), ([10, 20, 30], 0.5, 0.5)],
)
def test_growth_is_told_apart_from_what_stays(
    sizes: list[float], exponent: float, distance: float
) -> None:
    assert off_growth(sizes, exponent) == pytest.approx(distance)


@pytest.mark.parametrize("sizes", [[1, 1, 2], [2, 1, 3], [1, 3, 2]])
def test_what_does_not_grow_has_no_exponent(sizes: list[int]) -> None:
    assert off_growth(sizes, 0.5) == math.inf


def verdict(quantity: Quantity, limit: float | Quantity, *numbers: int | None) -> str:
    """Of a claim about so many cells, of which one may have failed."""
    cells = [make_cell("bp", "conv20", layers + 1) for layers in range(len(numbers))]

    def row(cell: Cell, repeats: int) -> dict[str, int | None]:
        number = numbers[cell.layers - 1]
        return {"step_bytes": number, "step_requested_bytes": number}

    return judge(Claim("one", quantity, cells, limit), Known(row))["verdict"]


def test_claims_judge_at_the_boundary() -> None:
    """The limit itself holds, a byte more does not, and neither does what was not measured."""
    assert verdict(step_bytes, 28, 28 * 2**20) == PASS
    assert verdict(step_bytes, 28, 28 * 2**20 + 1) == FAIL
    assert verdict(step_bytes, 28, None) == FAIL
    assert verdict(requested_spread, 3.0, 100, 103, 102) == PASS
    assert verdict(requested_spread, 3.0, 100, 104, 102) == FAIL
    assert verdict(requested_spread, 3.0, 100, 103, None) == FAIL


def test_a_limit_that_is_measured_too() -> None:
    half = Quantity("MiB", lambda known, claim: step_bytes.of(known, claim) / 2)
    assert verdict(half, step_bytes, 2**20) == PASS
    assert verdict(step_bytes, half, 2**20) == FAIL
    assert verdict(step_bytes, half, None) == FAIL


@pytest.mark.parametrize("part", PARTS)
def test_the_committed_tables_are_of_these_claims(part: str) -> None:
    path = Path(__file__).parents[2] / "results" / f"claims_{part}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = PARTS[part](make_cell)
    told = [(row["claim"], row["unit"], float(row["reference"] or 0)) for row in rows]
    assert told == [(c.title, c.quantity.unit, c.reference or 0) for c in known]
    for row, claim in zip(rows, known, strict=True):
        assert isinstance(claim.limit, Quantity) or float(row["limit"]) == claim.limit


@pytest.mark.parametrize("part", PARTS)
def test_a_machine_on_which_everything_fails(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(cell: Cell, *_: Any, **__: Any) -> tuple[dict[str, Any], list]:
        failed = {"status": "failed", "error": "no room"}
        return {**dict.fromkeys(results.COLUMNS), **vars(cell), **failed}, []

    monkeypatch.setattr(processes, "check", lambda cells, report: cells)
    monkeypatch.setattr(processes, "measure", measure)
    monkeypatch.setattr(worker, "call", lambda *_, **__: {"status": "failed", "error": "no room"})
    assert claims.main(["--part", part, "--out", str(tmp_path)]) == 1
    with (tmp_path / f"claims_{part}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Reading made events into a timeline needs no cell.
    measured = [row for row in rows if not row["claim"].startswith("reading ")]
    assert {(row["verdict"], row["measured"]) for row in measured} == {(FAIL, "")}
    assert "Traceback" not in capsys.readouterr().err
