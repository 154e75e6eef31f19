"""Memory against depth: what is measured once stays, and limits are rows."""

import itertools
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import depth
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.pictures import labels
from mem_dfa.experiments.store import depth_rows

LIMITS = Limits(time_s=100, memory_bytes=2**30)
SMALL = ["--algo", "bp,mem_dfa", "--execution", "graph", "--batch-size", "2"]


def row(layers: int, status: str = "ok", algorithm: str = "bp", **changes: Any) -> dict[str, Any]:
    """A row of a cell that takes 10 MiB a layer."""
    measured = status == "ok"
    return {
        **dict.fromkeys(depth_rows.COLUMNS),
        "algorithm": algorithm,
        "execution": "graph",
        "layers": layers,
        "batch_size": 2,
        "status": status,
        "model": "depth_net",
        "peak_bytes": layers * 10 * 2**20 if measured else None,
        "step_requested_bytes": layers * 9 * 2**20 if measured else None,
        "cell_time_s": 5.0 + layers if measured else None,
        "memory_limit_bytes": LIMITS.memory_bytes,
        "time_limit_s": LIMITS.time_s,
        **changes,
    }


def keyed(*rows: dict[str, Any]) -> dict[depth_rows.Key, dict[str, Any]]:
    return {depth_rows.key_of(one): one for one in rows}


def reason(layers: int, *rows: dict[str, Any], limits: Limits = LIMITS) -> str | None:
    return depth_rows.reason_to_skip(keyed(*rows), ("bp", "graph", layers, 2), limits)


def test_rows_are_kept_and_replaced(tmp_path: Path) -> None:
    depth_rows.keep(str(tmp_path), row(1, "failed", error='a, "b"'))
    depth_rows.keep(str(tmp_path), row(3))
    depth_rows.keep(str(tmp_path), row(1))
    assert depth_rows.read(str(tmp_path)) == keyed(row(1), row(3))


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "\x00"])
def test_foreign_file_is_left_as_it_is(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / depth_rows.FILE_NAME
    path.write_text(text)
    assert depth.main(["--out", str(tmp_path)]) == 2
    assert "no table of depths" in capsys.readouterr().err
    assert path.read_text() == text


def test_shallower_cells_tell_what_a_deeper_one_takes() -> None:
    assert reason(100) is None
    assert reason(100, row(10)) is None
    assert reason(90, row(1), row(10)) is None
    assert "about 1100 MiB" in reason(110, row(3), row(11))
    slow = reason(30, row(3), row(10, cell_time_s=50.0))
    assert slow == "would take about 170 s, by the shallower ones"
    assert reason(1000, row(1), row(3)) is None, "too far to tell"
    assert reason(30, row(10, "timed_out")) == "10 layers: timed_out"
    assert reason(30, row(10, "failed")) is None
    assert reason(30, row(10, "timed_out", algorithm="dfa")) is None


def test_limited_cells_are_tried_again_with_higher_limits() -> None:
    limited, higher = row(10, "out_of_memory"), Limits(100, 2**31)
    assert depth_rows.is_settled(limited, LIMITS)
    assert not depth_rows.is_settled(limited, higher)
    assert reason(30, limited, limits=higher) is None
    assert depth_rows.is_settled(row(10), higher)
    assert not depth_rows.is_settled(row(10, "failed"), LIMITS)
    assert not depth_rows.is_settled(None, LIMITS)


def test_another_version_of_tensorflow_is_measured_anew() -> None:
    for status in ("ok", "timed_out"):
        assert depth_rows.is_settled(row(10, status, tensorflow=version("tensorflow")), LIMITS)
        assert not depth_rows.is_settled(row(10, status, tensorflow="2.20.0"), LIMITS)


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rerun goes on where it was interrupted, and cells beyond the limits are rows."""
    measured = []

    def measure(cell: depth.Cell, *_: Any, **__: Any) -> tuple[dict[str, Any], list]:
        measured.append((cell.algorithm, cell.layers))
        if len(measured) == 3:
            raise KeyboardInterrupt
        return row(cell.layers, algorithm=cell.algorithm), []

    monkeypatch.setattr(processes, "check", lambda cells, report: cells)
    monkeypatch.setattr(processes, "measure", measure)
    line = [*SMALL, "--layers", "1,3,30", "--memory-limit", "200 MiB", "--out", str(tmp_path)]
    assert depth.main(line) == 130
    assert depth.main(line) == 0
    assert measured == [("bp", 1), ("mem_dfa", 1), ("bp", 3), ("bp", 3), ("mem_dfa", 3)]
    rows = depth_rows.read(str(tmp_path))
    assert rows["bp", "graph", 30, 2]["status"] == "skipped"
    assert (tmp_path / "depth.png").read_bytes().startswith(b"\x89PNG")
    assert "skipped" in capsys.readouterr().out
    assert depth.main(line) == 0
    assert len(measured) == 5


def test_a_cell_over_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is measured in a process that is ended in time."""
    monkeypatch.setattr(processes, "check", lambda cells, report: cells)
    line = [*SMALL, "--algo", "bp", "--layers", "1", "--time-limit", "1", "--out", str(tmp_path)]
    assert depth.main(line) == 0
    (only,) = depth_rows.read(str(tmp_path)).values()
    assert only["status"] == "timed_out"
    assert "took longer than 1 s" in capsys.readouterr().err
    assert not (tmp_path / "depth.png").exists()


def test_labels_do_not_overlap() -> None:
    heights = [0.1, 0.1, 0.5, 0.99, 0.99, 1.0]
    spread = labels.apart(heights, 0.034)
    gaps = [b - a for a, b in itertools.pairwise(spread)]
    assert min(gaps) >= 0.034 - 1e-9
    assert max(spread) <= 1.0 + 1e-9
    assert spread[2] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--execution", "graph,fast"], "'fast' is not a way to execute"),
        (["--layers", "0"], "from 1 to"),
        (["--memory-limit", "8"], "such as"),
        (["--time-limit", "0"], "from 1 to"),
        (["--algo", "backprop"], "'backprop' is not an algorithm"),
        (["--out", "/dev/null/below"], "cannot be written"),
    ],
)
def test_bad_value_gets_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert depth.main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert part in lines[0]


def test_limits_reach_the_allocator() -> None:
    assert Limits().environment == {}
    assert LIMITS.environment == {"TF_CPU_BFC_MEM_LIMIT_IN_MB": "1024"}
