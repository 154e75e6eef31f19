"""The whole reproduction: what it measures, what it leaves out, and what it says beforehand."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import bench, claims, fit, reproduce, sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.paper import plan
from mem_dfa.experiments.paper.plan import How
from mem_dfa.experiments.paper.planned_figures import ALL, FIGURES
from mem_dfa.experiments.store import fit_rows, results, schemas, traces
from mem_dfa.experiments.store.table import Table
from mem_dfa.experiments.terminal import screen

from tests.experiments.drawn import cells
from tests.experiments.made import history, row
from tests.experiments.meter import Meter, good
from tests.profiling.drawn import small


def missing_of(line: str, out: Path, repeats: int = 3, **how: Any) -> list[Cell]:
    """What a figure of the cells of a command lacks."""
    lacking = plan.missing({How(repeats, **how): cells(line)}, str(out))
    return [cell for cells in lacking.values() for cell in cells]


@pytest.mark.parametrize("quick", [False, True])
def test_what_figures_want_makes_sense(quick: bool) -> None:
    wanted = [pair for figure in FIGURES for pair in figure.wanted(quick).items()]
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert all(figure.cells for figure in FIGURES)
    if quick:
        assert not any(cell.epochs for _, cells in wanted for cell in cells)
        assert {how.repeats for how, _ in wanted if not how.is_traced} == {1}


@pytest.mark.slow
def test_every_cell_can_be_trained() -> None:
    """Built in a process, each algorithm on each net with each of its options once."""
    alike: dict[tuple, Cell] = {}
    for figure in FIGURES:
        for cell in (*figure.cells, *figure.quick):
            known = dataclasses.replace(cell, dataset="synthetic", classes=10)
            alike.setdefault((cell.algorithm, cell.model, cell.options), known)
    result = worker.call("survey", list(alike.values()), lambda *_: None)
    assert result["status"] == "ok", result["error"]
    refused = zip(alike, result["refusals"], strict=True)
    assert [pair for pair in refused if pair[1]] == []
    assert len(alike) > 40


def test_what_is_known_is_not_missing(tmp_path: Path) -> None:
    line = "sweep --algo bp,fa --model conv20 --layers 1"
    results.append(tmp_path, [row("bp")])
    assert [cell.algorithm for cell in missing_of(line, tmp_path)] == ["fa"]
    results.append(tmp_path, [row("fa", status="timed_out", peak_bytes=None)])
    assert not missing_of(line, tmp_path)
    assert missing_of("sweep --algo bp --model conv20 --layers 1 --steps 25", tmp_path)


def test_a_training_needs_its_epochs(tmp_path: Path) -> None:
    line = "sweep --algo bp --model mlp --dataset mnist --epochs 2"
    values = {"model": "mlp", "batch_size": 100, "dataset": "mnist", "epochs": 2}
    results.append(tmp_path, [row("bp", 2, **values)])
    (cell,) = missing_of(line, tmp_path)
    history(tmp_path, dataclasses.replace(cell, device="CPU:0"), [0.5, 0.6])
    assert not missing_of(line, tmp_path)


def test_fewer_processes_than_asked_for_are_not_enough(tmp_path: Path) -> None:
    line = "sweep --algo bp --model conv20 --layers 1"
    results.append(tmp_path, [row("bp", repeats=1)])
    assert not missing_of(line, tmp_path, repeats=1)
    assert missing_of(line, tmp_path)
    results.append(tmp_path, [row("bp", repeats=3)])
    assert not missing_of(line, tmp_path)


def test_beside_a_newer_version_the_older_rows_are_missing(tmp_path: Path) -> None:
    """Because a figure is drawn from that version alone."""
    line = "sweep --algo bp,fa --model conv20 --layers 1"
    results.append(tmp_path, [row("bp"), row("fa")])
    assert not missing_of(line, tmp_path)
    results.append(tmp_path, [row("bp", tensorflow="2.22.0")])
    assert [cell.algorithm for cell in missing_of(line, tmp_path)] == ["fa"]


def test_timelines_are_missing_one_by_one(tmp_path: Path) -> None:
    line = "run --algo bp,fa --model conv20 --layers 2"
    first, second = cells(line)
    file = traces.file_of(dataclasses.replace(first, device="CPU:0"), str(tmp_path))
    file.parent.mkdir()
    file.touch()
    assert missing_of(line, tmp_path, is_traced=True) == [second]


def test_turns_are_taken_by_all_or_again(tmp_path: Path) -> None:
    line = "run --algo bp,fa --model conv20 --layers 2"
    asked = cells(line)
    known = dict.fromkeys((*schemas.TIMES, "step_bytes"), 1)
    told = {"device": "CPU:0", "status": "ok", "rounds": 45, "tensorflow": "2.21.0", **known}
    rows = [{**cell.row(), **told} for cell in asked]
    Table(tmp_path, schemas.BENCH).append(rows[:1])
    assert missing_of(line, tmp_path, takes_turns=True) == asked
    Table(tmp_path, schemas.BENCH).append(rows)
    assert not missing_of(line, tmp_path, takes_turns=True)
    other = "run --algo bp,fa --model conv20 --layers 3"
    assert len(missing_of(other, tmp_path, takes_turns=True)) == 2


def test_batches_are_answered_for_every_algorithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(fit, "main", lambda words: asked.append(words) or 0)
    limit = plan.FIT_MEMORY_BYTES
    known = {"memory_limit_bytes": limit, "over": "batch", "status": "ok", "size": 4}
    known |= {"image_time_s": 0.1, "repeats": 3, "process_peak_bytes": 1}
    rows = [{**Cell(name, "vgg16").row(), **known} for name in ALL]
    Table(tmp_path, fit_rows.ANSWERS).append(rows[1:])
    words = ["--figure", "fit_vgg16", "--out", str(tmp_path)]
    assert reproduce.main(words) == 1, "nothing was found, so that a bar is missing"
    (line,) = asked
    assert line[:6] == ["--memory", "1024MiB", "--model", "vgg16", "--algo", "bp"]
    Table(tmp_path, fit_rows.ANSWERS).append(rows[:1])
    assert reproduce.main(words) == 0
    assert len(asked) == 1


def test_seconds_are_those_that_were_recorded() -> None:
    asked = cells("sweep --algo bp,fa,dfa --model conv20 --layers 1")
    rows = [row("bp", cell_time_s=5.0), row("bp", cell_time_s=7.0), row("fa", cell_time_s=2.5)]
    assert plan.recorded_seconds(asked, rows) == (9.5, 1)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Nothing is measured; what would be: a command and how many cells."""
    asked: list[tuple[str, int]] = []

    def swept(cells: Sequence[Cell], out: str, *how: Any, is_traced: bool) -> int:
        asked.append(("sweep", len(cells)))
        return 1 if cells[0].model == "depth_net" else 0

    monkeypatch.setattr(sweep, "measure", swept)
    monkeypatch.setattr(
        bench, "compare", lambda cells, out, repeats: asked.append(("bench", len(cells))) or 0
    )
    return asked


