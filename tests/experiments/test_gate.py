"""The gate: what moved by more than is tolerated fails, up and down, with its block's name."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import gate as command
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import gate_file
from mem_dfa.experiments.checks.claims import FAIL, PASS
from mem_dfa.experiments.checks.gate import QUANTITIES, relations, weighed
from mem_dfa.experiments.checks.gate_file import is_whole
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.profiling import baseline
from mem_dfa.profiling.baseline import Pair, Weights

ROOT = Path(__file__).parents[2]
GATE = gate_file.read(ROOT / gate_file.NAME)
CELLS = tuple(GATE.cells.values())
VERSIONS = {"tensorflow": "9.9.9", "keras": "8.8.8", "device": "CPU:0"}
FILE = GATE.baselines / "tensorflow_9.9.9_cpu.json"
MEBIBYTE = 2**20
HELD_LIMIT_BYTES = 2048


DIRECT = next(cell.title for cell in CELLS if cell.algorithm == "dfa")


def weights(**steps: int) -> dict[str, dict[str, dict[str, int]]]:
    """Cells with so many bytes in one block, and 1000 resident."""
    resident = {"input/input": 1000}
    return {
        title: {"kept": {}, "step": {"block_001/activation": size}, "resident": resident}
        for title, size in steps.items()
    }


def moved(before: Weights, after: Weights) -> list[Pair]:
    return [pair for pair in baseline.pairs(before, after, {}) if pair.has_moved]


@pytest.mark.parametrize("size", [99_000, 101_000])
def test_at_the_tolerance_it_passes_and_a_byte_beyond_it_fails(size: int) -> None:
    before, beyond = weights(one=100_000), size + (1 if size > 100_000 else -1)
    assert moved(before, weights(one=size)) == []
    (pair,) = moved(before, weights(one=beyond))
    assert (pair.name, pair.quantity, pair.sums) == ("one", "step", [100_000, beyond])


def test_cells_that_come_and_go_are_told() -> None:
    pairs = moved(weights(old=5, same=5), weights(new=5, same=5))
    assert [(pair.name, pair.quantity) for pair in pairs] == [
        *(("new", quantity) for quantity in QUANTITIES),
        *(("old", quantity) for quantity in QUANTITIES),
    ]


def test_the_blocks_that_moved_it_are_named() -> None:
    before = {"block_001/activation": 10, "block_002/optimizer state": 5}
    after = {"block_001/activation": 10, "block_003/activation": 30, "other/resident": -4}
    table = Pair("one", "step", before, after).differences()
    assert table["difference_bytes"].to_dict() == {
        ("block_003", "activation"): 30,
        ("block_002", "optimizer state"): -5,
        ("other", "resident"): -4,
        ("block_001", "activation"): 0,
    }
    assert table.index[0] == ("block_003", "activation")


def test_every_cell_has_a_title_of_its_own() -> None:
    assert len({cell.title for cell in CELLS}) == len(CELLS)
    assert all(cell.dataset == "synthetic" for cell in CELLS)
    ways = {cell.execution for cell in CELLS if cell.algorithm == "mem_dfa"}
    assert ways == {"graph", "eager", "xla"}, "it may keep what it should not in one of them alone"


# What each depth of a family would take if all promises hold.
def promised(cell: Cell) -> int:
    grows = {"bp": 1.0, "fa": 1.0, "dfa": 1.0, "checkpoint": 0.5, "checkpoint_fa": 0.5}
    layers = (cell.layers or 15) ** grows.get(cell.algorithm, 0)
    return round(MEBIBYTE * (3 + layers))


Fake = Callable[..., dict[str, Any]]


def fake(
    step: Callable[[Cell], int] = promised,
    kept: Callable[[Cell], int] = promised,
    **changes: Any,
) -> Fake:
    """In the place of `worker.call`: what a process would answer."""

    def weigh(cell: Cell) -> dict[str, Any]:
        sizes = {"kept": kept(cell), "step": step(cell)}
        parts = {name: {"block_002/activation": size} for name, size in sizes.items()}
        return {**VERSIONS, **parts, "resident": {"input/input": 9}, **changes}

    def call(task: str, cells: Sequence[Cell], *_: Any) -> dict[str, Any]:
        assert task == "weigh"
        return {"status": "ok", "weights": [weigh(cell) for cell in cells]}

    return call


@pytest.fixture
def gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command with processes that answer at once; its exit status and what it said."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / gate_file.NAME, tmp_path)
    monkeypatch.setattr(processes, "check", lambda cells, report: cells)

    def run(call: Fake, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(worker, "call", call)
        status = command.main(list(words))
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


Gate = Callable[..., tuple[int, str]]


def test_without_a_baseline_it_does_not_pass(gate: Gate) -> None:
    status, said = gate(fake())
    assert status == 1
    assert f"{FILE} does not exist" in said
    assert "--update-baseline" in said
    assert "does not hold" not in said
    assert not FILE.exists()


def test_a_baseline_of_another_tensorflow_is_told_and_stays(gate: Gate) -> None:
    gate(fake(tensorflow="8.0.0"), "--update-baseline")
    status, said = gate(fake())
    assert status == 1
    assert f"{FILE} does not exist (there is tensorflow_8.0.0_cpu.json)" in said
    assert FILE.with_name("tensorflow_8.0.0_cpu.json").exists()


def test_another_file_is_named_in_what_to_do(gate: Gate) -> None:
    shutil.copy(gate_file.NAME, "other gate.toml")
    assert "mem-dfa gate 'other gate.toml' --update-baseline" in gate(fake(), "other gate.toml")[1]


def test_what_was_written_passes_again(gate: Gate) -> None:
    assert gate(fake(), "--update-baseline")[0] == 0
    status, said = gate(fake())
    assert status == 0
    assert f"{len(CELLS)} cells: nothing moved" in said


def test_a_peak_that_falls_by_a_tenth_fails_until_it_is_written(gate: Gate) -> None:

    def lower(cell: Cell) -> int:
        return round(promised(cell) * (0.9 if cell.title == DIRECT else 1))

    gate(fake(), "--update-baseline")
    before = FILE.read_text().splitlines()
    status, said = gate(fake(lower))
    assert status == 1
    assert f"{DIRECT}: step bytes" in said
    assert "-10.0 %, tolerance 1 %" in said
    assert "block_002" in said
    assert "1 moved" in said
    assert FILE.read_text().splitlines() == before
    assert gate(fake(lower), "--update-baseline")[0] == 0
    changed = [pair for pair in zip(before, FILE.read_text().splitlines(), strict=True)
               if pair[0] != pair[1]]  # fmt: skip
    assert len(changed) == 1, "a diff shows what moved and nothing else"
    assert gate(fake(lower))[0] == 0


def test_what_is_within_its_tolerance_is_not_written(gate: Gate) -> None:
    """Otherwise many small steps would pass one by one."""
    gate(fake(), "--update-baseline")
    before = FILE.read_text()
    assert gate(fake(lambda cell: round(promised(cell) * 1.009)), "--update-baseline")[0] == 0
    assert FILE.read_text() == before


def test_a_new_name_of_a_block_is_written(gate: Gate) -> None:
    """The sum is equal, so nothing creeps, and later differences have the right names."""

    def renamed(task: str, cells: Sequence[Cell], *rest: Any) -> dict[str, Any]:
        result = fake()(task, cells, *rest)
        pairs = zip(cells, result["weights"], strict=True)
        for weights in (weights for cell, weights in pairs if cell.title == DIRECT):
            weights["step"] = {f"new_{name}": size for name, size in weights["step"].items()}
        return result

    gate(fake(), "--update-baseline")
    assert "new_" not in FILE.read_text()
    assert gate(renamed)[0] == 0
    status, said = gate(renamed, "--update-baseline")
    assert (status, "1 of " in said) == (0, True)
    assert "new_" in FILE.read_text()


def test_another_keras_is_told(gate: Gate) -> None:
    gate(fake(), "--update-baseline")
    status, said = gate(fake(keras="8.8.9"))
    assert status == 0
    assert "Keras 8.8.8, this is 8.8.9" in said
    assert "Keras 8.8.8, this is 8.8.9" in gate(fake(keras="8.8.9"), "--update-baseline")[1]


def test_what_bp_keeps_is_judged_as_closely_as_any_peak(gate: Gate) -> None:
    """Its own peak depends on the order of operations, and may not tell three percent."""
    title = CELLS[0].title
    assert is_whole(CELLS[0])

    def more(cell: Cell) -> int:
        return round(promised(cell) * (1.03 if cell.title == title else 1))

    gate(fake(), "--update-baseline")
    assert gate(fake(step=more))[0] == 0
    status, said = gate(fake(kept=more))
    assert status == 1
    assert f"{title}: kept bytes" in said
    assert "+3.0 %, tolerance 1 %" in said
    assert "1 moved" in said


def test_what_is_being_measured_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it is interrupted: cells have sessions of their own, which Ctrl-C does not reach."""
    ended = threading.Event()
    first = CELLS[0]

    def call(_: str, cells: Sequence[Cell], *rest: Any) -> dict[str, Any]:
        if cells[0] is not first:
            assert ended.wait(60), "it waits for a cell that nobody ends"
        return {"status": "ok", "weights": [{} for _ in cells]}

    monkeypatch.setattr(worker, "call", call)
    monkeypatch.setattr(worker, "end_all", ended.set)
    results = weighed(CELLS)
    assert next(results)[0] is first
    results.close()
    assert ended.is_set()


