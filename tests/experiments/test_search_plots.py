"""Settings are chosen by a recorded search, and by nothing that was seen of the test images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.plan import PlannedFigure
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.paper.settings import CHOSEN, SEARCH_SEED
from mem_dfa.experiments.pictures import search_plots
from mem_dfa.experiments.store import trainings

from tests.experiments.drawn import cells
from tests.experiments.made import trained

RESULTS = Path(__file__).parents[2] / "results"
SEARCHES = [figure for figure in FIGURES if figure.kind == "search"]
LINES = (
    "sweep --algo bp,dfa --model mlp --epochs 1 --learning-rate 0.1",
    "sweep --algo bp,dfa --model mlp --epochs 1 --learning-rate 0.2",
    "sweep --algo dfa --model mlp --epochs 1 --learning-rate 0.1 --feedback-initializer signs",
)


def cells_of(lines: tuple[str, ...]) -> list[Cell]:
    return [cell for line in lines for cell in cells(line)]


def diverged_of(folder: Path, asked: Sequence[Cell]) -> set[Cell]:
    return {cell for cell in asked if trainings.diverged(folder, cell)}


def test_the_least_rate_that_is_nearly_the_best_is_taken() -> None:
    bp_low, dfa_low, bp_high, dfa_high, dfa_signs = cells_of(LINES)
    found = {bp_low: 58.6, bp_high: 60.0, dfa_low: 58.4, dfa_high: 60.0, dfa_signs: 20.0}
    assert search_plots.chosen(found) == {"bp": bp_low, "dfa": dfa_high}
    found |= {dfa_low: 58.6, dfa_signs: 58.7}  # of one rate the better one
    assert search_plots.chosen(found)["dfa"] == dfa_signs


def test_a_few_points_are_much_where_little_is_learned() -> None:
    """Of 10 classes 10 % is guessing: 12 % is less than half of what 14.5 % gained."""
    bp_low, _, bp_high, _, _ = cells_of(LINES)
    assert search_plots.chosen({bp_low: 12.0, bp_high: 14.5}) == {"bp": bp_high}


def test_what_did_well_in_training_is_taken(tmp_path: Path) -> None:
    asked = cells_of(LINES)
    in_training = [0.5, 0.4, 0.6, 0.3, 0.7]
    for cell, accuracy in zip(asked, in_training, strict=True):
        epoch = {"epoch": 1, "train_accuracy": accuracy, "test_accuracy": 1 - accuracy}
        trained(tmp_path, cell, [epoch])
    found = search_plots.read_search(str(tmp_path), asked)
    assert list(found.values()) == pytest.approx([50, 40, 60, 30, 70])
    best = search_plots.chosen(found)
    signs = (("feedback_initializer", "signs"),)
    assert (best["bp"].learning_rate, best["dfa"].options) == (0.2, signs)
    drawn = search_plots.against_learning_rate(str(tmp_path), "title", asked)
    points = [line.get_xydata().tolist() for line in drawn.figure.axes[0].lines]
    assert points[0] == [[0.1, 50], [0.2, 60]]
    assert drawn.figure.axes[0].get_xlabel() == "learning rate, log scale"
    assert not drawn.missing


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [([2.3, 23.0], False), ([2.3, 23.1, 2.0], True), ([2.3, None], True), ([None], True)],
)
def test_what_diverged_in_a_longer_training_is_not_taken(
    tmp_path: Path, losses: list[float | None], diverged: bool
) -> None:
    """With another seed and more epochs than the search has; a loss of NaN is an empty field."""
    _, low, _, high, signs = cells_of(LINES)
    asked = [low, high]
    bad = {"epoch": 1, "train_loss": None, "test_accuracy": 0.1}
    trained(tmp_path, signs, [bad])  # of other settings
    for cell, accuracy in zip(asked, (0.4, 0.6), strict=True):
        epoch = {"epoch": 1, "train_loss": 2.0, "train_accuracy": accuracy, "test_accuracy": 0.5}
        trained(tmp_path, cell, [epoch])
    epochs = [
        {"epoch": number, "train_loss": loss, "test_accuracy": 0.1}
        for number, loss in enumerate(losses, start=1)
    ]
    longer = dataclasses.replace(high, seed=3, epochs=len(losses))
    trained(tmp_path, longer, epochs)
    found = search_plots.read_search(str(tmp_path), asked)
    struck = diverged_of(tmp_path, asked)
    assert struck == ({high} if diverged else set())
    assert search_plots.chosen(found, struck) == {"dfa": low if diverged else high}
    drawn = search_plots.against_learning_rate(str(tmp_path), "title", asked)
    crosses = [line for line in drawn.figure.axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == len(struck)
    assert ("Crossed out" in " ".join(drawn.notes)) is diverged
    assert drawn.finding == f"Learning rates to take: dfa {0.1 if diverged else 0.2}"


def test_what_was_not_searched_is_missing(tmp_path: Path) -> None:
    asked = cells_of(LINES)
    drawn = search_plots.against_learning_rate(str(tmp_path), "title", asked)
    assert drawn.figure is None
    assert drawn.missing == asked


@pytest.mark.parametrize("figure", SEARCHES, ids=lambda figure: figure.name)
def test_what_is_trained_is_what_the_search_found(figure: PlannedFigure) -> None:
    asked = figure.cells
    found = search_plots.read_search(str(RESULTS), asked)
    if len(found) < len(asked):
        pytest.skip(f"{figure.name}: {len(asked) - len(found)} cells are not trained yet")
    best = search_plots.chosen(found, diverged_of(RESULTS, asked))
    taken = CHOSEN[figure.name.removeprefix("search_")]
    mem_dfa = best.pop("mem_dfa", best["dfa"])
    told = ("learning_rate", "options")
    assert all(getattr(mem_dfa, name) == getattr(best["dfa"], name) for name in told)
    assert set(taken) == set(best)
    for algorithm, (rate, initializer) in taken.items():
        assert best[algorithm].learning_rate == rate
        assert dict(best[algorithm].options).get("feedback_initializer", "") == initializer


def test_the_search_uses_no_seed_that_is_reported() -> None:
    for figure in FIGURES:
        if figure.kind == "accuracy":
            training = [cell for cell in figure.cells if cell.epochs]
            assert training
            assert SEARCH_SEED not in {cell.seed for cell in training}
