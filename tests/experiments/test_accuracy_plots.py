"""Accuracies are those of the trainings, and time is that of steps timed by themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mem_dfa.experiments.pictures import accuracy_plots
from mem_dfa.experiments.store import results, trainings

from tests.experiments.drawn import cells, lines, texts
from tests.experiments.made import history, row, table

STEPS = "sweep --algo bp,dfa --model mlp --dataset mnist --steps 25"
LINE = "sweep --algo bp,dfa --model mlp --dataset mnist --epochs 2 --seed 0,1"
BOTH = [*cells(STEPS), *cells(LINE)]


def timed(algorithm: str, step_time_s: float, **changes: Any) -> dict[str, Any]:
    """A row of mlp as the figures of accuracy take it."""
    usual = {"model": "mlp", "layers": 2, "dataset": "mnist", "batch_size": 100, "steps": 25}
    return row(algorithm, **usual | {"step_time_s": step_time_s} | changes)


def test_accuracies_are_means_over_seeds(tmp_path: Path) -> None:
    for cell in cells(LINE):
        if (cell.algorithm, cell.seed) != ("dfa", 1):
            history(tmp_path, cell, [0.5 + 0.1 * cell.seed, 0.9])
    table(
        tmp_path / results.FILE_NAME,
        timed("bp", 0.004),
        timed("dfa", 0.006),
        # Later, and not what was asked for.
        timed("dfa", 9, learning_rate=0.3),
        timed("dfa", 9, steps=5),
        timed("dfa", 9, epochs=2, status="killed"),
    )
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", BOTH)
    by_epoch, by_time = (lines(axes) for axes in drawn.figure.axes)
    assert np.allclose(by_epoch["bp"], [[1, 55], [2, 90]])
    assert np.allclose(by_time["bp"], [[1, 55], [2, 90]])
    assert np.allclose(by_epoch["dfa"], [[1, 50], [2, 90]])
    assert np.allclose(by_time["dfa"], [[1.5, 50], [3, 90]])
    assert [(cell.algorithm, cell.seed) for cell in drawn.missing] == [("dfa", 1)]
    said = texts(drawn.figure)
    assert "Not trained: dfa seed 1." in said
    assert "bp 4 ms (4 to 4), dfa 6 ms (6 to 6)." in said


def test_an_algorithm_with_other_options_has_a_line_of_its_own(tmp_path: Path) -> None:
    anchored = cells("run --algo dfa --anchor 9 --model mlp --dataset mnist --epochs 2")
    asked = [cell for cell in cells(LINE) if cell.seed == 0] + anchored
    for cell, end in zip(asked, (0.97, 0.9, 0.95), strict=True):
        history(tmp_path, cell, [0.5, end])
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", asked)
    found = lines(drawn.figure.axes[0])
    assert {name: line[-1][1] for name, line in found.items()} == pytest.approx(
        {"bp": 97, "dfa": 90, "dfa anchor 9": 95}
    )
    assert "dfa anchor 9, the best of other gradients, is 2.0 points behind" in drawn.finding
    assert "One seed." in texts(drawn.figure)


def test_options_are_timed_apart_and_published_accuracies_said(tmp_path: Path) -> None:
    steps, trained = (
        [
            cell
            for one in ("bp", *(f"xconv --probes {n} --probing orthogonal" for n in (2, 8)))
            for cell in cells(f"run --algo {one} --model xconv_net --dataset mnist {more}")
        ]
        for more in ("--steps 25", "--epochs 2")
    )
    for cell in trained:
        history(tmp_path, cell, [0.5, 0.9])
    of_net = {"model": "xconv_net", "layers": steps[0].depth, "batch_size": 128}
    rows = [timed("bp", 0.01, **of_net)]
    rows += [
        timed("xconv", 0.01 * count, options=f"probes={count}; probing=orthogonal", **of_net)
        for count in (2, 8)
    ]
    table(tmp_path / results.FILE_NAME, *rows)
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", [*steps, *trained])
    assert drawn.missing == []
    ends = {name: line[-1][0] for name, line in lines(drawn.figure.axes[1]).items()}
    of_two, of_eight = (f"xconv probes {count} probing orthogonal" for count in (2, 8))
    assert ends == pytest.approx({"bp": 2, of_two: 4, of_eight: 16})
    said = texts(drawn.figure)
    assert f"bp 10 ms (10 to 10), {of_two} 20 ms (20 to 20)" in said
    assert f"Published: {of_two} 96.1 %, {of_eight} 97.3 %, Louboutin et al." in said


@pytest.mark.parametrize(
    ("rows", "against_time", "untimed"),
    [
        ([], set(), ["bp", "dfa"]),
        ([timed(name, 0.004, epochs=2, steps=5) for name in ("bp", "dfa")], set(), ["bp", "dfa"]),
        ([timed("bp", 0.004, repeats=1), timed("dfa", 0.004)], set(), ["bp"]),
        ([timed("bp", 0.004)], {"bp"}, ["dfa"]),
    ],
    ids=["none", "training", "one process", "dfa missing"],
)
def test_what_was_not_timed_is_drawn_against_epochs_alone(
    tmp_path: Path, rows: list[dict[str, Any]], against_time: set[str], untimed: list[str]
) -> None:
    for cell in cells(LINE):
        history(tmp_path, cell, [0.5, 0.9])
    if rows:
        table(tmp_path / results.FILE_NAME, *rows)
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", BOTH)
    assert set(lines(drawn.figure.axes[0])) == {"bp", "dfa"}
    assert set(lines(drawn.figure.axes[1])) == against_time
    assert f"Not measured: {untimed[0]} batch 100" in texts(drawn.figure)
    assert [cell.algorithm for cell in drawn.missing] == untimed


def test_which_copy_of_the_images_it_was_is_said(tmp_path: Path) -> None:
    """As the rows of trainings have it: a step that was only measured says nothing of them."""
    for cell in cells(LINE):
        history(tmp_path, cell, [0.5, 0.9])
    table(
        tmp_path / results.FILE_NAME,
        timed("bp", 0.004, accuracy_label="MNIST (a copy), test", epochs=2),
        timed("dfa", 0.004, accuracy_label="MNIST (a step), the held training batch"),
    )
    failed = timed("bp", 0.004, epochs=2, status="killed")
    failed["accuracy_label"] = "MNIST (a step), the held training batch"
    results.append(tmp_path, [failed])
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", BOTH)
    assert "MNIST (a copy), no augmentation" in texts(drawn.figure)


def test_how_far_mem_dfa_is_from_dfa_is_said(tmp_path: Path) -> None:
    line = LINE.replace("bp,dfa", "dfa,mem_dfa")
    ends = {("dfa", 0): 0.9, ("dfa", 1): 0.7, ("mem_dfa", 0): 0.91, ("mem_dfa", 1): 0.72}
    for cell in cells(line):
        history(tmp_path, cell, [0.5, ends[cell.algorithm, cell.seed]])
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", cells(line))
    said = "After 2 epochs mem_dfa is within 2.00 points of dfa with the same seed; dfa's seeds"
    assert f"{said} differ by 20.00." in texts(drawn.figure)
    one = [cell for cell in cells(line) if cell.seed == 0]
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", one)
    assert "After 2 epochs mem_dfa is within 1.00 points of dfa." in texts(drawn.figure)
    other = [cell for cell in cells(line) if (cell.algorithm, cell.seed) != ("dfa", 0)]
    drawn = accuracy_plots.against_epoch_and_time(str(tmp_path), "title", other[::2])
    assert "points of dfa" not in texts(drawn.figure), "of other seeds nothing is to be said"


@pytest.mark.parametrize(
    ("there", "instead", "reason"),
    [(",0.9,", ",9,", "test_accuracy is '9'"), (",2,,,,,0.9,", ",3,,,,,0.9,", "is damaged")],
)
def test_a_damaged_table_of_epochs_is_refused(
    there: str, instead: str, reason: str, tmp_path: Path
) -> None:
    """Also one in which an epoch is missing."""
    cell = cells(LINE)[0]
    history(tmp_path, cell, [0.5, 0.9])
    file = tmp_path / trainings.EPOCHS.name
    assert there in file.read_text()
    file.write_text(file.read_text().replace(there, instead))
    with pytest.raises(results.ResultsError, match=reason):
        trainings.read(tmp_path, cell)
