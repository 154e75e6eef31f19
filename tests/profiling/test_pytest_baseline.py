"""What a test takes beside its baseline, with recordings made by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from mem_dfa.profiling import TraceError
from mem_dfa.profiling.training.pytest_baseline import judge


def timeline(size: int, fault: str = "") -> Any:
    """Of a step that takes so many bytes in one layer."""

    def require_exact() -> None:
        if fault:
            raise TraceError(fault)

    index = pd.MultiIndex.from_tuples([("wide", "activation")])
    return SimpleNamespace(
        device="CPU:0",
        require_exact=require_exact,
        requested_at_peak=lambda: pd.Series([size], index=index),
    )


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judges a test of a file in a new folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)

    def judged(test: str, size: int, updates: bool = False, percent: float = 1, **how: Any) -> str:
        return judge(
            test, tmp_path / "test_net.py", timeline(size, **how), percent, updates=updates
        )

    return judged


def test_without_a_baseline_it_fails_and_says_how_to_make_one(said: Any) -> None:
    told = said("test_a", 1000)
    assert "memory-baselines/test_net/tensorflow_" in told
    assert "has no baseline of this test. Make it with python -m pytest --update-memory" in told


def test_at_the_tolerance_it_passes_and_a_byte_beyond_it_fails(said: Any) -> None:
    assert said("test_a", 1000, updates=True) == ""
    assert said("test_a", 1010) == said("test_a", 990) == said("test_a", 1011, percent=2) == ""
    for beyond in (989, 1011):
        told = said("test_a", beyond)
        assert told.startswith("test_a: step bytes 1000 B -> ")
        assert "wide" in told


def test_each_test_has_its_own_and_only_what_moved_is_written(said: Any, tmp_path: Path) -> None:
    said("test_a", 1000, updates=True)
    said("test_b", 2000, updates=True)
    (path,) = tmp_path.glob("memory-baselines/test_net/*.json")
    before = path.read_text()
    assert said("test_a", 1005, updates=True) == ""
    assert path.read_text() == before, "small steps would pass one by one"
    said("test_a", 1500, updates=True)
    assert said("test_a", 1500) == said("test_b", 2000) == ""


def test_what_cannot_be_compared_fails(said: Any) -> None:
    assert "events are missing" in said("test_a", 1, fault="events are missing")
    assert "'with device_memory.trace(model):'" in judge("a", Path("t.py"), None, 1, updates=True)


def test_a_damaged_file_stays_and_is_told(said: Any, tmp_path: Path) -> None:
    said("test_a", 1000, updates=True)
    (path,) = tmp_path.glob("memory-baselines/test_net/*.json")
    path.write_text("{")
    for updates in (False, True):
        assert "is no baseline" in said("test_a", 1000, updates=updates)
    assert path.read_text() == "{"