def test_it_says_how_long_and_goes_on_after_a_failure(
    measured: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = "layers_vgg16,depth,bench_conv20"
    known = cells("sweep --algo bp,fa,dfa,mem_dfa --model vgg16 --layers 1,4 --batch-size 8")
    results.append(
        tmp_path, [row(c.algorithm, c.layers, model="vgg16", batch_size=8) for c in known]
    )
    words = ["--quick", "--figure", figures, "--out", str(tmp_path)]
    assert reproduce.main(words) == 1
    said = capsys.readouterr().err
    assert "8 of 19 cells are known already" in said
    assert "11 to measure: " in said
    assert "when they were measured before" in said
    assert sorted(measured) == [("bench", 5), ("sweep", 6)]
    assert (tmp_path / "figures" / "layers_vgg16.png").exists()


def test_a_cell_that_two_figures_want_is_counted_once(
    measured: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where one of them wants it from more processes."""
    reproduce.main(["--figure", "layers_vgg16,pareto_vgg16", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert "0 of 105 cells are known already\n105 to measure: " in said
    assert sorted(measured) == [("sweep", 7), ("sweep", 105)]


def test_timelines_that_were_recorded_are_found(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = processes.measure

    def recorded(cell: Cell, *rest: Any) -> tuple[dict[str, Any], list]:
        small().save(cell.trace_file)
        return measure(cell, *rest)

    monkeypatch.setattr(processes, "measure", recorded)
    line = ["--quick", "--figure", "timelines_vgg16", "--out", str(tmp_path)]
    assert reproduce.main(line) == 0
    assert reproduce.main(line) == 0
    assert len(meter.measured) == 2
    for file in (tmp_path / traces.FOLDER).glob("*.json.gz"):
        file.unlink()
    assert reproduce.main(line) == 0
    assert len(meter.measured) == 4


def test_processes_have_the_limits_of_a_sweep_or_their_own(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, Limits] = {}

    def measure(cell: Cell, report: Any, repeats: int, given: Limits) -> tuple[dict, list]:
        limits[cell.model] = given
        return good(cell, repeats), []

    monkeypatch.setattr(processes, "measure", measure)
    line = ["--quick", "--figure", "depth,layers_conv20", "--out", str(tmp_path)]
    assert reproduce.main(line) == 0
    assert limits["depth_net"] == Limits(time_s=1200, memory_bytes=8 * 2**30)
    assert limits["conv20"].time_s == 3600
    assert limits["conv20"].memory_bytes, "one that takes all would end whatever else runs"


def test_the_tables_are_made_where_they_are_not_there(
    measured: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that does not hold is in its table, and is no failure."""
    asked: list[list[str]] = []

    def claimed(words: list[str]) -> int:
        asked.append(words)
        Path(words[-1], "tables").mkdir(exist_ok=True)
        Path(words[-1], "tables", f"claims_{words[1]}.csv").write_text("claim,verdict\n")
        return 1

    monkeypatch.setattr(claims, "main", claimed)
    assert reproduce._tables(str(tmp_path)) == [0] * len(claims.PARTS)
    assert [words[1] for words in asked] == list(claims.PARTS)
    monkeypatch.setattr(claims, "main", lambda words: 2)
    (tmp_path / "tables" / f"claims_{next(iter(claims.PARTS))}.csv").unlink()
    assert 2 in reproduce._tables(str(tmp_path))


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3 h 30 min"), (0, "0 s")]
)
def test_times_are_for_reading(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


@pytest.mark.parametrize(
    "words", [["--out", "/dev/null/below"], ["--slow"], ["--figure", "mona_lisa"]]
)
def test_bad_value_gets_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
