"""Sweeps: each cell is measured once, whatever happens, and what happened is in its row."""

import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mem_dfa.experiments import sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.engine import processes, sweeping, worker
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.table import Table

from tests.experiments.meter import (
    FOUR,
    SMALL,
    TENSORFLOW,
    Meter,
    cells,
    fail,
    good,
    interrupt,
    read,
)


def test_every_combination_once() -> None:
    words = ["--model", "mlp,mnist_conv", "--batch-size", "8,16", "--execution", "eager,xla"]
    found = cells(*words, "--seed", "0-2", "--layers", "1")
    assert len(set(found)) == len(found) == 2 * 2 * 2 * 2 * 3
    assert {cell.seed for cell in found} == {0, 1, 2}
    assert [cell.algorithm for cell in found[:4]] == ["bp", "dfa", "bp", "dfa"]
    assert {cell.batch_size for cell in cells()} == {100}, "the model's own"


def test_goes_on_where_it_was_interrupted(
    meter: Meter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*SMALL, "--out", str(tmp_path)]
    meter.acts[2] = interrupt
    assert sweep.main(line) == 130
    assert len(read(tmp_path)) == 2
    assert sweep.main(line) == 0
    assert meter.measured == [*FOUR[:3], *FOUR[2:]]
    assert [(row["algorithm"], row["layers"]) for row in read(tmp_path)] == FOUR
    assert sweep.main(line) == 0
    assert len(meter.measured) == 5
    assert capsys.readouterr().out.count("4 cells: 4 ok") == 2


def test_what_failed_is_measured_again_only_if_asked(
    meter: Meter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*SMALL, "--out", str(tmp_path)]
    meter.acts[1] = fail
    assert sweep.main(line) == 1
    assert "out_of_memory: dfa mlp 1 layers batch 100 graph seed 0: too much" in (
        capsys.readouterr().err
    )
    assert sweep.main(line) == 1
    assert meter.measured == FOUR
    assert sweep.main([*line, "--retry"]) == 0
    assert meter.measured == [*FOUR, ("dfa", 1)]
    assert sweep.main([*line, "--retry"]) == 0
    assert len(meter.measured) == 5


def test_what_fails_again_is_not_tried_for_ever(meter: Meter, tmp_path: Path) -> None:
    line = [*SMALL, "--out", str(tmp_path), "--retry"]
    meter.acts = {1: fail, 4: fail}
    assert sweep.main(line) == 1
    assert sweep.main(line) == 1
    assert meter.measured == [*FOUR, ("dfa", 1)]


def test_a_training_is_told_where_to_keep_how_far_it_is(meter: Meter, tmp_path: Path) -> None:
    files: list[str | None] = []

    def trained(cell: Cell) -> dict[str, Any]:
        files.append(cell.training_file)
        return good(cell)

    meter.acts = dict.fromkeys(range(3), trained)
    line = ["--algo", "bp", "--model", "mlp", "--layers", "1", "--dataset", "synthetic"]
    line += ["--out", str(tmp_path)]
    assert sweep.main([*line, "--epochs", "2", "--seed", "0,1"]) == 0
    assert sweep.main(line) == 0
    assert files.pop() is None
    assert len(set(files)) == 2
    assert {Path(str(file)).parent for file in files} == {tmp_path}


def test_an_error_of_measuring_itself_is_a_row(meter: Meter, tmp_path: Path) -> None:
    def broken(cell: Cell) -> dict[str, Any]:
        raise LookupError("no such\nthing")

    meter.acts[0] = broken
    assert sweep.main([*SMALL, "--out", str(tmp_path)]) == 1
    (row,) = (row for row in read(tmp_path) if row["status"] != "ok")
    assert (row["status"], row["error"]) == ("failed", "LookupError: no such thing")
    assert len(read(tmp_path)) == 4


