"""Sweeps: each cell is measured once, whatever happens, and what happened is in its row."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import arguments, board, engines, processes, results, sweep, sweep_options
from experiments import sweep_rows as rows
from experiments.plan import Cell
from experiments.worker import Limits
from sizes import units

SMALL = ["--algo", "bp,dfa", "--model", "mlp", "--layers", "1,2", "--dataset", "synthetic"]
FOUR = [("bp", 1), ("dfa", 1), ("bp", 2), ("dfa", 2)]
TENSORFLOW = "2.21.0"


def cells(*words: str) -> list[Cell]:
    return sweep_options.cells(sweep_options.parser().parse([*SMALL, *words]))


def good(cell: Cell, repeats: int = 3, **changes: Any) -> dict[str, Any]:
    """What measuring a cell gives."""
    known = {"status": "ok", "step_bytes": 2**20, "repeats": repeats, "tensorflow": TENSORFLOW}
    row = {**vars(cell), "layers": cell.layers or 2, **known, **changes}
    return {column: row.get(column) for column in results.COLUMNS}


class Meter:
    """Stands for the processes that measure; keeps what they were asked for."""

    def __init__(self) -> None:
        self.measured: list[tuple[str, int | None]] = []
        self.acts: dict[int, Callable[[Cell], dict[str, Any]]] = {}
        """What happens instead, by how many were measured before."""
        self.epochs: list[dict[str, Any]] = []
        self.version = TENSORFLOW

    def survey(self, cells: list[Cell], report: processes.Report) -> processes.Survey:
        return processes.Survey("CPU:0", self.version, {"mlp": 2})

    def measure(
        self, cell: Cell, report: processes.Report, repeats: int, limits: Limits
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        self.measured.append((cell.algorithm, cell.layers))
        act = self.acts.pop(len(self.measured) - 1, None)
        row = act(cell) if act else good(cell, repeats, tensorflow=self.version)
        return row, self.epochs


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    meter = Meter()
    monkeypatch.setattr(processes, "survey", meter.survey)
    monkeypatch.setattr(processes, "measure", meter.measure)
    return meter


def read(folder: Path) -> list[dict[str, str]]:
    return results.rows(folder)


def fail(cell: Cell) -> dict[str, Any]:
    return good(cell, status="out_of_memory", error="too much", repeats=None, tensorflow=None)


def interrupt(cell: Cell) -> dict[str, Any]:
    raise KeyboardInterrupt


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
    assert [(row["algorithm"], int(row["layers"])) for row in read(tmp_path)] == FOUR
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


def test_an_error_of_measuring_itself_is_a_row(meter: Meter, tmp_path: Path) -> None:
    def broken(cell: Cell) -> dict[str, Any]:
        raise LookupError("no such\nthing")

    meter.acts[0] = broken
    assert sweep.main([*SMALL, "--out", str(tmp_path)]) == 1
    (row,) = (row for row in read(tmp_path) if row["status"] != "ok")
    assert (row["status"], row["error"]) == ("failed", "LookupError: no such thing")
    assert len(read(tmp_path)) == 4


def test_no_process_to_measure_in_stops_the_sweep(
    meter: Meter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a full disk for temporary files: every cell would fail, and none is to blame."""

    def full(cell: Cell) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    meter.acts[1] = full
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
    without = processes.Survey("CPU:0", TENSORFLOW, {})
    monkeypatch.setattr(processes, "survey", lambda cells, report: without)
    line = ["--algo", "bp", "--model", "mlp", "--dataset", "synthetic", "--out", str(tmp_path)]
    assert sweep.main(line) == 0
    assert [row["layers"] for row in read(tmp_path)] == ["2"]


