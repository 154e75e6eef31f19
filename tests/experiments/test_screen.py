"""Tables in a terminal."""

import re

import pytest
from mem_dfa.experiments.terminal import screen

from tests.experiments.made import row

OPTIONS = "feedback=regenerated; feedback_initializer=kaiming_uniform; budget=64 MiB"


@pytest.mark.parametrize("is_wide", [False, True])
def test_no_number_is_cut(
    is_wide: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a terminal of 80 columns, however much is said of an algorithm."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    rows = [row("bp", 20), row("mem_dfa", 20, options=OPTIONS, step_time_s=1234.5678)]
    screen.show(screen.comparison(rows, is_wide))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "1234567.8 ms" in text
    assert "…" not in text
    first_column = "".join(line.split("│")[1].strip() for line in text.splitlines() if "│" in line)
    assert all(word in first_column for word in re.split("[=; ]+", OPTIONS))
    assert is_wide or max(map(len, text.splitlines())) <= 80
