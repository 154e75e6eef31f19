"""Errors of synthetic gradients are drawn beside the published ones, and above the floor."""

from pathlib import Path

import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.pictures import published_plots

from tests.experiments.drawn import lines, texts, wanted
from tests.experiments.made import trained

PLANNED = wanted("published_depth_mlp_bn")
TESTED = {"bp": 0.98, "cdni": 0.97, "dni": 0.9}


def record(folder: Path, cell: Cell, test: float) -> None:
    epochs = range(1, cell.epochs + 1)
    trained(folder, cell, [{"epoch": number, "test_accuracy": test} for number in epochs])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the deepest nets, and of the floor of each; dni is still to be trained at one depth."""
    for cell in PLANNED:
        if cell.model.endswith("frozen"):
            record(tmp_path, cell, 0.8)
        elif (cell.algorithm, cell.layers) != ("dni", 4):
            record(tmp_path, cell, TESTED[cell.algorithm])
    return tmp_path


def test_errors_stand_beside_the_published_ones(folder: Path) -> None:
    drawn = published_plots.errors_beside_published(str(folder), "title", PLANNED)
    (axes,) = drawn.figure.axes
    found = lines(axes)
    depths = sorted({cell.layers or 0 for cell in PLANNED})
    assert [x for x, _ in found["bp"]] == depths
    assert found["cdni"][0] == [depths[0], pytest.approx(3)]
    assert [x for x, _ in found["dni"]] == [3, 5, 6]
    assert found["hidden layers frozen"][-1] == [depths[-1], pytest.approx(20)]
    published = {depth: 100 - rules.references("depth_mlp_bn")["cdni", depth] for depth in depths}
    assert dict(map(tuple, found["cdni, published"])) == pytest.approx(published)
    assert drawn.finding == (
        "Errors at 6 hidden layers (%): bp 2.0, cdni 3.0, dni 10.0, hidden layers frozen 20.0"
    )
    assert [(cell.name, cell.layers) for cell in drawn.missing] == [("dni", 4)]
    assert "Not trained: dni 4 layers." in texts(drawn.figure)


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    drawn = published_plots.errors_beside_published(str(tmp_path), "title", PLANNED)
    assert drawn.figure is None
    assert list(drawn.missing) == list(PLANNED)
