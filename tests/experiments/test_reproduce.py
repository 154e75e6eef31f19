"""The whole reproduction: what it runs, what it leaves out, and what it says beforehand."""

import dataclasses
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import reproduce
from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.paper import commands, estimate, planned_figures
from mem_dfa.experiments.store import results, traces

from tests.experiments.made import history, row, table

SMALL = {"status": "ok", "error": None}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is measured; the commands that would run."""
    lines: list[str] = []

    def run(line: str, out: str) -> int:
        lines.append(line)
        return 1 if line.startswith("depth") else 0

    monkeypatch.setattr(commands, "run", run)
    monkeypatch.setattr(processes, "check", lambda cells, report: list(cells))
    monkeypatch.setattr(processes, "measure", lambda *_, **__: (SMALL, []))
    return lines


@pytest.mark.parametrize("quick", [False, True])
def test_every_command_makes_sense(quick: bool) -> None:
    lines = planned_figures.all_lines(quick)
    assert len(lines) == len(set(lines))
    for line in lines:
        plan = commands.plan_of(line)
        module = line.split()[0]
        assert bool(plan.cells) == (module in ("sweep", "run"))
        assert importlib.util.find_spec(f"experiments.{module}")
        if quick:
            assert not any(cell.epochs for cell in plan.cells)
            assert module != "sweep" or plan.repeats == 1
    assert {figure.name for figure in planned_figures.FIGURES if figure.commands} == {
        figure.name for figure in planned_figures.FIGURES
    }


@pytest.mark.slow
def test_every_command_names_what_can_be_trained() -> None:
    """Built in a process, each algorithm on each net with each of its options once."""
    asked = [cell for quick in (False, True) for line in planned_figures.all_lines(quick)
             for cell in commands.plan_of(line).cells]  # fmt: skip
    alike: dict[tuple, Cell] = {}
    for cell in asked:
        options = (getattr(cell, name) for name in ALGORITHM_OPTIONS)
        known = dataclasses.replace(cell, dataset="synthetic", data_dir=None)
        alike.setdefault((cell.algorithm, cell.model, *options), known)
    result = worker.call("survey", list(alike.values()), lambda *_: None)
    assert result["status"] == "ok", result["error"]
    refused = zip(alike, result["refusals"], strict=True)
    assert [pair for pair in refused if pair[1]] == []
    assert len(alike) > 40


def test_lists_become_every_combination() -> None:
    plan = commands.plan_of(
        "sweep --algo bp,fa --model mlp,mnist_conv --layers 1,2 --batch-size 4,8 "
        "--execution graph,xla --seed 0,1,2 --repeats 5"
    )
    found = {
        (c.algorithm, c.model, c.layers, c.batch_size, c.execution, c.seed) for c in plan.cells
    }
    assert len(found) == len(plan.cells) == 2 * 2 * 2 * 2 * 2 * 3
    assert ("fa", "mnist_conv", 2, 8, "xla", 2) in found
    assert (plan.repeats, plan.is_traced) == (5, False)
    assert commands.plan_of("run --algo bp --model mlp --trace").is_traced


def test_a_command_is_done_when_its_cells_are_known(tmp_path: Path) -> None:
    line, out = "sweep --algo bp,fa --model conv20 --layers 1", str(tmp_path)
    results.append(out, [row("bp")])
    assert [cell.algorithm for cell in commands.missing_cells(line, out)] == ["fa"]
    results.append(out, [row("fa", status="timed_out", peak_bytes=None)])
    assert commands.is_done(line, out)
    trained = "sweep --algo bp --model mlp --dataset mnist --epochs 2"
    values = {"model": "mlp", "batch_size": 100, "dataset": "mnist", "epochs": 2}
    results.append(out, [row("bp", 2, **values)])
    assert not commands.is_done(trained, out)
    history(tmp_path, commands.plan_of(trained).cells[0], [0.5, 0.6])
    assert commands.is_done(trained, out)
    assert not commands.is_done(planned_figures.CLAIMS[0], out)
    (tmp_path / "claims_feedback.csv").write_text("claim,verdict\n")
    done = [line for line in planned_figures.CLAIMS if commands.is_done(line, out)]
    assert done == ["claims --part feedback"]


def test_rows_of_other_settings_are_no_steps_that_were_timed(tmp_path: Path) -> None:
    """What `accuracy_plots` does not draw is not done."""
    line, out = "sweep --algo bp --model conv20 --layers 1 --learning-rate 0.1", str(tmp_path)
    results.append(out, [row("bp"), row("bp", learning_rate=0.1)])
    assert commands.is_done(line, out)
    assert not commands.is_done(f"{line} --steps 25", out)
    results.append(out, [row("bp", learning_rate=0.1, steps=25)])
    assert commands.is_done(f"{line} --steps 25", out)


def test_a_newer_version_beside_it_has_a_line_measured_again(tmp_path: Path) -> None:
    """Because its figure is drawn from that version alone."""
    figure = next(figure for figure in planned_figures.FIGURES if figure.name == "pareto_conv20")
    first, second, *_ = figure.commands
    out, whole = str(tmp_path), {"layers": 20}
    cells = commands.plan_of(second).cells
    results.append(out, [row(c.algorithm, **whole, **c.options) for c in cells])
    assert commands.is_done(second, out)
    results.append(out, [row("bp", **whole, tensorflow="2.22.0")])
    assert commands.missing_cells(second, out) == list(cells)
    assert "bp" not in [cell.algorithm for cell in commands.missing_cells(first, out)]


def test_a_bench_of_another_net_is_not_done(tmp_path: Path) -> None:
    line, out = "bench --model conv20 --layers 20", str(tmp_path)
    values = (commands.shown(line), "2026-01-01", 9.0, 0, "m")
    table(tmp_path / commands.RUNS_FILE, dict(zip(commands.RUN_COLUMNS, values, strict=True)))
    for command, is_done in (
        (f"{commands.shown(line)} --out {out}", True),
        (commands.shown(line), True),
        (f"{commands.shown(line)} --execution xla", False),
        (f"{commands.shown(line)} --out {out} --execution xla", False),
        ("python -m experiments.bench --model conv20", False),
        ("", False),
    ):
        table(tmp_path / "bench.csv", {"algorithm": "bp", "command": command})
        assert commands.is_done(line, out) is is_done, command


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_command_ends_with_what_runs_it(tmp_path: Path) -> None:
    """However that ends: a sweep that nobody waits for would disturb the next one."""
    told = tmp_path / "pid"
    child = f"#!/bin/sh\necho $$ > {told}.part && mv {told}.part {told}\nexec sleep 60\n"
    (tmp_path / "python").write_text(child)
    (tmp_path / "python").chmod(0o755)
    code = f"import sys; from experiments import commands; sys.executable = {str(tmp_path)!r} + "
    code += f"'/python'; commands.run('sweep', {str(tmp_path)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    wait_for(told.exists)
    parent.kill()
    parent.wait()
    process = Path("/proc", told.read_text().strip(), "stat")
    wait_for(lambda: not process.exists() or process.read_text().split()[2] == "Z")


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_fewer_processes_than_asked_for_are_not_enough(tmp_path: Path) -> None:
    line, out = "sweep --algo bp --model conv20 --layers 1", str(tmp_path)
    results.append(out, [row("bp", repeats=1)])
    assert commands.is_done(f"{line} --repeats 1", out)
    assert not commands.is_done(line, out)
    results.append(out, [row("bp", repeats=3)])
    assert commands.is_done(line, out)


def test_a_table_that_grows_is_done_when_its_command_ended(tmp_path: Path) -> None:
    out = str(tmp_path)
    (tmp_path / "fit.csv").write_text("one row of many")
    (tmp_path / "bench.csv").write_text("of whatever net")
    line = "fit --memory 1GiB --model vgg16 --algo bp"
    assert not commands.is_done("bench --model conv20", out)
    assert not commands.is_done(line, out)
    runs = [(f"python -m experiments.{line}", "2026-01-01", 9.0, status, "m") for status in (1, 0)]
    named = [dict(zip(commands.RUN_COLUMNS, run, strict=True)) for run in runs]
    table(tmp_path / commands.RUNS_FILE, named[0])
    assert not commands.is_done(line, out)
    table(tmp_path / commands.RUNS_FILE, *named)
    assert commands.is_done(line, out)


def test_it_says_how_long_and_goes_on_after_a_failure(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = "sweep --algo bp,fa,dfa,mem_dfa --model vgg16 --layers 1,4 --batch-size 8"
    assert any(line.startswith(done) for line in planned_figures.all_lines(True))
    cells = commands.plan_of(done).cells
    results.append(
        tmp_path, [row(c.algorithm, c.layers, model="vgg16", batch_size=8) for c in cells]
    )
    assert reproduce.main(["--quick", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    lines = planned_figures.all_lines(True)
    assert f"1 of {len(lines)} commands are done already" in said
    assert f"{len(lines) - 1} commands to run: about" in said
    assert "wrong by a factor of 2" in said
    assert "nothing tells beforehand: python -m experiments.bench" in said
    assert ran == [line for line in lines if not line.startswith(done)]
    assert f"failed: {commands.shown(next(x for x in lines if x[:5] == 'depth'))}" in said
    assert "layers_vgg16.png" in str(list((tmp_path / "figures").iterdir()))


def test_claims_that_do_not_hold_are_no_failure(
    ran: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They were measured; without their tables they were not."""
    monkeypatch.setattr(planned_figures, "all_lines", lambda quick: list(planned_figures.CLAIMS))
    monkeypatch.setattr(commands, "run", lambda line, out: 1)
    reproduce.main(["--out", str(tmp_path)])
    assert "failed: python -m experiments.claims" in capsys.readouterr().err

    def measured(line: str, out: str) -> int:
        Path(out, f"claims_{line.split()[-1]}.csv").write_text("claim,verdict\n")
        return 1

    monkeypatch.setattr(commands, "run", measured)
    reproduce.main(["--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert "not every claim holds" in said
    assert "failed" not in said


def test_what_ran_is_kept(tmp_path: Path) -> None:
    assert commands.run("figures --figure nothing", str(tmp_path)) == 2
    assert commands.run("figures --figure nothing", str(tmp_path)) == 2
    first, second = commands.read_runs(str(tmp_path))
    assert first["command"] == "python -m experiments.figures --figure nothing"
    assert first["exit_status"] == "2"
    assert float(first["seconds"]) > 0
    assert "cores" in second["machine"]
    (tmp_path / commands.RUNS_FILE).write_text("a,b\n1,2\n")
    with pytest.raises(results.ResultsError, match="no list of commands"):
        commands.read_runs(str(tmp_path))


def cell(**changes: Any) -> Cell:
    (found,) = commands.plan_of("sweep --algo bp --model conv20 --layers 10").cells
    return dataclasses.replace(found, **changes)


def test_guesses_follow_the_rows() -> None:
    """In proportion to layers and images, of the most alike row; else from the table."""
    rows = [row("fa", 20, step_time_s=1.0), row("bp", 20, step_time_s=2.0)]
    assert estimate.step_seconds(cell(), rows) == pytest.approx(1.0)
    assert estimate.step_seconds(cell(batch_size=64), rows) == pytest.approx(0.5)
    table = estimate.LAYER_S["conv20"] * 10 * 128
    assert estimate.step_seconds(cell(), []) == pytest.approx(table)
    once = estimate.cell_seconds(cell(), 1, rows, 8.0)
    assert estimate.cell_seconds(cell(), 3, rows, 8.0) == pytest.approx(3 * once)
    trained = estimate.cell_seconds(cell(epochs=2, dataset="cifar10"), 1, rows, 8.0)
    steps = 2 * 50_000 / 128
    assert trained == pytest.approx(once + 8.0 + steps * estimate.TESTING)


def test_a_command_takes_as_long_as_the_last_time(tmp_path: Path) -> None:
    line, out = planned_figures.CLAIMS[0], str(tmp_path)
    runs = [{"command": f"python -m experiments.{line}", "seconds": text} for text in ("5", "7")]
    assert estimate.seconds_of([line], out, [], runs, 1.0) == {line: 7}
    assert estimate.seconds_of([line], out, [], [], 1.0) == {line: None}


def test_of_recorded_cells_all_are_measured_again(tmp_path: Path) -> None:
    """`run` does not look which of its timelines are there."""
    line, out = "run --algo bp,fa --model conv20 --layers 2 --trace", str(tmp_path)
    whole = estimate.seconds_of([line], out, [], [], 1.0)
    first = commands.plan_of(line).cells[0]
    file = traces.file_of(first, out)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert commands.missing_cells(line, out) == list(commands.plan_of(line).cells[1:])
    assert estimate.seconds_of([line], out, [], [], 1.0) == whole


def test_a_cell_of_two_commands_is_counted_once(tmp_path: Path) -> None:
    one = "sweep --algo bp --model conv20 --layers 10"
    both = "sweep --algo bp,fa --model conv20 --layers 10"
    seconds = estimate.seconds_of([one, both], str(tmp_path), [], [], 8.0)
    each = estimate.cell_seconds(cell(), 3, [], 8.0)
    assert list(seconds.values()) == pytest.approx([8.0 + each, 8.0 + each])
    lines = [f"{one} --repeats 1", one]  # of which the second measures again
    seconds = estimate.seconds_of(lines, str(tmp_path), [], [], 8.0)
    assert list(seconds.values()) == pytest.approx([8.0 + each / 3, 8.0 + each])


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3 h 30 min"), (0, "0 s")]
)
def test_times_are_for_reading(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


@pytest.mark.parametrize("words", [["--out", "/dev/null/below"], ["--slow"]])
def test_bad_value_gets_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
