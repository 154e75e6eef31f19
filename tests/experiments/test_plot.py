"""A figure of one's own: every row is drawn or named."""

from dataclasses import replace
from pathlib import Path

import pytest
from mem_dfa.experiments import plot
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import own_plot
from mem_dfa.experiments.store import results

from tests.experiments.meter import fail, good

CELL = Cell("bp", "mlp", 1, device="CPU:0")


@pytest.fixture
def out(tmp_path: Path) -> str:
    """Bp and a class of one's own at two depths, one of which failed."""
    own = replace(CELL, algorithm="mine.py:Own")
    cells = [CELL, replace(CELL, layers=2), own]
    rows = [good(cell, step_bytes=(3 - n) * 2**20) for n, cell in enumerate(cells)]
    results.append(tmp_path, [*rows, fail(replace(own, layers=2)) | {"tensorflow": "2.21.0"}])
    return str(tmp_path)


def test_lines_are_those_of_the_rows(out: str) -> None:
    rows = [row for row in results.newest_rows(results.read(out)) if row["status"] == "ok"]
    figure = own_plot.draw(rows, "layers", "step_bytes", "algorithm")
    (axes,) = figure.axes
    drawn = sorted(line.get_xydata().tolist() for line in axes.lines)
    assert drawn == [[[1.0, 1.0]], [[1.0, 3.0], [2.0, 2.0]]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layers", "step (MiB)")
    rows[0]["step_bytes"] = 2**30
    (axes,) = own_plot.draw(rows, "layers", "step_bytes", "algorithm").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layers", "step (MiB), log scale")


def test_it_is_written_and_what_is_not_drawn_is_named(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["--x", "layers", "--y", "step", "--from", out]) == 0
    said = capsys.readouterr()
    assert Path(said.out.split()[-1]).stat().st_size > 1000
    assert "not drawn: mine.py:Own mlp 2 layers" in said.err


def test_rows_without_a_column_are_counted_and_it_is_named(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [Cell(name, "cifar_conv", None, device="CPU:0") for name in ("bp", "dfa")]
    measured = good(replace(CELL, layers=5)) | {"step_requested_bytes": 2**20}
    results.append(out, [*(good(cell) for cell in whole), measured])
    assert plot.main(["--x", "layers", "--y", "requested", "--from", out]) == 0
    _, *lacking = capsys.readouterr().err.splitlines()
    said = (
        ("2 rows have no layers, such as bp cifar_conv", "; choose another --x"),
        ("3 rows have no step_requested_bytes, such as ", "; choose another --y"),
    )
    for line, (begin, end) in zip(lacking, said, strict=True):
        assert line.startswith(f"not drawn: {begin}")
        assert line.endswith(end)


def test_what_differs_makes_lines_of_its_own(out: str) -> None:
    results.append(out, [good(replace(CELL, batch_size=8))])
    rows = [row for row in results.newest_rows(results.read(out)) if row["status"] == "ok"]
    differing, found = own_plot.lines_of(rows, "layers", "algorithm")
    assert differing == ["batch_size"]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--x", "layerz", "--y", "step"], "'layerz' is no column; take peak, step"),
        (["--x", "layers", "--y", "model"], "'model' holds no numbers"),
        (["--x", "layers", "--y", "step", "--where", "model"], "take column=value"),
        (["--x", "layers", "--y", "step", "--where", "model=vgg16"], "those before it have mlp"),
        (["--x", "layers", "--y", "accuracy", "--where", "layers=2"], "no row under"),
        (["--x", "layers", "--y", "step", "--file", "a.jpg"], "take a name ending in .png"),
    ],
)
def test_bad_words_get_one_sentence(
    out: str, words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main([*words, "--from", out]) == 2
    said = capsys.readouterr().err.splitlines()
    assert part in said[-1]
    assert said[-1].startswith("error: ")