def test_a_cell_that_fails(gate: Gate) -> None:
    """As one that hangs does: it is told, the others are compared, and nothing is written."""
    gate(fake(), "--update-baseline")
    before = FILE.read_text()

    def call(task: str, cells: Sequence[Cell], _: Any, limits: worker.Limits) -> dict[str, Any]:
        assert limits.time_s
        broken = {"status": "timed_out", "error": "broken on purpose"}
        failing = DIRECT in [cell.title for cell in cells]
        return broken if failing else fake()(task, cells)

    status, said = gate(call)
    assert status == 1
    assert said.count("broken on purpose") == 1
    assert "no longer measured" in said
    assert "3 moved" in said, "those that shared a process with it were measured again"
    status, said = gate(call, "--update-baseline")
    assert status == 1
    assert "left as it is" in said
    assert FILE.read_text() == before


def growing(cell: Cell) -> int:
    """MEM-DFA that keeps everything."""
    return promised(dataclasses.replace(cell, algorithm="dfa"))


def test_a_broken_promise_needs_no_baseline_and_is_not_written(gate: Gate) -> None:
    status, said = gate(fake(growing), "--update-baseline")
    assert status == 1
    assert "does not hold" in said
    assert not FILE.exists()


def verdicts(step: Callable[[Cell], int], held: int = 0) -> list[str]:
    measured = {
        cell.title: {
            "kept": {},
            "step": {"block_001/activation": step(cell)},
            "resident": {"other/feedback": held * cell.layers, "a/parameter": 10**6 * cell.layers},
        }
        for cell in CELLS
        if cell.layers
    }
    return [finding["verdict"] for finding in relations(GATE, measured)]