def test_no_process_to_measure_in_stops_the_sweep(
    meter: Meter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such as a full disk for temporary files: every cell would fail, and none is to blame."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    def measure(cell: Cell) -> dict[str, Any]:
        return worker.call("measure", [cell])

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    meter.acts[1] = measure
    assert sweep.main([*SMALL, "--out", str(tmp_path)]) == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    assert [row["status"] for row in read(tmp_path)] == ["ok"]


def test_another_version_or_more_processes_are_another_measurement(
    meter: Meter, tmp_path: Path
) -> None:
    line = [*SMALL, "--out", str(tmp_path)]
    assert sweep.main([*line, "--repeats", "1"]) == 0
    assert sweep.main([*line, "--repeats", "3"]) == 0
    assert len(meter.measured) == 8
    assert sweep.main([*line, "--repeats", "1"]) == 0
    assert len(meter.measured) == 8
    meter.version = "2.99.0"
    assert sweep.main(line) == 0
    assert len(meter.measured) == 12


def test_a_net_whose_depth_no_survey_found(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no room to be built, and was measured all the same."""
    without = processes.Survey("CPU:0", TENSORFLOW)
    monkeypatch.setattr(processes, "survey", lambda cells, report: without)
    line = ["--algo", "bp", "--model", "mlp", "--dataset", "synthetic", "--out", str(tmp_path)]
    assert sweep.main(line) == 0
    assert [row["layers"] for row in read(tmp_path)] == [2]


def test_a_row_is_found_again_in_the_file(tmp_path: Path) -> None:
    """Whatever the columns hold: small rates, sizes, the depth of a whole net."""
    words = ["--algo", "checkpoint", "--budget", "64 MiB\r", "--learning-rate", "0.00001"]
    parser = sweep.parser()
    line = [*words, "--model", "mlp", "--dataset", "synthetic", "--seed", "0-1"]
    first, second = arguments.cells(parser.parse_args(line))
    task = sweeping.Task(replace(first, device="CPU:0"), TENSORFLOW)
    results.append(tmp_path, [good(task.cell)])
    assert list(results.settled(str(tmp_path), 3)) == [task.identity]
    assert "learning_rate=1e-05" in task.identity
    assert "options=budget=64 MiB " in task.identity
    other = sweeping.Task(replace(second, device="CPU:0"), TENSORFLOW)
    assert other.identity != task.identity
    results.append(tmp_path, [fail(task.cell) | {"tensorflow": TENSORFLOW}])
    assert results.settled(str(tmp_path), 3)[task.identity]["status"] == "ok"


def test_a_table_that_another_program_saved_is_refused(
    meter: Meter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pandas does it, to which whole numbers with a gap among them are fractions."""
    meter.acts[1] = fail
    line = [*SMALL, "--out", str(tmp_path)]
    assert sweep.main(line) == 1
    file = tmp_path / results.FILE_NAME
    pd.read_csv(file).to_csv(file, index=False)
    capsys.readouterr()
    assert sweep.main(line) == 2
    assert "no table of measurements (repeats is '3.0')" in capsys.readouterr().err


def test_a_full_disk(
    meter: Meter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence, and what was there is there."""

    def full(cell: Cell) -> dict[str, Any]:
        def no_space(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)
        return good(cell)

    meter.acts[1] = full
    assert sweep.main([*SMALL, "--out", str(tmp_path)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    monkeypatch.undo()
    assert [(row["algorithm"], row["status"]) for row in read(tmp_path)] == [("bp", "ok")]


def test_training_leaves_its_history(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its row, which says that the cell need not be measured again."""
    written: list[str] = []
    replace_file = os.replace

    def watched(unfinished: Path, path: Path) -> None:
        written.append(path.name)
        replace_file(unfinished, path)

    monkeypatch.setattr(os, "replace", watched)
    meter.epochs = [{"epoch": 1, "test_accuracy": 0.5}]
    line = ["--algo", "bp", "--model", "mlp", "--epochs", "1", "--dataset", "synthetic"]
    assert sweep.main([*line, "--out", str(tmp_path)]) == 0
    (epoch,) = Table(tmp_path, trainings.EPOCHS).read()
    assert (epoch["model"], epoch["layers"], epoch["test_accuracy"]) == ("mlp", 2, 0.5)
    assert written == [Path(trainings.EPOCHS.name).name, results.FILE_NAME]


@pytest.mark.parametrize("model", ["mlp", "resnet110"])
def test_a_row_without_its_history_is_trained_again(
    model: str, meter: Meter, tmp_path: Path
) -> None:
    """And a history that is damaged stops it before the hours that training takes."""
    meter.epochs = [{"epoch": n, "test_accuracy": 0.5} for n in (1, 2)]
    line = ["--algo", "bp", "--model", model, "--dataset", "synthetic", "--out", str(tmp_path)]
    for _ in range(2):
        assert sweep.main([*line, "--epochs", "2"]) == 0
    assert len(meter.measured) == 1
    history = tmp_path / trainings.EPOCHS.name
    text = history.read_text()
    history.unlink()
    assert sweep.main([*line, "--epochs", "2"]) == 0
    assert len(meter.measured) == 2
    assert history.read_text() == text
    history.write_text(text.splitlines(keepends=True)[0])
    assert sweep.main([*line, "--epochs", "2"]) == 0  # it has no epoch
    assert history.read_text() == text
    history.write_text("nonsense\n1\n")
    assert sweep.main([*line, "--epochs", "3"]) == 2
    assert len(meter.measured) == 3


def test_a_history_that_cannot_be_kept_loses_no_row(meter: Meter, tmp_path: Path) -> None:
    def spoil(cell: Cell) -> dict[str, Any]:
        (tmp_path / trainings.EPOCHS.name).parent.mkdir(exist_ok=True)
        (tmp_path / trainings.EPOCHS.name).write_text("nonsense\n1\n")
        return good(cell)

    meter.epochs, meter.acts[0] = [{"epoch": 1, "test_accuracy": 0.5}], spoil
    line = ["--algo", "bp", "--model", "mlp", "--epochs", "1", "--dataset", "synthetic"]
    assert sweep.main([*line, "--out", str(tmp_path)]) == 2
    assert [row["status"] for row in read(tmp_path)] == ["ok"]


def test_each_cell_has_a_history_of_its_own(meter: Meter, tmp_path: Path) -> None:
    meter.epochs = [{"epoch": 1, "test_accuracy": 0.5}]
    line = ["--algo", "microbatch", "--model", "mlp", "--epochs", "1", "--dataset", "synthetic"]
    for words in ([], ["--slices", "2"], ["--budget", "64 MiB"]):
        assert sweep.main([*line, *words, "--out", str(tmp_path)]) == 0
    kept = Table(tmp_path, trainings.EPOCHS).read()
    assert [row["options"] for row in kept] == [None, "slices=2", "budget=64 MiB"]
    for row in kept:
        assert trainings.read(tmp_path, Cell.of(row | {"epochs": 1})) == [row]


def test_as_many_at_once_as_there_is_room_for(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def measure(cell: Cell, *_: Any) -> tuple[dict[str, Any], list]:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.1)
        with lock:
            under_way -= 1
        return good(cell), []

    monkeypatch.setattr(processes, "measure", measure)
    words = ["--workers", "4", "--total-memory", "4 GiB", "--memory-limit", "1 GiB"]
    assert sweep.main([*SMALL, *words, "--out", str(tmp_path)]) == 0
    assert most == 2
    assert len(read(tmp_path)) == 4
