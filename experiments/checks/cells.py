"""How the cells of claims and of the gate are made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments


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
    parser = arguments.Parser()
    arguments.add_cell_options(parser)
    words = ["--algo", algorithm, "--model", model, "--device", "cpu", "--optimizer", optimizer]
    words += [] if layers is None else ["--layers", str(layers)]
    words += [] if data_dir is None else ["--data-dir", data_dir]
    cell = arguments.cells(parser.parse(words))[0]
    return with_options(dataclasses.replace(cell, **changes), options or {})


def with_options(cell: Cell, options: Mapping[str, Any]) -> Cell:
    """The cell with these options of its algorithm."""
    return dataclasses.replace(cell, **options)
