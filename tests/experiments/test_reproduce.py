"""The whole reproduction: what it measures, what it leaves out, and what it says beforehand."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import bench, claims, fit, reproduce
from mem_dfa.experiments.cells.cell import Cell, on_devices
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.paper import missing, planned_figures
from mem_dfa.experiments.paper.planned_figures import Kind, PlannedFigure, Wanted
from mem_dfa.experiments.store import results, traces

from tests.experiments.drawn import cells
from tests.experiments.made import history, row, table, turns
from tests.experiments.meter import Meter, fail, good
from tests.profiling.drawn import small

LINE = "sweep --algo bp,fa --model conv20 --layers 1"


def names(wanted: list[Wanted]) -> list[str]:
    return [cell.algorithm for one in wanted for cell in one.cells]


def lacking(out: Path, *wanted: Wanted) -> list[str]:
    """The algorithms of the cells that a figure of these lacks."""
    figure = PlannedFigure("figure", "title", Kind.PARETO, wanted)
    return names(missing.missing_of(figure, False, str(out)))


def wanted_of(line: str, **how: Any) -> Wanted:
    return Wanted(tuple(cells(line)), **how)


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Cell, ...]]:
    """No turns are taken; what would."""
    taken: list[tuple[Cell, ...]] = []

    def compare(asked: tuple[Cell, ...], out: str, repeats: int) -> int:
        taken.append(asked)
        return 0

    monkeypatch.setattr(bench, "compare", compare)
    return taken


@pytest.mark.parametrize("quick", [False, True])
def test_every_figure_makes_sense(quick: bool) -> None:
    """It wants each cell once; a quick one trains nothing and takes one process a cell."""
    figures = planned_figures.FIGURES
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        wanted = planned_figures.wanted_by(figure, quick)
        assert wanted or quick
        keys = [cell.key() for one in wanted for cell in one.cells]
        assert len(set(keys)) == len(keys)
        assert all(one.cells for one in wanted)
        if quick:
            assert not any(cell.epochs for one in wanted for cell in one.cells)
            assert all(one.repeats == 1 or one.is_traced for one in wanted)


@pytest.mark.slow
def test_every_figure_names_what_can_be_trained() -> None:
    """Built in a process, each algorithm on each net with each of its options once."""
    alike: dict[tuple, Cell] = {}
    for quick in (False, True):
        for figure in planned_figures.FIGURES:
            for one in planned_figures.wanted_by(figure, quick):
                for cell in one.cells:
                    known = dataclasses.replace(cell, dataset="synthetic", layers=None)
                    alike.setdefault((cell.algorithm, cell.model, cell.options), known)
    result = worker.call("survey", list(alike.values()), lambda *_: None)
    assert result["status"] == "ok", result["error"]
    refused = zip(alike, result["refusals"], strict=True)
    assert [pair for pair in refused if pair[1]] == []
    assert len(alike) > 40


def test_what_is_known_is_not_missing(tmp_path: Path) -> None:
    """A failure is known, too; a training needs its epochs."""
    assert lacking(tmp_path, wanted_of(LINE)) == ["bp", "fa"]
    results.append(tmp_path, [row("bp")])
    assert lacking(tmp_path, wanted_of(LINE)) == ["fa"]
    results.append(tmp_path, [row("fa", status="timed_out", peak_bytes=None)])
    assert lacking(tmp_path, wanted_of(LINE)) == []
    trained = wanted_of("sweep --algo bp --model mlp --dataset mnist --epochs 2", repeats=1)
    values = {"model": "mlp", "batch_size": 100, "dataset": "mnist", "epochs": 2}
    results.append(tmp_path, [row("bp", 2, **values)])
    assert lacking(tmp_path, trained) == ["bp"]
    history(tmp_path, trained.cells[0], [0.5, 0.6])
    assert lacking(tmp_path, trained) == []


def test_rows_of_other_settings_are_no_steps_that_were_timed(tmp_path: Path) -> None:
    """What `accuracy_plots` does not draw is missing."""
    line = "sweep --algo bp --model conv20 --layers 1 --learning-rate 0.1"
    timed = wanted_of(f"{line} --steps 25")
    results.append(tmp_path, [row("bp"), row("bp", learning_rate=0.1)])
    assert lacking(tmp_path, wanted_of(line)) == []
    assert lacking(tmp_path, timed) == ["bp"]
    results.append(tmp_path, [row("bp", learning_rate=0.1, steps=25)])
    assert lacking(tmp_path, timed) == []


def test_a_newer_version_beside_it_has_cells_measured_again(tmp_path: Path) -> None:
    """Because their figure is drawn from that version alone."""
    line = LINE.replace("bp,fa", "checkpoint,microbatch")
    both = wanted_of(LINE), wanted_of(line)
    results.append(tmp_path, [row(cell.algorithm) for one in both for cell in one.cells])
    assert lacking(tmp_path, *both) == []
    results.append(tmp_path, [row("bp", tensorflow="2.22.0")])
    assert lacking(tmp_path, *both) == ["fa", "checkpoint", "microbatch"]


def test_fewer_processes_than_asked_for_are_not_enough(tmp_path: Path) -> None:
    line = LINE.replace("bp,fa", "bp")
    results.append(tmp_path, [row("bp", repeats=1)])
    assert lacking(tmp_path, wanted_of(line, repeats=1)) == []
    assert lacking(tmp_path, wanted_of(line)) == ["bp"]
    results.append(tmp_path, [row("bp", repeats=3)])
    assert lacking(tmp_path, wanted_of(line)) == []


def test_of_recorded_cells_those_without_a_timeline_are_missing(tmp_path: Path) -> None:
    wanted = wanted_of(LINE, is_traced=True)
    results.append(tmp_path, [row("bp"), row("fa")])
    small().save(traces.file_of(on_devices(wanted.cells[0])[0], str(tmp_path)))
    assert lacking(tmp_path, wanted) == ["fa"]


def test_turns_are_taken_together(tmp_path: Path) -> None:
    """One that is missing has all of them compared again, and so has another net."""
    wanted = wanted_of("sweep --algo bp,mem_dfa --model conv20 --layers 20", takes_turns=True)
    table(tmp_path / "bench.csv", turns("bp"), turns("mem_dfa", 10), turns("mem_dfa", model="vgg16"))
    assert lacking(tmp_path, wanted) == ["bp", "mem_dfa"]
    table(tmp_path / "bench.csv", turns("bp"), turns("mem_dfa"))
    assert lacking(tmp_path, wanted) == []


def test_an_interrupted_reproduction_goes_on(
    meter: Meter,
    turned: list[tuple[Cell, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says what is known, and goes on after a failure; what was measured is drawn."""

    def stop(cell: Cell) -> dict[str, Any]:
        raise KeyboardInterrupt

    line = ["--quick", "--figure", "layers_conv20,layers_vgg16", "--out", str(tmp_path)]
    meter.acts = {2: fail, 4: stop}
    assert reproduce.main(line) == 130
    assert "0 of 20 cells are known already\n20 to measure" in capsys.readouterr().err
    assert reproduce.main(line) == 0
    assert "4 of 20 cells are known already\n16 to measure" in capsys.readouterr().err
    assert len(meter.measured) == 20 + 1
    assert (tmp_path / "figures" / "layers_vgg16.png").exists()
    assert reproduce.main(line) == 0
    assert "20 of 20 cells are known already" in capsys.readouterr().err
    assert len(meter.measured) == 21
    assert not turned