def test_a_row_is_found_again_in_the_file(tmp_path: Path) -> None:
    """Whatever the columns hold: small rates, sizes, the depth of a whole net."""
    words = ["--algo", "checkpoint", "--budget", "64 MiB", "--learning-rate", "0.00001"]
    parser = sweep_options.parser()
    line = [*words, "--model", "mlp", "--dataset", "synthetic", "--seed", "0-1"]
    first, second = sweep_options.cells(parser.parse(line))
    task = sweep.Task(replace(first, device="CPU:0"), 2, TENSORFLOW)
    results.append(tmp_path, [good(task.cell)])
    assert list(rows.settled(read(tmp_path), 3)) == [task.identity]
    assert "1e-05" in task.identity
    other = sweep.Task(replace(second, device="CPU:0"), 2, TENSORFLOW)
    assert other.identity != task.identity
    results.append(tmp_path, [task.completed(fail(task.cell))])
    assert rows.settled(read(tmp_path), 3)[task.identity]["status"] == "ok"


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

        monkeypatch.setattr(results.os, "fsync", no_space)
        return good(cell)

    meter.acts[1] = full
    assert sweep.main([*SMALL, "--out", str(tmp_path)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    monkeypatch.undo()
    assert [(row["algorithm"], row["status"]) for row in read(tmp_path)] == [("bp", "ok")]


def test_training_leaves_its_history(meter: Meter, tmp_path: Path) -> None:
    """Before its row, which says that the cell need not be measured again."""
    meter.epochs = [{"epoch": 1, "test_accuracy": 0.5}]
    line = ["--algo", "bp", "--model", "mlp", "--epochs", "1", "--dataset", "synthetic"]
    assert sweep.main([*line, "--out", str(tmp_path)]) == 0
    (history,) = tmp_path.glob("history_*.csv")
    assert history.name == "history_bp_mlp_2_synthetic_100_graph_sgd_0.01_0.csv"
    assert "0.5" in history.read_text()
    assert history.stat().st_mtime_ns <= (tmp_path / results.FILE_NAME).stat().st_mtime_ns


def test_each_cell_has_a_history_of_its_own(meter: Meter, tmp_path: Path) -> None:
    meter.epochs = [{"epoch": 1, "test_accuracy": 0.5}]
    line = ["--algo", "microbatch", "--model", "mlp", "--epochs", "1", "--dataset", "synthetic"]
    for words in ([], ["--slices", "2"], ["--budget", "64 MiB"]):
        assert sweep.main([*line, *words, "--out", str(tmp_path)]) == 0
    first, budget, slices = sorted(path.name for path in tmp_path.glob("history_*.csv"))
    assert first.endswith("_0.csv")
    assert budget.endswith("_0_budget_64_MiB.csv")
    assert slices.endswith("_0_slices_2.csv")


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
    words = ["--workers", "4", "--memory", "4 GiB", "--memory-limit", "1 GiB"]
    assert sweep.main([*SMALL, *words, "--out", str(tmp_path)]) == 0
    assert most == 2
    assert len(read(tmp_path)) == 4


@pytest.mark.parametrize(
    ("words", "workers", "limit"),
    [
        (["--memory", "9 GiB"], 1, "8 GiB"),
        (["--memory", "9 GiB", "--workers", "3"], 3, "2 GiB"),
        (["--memory", "9 GiB", "--workers", "3", "--memory-limit", "4 GiB"], 1, "4 GiB"),
        (["--memory", "9 GiB", "--workers", "3", "--memory-limit", "1 GiB"], 3, "1 GiB"),
    ],
)
def test_memory_is_shared_out(words: list[str], workers: int, limit: str) -> None:
    """Each process takes a GiB beside its tensors."""
    found = sweep_options.room(sweep_options.parser().parse([*SMALL, *words]))
    assert found == (workers, Limits(3600, units.parse_bytes(limit)))


def test_time_for_each_epoch() -> None:
    parser = sweep_options.parser()
    assert sweep_options.room(parser.parse([*SMALL, "--epochs", "3"]))[1].time_s == 3 * 3600
    words = ["--epochs", "3", "--time-limit", "60"]
    assert sweep_options.room(parser.parse([*SMALL, *words]))[1].time_s == 60


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "mlp,resnet"], "'resnet' is not a model"),
        (["--execution", "graph,fast"], "'fast' is not a way to execute"),
        (["--batch-size", "8,0"], "'8,0' is no batch size"),
        (["--batch-size", "1-20000"], "at most 10000 in a range"),
        (["--seed", "2-1"], "'2-1' is no seed"),
        (["--seed", "-1"], "numbers from 0"),
        (["--memory", "8"], "such as"),
        (["--memory", "1 GiB"], "has no room for a cell"),
        (["--memory", "4 GiB", "--memory-limit", "4 GiB"], "has no room for a cell"),
        (["--scheduler", "localhost"], "'localhost' is no scheduler"),
        (["--scheduler", "tcp://nowhere:1", "--workers", "2"], "--workers 2 is for this machine"),
        (["--time-limit", "0"], "from 1 to"),
        (["--slices", "2"], "--slices 2 is for mem_dfa and microbatch"),
        (["--out", "/dev/null/below"], "cannot be written"),
    ],
)
def test_bad_value_gets_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main([*SMALL, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert part in lines[0]


def test_without_dask_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert sweep.main([*SMALL, "--scheduler", "local", "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'mem-dfa[distributed]'" in line


def test_a_worker_with_other_code_is_not_asked() -> None:
    code = engines.fingerprint()
    assert engines._checked(code, str, 7) == "7"
    with pytest.raises(processes.MachineError, match="other code"):
        engines._checked(code[::-1], str, 7)


def survey(monkeypatch: pytest.MonkeyPatch, refused: set[tuple[str, str]]) -> processes.Survey:
    """Of mlp and mnist_conv with bp and dfa, of which some pairs are refused."""

    def call(task: str, cells: list[Cell], report: processes.Report) -> dict[str, Any]:
        assert task == "survey"
        no = [(cell.model, cell.algorithm) in refused for cell in cells]
        refusals = [
            f"no {cell.model}" if one else None for cell, one in zip(cells, no, strict=True)
        ]
        found = {"status": "ok", "device": "CPU:0", "tensorflow": TENSORFLOW}
        return {**found, "refusals": refusals, "depths": [None if one else 3 for one in no]}

    monkeypatch.setattr(processes.worker, "call", call)
    line = ["--algo", "bp,dfa", "--model", "mlp,mnist_conv", "--dataset", "synthetic"]
    options = sweep_options.parser().parse(line)
    return processes.survey(sweep_options.cells(options), processes.silent)


def test_each_model_and_algorithm_must_fit_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that does not go together is a row; one that goes with none is a mistake."""
    assert survey(monkeypatch, {("mlp", "bp")}).depths == {"mlp": 3, "mnist_conv": 3}
    with pytest.raises(arguments.UsageError, match="no mlp"):
        survey(monkeypatch, {("mlp", "bp"), ("mlp", "dfa")})
    with pytest.raises(arguments.UsageError, match="no mlp"):
        survey(monkeypatch, {("mlp", "bp"), ("mnist_conv", "bp")})


TWO_AT_ONCE = """
import sys, time
sys.path.insert(0, {folder!r})
import test_sweep
from experiments import processes, sweep
meter = test_sweep.Meter()
def measure(cell, *rest):
    print(cell.algorithm, cell.layers, cell.seed, flush=True)
    time.sleep(0.02)
    return meter.measure(cell, *rest)
processes.survey, processes.measure = meter.survey, measure
sys.exit(sweep.main({line!r}))
"""


def test_two_sweeps_share_a_folder(tmp_path: Path) -> None:
    """Neither measures what the other does, and each tells of all cells in the end."""
    line = [*SMALL, "--seed", "0-9", "--out", str(tmp_path)]
    code = TWO_AT_ONCE.format(folder=str(Path(__file__).parent), line=line)
    sweeps = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=60)[0].splitlines() for one in sweeps]
    assert [one.returncode for one in sweeps] == [0, 0]
    measured = [line for lines in said for line in lines[:-2]]
    assert max(Counter(measured).values()) == 1
    assert len(measured) == len(read(tmp_path)) == 40
    assert all(lines[-2] == "40 cells: 40 ok" for lines in said)
    assert all(len(lines) > 2 for lines in said), "both took part"


def test_a_killed_sweep_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import time; from experiments import sweep_rows\n"
        f"holds = sweep_rows.Holds({str(tmp_path)!r})\n"
        "print(holds.take(('a',)), flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "True\n"
    with rows.Holds(str(tmp_path)) as holds:
        assert not holds.take(("a",))
        assert holds.take(("b",))
        other.kill()
        other.wait()
        assert holds.take(("a",))
    other.stdout.close()


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    left = tmp_path / f".{results.FILE_NAME}.x1"
    left.write_text("half a ro")
    results.append(tmp_path, [good(cells()[0])])
    assert not left.exists()
    assert len(read(tmp_path)) == 1


def test_time_left_is_that_of_like_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the same model, where there are some, and of all else."""
    now = 100.0
    monkeypatch.setattr(board.time, "monotonic", lambda: now)
    (small, *others), large = cells(), replace(cells()[0], model="vgg16")
    shown = board.Board([small, *others, large], known=5, slots=2)
    assert shown.seconds_left() is None
    shown.began(small)
    now += 10
    shown.ended(small, good(small))
    assert shown.seconds_left() == (3 * 10 + 10) / 2
    shown.began(large)
    now += 40
    shown.ended(large, good(large))
    assert shown.seconds_left() == 3 * 10 / 2
    shown.began(others[0])
    now += 4
    assert shown.seconds_left() == (2 * 10 + 6) / 2


def test_the_table_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    console = board.Console(width=160, record=True)
    monkeypatch.setattr(board, "Console", lambda stderr: console)
    shown = board.Board(cells(), known=1, slots=1)
    shown.began(shown.waiting[0])("process 1 of 3: warming up", 0.1)
    console.print(shown._drawn())
    text = console.export_text()
    assert "bp mlp 1 layers batch 100 graph seed 0" in text
    assert "process 1 of 3: warming up" in text
    last = (
        "1/5 cells: 0 measured here, 0 of them failed, 1 known, 3 waiting; time left not known yet"
    )
    assert last in text.splitlines()
