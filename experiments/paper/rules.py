"""Every rule of learning side by side, on nets of any depth: which cells, and what they say.

A rule is an algorithm with its options. `mem_dfa`, `mem_bdfa` and `checkpoint_fa` make the updates
of `dfa`, `bdfa` and `fa`, and are not trained again.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.settings import NETS, SEARCH_SEED
from mem_dfa.experiments.store import trainings

MODEL = "depth_mlp"
EPOCHS = 3
DEPTHS = (1, 3, 8, 16)
RATES = (0.001, 0.0003)
TABLED = (3, 8)
"""Depths at which several seeds are told, beside what others computed."""
SEEDS = (0, 1, 2)
_DECAY, _ANCHOR = {"feedback_decay": 0.001}, {"anchor": 10}
_FAMILIES: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "exact": [("bp", {})],
    "ways back": [
        *((name, {}) for name in ("fa", "usf", "brsf", "frsf", "arbp")),
        ("arbp", _DECAY),
    ],
    "direct feedback": [
        *((name, {}) for name in ("dfa", "ssdfa", "asrbp")),
        ("asrbp", _DECAY),
        ("dfa", {"feedback": "low_rank"}),
    ],
    "groups and exact steps": [
        *(("bdfa", {"groups": count}) for count in (2, 4)),
        *((name, _ANCHOR) for name in ("dfa", "anchor_steps")),
    ],
    "losses of each block": [
        *((name, {}) for name in ("lel", "drtp", "local_loss")),
        *(("local_loss", {"local_loss": loss}) for loss in ("prediction", "similarity")),
    ],
    "predicted signals": [("dni", {}), ("cdni", {})],
    "forward passes alone": [
        ("forward_gradient", {}),
        ("forward_gradient", {"perturbation_groups": 1}),
        *((name, {}) for name in ("pepita", "forward_forward")),
    ],
}
_REFERENCES = Path(__file__).with_name("references.csv")

Accuracies = dict[str, dict[int, list[float]]]
"""Test accuracies after the last epoch (%), one a seed, by rule and number of hidden layers."""


def cells_of(layers: int, rate: float, seed: int) -> dict[str, list[Cell]]:
    """A cell for each rule that a net of so many layers can have, by family."""
    how: dict[str, Any] = {**NETS[MODEL], "epochs": EPOCHS, "learning_rate": rate, "seed": seed}
    return {
        family: [
            Cell(algorithm, MODEL, layers, options=tuple(options.items()), **how)
            for algorithm, options in rules
            if options.get("groups", 1) <= layers + 1  # blocks, with that of the classifier
        ]
        for family, rules in _FAMILIES.items()
    }


FAMILIES = {name: [cell.name for cell in own] for name, own in cells_of(16, 0.001, 0).items()}
"""The rules' names, as `Cell.name` has them, by family."""


def planned() -> tuple[Cell, ...]:
    """What chooses a rate for each rule and depth, and what tells accuracies."""
    seeds = {layers: SEEDS if layers in TABLED else SEEDS[:1] for layers in DEPTHS}
    return tuple(
        cell
        for layers in DEPTHS
        for seed in (SEARCH_SEED, *seeds[layers])
        for rate in RATES
        for own in cells_of(layers, rate, seed).values()
        for cell in own
    )


def aligned() -> tuple[Cell, ...]:
    """Whose updates are compared with BP's: of rules that never make these themselves."""
    families = cells_of(TABLED[-1], RATES[0], SEEDS[0])
    return tuple(
        cell
        for name, own in families.items()
        for cell in own
        if name != "exact" and "anchor" not in dict(cell.options)
    )


def setting(cell: Cell) -> str:
    """What is the same for all seeds and rates of a rule at one depth."""
    return cell.key("seed", "learning_rate")


def best_rates(folder: str | os.PathLike[str], cells: Sequence[Cell]) -> dict[str, float]:
    """The rate with the best training accuracy, by `setting`.

    Of the search's seed alone, which accuracies are not told of; test images have no say.
    """
    tried: dict[str, dict[float, float]] = {}
    for cell in cells:
        if cell.seed == SEARCH_SEED:
            for last in trainings.read(folder, cell)[-1:]:
                reached = last["train_accuracy"] or 0.0  # it has none where it diverged
                tried.setdefault(setting(cell), {})[cell.learning_rate] = reached
    return {key: max(rates, key=rates.__getitem__) for key, rates in tried.items()}


def passed_over(folder: str | os.PathLike[str], cells: Sequence[Cell]) -> set[Cell]:
    """Cells that nobody has to train, because the search among these cells chose another rate."""
    best = best_rates(folder, cells)
    unknown = {
        setting(cell)
        for cell in cells
        if cell.seed == SEARCH_SEED and not trainings.read(folder, cell)
    }
    return {
        cell
        for cell in cells
        if cell.seed != SEARCH_SEED
        and (key := setting(cell)) in best.keys() - unknown
        and cell.learning_rate != best[key]
        # What others computed, with the first rate, is compared with the same.
        and (cell.layers not in TABLED or cell.learning_rate != RATES[0])
    }


def accuracies(folder: str | os.PathLike[str], cells: Sequence[Cell]) -> Accuracies:
    """What the seeds that are told reached with the best rate of the search."""
    best = best_rates(folder, cells)
    found: Accuracies = {}
    for cell in cells:
        if cell.seed != SEARCH_SEED and best.get(setting(cell)) == cell.learning_rate:
            for last in trainings.read(folder, cell)[-1:]:
                by_depth = found.setdefault(cell.name, {})
                by_depth.setdefault(cell.depth or 0, []).append(100 * last["test_accuracy"])
    return found


def references(model: str = MODEL) -> dict[tuple[str, int], float]:
    """Test accuracies (%) of others, by rule and hidden layers; 0 for all of a model.

    Of `MODEL` they were computed independently with the same settings; of others published.
    """
    rows = _references(model)
    return {(row["rule"], int(row["layers"] or 0)): float(row["test_accuracy"]) for row in rows}


def published(model: str) -> dict[str, dict[str, float]]:
    """Test accuracies (%) of others on all of a model, by source and rule."""
    found: dict[str, dict[str, float]] = {}
    for row in _references(model):
        if not row["layers"]:
            found.setdefault(row["source"], {})[row["rule"]] = float(row["test_accuracy"])
    return found


def _references(model: str) -> list[dict[str, str]]:
    with _REFERENCES.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["model"] == model]