def test_a_cell_of_several_figures_is_counted_and_measured_once(
    meter: Meter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--quick", "--figure", "layers_conv20,batch_conv20,pareto_conv20"]
    line += ["--out", str(tmp_path)]
    assert reproduce.main(line) == 0
    count = len(meter.measured)
    said = capsys.readouterr().err
    assert f"0 of {count} cells are known already\n{count} to measure" in said
    rows = results.read(tmp_path)
    assert len({Cell.of(known).key() for known in rows}) == len(rows) == count


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
    assert len(meter.measured) == 2
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


def test_what_takes_turns_is_compared(
    turned: list[tuple[Cell, ...]], meter: Meter, tmp_path: Path
) -> None:
    line = ["--quick", "--figure", "bench_conv20", "--out", str(tmp_path)]
    assert reproduce.main(line) == 1, "nothing was timed, and so nothing is drawn"
    ((bp, *others),) = turned
    assert (bp.algorithm, bp.layers, bp.batch_size) == ("bp", 4, 16)
    assert len(others) == 4
    assert not meter.measured


def test_the_tables_belong_to_the_whole(
    meter: Meter,
    turned: list[tuple[Cell, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claims that do not hold are in their table, and no failure; without it they are one."""
    ran: list[str] = []

    def judged(argv: list[str]) -> int:
        ran.append(argv[1])
        (tmp_path / f"claims_{argv[1]}.csv").write_text("claim,verdict\n")
        return 1

    def fitted(argv: list[str]) -> int:
        ran.append("fit")
        return 0

    monkeypatch.setattr(reproduce.figures, "draw", lambda *_: 0)
    monkeypatch.setattr(reproduce, "_measure", lambda *_: 0)
    monkeypatch.setattr(fit, "main", fitted)
    monkeypatch.setattr(claims, "main", judged)
    assert reproduce.main(["--out", str(tmp_path)]) == 0
    assert ran == ["fit", *claims.PARTS]
    assert reproduce.main(["--out", str(tmp_path)]) == 0
    assert ran[len(claims.PARTS) + 1 :] == ["fit"], "which has no answers yet"
    for part in claims.PARTS:
        (tmp_path / f"claims_{part}.csv").unlink()
    monkeypatch.setattr(claims, "main", lambda argv: 1)
    assert reproduce.main(["--out", str(tmp_path)]) == 1
    ran.clear()
    for words in (["--quick"], ["--figure", "depth"]):
        assert reproduce.main([*words, "--out", str(tmp_path)]) == 0
    assert not ran


def test_the_time_is_that_of_the_rows() -> None:
    """The newest of each cell, of whatever device and images; what was never timed is counted."""
    asked = cells(LINE)
    rows = [row("bp", cell_time_s=9.0), row("bp", cell_time_s=40.0, device="GPU:0")]
    assert missing.recorded_seconds(asked, rows) == (40.0, 1)
    assert missing.recorded_seconds(asked, [*rows, row("fa", cell_time_s=2.5)]) == (42.5, 0)
    assert missing.recorded_seconds([], rows) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3 h 30 min"), (0, "0 s")]
)
def test_times_are_for_reading(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


@pytest.mark.parametrize("words", [["--out", "/dev/null/below"], ["--slow"], ["--figure", "x"]])
def test_bad_value_gets_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
