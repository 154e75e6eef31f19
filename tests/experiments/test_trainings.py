"""What each epoch of a training gave is kept, and no shorter training takes its place."""

import dataclasses
from pathlib import Path

import pytest
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.table import Table

from tests.experiments.drawn import cells
from tests.experiments.made import history

(CELL,) = cells("sweep --algo bp --model mlp --dataset mnist --epochs 2")


def accuracies(folder: Path) -> list[float]:
    return [epoch["test_accuracy"] for epoch in trainings.read(folder, CELL)]


def test_a_shorter_training_takes_no_place(tmp_path: Path) -> None:
    """Of equally long ones the newest counts; nothing that was kept is lost."""
    history(tmp_path, CELL, [0.5, 0.6, 0.7])
    history(tmp_path, CELL, [0.9])
    assert accuracies(tmp_path) == [0.5, 0.6]
    history(tmp_path, CELL, [0.1, 0.2, 0.3])
    assert accuracies(tmp_path) == [0.1, 0.2]
    history(tmp_path, CELL, [0.1, 0.2, 0.3, 0.4])
    assert accuracies(tmp_path) == [0.1, 0.2]
    assert len(Table(tmp_path, trainings.EPOCHS).read()) == 3 + 1 + 3 + 4


def test_what_was_trained_for_less_has_no_epochs(tmp_path: Path) -> None:
    history(tmp_path, CELL, [0.5])
    assert not accuracies(tmp_path)


def test_cells_in_one_table_keep_apart(tmp_path: Path) -> None:
    """Whatever decides an epoch; how long was asked for, and how memory was measured, do not."""
    history(tmp_path, CELL, [0.5, 0.6])
    changes = {"seed": 1, "learning_rate": 0.5, "batch_size": 7, "execution": "eager", "layers": 1}
    for name, value in changes.items():
        other = dataclasses.replace(CELL, **{name: value})
        assert not trainings.read(tmp_path, other)
        history(tmp_path, other, [0.1, 0.2, 0.3])
    assert accuracies(tmp_path) == [0.5, 0.6]
    same = dataclasses.replace(CELL, epochs=1, steps=9, layers=2)  # of a model of two
    assert [epoch["test_accuracy"] for epoch in trainings.read(tmp_path, same)] == [0.5]


def test_a_file_that_is_no_table_of_epochs_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / trainings.EPOCHS.name
    file.parent.mkdir()
    file.write_text("nonsense\n1\n")
    for call in (lambda: history(tmp_path, CELL, [0.5]), lambda: trainings.read(tmp_path, CELL)):
        with pytest.raises(results.ResultsError, match="no table of epochs"):
            call()
    assert file.read_text() == "nonsense\n1\n"


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    history(tmp_path, CELL, [0.5])
    file = tmp_path / trainings.EPOCHS.name
    left = file.with_name(f".{file.name}.abc")
    left.write_text("epoch,test")
    history(tmp_path, CELL, [0.6, 0.7])
    assert not left.exists()
    assert accuracies(tmp_path) == [0.6, 0.7]
