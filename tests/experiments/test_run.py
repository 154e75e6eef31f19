"""The command from end to end, on the smallest cells."""

import csv
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import run, sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import program
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.table import Table
from mem_dfa.experiments.terminal import screen

from mem_dfa import profiling
from tests.experiments.meter import good

SMALL = ["--model", "mlp", "--dataset", "synthetic", "--layers", "1", "--batch-size", "8"]
CELL = Cell(
    algorithm="bp",
    model="mlp",
    layers=1,
    batch_size=8,
    execution="graph",
    dataset="synthetic",
    data_dir=None,
    device="CPU:0",
    optimizer="sgd",
    learning_rate=0.01,
    seed=0,
    steps=2,
)


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Runs ``python -m experiments.run``."""
    line = [sys.executable, "-m", "experiments.run", *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd)


def test_small_cell(tmp_path: Path) -> None:
    """One algorithm asked for: two rows, because bp is measured beside it."""
    done = command("--algo", "mem_dfa", *SMALL, "--steps", "2", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    # Not a line of TensorFlow's.
    assert done.stderr.splitlines() == [
        f"{number}/2 {name} mlp 1 layers batch 8 graph"
        for number, name in enumerate(("bp", "mem_dfa"), 1)
    ]
    assert "saved vs bp" in done.stdout
    with (tmp_path / results.FILE_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["algorithm"] for row in rows] == ["bp", "mem_dfa"]
    for row in rows:
        assert row["status"] == "ok"
        assert row["device"] == "CPU:0"
        assert row["repeats"] == "3"
        peak, resident, step = (
            int(row[name]) for name in ("peak_bytes", "resident_bytes", "step_bytes")
        )
        assert peak - resident == step > 0
        assert int(row["step_requested_bytes"]) > 0
        # The allocator rounds, and TensorFlow keeps some small constants.
        predicted = int(row["predicted_resident_bytes"])
        assert predicted <= resident <= predicted + 64 * 1024
        assert 0 < float(row["step_time_s"]) < 10


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--algo", "bp", "--layers", "21"], ["--layers 21", "1 to 2"]),
        (["--algo", "no.such_module:Class"], ["no.such_module:Class", "cannot be imported"]),
        (["--algo", "json:JSONDecoder"], ["json:JSONDecoder", "keras.Model"]),
    ],
)
def test_refused_before_measuring(
    words: list[str], parts: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What only TensorFlow can find out gets one sentence as well, and no CSV."""
    assert run.main([*SMALL, *words, "--out", str(tmp_path / "out")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert all(part in line for part in parts)
    assert not (tmp_path / "out").exists()


def test_failing_cell_is_a_row_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """A class that breaks in its step: its row says so, bp's row is there, exit status 1."""
    root = Path(__file__).parents[2]
    (tmp_path / "mine.py").write_text(
        "import mem_dfa\n"
        "class Broken(mem_dfa.BP):\n"
        "    def train_step(self, data):\n"
        "        raise RuntimeError('broken on purpose')\n"
    )
    runner = f"import sys; sys.path.append({str(root)!r}); from experiments import run\n"
    line = ["--algo", "mine:Broken", *SMALL, "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", f"{runner}sys.exit(run.main({line!r}))"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**worker.os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 1, done.stderr
    assert "broken on purpose" in done.stderr
    assert "Traceback" not in done.stderr
    with (tmp_path / "out" / results.FILE_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["algorithm"], row["status"]) for row in rows] == [
        ("bp", "ok"),
        ("mine:Broken", "failed"),
    ]
    assert "broken on purpose" in rows[1]["error"]
    assert rows[1]["peak_bytes"] == ""


def test_out_of_memory_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator's own limit makes a real one."""
    monkeypatch.setenv("TF_CPU_BFC_MEM_LIMIT_IN_MB", "64")
    cell = Cell(**{**CELL.__dict__, "model": "conv20", "layers": 4, "batch_size": 512})
    row, _ = processes.measure(cell, lambda note, done: None)
    assert row["status"] == "out_of_memory"
    assert row["step_bytes"] is None
    assert row["error"]


@pytest.mark.parametrize("feedback", ["stored", "regenerated"])
def test_feedback_for_many_classes(feedback: str) -> None:
    """Stored it grows with them; regenerated there is none to hold."""
    changes: dict[str, Any] = {"algorithm": "mem_dfa", "dataset": "synthetic", "classes": 50}
    changes["options"] = {"feedback": feedback}
    row, _ = processes.measure(
        dataclasses.replace(CELL, **changes), lambda note, done: None, repeats=1
    )
    assert row["status"] == "ok", row["error"]
    assert row["feedback_bytes"] == (4 * 50 * 100 if feedback == "stored" else 0)  # float32
    assert row["host_bytes"] == 0


def test_host_memory_is_no_other_memory_on_a_cpu() -> None:
    cell = dataclasses.replace(CELL, algorithm="offload")
    row, _ = processes.measure(cell, lambda note, done: None, repeats=1)
    assert row["status"] == "refused"
    assert "host='CPU:0', which computes, too" in row["error"]


def test_a_net_that_cannot_be_predicted_is_measured() -> None:
    """Its halves are plain layers, whose shapes no graph tells."""
    changes = {"algorithm": "revnet", "model": "depth_revnet", "layers": 2}
    row, _ = processes.measure(
        dataclasses.replace(CELL, **changes), lambda note, done: None, repeats=1
    )
    assert row["status"] == "ok", row["error"]
    assert row["predicted_step_bytes"] is None
    assert row["step_bytes"] > 0


def test_a_wide_layer_is_updated_in_less_than_its_gradient() -> None:
    """The number that `experiments.claims` shows; the gradient whole takes 64 MiB."""
    cell = dataclasses.replace(CELL, optimizer="adam")
    result = worker.call("wide_update", [cell])
    assert result["status"] == "ok", result
    assert 0 < result["step_bytes"] < 16 * 2**20


def test_a_timeline_that_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as on a full disk: what was measured is a row, and no other step's is drawn for it."""
    tried = []

    def call(task: str, cells: list[Cell], *_: Any) -> dict[str, Any]:
        known = {"peak_bytes": 3 * 2**20, "resident_bytes": 2**21, "step_time_s": 0.5}
        tried.append(cells[0].trace_file)
        if cells[0].trace_file:  # one process of three
            known["error"] = "Cannot write it (No space left on device)."
        return good(cells[0], **known)

    monkeypatch.setattr(processes, "check", lambda cells, report: list(cells))
    monkeypatch.setattr(worker, "call", call)
    line = ["--algo", "bp", *SMALL, "--out", str(tmp_path)]
    assert run.main([*line, "--trace"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert [bool(file) for file in tried] == [False, False, True]
    assert run.main(line) == 0
    assert [row["status"] for row in results.read(tmp_path)] == ["ok", "ok"]


def refuse(*_: Any) -> Path:
    raise results.ResultsError("no space left on the device")


def refuse_history(table: Table, rows: Sequence[dict[str, Any]]) -> Path:
    return refuse() if table.schema is trainings.EPOCHS else append(table, rows)


append = Table.append


@pytest.mark.parametrize(
    "unwritable", [(Table, "append", refuse_history), (results, "append", refuse)]
)
@pytest.mark.parametrize("command", [run.main, sweep.main])
def test_how_far_a_training_is_goes_once_its_end_is_kept(
    command: Callable[[Sequence[str]], int],
    unwritable: tuple[object, str, Callable],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its row as well as its history."""
    kept: list[Path] = []

    def call(task: str, cells: list[Cell], *_: Any) -> dict[str, Any]:
        row = good(cells[0], peak_bytes=2**21, resident_bytes=2**20, step_time_s=0.5)
        if task == "train":
            kept.append(Path(str(cells[0].training_file)))
            kept[-1].touch()
            history = [{"epoch": 1, "test_accuracy": 0.5}]
            return {**row, "accuracy": 0.5, "accuracy_label": "data", "history": history}
        return row

    survey = processes.Survey("CPU:0", "2.21.0")
    monkeypatch.setattr(processes, "check", lambda cells, report: list(cells))
    monkeypatch.setattr(processes, "survey", lambda cells, report: survey)
    monkeypatch.setattr(worker, "call", call)
    line = ["--algo", "bp", *SMALL, "--epochs", "1", "--out", str(tmp_path)]
    with monkeypatch.context() as full:
        full.setattr(*unwritable)
        assert command(line) == 2
    assert kept[0].parent == tmp_path
    assert kept[0].exists()
    # Of `sweep` one of the two is there by now.
    assert command(line) == 0
    assert kept[0] == kept[1]
    assert not kept[0].exists()


def test_what_cannot_be_written_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @program.command
    def command(argv: Sequence[str]) -> int:
        raise profiling.TraceError("Cannot write depth.png (No space left on device).")

    assert command([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: Cannot write depth.png (No space left on device)."


def test_silent_meter_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable wrong there is a message, never a 0."""
    monkeypatch.setitem(worker.ENVIRONMENT, "TF_CPU_ALLOCATOR_USE_BFC", "0")
    with pytest.raises(processes.MeterSilentError, match="TF_CPU_ALLOCATOR_USE_BFC"):
        processes.check([CELL], lambda note, done: None)


def test_factor_compares_with_bp_of_the_same_cell() -> None:
    """Another depth's bp is no baseline."""
    keys = ("model", "batch_size", "execution", "device")
    base = {key: getattr(CELL, key) for key in keys}
    rows = [
        {**base, "algorithm": "bp", "layers": 1, "step_bytes": 300},
        {**base, "algorithm": "bp", "layers": 2, "step_bytes": 600},
        {**base, "algorithm": "dfa", "layers": 2, "step_bytes": 200},
    ]
    assert screen._factor(rows[2], rows) == "3.00x"
    assert screen._factor(rows[2], rows[2:]) == "-"
