"""The largest batches are bars, each with its size."""

from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.plan import FIT_MEMORY_BYTES
from mem_dfa.experiments.pictures import fit_plots
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Table

from tests.experiments.drawn import texts

ASKED = [Cell(name, "vgg16") for name in ("microbatch", "bp", "dfa")]


def answer(algorithm: str, size: int | None, **changes: Any) -> dict[str, Any]:
    known = {
        **dict.fromkeys(fit_rows.ANSWERS.columns),
        **Cell(algorithm, "vgg16").row(),
        **{"device": "CPU:0", "tensorflow": "2.21.0", "over": "batch", "status": "ok"},
        **{"memory_limit_bytes": FIT_MEMORY_BYTES, "size": size, "repeats": 3},
        **{"image_time_s": 0.1, "process_peak_bytes": 1},
    }
    return known | changes


def test_bars_are_the_answers(tmp_path: Path) -> None:
    failed = answer("dfa", None, status="too_little_memory")
    others = [answer("dfa", 9, memory_limit_bytes=2**20), answer("dfa", 9, model="mlp")]
    rows = [answer("microbatch", 1000), answer("bp", 400), failed, *others]
    Table(tmp_path, fit_rows.ANSWERS).append(rows)
    drawn = fit_plots.largest_batches(str(tmp_path), "title", ASKED)
    (axes,) = drawn.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [400, 1000]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["bp", "microbatch"]
    said = texts(drawn.figure)
    assert "1,000 (2.5 times bp's)" in said
    assert drawn.finding == "In 1 GiB microbatch trains batches 2.5 times as large as bp's"
    assert [cell.algorithm for cell in drawn.missing] == ["dfa"]
    assert "Not searched: dfa." in said
    assert "Other gradients" not in said


def test_random_feedback_is_named(tmp_path: Path) -> None:
    Table(tmp_path, fit_rows.ANSWERS).append([answer("dfa", 300), answer("bp", 400)])
    drawn = fit_plots.largest_batches(str(tmp_path), "title", ASKED)
    assert drawn.finding == "In 1 GiB no batch is larger than bp's 400"
    assert "Other gradients, which train to other accuracies: dfa." in texts(drawn.figure)


def test_without_an_answer_there_is_no_figure(tmp_path: Path) -> None:
    drawn = fit_plots.largest_batches(str(tmp_path), "title", ASKED)
    assert drawn.figure is None
    assert drawn.missing == ASKED
