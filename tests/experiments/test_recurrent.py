"""The command that trains recurrent nets and weighs them."""

import dataclasses
from pathlib import Path

import pytest
from mem_dfa.experiments import recurrent
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
    assert "tbptt_long" in capsys.readouterr().out
    assert (tmp_path / "tables/recurrent_delay.md").exists()
    assert (tmp_path / "figures/recurrent.png").exists()


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
