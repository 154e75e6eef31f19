"""Which rows a figure is drawn from."""

from pathlib import Path

import pytest
from mem_dfa.experiments.store import results

from mem_dfa import registry
from mem_dfa.data import prepared
from tests.experiments.drawn import cells
from tests.experiments.made import row, table

LINE = "sweep --algo bp,mem_dfa --model conv20 --layers 1,2"
CELLS = cells(LINE)


def select(folder: Path, *rows: dict) -> results.Selection:
    results.append(folder, rows)
    return results.select(results.read(folder), CELLS)


def test_the_newest_row_of_a_cell_wins(tmp_path: Path) -> None:
    """That is the last one, also where the clock was set back in between."""
    later = "2026-01-02T00:00:00+00:00"
    found = select(
        tmp_path, row("bp", timestamp=later), row("bp", step_bytes=7), row("bp", layers=2)
    )
    assert [(r["layers"], r["step_bytes"]) for r in found.rows] == [(1, 7), (2, 16 * 2**20)]
    assert [(cell.algorithm, cell.layers) for cell in found.missing] == [
        ("mem_dfa", 1),
        ("mem_dfa", 2),
    ]


def test_with_the_clock_set_back_the_last_device_is_the_one_used_last(tmp_path: Path) -> None:
    later = "2026-01-02T00:00:00+00:00"
    found = select(tmp_path, row("bp", timestamp=later), row("bp", device="GPU:0"))
    assert [r["device"] for r in found.rows] == ["GPU:0"]


def test_a_row_of_fewer_processes_takes_no_place(tmp_path: Path) -> None:
    """As that of a benchmark, which needs no median of bytes."""
    found = select(tmp_path, row("bp", repeats=3, step_bytes=7), row("bp", repeats=1))
    assert [r["step_bytes"] for r in found.rows] == [7]
    found = select(tmp_path, row("bp", repeats=3, step_bytes=8))
    assert [r["step_bytes"] for r in found.rows] == [8]


def test_a_cell_that_failed_is_no_gap(tmp_path: Path) -> None:
    failed = row("bp", status="out_of_memory", peak_bytes=None, step_bytes=None, tensorflow=None)
    found = select(tmp_path, row("bp", layers=2), failed)
    assert [r["status"] for r in found.failed] == ["out_of_memory"]
    assert [r["layers"] for r in found.rows] == [2]
    assert not [cell for cell in found.missing if cell.algorithm == "bp"]


def test_a_failure_hides_no_measurement(tmp_path: Path) -> None:
    """As a sweep sees it, which measures no cell again that has a good row."""
    failed = row("bp", status="killed", peak_bytes=None, step_bytes=None, timestamp="2027")
    found = select(tmp_path, row("bp", step_bytes=7), failed)
    assert [r["step_bytes"] for r in found.rows] == [7]
    assert not found.failed
    dead = failed | {"tensorflow": None}
    results.append(tmp_path, [dead, dead | {"layers": 2}])
    shown = results.newest_rows(results.read(tmp_path))
    assert [(r["layers"], r["status"]) for r in shown] == [(1, "ok"), (2, "killed")]


def test_training_that_failed_says_nothing_of_a_step(tmp_path: Path) -> None:
    found = select(tmp_path, row("bp", step_bytes=7), row("bp", status="killed", epochs=4))
    assert [r["step_bytes"] for r in found.rows] == [7]
    assert not found.failed


def test_other_versions_and_devices_are_left_out_and_said(tmp_path: Path) -> None:
    found = select(
        tmp_path,
        row("bp", tensorflow="2.9.1"),
        row("bp", layers=2, tensorflow="2.21.0"),
        row("mem_dfa", device="GPU:0"),
        row("mem_dfa", layers=2, tensorflow="2.21.0"),
    )
    assert [(r["algorithm"], r["layers"]) for r in found.rows] == [("bp", 2), ("mem_dfa", 2)]
    assert found.left_out == [
        "TensorFlow 2.21.0 alone; rows of 2.9.1 are left out",
        "device CPU:0 alone; rows of GPU:0 are left out",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 64},
        {"execution": "eager"},
        {"optimizer": "adam"},
        {"options": "slices=2"},
        {"options": "feedback=shared"},
        {"dataset": "mnist"},
        {"classes": 100},
        {"learning_rate": 0.1},
        {"steps": 25},
    ],
)
def test_another_cell_is_not_taken(changes: dict, tmp_path: Path) -> None:
    assert select(tmp_path, row("mem_dfa", **changes)).rows == []


def test_rows_of_an_earlier_format_are_read() -> None:
    """Those in the repository lack the latest columns."""
    rows = results.read(Path(__file__).parents[2] / "results")
    assert {r["status"] for r in rows} <= {"ok", "failed", "out_of_memory", "timed_out"}


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "", "\x00\x00", f"{','.join(results.COLUMNS)}\nbp,conv20\n"]
)
def test_a_foreign_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / results.FILE_NAME).write_text(text)
    with pytest.raises(results.ResultsError, match=r"no table of measurements|not whole"):
        results.read(tmp_path)


def test_no_number_is_guessed(tmp_path: Path) -> None:
    table(tmp_path / results.FILE_NAME, row("bp", peak_bytes="much"))
    with pytest.raises(results.ResultsError, match="much"):
        results.read(tmp_path)


@pytest.mark.slow
def test_a_whole_model_has_its_number_of_layers() -> None:
    """Those with a kernel, without the classifier: what `layers` asks a model for."""
    import mem_dfa

    for model, entry in registry.MODELS.items():
        if model in ("depth_revnet", "vit"):  # their blocks have several weight layers each
            continue
        shape = prepared.DATASETS[entry.dataset].input_shape
        network = mem_dfa.MODELS[model](input_shape=shape, classes=10)
        layers = network._flatten_layers(include_self=False, recursive=True)
        kernels = sum(getattr(layer, "kernel", None) is not None for layer in layers)
        assert kernels - 1 == entry.layers
