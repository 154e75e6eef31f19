"""Whatever the fields of tables hold, reading and choosing from them ends in rows or a sentence."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments.paper import plan
from mem_dfa.experiments.pictures import canvas, search_plots, tradeoff_plots
from mem_dfa.experiments.report import tables
from mem_dfa.experiments.store import fit_rows, results, trainings

from tests.experiments.drawn import cells
from tests.experiments.made import row, table

HOSTILE = ["", "0", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "1e308", "3.0", "0x10", "٣", "²"]
HOSTILE += ["9" * 30, "9" * 5000, "1" * 400 + ".5", " 5 ", "None", "{}", "a,b", "$\\frac$"]
HOSTILE += ["\x00", "\x1b[31m", "a\nb", "x" * 140_000]
REPOSITORY = Path(__file__).parents[2] / "results"
ASKED = cells("sweep --algo bp,mem_dfa --model conv20 --layers 1-2")
(TRAINED,) = cells("sweep --algo bp --model mlp --dataset mnist --epochs 1 --seed 0")
EPOCH = {"epoch": 1, "train_loss": 1, "train_accuracy": 0.3, "test_accuracy": 0.5}


def measurements() -> list[dict[str, Any]]:
    known = [row("bp", n) for n in (1, 2)]
    return [row("bp", epochs=2, accuracy=0.5, accuracy_label="data, test"), *known]


def epoch() -> dict[str, Any]:
    known = {**TRAINED.row(), **EPOCH, "device": "CPU:0"}
    return {name: known.get(name) for name in trainings.EPOCHS.columns}


def recorded(name: str) -> list[dict[str, Any]]:
    with (REPOSITORY / name).open(newline="") as file:
        return list(csv.DictReader(file))[:2]


def read_measurements(folder: Path) -> None:
    rows = results.read(folder)
    canvas.notes_on(results.select(rows, ASKED, 3))
    results.images(rows, "cifar10")
    tables.versions(rows)
    list(tables.sections(folder, rows))
    plan.recorded_seconds(ASKED, rows)


def read_fits(folder: Path) -> None:
    fit_rows.answers(folder)
    list(tables.sections(folder, []))


def read_bench(folder: Path) -> None:
    tradeoff_plots.taking_turns(str(folder), "title", ASKED)
    list(tables.sections(folder, []))


def read_trainings(folder: Path) -> None:
    trainings.diverged(folder, TRAINED)
    search_plots.read_search(str(folder), [TRAINED])


TABLES = [
    (results.FILE_NAME, measurements(), read_measurements),
    ("tables/fit.csv", recorded("tables/fit.csv"), read_fits),
    ("tables/bench.csv", recorded("tables/bench.csv"), read_bench),
    (trainings.EPOCHS.name, [epoch()], read_trainings),
]


@pytest.mark.parametrize(("name", "rows", "reading"), TABLES, ids=[one[0] for one in TABLES])
def test_every_hostile_value_in_every_column(
    name: str, rows: Sequence[dict[str, Any]], reading: Callable[[Path], None], tmp_path: Path
) -> None:
    table(tmp_path / name, *rows)
    reading(tmp_path)
    refused = 0
    for column in rows[0]:
        for value in HOSTILE:
            table(tmp_path / name, {**rows[0], column: value}, *rows[1:])
            try:
                reading(tmp_path)
            except results.ResultsError as error:
                refused += 1
                assert name in str(error)
    assert refused


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("peak_bytes", ""),
        ("peak_bytes", "9" * 30),
        ("step_time_s", "nan"),
        ("batch_size", "0"),
        ("tensorflow", "9" * 5000),
        ("device", "$\\frac$"),
    ],
)
def test_what_is_wrong_is_said(column: str, value: str, tmp_path: Path) -> None:
    table(tmp_path / results.FILE_NAME, {**row("bp"), column: value})
    with pytest.raises(results.ResultsError, match=column):
        results.read(tmp_path)
