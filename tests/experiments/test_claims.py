"""The tables of claims: what fails holds no claim, and stops none of the others."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import claims
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.findings import FAIL, distance_of_growth
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results


@pytest.mark.parametrize(
    ("sizes", "exponent", "distance"),
    [([3, 5, 9], 1.0, 0.0), ([20, 30, 30 + 10 * 2**0.5], 0.5, 0.0), ([10, 20, 30], 0.5, 0.5)],
)
def test_growth_is_told_apart_from_what_stays(
    sizes: list[float], exponent: float, distance: float
) -> None:
    assert distance_of_growth(sizes, exponent) == pytest.approx(distance)


@pytest.mark.parametrize("sizes", [[1, 1, 2], [2, 1, 3], [1, 3, 2]])
def test_what_does_not_grow_has_no_exponent(sizes: list[int]) -> None:
    assert distance_of_growth(sizes, 0.5) == math.inf


@pytest.mark.parametrize("part", claims.PARTS)
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