def test_relations() -> None:
    """Flat, below DFA, a square root, flat reversible nets twice, matrices that are held."""
    assert verdicts(promised) == [PASS] * 6
    assert verdicts(promised, held=HELD_LIMIT_BYTES) == [PASS] * 6
    assert verdicts(promised, held=HELD_LIMIT_BYTES + 1) == [*[PASS] * 5, FAIL]
    assert verdicts(lambda cell: MEBIBYTE) == [PASS, FAIL, FAIL, PASS, PASS, PASS]
    assert verdicts(lambda cell: MEBIBYTE * (cell.layers + 3)) == [*[FAIL] * 5, PASS]
    assert [finding["verdict"] for finding in relations(GATE, {})] == [FAIL] * 6


EMPTY = {quantity: {} for quantity in QUANTITIES}
DAMAGED = [
    "",
    "[]",
    "{}",
    json.dumps({"format_version": 0, **VERSIONS, "cells": {}}),
    json.dumps({"format_version": 2, **VERSIONS, "keras": None, "cells": {}}),
    json.dumps({"format_version": 2, **VERSIONS, "tensorflow": "1.0", "cells": {}}),
    json.dumps({"format_version": 2, **VERSIONS, "cells": {"one": {"step": 1}}}),
    json.dumps({"format_version": 2, **VERSIONS, "cells": {"one": EMPTY | {"step": {"a": 1}}}}),
    json.dumps({"format_version": 2, **VERSIONS, "cells": {"one": EMPTY | {"step": {"a/b": "1"}}}}),
]


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("words", [[], ["--update-baseline"]])
def test_damaged_baseline_gets_one_sentence(text: str, words: list[str], gate: Gate) -> None:
    """Before anything is measured; the file stays."""
    FILE.parent.mkdir(parents=True)
    FILE.write_text(text)
    status, said = gate(lambda *_: pytest.fail("measured"), *words)
    assert status == 2
    assert len(said.splitlines()) == 1
    assert f"{FILE} is no baseline" in said
    assert FILE.read_text() == text


def test_unwritable_folder_is_found_out_before_measuring(gate: Gate) -> None:
    FILE.parent.parent.mkdir()
    FILE.parent.write_text("a file")
    status, said = gate(lambda *_: pytest.fail("measured"), "--update-baseline")
    assert status == 2
    assert len(said.splitlines()) == 1
    assert "Cannot write" in said


@pytest.mark.parametrize("words", [["--device", "tpu"], ["--update"], ["surplus"]])
def test_bad_arguments_get_one_sentence(words: list[str], gate: Gate) -> None:
    status, said = gate(lambda *_: pytest.fail("measured"), *words)
    assert status == 2
    assert len(said.splitlines()) == 1
    assert words[-1] in said


def test_the_committed_baseline_is_of_these_cells() -> None:
    known = baseline.read_all(ROOT / GATE.baselines).values()
    (content,) = [one for one in known if one["device"] == "CPU:0"]
    assert list(content["cells"]) == list(GATE.cells)
    assert {f["verdict"] for f in relations(GATE, content["cells"])} == {PASS}
