"""Cells that differ have files that differ, and those that are there are still found."""

import dataclasses
from pathlib import Path

import pytest
from mem_dfa.experiments.cells import names
from mem_dfa.experiments.paper import planned_figures
from mem_dfa.experiments.store import histories, measured, traces
from mem_dfa.profiling import Timeline

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
    {"slices": 2},
    {"feedback": "shared"},
    {"batch_size": 8},
    {"layers": 5},
    {"dataset": "mnist"},
]
OTHERS = [dataclasses.replace(CELL, **changes) for changes in CHANGES]


def test_timelines_and_histories_of_cells_that_differ(tmp_path: Path) -> None:
    """Also where two settings change places."""
    pairs = [dataclasses.replace(one, **more) for one in OTHERS for more in CHANGES]
    asked = list(dict.fromkeys([CELL, *OTHERS, *pairs]))
    for file_of in (traces.file_of, lambda cell, out: histories.file_of(out, vars(cell))):
        files = {file_of(cell, str(tmp_path)) for cell in asked}
        assert len(files) == len(asked)


def test_what_is_usual_is_not_said() -> None:
    said = {name for cell in OTHERS for name in names.unusual(vars(cell))}
    assert names.unusual(vars(CELL)) == {}
    assert said == {"dataset", "learning_rate", "seed", "classes", "device"}


@pytest.mark.parametrize("device", ["auto", "cpu", "CPU:0"])
def test_a_cell_finds_its_files(device: str, tmp_path: Path) -> None:
    """Before its device is known by name and after it."""
    cell = dataclasses.replace(CELL, device=device)
    measured_there = dataclasses.replace(CELL, device="CPU:0")
    small().save(traces.file_of(measured_there, str(tmp_path)))
    history(tmp_path, measured_there, [0.5, 0.6])
    assert traces.found(cell, str(tmp_path))
    assert len(histories.read(tmp_path, cell)) == 2
    elsewhere = dataclasses.replace(CELL, device="GPU:0")
    assert not traces.found(elsewhere, str(tmp_path))
    assert not histories.read(tmp_path, elsewhere)


def test_of_a_gpu_alone_they_are_found_without_naming_it(tmp_path: Path) -> None:
    there = dataclasses.replace(CELL, device="GPU:0")
    small().save(traces.file_of(there, str(tmp_path)))
    history(tmp_path, there, [0.5, 0.6])
    cell = dataclasses.replace(CELL, device="auto")
    assert traces.found(cell, str(tmp_path))
    assert len(histories.read(tmp_path, cell)) == 2
    assert histories.diverged(tmp_path, cell), "no loss was a number"


def test_pages_of_several_cells_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that differ in what all their cells share, and in an algorithm's option."""
    monkeypatch.setattr(traces, "_picture", lambda timelines, path, heading="": path)
    monkeypatch.setattr(Timeline, "to_html", lambda timeline, path, *others: Path(path))
    pairs = [[CELL, dataclasses.replace(CELL, algorithm="bp")]]
    pairs += [[dataclasses.replace(cell, **c) for cell in pairs[0]] for c in CHANGES[:6]]
    written = []
    for pair in pairs:
        rows = [{**vars(cell), "status": "ok", "error": None} for cell in pair]
        for row, cell in zip(rows, pair, strict=True):
            row["trace_file"] = str(traces.file_of(cell, str(tmp_path)))
            small().save(row["trace_file"])
        written.append(traces.render(rows, str(tmp_path))[-2:])
    assert len({file for files in written for file in files}) == 2 * len(pairs)


def test_many_cells_have_a_page_with_a_name_that_a_file_can_have() -> None:
    long = [names.shortened(" ".join(f"bp {n} layers" for n in range(most))) for most in (99, 98)]
    assert long[0] != long[1]
    assert {len(name) for name in long} == {names.LONGEST}


def test_those_in_the_repository_are_found() -> None:
    lines = [
        line for figure in planned_figures.FIGURES for line in figure.commands if "--trace" in line
    ]
    timelines = {traces.found(cell, str(RESULTS)) for line in lines for cell in cells(line)}
    assert timelines == set((RESULTS / traces.FOLDER).glob("*.timeline.json.gz"))
    rows = [row for row in measured.read(RESULTS) if row["epochs"] and row["status"] == "ok"]
    trained = {histories.file_of(RESULTS, row) for row in rows}
    assert len(trained) > 100
    assert trained <= set(RESULTS.glob("history_*.csv"))
