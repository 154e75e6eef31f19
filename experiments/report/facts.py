"""Numbers that the README and the documentation tell, each read from a folder of results."""

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell, names_of
from mem_dfa.experiments.paper.plan import FIT_MEMORY_BYTES
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.store import files, fit_rows, results, trainings
from mem_dfa.experiments.terminal import screen

_STEP = "conv20 {}, 20 layers: step bytes, batch 128"
_DEPTH = "depth_net mem_dfa, sgd, regenerated feedback, {} layers: step bytes, batch 32"
_CLAIMS = {
    "bp_step": _STEP.format("bp"),
    "dfa_step": _STEP.format("dfa"),
    "mem_dfa_step": _STEP.format("mem_dfa"),
    "mem_dfa_time": "conv20 mem_dfa, sgd, 20 layers, automatic slices: "
    "step time over bp, taking turns",
    "whole_batches_step": "conv20 mem_dfa, sgd, 20 layers, slices=1: step bytes",
    "whole_batches_time": "conv20 mem_dfa, sgd, 20 layers, slices=1: "
    "step time over bp, taking turns",
    "checkpoint_step": _STEP.format("checkpoint (sqrt)"),
    "checkpoint_time": "conv20, 20 layers: step time of checkpoint / bp, taking turns",
    "microbatch_step": "conv20 microbatch, 20 layers, 8 slices: step bytes, batch 128",
    "microbatch_time": "conv20, 20 layers: step time of microbatch / bp, taking turns",
    "revnet_step": "revnet110 revnet: step bytes, batch 100",
    "revnet_growth": "revnet38 to revnet110, three times the depth: requested bytes grow by",
    "revnet_time": "revnet38: step time of revnet / bp, taking turns",
    "budget_step": "conv20, 20 layers, budget 40% of bp's step bytes: step bytes",
    "mem_dfa_step_10": _DEPTH.format(10),
    "mem_dfa_step_1000": _DEPTH.format(1000),
    "first_step_1000": "depth_net mem_dfa, sgd, regenerated feedback, 1000 layers: "
    "first step, with tracing",
    "recording_time": "conv20 bp, graph: time of a recorded step / plain step, taking turns",
}
"""Which claim each is the measured number of."""
_UNITS = {"ratio": "", "%": " %", "MiB": " MiB", "s": " s"}
_DIGITS = {"ratio": 2, "%": 1, "MiB": 1, "s": 1}


def texts(folder: str | Path) -> dict[str, str]:
    """Every number by its name, with its unit.

    Raises:
        KeyError: the folder lacks one.
        ResultsError: a table is damaged.
    """
    known = claims(folder)
    told = {name: _text(known[title]) for name, title in _CLAIMS.items()}
    told |= {f"fit_{row['algorithm']}": str(row["size"]) for row in fits(folder)}
    told["bp_step_1000"] = _deepest(folder, "bp")
    for model in ("mlp", "mnist_conv", "liao_cifar", "vgg16"):
        for algorithm, shares in accuracies(folder, model).items():
            told[f"{model}_{algorithm}"] = f"{statistics.fmean(shares):.1%}".replace("%", " %")
    return told


def claims(folder: str | Path) -> dict[str, Mapping[str, str]]:
    """What `experiments.claims` found: its rows, by the claim."""
    found: dict[str, Mapping[str, str]] = {}
    for file in sorted(Path(folder, files.TABLES).glob("claims_*.csv")):
        with file.open(newline="", encoding="utf-8") as opened:
            found |= {row["claim"]: row for row in csv.DictReader(opened)}
    return found


def fits(folder: str | Path) -> Sequence[Mapping]:
    """The largest batches on VGG-16 in 1 GiB that `experiments.fit` found, rising."""
    return fit_rows.largest_batches(folder, "vgg16", FIT_MEMORY_BYTES)


def accuracies(folder: str | Path, model: str) -> dict[str, list[float]]:
    """Test accuracies after the last epoch, a share for each seed, by algorithm.

    Args:
        folder: of the results.
        model: what the name of a figure of accuracy ends in.
    """
    found: dict[str, list[float]] = {}
    trained = [cell for cell in planned(f"accuracy_{model}") if cell.epochs]
    for cell, name in names_of(trained).items():
        if epochs := trainings.read(folder, cell):
            found.setdefault(name, []).append(epochs[-1]["test_accuracy"])
    return found


def planned(name: str) -> list[Cell]:
    """The cells of a figure of that name."""
    return list(next(figure.cells for figure in FIGURES if figure.name == name))


def _deepest(folder: str | Path, algorithm: str) -> str:
    """Step bytes at the greatest depth that the figure of depths shows, in graph execution."""
    cells = [
        cell
        for cell in planned("depth")
        if (cell.algorithm, cell.execution) == (algorithm, "graph")
    ]
    deepest = max(cells, key=lambda cell: cell.layers or 0)
    rows = results.select(results.read(folder), [deepest]).rows
    if not rows:
        raise KeyError(f"{algorithm}, {deepest.layers} layers")
    (row,) = rows
    return f"{screen.mebibytes(row['step_bytes'])} MiB"


def _text(row: Mapping[str, str]) -> str:
    unit = row["unit"]
    return f"{float(row['measured']):.{_DIGITS[unit]}f}{_UNITS[unit]}"
