"""Sweeps: what is asked for, and what cannot be."""

import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import sweep
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, room
from mem_dfa.experiments.engine import engines, processes
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.profiling.allocator import PROBE_BYTES

from mem_dfa import units
from tests.experiments.meter import SMALL, TENSORFLOW


@pytest.mark.parametrize(
    ("words", "workers", "limit"),
    [
        (["--total-memory", "9 GiB"], 1, "8 GiB"),
        (["--total-memory", "9 GiB", "--workers", "3"], 3, "2 GiB"),
        (["--total-memory", "9 GiB", "--workers", "3", "--memory-limit", "4 GiB"], 1, "4 GiB"),
        (["--total-memory", "9 GiB", "--workers", "3", "--memory-limit", "1 GiB"], 3, "1 GiB"),
    ],
)
def test_memory_is_shared_out(words: list[str], workers: int, limit: str) -> None:
    """Each process takes a GiB beside its tensors."""
    found = room.of(sweep.parser().parse_args([*SMALL, *words]))
    assert found == (workers, Limits(3600, units.parse_bytes(limit)))


def test_the_meters_proof_fits_into_the_least_limit() -> None:
    """Of which `measuring.make_one_region` takes seven eighths."""
    assert max(PROBE_BYTES) < room.LEAST_LIMIT_BYTES * 7 // 8
    least = ["--total-memory", "2 GiB", "--memory-limit", "16 MiB"]
    found = room.of(sweep.parser().parse_args([*SMALL, *least]))
    assert found == (1, Limits(3600, room.LEAST_LIMIT_BYTES))


def test_memory_is_by_default_of_what_a_control_group_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "memory_available_bytes", lambda: 5 * units.MEBIBYTE * 1024)
    found = room.of(sweep.parser().parse_args(SMALL))
    assert found == (1, Limits(3600, 3 * units.MEBIBYTE * 1024))


def test_time_for_each_epoch() -> None:
    parser = sweep.parser()
    assert room.of(parser.parse_args([*SMALL, "--epochs", "3"]))[1].time_s == 3 * 3600
    words = ["--epochs", "3", "--time-limit", "60"]
    assert room.of(parser.parse_args([*SMALL, *words]))[1].time_s == 60


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "mlp,resnet"], "'resnet' is not a model"),
        (["--execution", "graph,fast"], "'fast' is not a way to execute"),
        (["--batch-size", "8,0"], "'8,0' is no batch size"),
        (["--batch-size", "1-20000"], "at most 10000 in a range"),
        (["--seed", "2-1"], "'2-1' is no seed"),
        (["--seed", "-1"], "numbers from 0"),
        (["--total-memory", "8"], "such as"),
        (["--total-memory", "1 GiB"], "has no room for a cell"),
        (["--total-memory", "4 GiB", "--memory-limit", "4 GiB"], "has no room for a cell"),
        (["--total-memory", "1034 MiB"], "takes at least"),
        (["--memory-limit", "11MiB"], "--memory-limit: '11MiB' is too little; take 16 MiB or more"),
        (["--memory-limit", "11"], "such as"),
        (["--scheduler", "localhost"], "'localhost' is no scheduler"),
        (["--scheduler", "ucx://nowhere:1"], "'ucx://nowhere:1' is no scheduler"),
        (["--scheduler", "tls://127.0.0.1:1"], "needs certificates"),
        (["--scheduler", "tcp://127.0.0.1"], "no dask scheduler answers"),
        (["--scheduler", "tcp://nowhere:1", "--workers", "2"], "--workers 2 is for this machine"),
        (["--time-limit", "0"], "from 1 to"),
        (["--slices", "2"], "--slices 2 is for mem_dfa, mem_bdfa and microbatch"),
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
    assert sweep.main([*SMALL, "--scheduler", "tcp://nowhere:1", "--out", str(tmp_path)]) == 2
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
        return {**found, "refusals": refusals}

    monkeypatch.setattr(processes.worker, "call", call)
    line = ["--algo", "bp,dfa", "--model", "mlp,mnist_conv", "--dataset", "synthetic"]
    options = sweep.parser().parse_args(line)
    return processes.survey(arguments.cells(options), lambda *_: None)


def test_each_model_and_algorithm_must_fit_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that does not go together is a row; one that goes with none is a mistake."""
    assert survey(monkeypatch, {("mlp", "bp")}) == processes.Survey("CPU:0", TENSORFLOW)
    with pytest.raises(arguments.UsageError, match="no mlp"):
        survey(monkeypatch, {("mlp", "bp"), ("mlp", "dfa")})
    with pytest.raises(arguments.UsageError, match="no mlp"):
        survey(monkeypatch, {("mlp", "bp"), ("mnist_conv", "bp")})


def test_a_lost_connection_is_no_cells_fault() -> None:
    """As those of dask are, which are errors of the operating system's kind."""
    future: futures.Future = futures.Future()
    future.set_exception(ConnectionError("closed by the other side"))
    with pytest.raises(processes.MachineError, match="cannot be reached"):
        engines.outcome(future)
