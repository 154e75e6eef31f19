"""Cells that differ have files that differ, and those that are there are still found."""

import dataclasses
import re
from pathlib import Path

import pytest
from mem_dfa.experiments.cells.cell import COLUMNS, Cell, options_of
from mem_dfa.experiments.paper import planned_figures
from mem_dfa.experiments.store import results, traces, trainings
from mem_dfa.profiling import Timeline
from mem_dfa.profiling.render import plot

from tests.experiments.drawn import cells
from tests.experiments.made import history
from tests.profiling.drawn import small

RESULTS = Path(__file__).parents[2] / "results"
LINE = "run --algo mem_dfa --model conv20 --layers 4 --dataset synthetic --epochs 2 --device cpu"
(CELL,) = cells(LINE)
CHANGES = [
    {"learning_rate": 0.1},
    {"seed": 1},
    {"classes": 5},
    {"device": "GPU:0"},
    {"optimizer": "adam"},
    {"options": {"slices": 2}},
    {"options": {"feedback": "shared"}},
    {"options": {"feedback_decay": 0.001}},
    {"options": {"predictor_layers": 0}},
    {"batch_size": 8},
    {"layers": 5},
    {"dataset": "mnist"},
]
OTHERS = [dataclasses.replace(CELL, **changes) for changes in CHANGES]


def test_cells_that_differ_in_any_field_have_names_of_their_own(tmp_path: Path) -> None:
    """Also where two settings change places."""
    other = {"algorithm": "dfa", "model": "depth_net", "execution": "eager", "steps": 7}
    changed = [*CHANGES, *({name: value} for name, value in other.items()), {"epochs": 3}]
    assert {name for change in changed for name in change} == set(COLUMNS)
    pairs = [dataclasses.replace(CELL, **one, **more) for one in changed for more in changed
             if not set(one) & set(more)]  # fmt: skip
    asked = list(dict.fromkeys([CELL, *(dataclasses.replace(CELL, **c) for c in changed), *pairs]))
    assert len({traces.file_of(cell, str(tmp_path)) for cell in asked}) == len(asked)
    assert len({cell.key() for cell in asked}) == len(asked)


def test_what_does_not_decide_a_result_is_in_no_name() -> None:
    moved = dataclasses.replace(CELL, data_dir="x", trace_file="y", training_file="z")
    whole = dataclasses.replace(CELL, layers=20)
    assert moved.key() == CELL.key()
    assert whole.key() == dataclasses.replace(CELL, layers=None).key()
    assert whole.file_stem == dataclasses.replace(CELL, layers=None).file_stem


def test_a_row_tells_its_cell() -> None:
    for change in CHANGES:
        cell = dataclasses.replace(CELL, **change)
        assert Cell.of(cell.row()) == cell


@pytest.mark.parametrize("text", ["every", "a b=1", "=3", "every=x"])
def test_options_that_nobody_wrote_are_no_options(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) if text != "every=x" else "every|x"):
        options_of(text)


@pytest.mark.parametrize("device", ["auto", "cpu", "CPU:0"])
def test_a_cell_finds_its_files(device: str, tmp_path: Path) -> None:
    """Before its device is known by name and after it."""
    cell = dataclasses.replace(CELL, device=device)
    measured_there = dataclasses.replace(CELL, device="CPU:0")
    small().save(traces.file_of(measured_there, str(tmp_path)))
    history(tmp_path, measured_there, [0.5, 0.6])
    assert traces.found(cell, str(tmp_path))
    assert len(trainings.read(tmp_path, cell)) == 2
    elsewhere = dataclasses.replace(CELL, device="GPU:0")
    assert not traces.found(elsewhere, str(tmp_path))
    assert not trainings.read(tmp_path, elsewhere)


def test_of_a_gpu_alone_they_are_found_without_naming_it(tmp_path: Path) -> None:
    there = dataclasses.replace(CELL, device="GPU:0")
    small().save(traces.file_of(there, str(tmp_path)))
    history(tmp_path, there, [0.5, 0.6])
    cell = dataclasses.replace(CELL, device="auto")
    assert traces.found(cell, str(tmp_path))
    assert len(trainings.read(tmp_path, cell)) == 2
    assert trainings.diverged(tmp_path, cell), "no loss was a number"


def test_pages_of_several_cells_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that differ in what all their cells share, and in an algorithm's option."""
    monkeypatch.setattr(plot, "plot", lambda timelines, heading: None)
    monkeypatch.setattr(plot, "save", lambda figure, path: path)
    monkeypatch.setattr(Timeline, "to_html", lambda timeline, path, *others: Path(path))
    pairs = [[CELL, dataclasses.replace(CELL, algorithm="bp")]]
    pairs += [[dataclasses.replace(cell, **c) for cell in pairs[0]] for c in CHANGES[:6]]
    written = []
    for pair in pairs:
        rows = [{**cell.row(), "status": "ok", "error": None} for cell in pair]
        for row, cell in zip(rows, pair, strict=True):
            row["trace_file"] = str(traces.file_of(cell, str(tmp_path)))
            small().save(row["trace_file"])
        written.append(traces.render(rows, str(tmp_path))[-2:])
    assert len({file for files in written for file in files}) == 2 * len(pairs)


def test_names_are_such_as_a_file_can_have() -> None:
    long = dataclasses.replace(CELL, algorithm=f"{'x' * 400}:Own")
    assert len(long.file_stem) < 200
    assert re.fullmatch(r"\w+", long.file_stem)


def test_those_in_the_repository_are_found() -> None:
    recorded = [figure for figure in planned_figures.FIGURES if figure.kind == "timelines"]
    timelines = {traces.found(cell, str(RESULTS)) for one in recorded for cell in one.cells}
    assert timelines == set((RESULTS / traces.FOLDER).glob("*.timeline.json.gz"))
    trained = [row for row in results.read(RESULTS) if row["epochs"] and row["status"] == "ok"]
    assert len(trained) > 100
    assert all(trainings.read(RESULTS, Cell.of(row)) for row in trained)
