"""The command that trains recurrent nets and weighs them."""

import dataclasses
from pathlib import Path

import pytest
from mem_dfa.experiments import recurrent
from mem_dfa.experiments.measure import unrolled
from mem_dfa.experiments.store.schemas import RECURRENT
from mem_dfa.experiments.store.table import Table


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


def test_a_task_that_does_not_exist() -> None:
    assert recurrent.main(["--task", "music"]) == 2
