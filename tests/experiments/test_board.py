"""Sweeps: the live table."""

import io
import sys
from dataclasses import replace

import pytest
from mem_dfa.experiments.terminal import board, screen

from tests.experiments.meter import cells, good


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


def test_bars_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    console = board.Console(width=160, record=True, force_terminal=True)
    monkeypatch.setattr(board, "Console", lambda stderr: console)
    with board.Board(cells(), known=1, slots=1) as shown:
        shown.began(shown.waiting[0])("process 1 of 3: warming up", 0.1)
        console.print(shown._bars)
    text = console.export_text()
    assert "bp mlp 1 layers batch 100 graph seed 0: process 1 of 3: warming up" in text
    counts = "0 measured here, 0 of them failed, 1 known, 3 waiting; time left not known yet"
    assert f"1/5 cells: {counts}" in text


def test_a_line_a_minute_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(board.time, "monotonic", lambda: now)
    shown = board.Board(cells(), known=0, slots=1)
    report = shown.began(shown.waiting[0])
    for seconds in range(150):
        now = 100.0 + seconds
        report("training: epoch 2 of 6", seconds / 150)
    lines = capsys.readouterr().err.splitlines()
    name = "bp mlp 1 layers batch 100 graph seed 0: training: epoch 2 of 6"
    assert lines == [f"{name}, 40%", f"{name}, 80%"]


def test_a_log_on_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    first = cells()[0]
    with screen.forgiving():
        shown = board.Board(cells(), known=0, slots=1)
        shown.began(first)
        shown.ended(first, good(first))
        with screen.progress("title", quiet=True) as report:
            report("epoch 1 of 2: test accuracy 0.5", 0.5)
    assert shown.finished == 1
