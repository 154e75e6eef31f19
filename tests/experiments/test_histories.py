"""What each epoch of a training gave is kept, and no shorter training takes its place."""

from pathlib import Path

import pytest
from mem_dfa.experiments.store import results, trainings

from tests.experiments.drawn import cells
from tests.experiments.made import history

(CELL,) = cells("sweep --algo bp --model mlp --dataset mnist --epochs 2")


def accuracies(folder: Path) -> list[float]:
    return [epoch["test_accuracy"] for epoch in trainings.read(folder, CELL)]


def test_a_shorter_training_takes_no_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history(tmp_path, CELL, [0.5, 0.6, 0.7])
    assert capsys.readouterr().err == ""
    history(tmp_path, CELL, [0.9])
    assert "has 3 epochs and stays" in capsys.readouterr().err
    assert accuracies(tmp_path) == [0.5, 0.6]
    history(tmp_path, CELL, [0.1, 0.2, 0.3])
    assert accuracies(tmp_path) == [0.1, 0.2]
    history(tmp_path, CELL, [0.1, 0.2, 0.3, 0.4])
    (file,) = tmp_path.glob("history_*.csv")
    assert len(file.read_text().splitlines()) == 5


def test_a_file_that_is_no_history_is_left_as_it_is(tmp_path: Path) -> None:
    history(tmp_path, CELL, [0.5])
    (file,) = tmp_path.glob("history_*.csv")
    file.write_text("nonsense\n1\n")
    with pytest.raises(results.ResultsError, match="no history of training"):
        history(tmp_path, CELL, [0.5])
    assert file.read_text() == "nonsense\n1\n"


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    history(tmp_path, CELL, [0.5])
    (file,) = tmp_path.glob("history_*.csv")
    left = tmp_path / f".{file.name}.abc"
    left.write_text("epoch,test")
    history(tmp_path, CELL, [0.6, 0.7])
    assert not left.exists()
    assert accuracies(tmp_path) == [0.6, 0.7]
