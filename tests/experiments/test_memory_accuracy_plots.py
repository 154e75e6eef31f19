"""Memory, accuracy and time of the same trainings, as medians over seeds."""

from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.planned_figures import ALL, FIGURES
from mem_dfa.experiments.pictures import memory_accuracy_plots
from mem_dfa.experiments.store import results

from tests.experiments.drawn import cells, lines, texts, wanted
from tests.experiments.made import MIB, history, row

STEPS = cells("sweep --algo bp,dfa,checkpoint --model mlp --dataset mnist --steps 25")
TRAINED = cells("sweep --algo bp,dfa,checkpoint --model mlp --dataset mnist --epochs 2 --seed 0-2")


def measured(cell: Cell, **changes: Any) -> dict[str, Any]:
    usual = {"model": "mlp", "dataset": "mnist", "batch_size": 100, "epochs": cell.epochs}
    usual |= {"seed": cell.seed, "steps": cell.steps, "repeats": 1 if cell.epochs else 3}
    return row(cell.algorithm, 2, **usual | changes)


def test_points_are_medians_over_seeds(tmp_path: Path) -> None:
    ends = {"bp": [0.5, 0.9, 0.8], "dfa": [0.4, 0.3, 0.7]}
    for cell in TRAINED:
        if cell.algorithm in ends:
            history(tmp_path, cell, [0.1, ends[cell.algorithm][cell.seed]])
            size = (10 if cell.algorithm == "bp" else 2) + cell.seed
            results.append(tmp_path, [measured(cell, step_requested_bytes=size * MIB)])
    for cell, seconds in zip(STEPS[:2], (0.01, 0.02), strict=True):
        results.append(tmp_path, [measured(cell, step_time_s=seconds)])
    drawn = memory_accuracy_plots.memory_accuracy_time(str(tmp_path), "title", [*STEPS, *TRAINED])
    by_memory, by_time = map(lines, drawn.figure.axes)
    assert by_memory == {"bp": [[13, pytest.approx(80)]], "dfa": [[5, pytest.approx(40)]]}
    assert by_time == {"bp": [[1, pytest.approx(80)]], "dfa": [[2, pytest.approx(40)]]}
    told = "dfa takes 38 % of bp's memory for 40.0 % accuracy with other gradients"
    assert drawn.finding == f"{told}; bp reaches 80.0 %"
    assert "Medians of 3 seeds where no name says otherwise" in texts(drawn.figure)
    assert "Not trained yet: checkpoint." in texts(drawn.figure)
    missing = [(cell.algorithm, cell.epochs, cell.seed) for cell in drawn.missing]
    assert missing == [*(("checkpoint", 2, seed) for seed in range(3)), ("checkpoint", 0, 0)]


def test_what_has_fewer_seeds_or_no_time_says_so(tmp_path: Path) -> None:
    for cell in TRAINED:
        if cell.algorithm == "bp" or (cell.algorithm, cell.seed) == ("checkpoint", 0):
            history(tmp_path, cell, [0.1, 0.8])
            label = "MNIST (a copy), test"
            results.append(tmp_path, [measured(cell, accuracy_label=label)])
    results.append(tmp_path, [measured(STEPS[0])])
    drawn = memory_accuracy_plots.memory_accuracy_time(str(tmp_path), "title", [*STEPS, *TRAINED])
    by_memory, by_time = map(lines, drawn.figure.axes)
    assert (set(by_memory), set(by_time)) == ({"bp", "checkpoint"}, {"bp"})
    said = texts(drawn.figure)
    assert "checkpoint, 1 seed" in said
    assert "bp, 3 seeds" not in said
    assert "Not trained yet: dfa." in said
    assert "Not timed yet: checkpoint." in said
    assert "test accuracy (%), MNIST (a copy)" in said
    assert "nothing with exact gradients takes less memory than bp" in drawn.finding


def test_without_trainings_there_is_no_figure(tmp_path: Path) -> None:
    asked = [*STEPS, *TRAINED]
    drawn = memory_accuracy_plots.memory_accuracy_time(str(tmp_path), "title", asked)
    assert drawn.figure is None
    assert set(drawn.missing) == set(asked)


def test_every_algorithm_that_trains_the_net_is_planned_with_the_settings_of_its_gradient() -> None:
    planned = [figure for figure in FIGURES if figure.kind == "tradeoff"]
    assert planned
    for figure in planned:
        trained = {cell.algorithm: cell for cell in wanted(figure.name) if cell.epochs}
        assert set(trained) == set(ALL)
        told = {
            name: (cell.learning_rate, cell.options, cell.epochs, cell.optimizer)
            for name, cell in trained.items()
        }
        assert told["bp"] == told["checkpoint"] == told["microbatch"]
        assert told["fa"] == told["checkpoint_fa"]
        assert told["dfa"] == told["mem_dfa"]
