"""What the gate sees, in processes of their own, of memory that moved."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
from mem_dfa.experiments.checks import gate_file
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.measure import measuring, special
from mem_dfa.profiling.baseline import Pair

from tests.experiments import mutants

GATE = gate_file.read(Path(__file__).parents[2] / gate_file.NAME)
REGENERATED = next(
    cell for cell in GATE.cells.values() if ("feedback", "regenerated") in cell.options
)
ACTIVATION_BYTES = 4 * 32 * 32 * 8 * 4  # of a depth_net block, batch 4
KEPT_LAYER = "conv_3"  # of the block that `mutants.KEPT` names
MATRIX_BYTES = 10 * 32 * 32 * 8 * 4
LATE_BYTES = 2**20


def weigh(algorithm: str, **changes: Any) -> dict[str, dict[str, int]]:
    cell = dataclasses.replace(
        REGENERATED, algorithm=algorithm, layers=6, batch_size=4, device="CPU:0"
    )
    cell = dataclasses.replace(cell, **changes)
    result = worker.call("weigh", [cell])
    assert result["status"] == "ok", result
    return result["weights"][0]


def move(quantity: str, mutant: str, **changes: Any) -> Pair:
    """What the gate sees of a broken class, in a process of its own, beside MEM-DFA."""
    before = weigh("mem_dfa", **changes)
    after = weigh(f"{mutants.__name__}:{mutant}", **changes)
    found = Pair(mutant, quantity, before[quantity], after[quantity])
    assert found.has_moved
    return found


def test_one_step_that_takes_less_or_more_is_passed_over() -> None:
    """As measured under load: most steps 1.84 MB, one 1.64, one 2.10."""
    steps = [pd.Series({"block_001/gradient": n, "loss/activation": 4}) for n in (184, 164, 184)]
    assert special.in_the_middle(steps).sum() == 188
    steps[1] = pd.Series({"block_001/gradient": 210})
    assert special.in_the_middle(steps).sum() == 188


def test_what_a_thread_still_holds_is_waited_for() -> None:
    looks = [90, 90, 90, 90, 70, 70, 70, 70, 70, 70, 50]
    left = iter(looks)
    special.settle(lambda: next(left))
    assert list(left) == [50], "five more looks at 70, and no other one"


def test_what_a_thread_releases_late_does_not_count_as_staying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = dataclasses.replace(REGENERATED, layers=2, batch_size=4, device="CPU:0", steps=1)
    before = special.weigh(cell, lambda *_: None)["resident"][special.UNNAMED]
    warmed_up = measuring.warmed_up

    def with_a_slow_thread(*arguments: Any) -> Any:
        found = warmed_up(*arguments)
        held = [tf.zeros(LATE_BYTES // 4)]
        threading.Timer(0.05, held.clear).start()
        return found

    monkeypatch.setattr(measuring, "warmed_up", with_a_slow_thread)
    after = special.weigh(cell, lambda *_: None)["resident"][special.UNNAMED]
    assert after - before < LATE_BYTES / 2


def test_what_is_kept_for_the_backward_pass() -> None:
    """Activations, and whatever else is held; not what the backward pass itself takes."""
    small = {"layers": 3, "batch_size": 4, "device": "CPU:0", "steps": 1}
    true = dataclasses.replace(next(iter(GATE.cells.values())), **small)
    broken = dataclasses.replace(true, algorithm=f"{mutants.__name__}:HoldsMore")
    first, second = special.weigh_all([true, broken], lambda *_: None)["weights"]
    parts = first["kept"]
    activation = 4 * 32 * 32 * 16 * 4
    assert [parts[f"conv_{number}/activation"] for number in (1, 2, 3)] == [activation] * 3
    kept = sum(parts.values())
    assert kept == pytest.approx(3 * activation, rel=0.01)
    more = sum(second["kept"].values())
    assert more - kept == pytest.approx(mutants.HELD_BYTES, rel=0.01)


@pytest.mark.slow
def test_what_nobody_can_name_is_what_was_asked_for() -> None:
    unnamed = weigh("mem_dfa")["resident"][special.UNNAMED]
    # Constants of the traced step; the batch in a chunk twice its size would be ten times more.
    assert 0 < unnamed < 10_000


@pytest.mark.slow
def test_without_order_every_block_stays() -> None:
    table = move("step", "Unordered", options={"slices": 1}).differences()
    grown = table[table["difference_bytes"] >= ACTIVATION_BYTES]
    named = {layer for layer, category in grown.index}
    assert len(named) >= 3
    assert all(layer.startswith(("conv_", "relu_")) for layer in named)


@pytest.mark.slow
def test_one_activation_that_is_kept() -> None:
    moved = move("step", "KeepsOne", options={"slices": 1})
    before, after = moved.sums
    assert after - before == pytest.approx(ACTIVATION_BYTES, rel=0.01)
    table = moved.differences()["difference_bytes"]
    assert table[KEPT_LAYER, "activation"] == ACTIVATION_BYTES
    assert table.index[0] == (KEPT_LAYER, "activation")


@pytest.mark.slow
def test_feedback_that_is_stored_again() -> None:
    table = move("resident", "StoresAgain").differences()["difference_bytes"]
    grown = table[table >= MATRIX_BYTES]
    assert list(sorted(grown.index)) == [(f"conv_{n}", "feedback") for n in range(1, 7)]
