"""Angles are kept with a training, and drawn as they are."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import building, training
from mem_dfa.experiments.pictures import alignment_plots
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.schemas import ALIGNMENTS
from mem_dfa.experiments.store.table import Table

from mem_dfa import ALGORITHMS
from tests.experiments.drawn import cells, texts

FA, DFA = cells("sweep --algo fa,dfa --model mlp --dataset mnist --epochs 2")
LINE = "--model mlp --layers 1 --batch-size 8 --dataset synthetic --epochs 2"


def keep(folder: Path, cell: Cell, *angles: list[float]) -> None:
    """A training's angles of its hidden blocks, before it and after each epoch."""
    epochs = [
        {
            "epoch": number,
            "test_accuracy": 0.5,
            "alignments": [
                {"after_epoch": after, "block": block, "block_layers": "x", "angle_degrees": angle}
                for after in ([0, 1] if number == 1 else [number])
                for block, angle in zip(
                    [*(f"block_{i:03d}" for i in range(1, len(angles[after]) + 1)), "block_x"],
                    [*angles[after], 0.0],
                    strict=True,
                )
            ]
            + [{"after_epoch": number, "block": "network", "angle_degrees": 45.0}],
        }
        for number in range(1, len(angles))
    ]
    row = {**dict.fromkeys(results.COLUMNS), **dataclasses.replace(cell, device="CPU:0").row()}
    trainings.keep(folder, cell, {**row, "status": "failed"}, epochs)


def test_they_are_kept_with_the_epochs_and_of_two_trainings_the_newer_counts(
    tmp_path: Path,
) -> None:
    keep(tmp_path, FA, [91, 92], [81, 82], [71, 72])
    keep(tmp_path, FA, [90, 89], [60, math.nan])
    (rows,) = trainings.read_alignments(tmp_path, [FA, DFA]).values()
    told = [(row["after_epoch"], row["block"], row["angle_degrees"]) for row in rows]
    assert told == [
        *((0, "block_001", 90), (0, "block_002", 89), (0, "block_x", 0)),
        *((1, "block_001", 60), (1, "block_002", None), (1, "block_x", 0), (1, "network", 45)),
    ]
    assert len(trainings.read(tmp_path, FA)) == 2
    assert len(Table(tmp_path, ALIGNMENTS).read()) == 11 + 7


def test_a_panel_a_rule_and_a_line_an_epoch(tmp_path: Path) -> None:
    keep(tmp_path, FA, [90, 91], [60, 70], [20, 40])
    drawn = alignment_plots.against_block(str(tmp_path), "title", [FA, DFA])
    assert drawn.missing == [DFA]
    assert "Not measured: dfa." in texts(drawn.figure)
    assert drawn.finding == ""
    keep(tmp_path, DFA, [90, 91], [80, math.nan], [70, math.nan])
    drawn = alignment_plots.against_block(str(tmp_path), "title", [FA, DFA])
    assert drawn.finding == (
        "After 2 epochs fa's updates are nearest to bp's, 30°, dfa's farthest, 70°"
    )
    assert not drawn.missing
    panels = [axes for axes in drawn.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["fa", "dfa"]
    named = {line.get_label(): line for line in panels[0].lines}
    told = {name: line.get_xydata().tolist() for name, line in named.items() if " " in name}
    assert told == {
        "before training": [[1, 90], [2, 91]],
        "epoch 1": [[1, 60], [2, 70]],
        "epoch 2": [[1, 20], [2, 40]],
    }


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    drawn = alignment_plots.against_block(str(tmp_path), "title", [FA])
    assert (drawn.figure, drawn.missing) == (None, [FA])


def test_a_training_tells_angles_of_algorithms_and_of_nothing_else() -> None:
    (planned,) = cells(f"sweep --algo dfa {LINE}")
    history = training.train(planned, lambda note, done: None)["history"]
    told = [[one["after_epoch"] for one in epoch["alignments"]] for epoch in history]
    assert told == [[0, 0, 0, 1, 1, 1], [2, 2, 2]]


def test_what_has_no_blocks_is_trained_without_angles() -> None:
    """No algorithm, data that may be read once alone, and a network that cannot be cut."""

    class Doubled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return 2 * self.dense(x)

    (planned,) = cells(f"sweep --algo bp {LINE}")
    trainer = building.build_trainer(planned)
    assert training.alignment_of(planned, trainer.network) is None
    own = dataclasses.replace(planned, dataset="package.module:data")
    assert training.alignment_of(own, trainer) is None
    assert training.alignment_of(planned, trainer) is not None
    network = Doubled()
    network(np.ones((2, 6)))
    trainer = ALGORITHMS["bp"](network)
    trainer.compile("sgd", "mse")
    assert training.alignment_of(planned, trainer) is None


@pytest.mark.parametrize("text", ["-1.0", "180.1", "x"])
def test_an_angle_is_one(text: str, tmp_path: Path) -> None:
    keep(tmp_path, FA, [90], [60])
    path = Table(tmp_path, ALIGNMENTS).path
    path.write_text(path.read_text().replace("60.0", text).replace(",60,", f",{text},"))
    with pytest.raises(results.ResultsError, match="angle_degrees is"):
        trainings.read_alignments(tmp_path, [FA])
