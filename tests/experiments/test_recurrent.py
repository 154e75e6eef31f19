"""The command that trains recurrent nets and weighs them."""

import dataclasses
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from mem_dfa.experiments import recurrent
from mem_dfa.experiments.cells.cell import Report
from mem_dfa.experiments.measure import unrolled
from mem_dfa.experiments.pictures import recurrent_plots
from mem_dfa.experiments.store.schemas import RECURRENT
from mem_dfa.experiments.store.table import Table

from mem_dfa.units import MEBIBYTE
from tests.experiments.drawn import lines


def test_each_variant_has_a_row_for_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = dataclasses.replace(unrolled.delay(), updates=60, window=20)
    monkeypatch.setitem(unrolled.TASKS, "delay", lambda: short)
    monkeypatch.delitem(unrolled.VARIANTS, "tbptt")
    assert recurrent.main(["--task", "delay", "--runs", "1", "--out", str(tmp_path)]) == 0
    rows = {row["variant"]: row for row in Table(tmp_path, RECURRENT).read()}
    assert list(rows) == list(unrolled.VARIANTS)
    assert rows["tbptt_long"]["chunk"] == 16
    assert rows["dni"]["share"] == 0.5
    for row in rows.values():
        assert 0 < row["best_bits"] <= row["last_bits"] < 1.2
    requested = [row["step_requested_bytes"] for row in rows.values()]
    assert requested == sorted(requested)
    said = capsys.readouterr()
    assert "tbptt_long" in said.out
    assert said.err.splitlines()[0] == "starting TensorFlow"
    assert (tmp_path / "tables/recurrent_delay.md").exists()
    assert (tmp_path / "figures/recurrent.png").exists()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """What a stand-in for training was asked for; it tells how far it is."""
    asked = []

    def train(task: str, variant: str, seed: int, report: Report) -> dict[str, object]:
        asked.append((task, variant, seed))
        updates = unrolled.TASKS[task]().updates
        report(f"update 1 of {updates}", 0.0)
        return row(task, variant, seed, 1, last_bits=0.5, updates=updates)

    monkeypatch.setattr(unrolled, "train", train)
    monkeypatch.setitem(unrolled.TASKS, "text", unrolled.delay)  # takes no time to make
    return asked


def test_what_is_known_is_not_trained_again(
    trained: list[tuple[str, str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--task", "delay", "--out", str(tmp_path)]
    assert recurrent.main([*line, "--runs", "1"]) == 0
    first = [("delay", variant, 0) for variant in unrolled.VARIANTS]
    assert trained == first
    assert "are known" not in capsys.readouterr().err
    assert recurrent.main([*line, "--runs", "2"]) == 0
    assert trained[3:] == [("delay", variant, 1) for variant in unrolled.VARIANTS]
    assert "3 of 6 runs are known from" in capsys.readouterr().err
    assert recurrent.main(["--task", "text", "--runs", "1", "--out", str(tmp_path)]) == 0
    assert trained[6:] == [("text", variant, 0) for variant in unrolled.VARIANTS]
    assert len(Table(tmp_path, RECURRENT).read()) == 9


def test_another_number_of_updates_is_another_run(
    trained: list[tuple[str, str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--task", "delay", "--out", str(tmp_path), "--runs", "1"]
    assert recurrent.main(line) == 0
    longer = dataclasses.replace(unrolled.delay(), updates=7000)
    monkeypatch.setitem(unrolled.TASKS, "delay", lambda: longer)
    assert recurrent.main(line) == 0
    assert len(trained) == 6


def test_turns_are_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def unroll(report: Report) -> list[dict[str, object]]:
        calls.append(report)
        told = {"ratio_to_bp": 1.0, "updates": unrolled.TURNS}
        return [row("unroll", variant, 0, 1, **told) for variant in unrolled.UNROLLED]

    monkeypatch.setattr(unrolled, "unroll", unroll)
    for _ in range(2):
        assert recurrent.main(["--task", "unroll", "--out", str(tmp_path)]) == 0
    assert len(calls) == 1
    assert len(Table(tmp_path, RECURRENT).read()) == 3


def test_no_line_of_tensorflows_is_shown(tmp_path: Path) -> None:
    """In a process of its own, whose rows are all known."""
    rows = [
        row("unroll", variant, 0, 1, ratio_to_bp=1.0, updates=unrolled.TURNS)
        | {name: version(name) for name in ("tensorflow", "keras")}
        for variant in unrolled.UNROLLED
    ]
    Table(tmp_path, RECURRENT).append(rows)
    line = [sys.executable, "-m", "experiments.recurrent", "--task", "unroll", "--out", tmp_path]
    # What these tests set themselves.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    begun, known = done.stderr.splitlines()
    assert begun == "starting TensorFlow"
    assert known.startswith("3 of 3 runs are known from ")


def row(task: str, variant: str, seed: int, mib: float, **told: float) -> dict[str, object]:
    sizes = {"step_requested_bytes": int(mib * MEBIBYTE), "update_time_s": 0.1}
    named = {"task": task, "variant": variant, "seed": seed, "chunk": 4, "updates": 1}
    return {**dict.fromkeys(RECURRENT.columns), **named, **sizes, **told}


def test_bits_and_time_are_drawn_against_memory(tmp_path: Path) -> None:
    Table(tmp_path, RECURRENT).append(
        [
            row("delay", "tbptt", 0, 1, last_bits=0.5),
            row("delay", "tbptt", 0, 1, last_bits=0.9),  # the same once more
            row("delay", "tbptt", 1, 3, last_bits=0.7),
            row("delay", "dni", 0, 2, last_bits=0.1),
            row("unroll", "bptt", 0, 100, ratio_to_bp=1.0),
            row("unroll", "checkpointed", 0, 5, ratio_to_bp=1.25),
        ]
    )
    drawn = recurrent_plots.against_memory(str(tmp_path))
    delay, unroll = drawn.figure.axes
    assert lines(delay) == {
        "tbptt": [[pytest.approx(2), pytest.approx(0.8)]],
        "dni": [[pytest.approx(2), pytest.approx(0.1)]],
    }
    assert lines(unroll)["checkpointed"] == [[pytest.approx(5), 1.25]]
    assert drawn.finding == (
        "Predicted errors bring 0.80 bits a step down to 0.10; checkpoints in time take 5 % of "
        "the memory in 1.25 of the time"
    )
    assert recurrent_plots.against_memory(str(tmp_path / "nothing")).figure is None


def test_a_task_that_does_not_exist() -> None:
    assert recurrent.main(["--task", "music"]) == 2
