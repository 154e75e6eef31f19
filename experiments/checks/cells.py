"""How the cells of claims and of the gate are made."""

from collections.abc import Callable, Mapping
from typing import Any

from mem_dfa.experiments.cells.catalogue import dataset
from mem_dfa.experiments.cells.cell import Cell

from mem_dfa import registry

OPTIONS = [option.name for option in registry.OPTIONS]


def make_cell(
    algorithm: str,
    model: str,
    layers: int | None = None,
    options: Mapping[str, Any] | None = None,
    data_dir: str | None = None,
    optimizer: str = "sgd",
    **changes: Any,
) -> Cell:
    """A cell on the CPU with every default of the command line but what is given.

    Args:
        algorithm: its name.
        model: its name.
        layers: how many; None for all.
        options: of the algorithm.
        data_dir: where data are looked for.
        optimizer: its name; the learning rate is its own.
        **changes: other fields of the cell.
    """
    given = {"dataset": dataset("auto", model, data_dir), "device": "cpu", **changes}
    return Cell(
        algorithm,
        model,
        layers,
        options=options or {},
        data_dir=data_dir,
        optimizer=optimizer,
        **given,
    )


def cells_of(text: str, make: Callable[..., Cell]) -> list[Cell]:
    """The cells of a text such as "bp,mem_dfa conv20 10,20 execution=xla; bp vgg16 -".

    Args:
        text: algorithms, models, numbers of layers ("-" for all), and what else the cells have;
            after a semicolon come more.
        make: is called as `make_cell`.
    """
    cells = []
    for group in filter(None, text.split("; ")):
        algorithms, models, depths, *words = group.split()
        changes = {name: _value(value) for name, value in (word.split("=") for word in words)}
        options = {name: changes.pop(name) for name in OPTIONS if name in changes}
        cells += [
            make(algorithm, model, _value(layers), options=options, **changes)
            for model in models.split(",")
            for layers in depths.split(",")
            for algorithm in algorithms.split(",")
        ]
    return cells


def _value(text: str) -> int | str | None:
    return None if text == "-" else int(text) if text.isdigit() else text
