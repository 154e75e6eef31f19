"""What a gate measures and promises: the file memory-gate.toml, read and checked.

```toml
tolerance = "1 %"                 # up and down, of every cell that names no other
baselines = "memory-baselines"    # the folder that they are kept in, beside this file

[[cells]]                         # the options of `mem-dfa sweep`, without dashes
model = "mymodel.py:build"
algo = ["fit", "mem_dfa"]         # fit: Keras's own, as the model was compiled
batch_size = [16, 64]

[[relations]]                     # holds on every machine, without a baseline
claim = "mem_dfa takes the same at 5 and at 20 layers"
quantity = "requested_spread"
limit = 3
cells = { model = "mymodel.py:build", algo = "mem_dfa", layers = [5, 20] }
```
"""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import DEFAULTS, Cell
from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.cli import arguments
from mem_dfa.profiling import baseline

from mem_dfa.units import parse_percent

NAME = "memory-gate.toml"
STEPS = 3
QUANTITIES = (
    "requested_spread",
    "requested_share",
    "requested_a_layer",
    "held_a_layer",
    "growth 0.5",
    "growth 1",
)
"""Of `checks.quantities`, those that follow from what a gate measures."""
# Keras differentiates these nets as one, so that their peak is no sharp measure, see `gate`.
_WHOLE = ("bp", "fa", "microbatch", catalogue.AS_COMPILED)
_TOLD = ("dataset", "classes", "optimizer", "learning_rate", "seed")


@dataclass(frozen=True)
class Relation:
    """A promise: a quantity of cells is at most a limit."""

    claim: str
    quantity: str
    limit: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GateFile:
    """What one file says."""

    baselines: Path
    cells: Mapping[str, Cell]  # by name
    tolerances: Mapping[tuple[str, str], float]  # in percent, by name and quantity
    relations: Sequence[Relation]


def name_of(cell: Cell) -> str:
    """A cell as baselines name it: its title, and what else is not as usual."""
    usual = Cell(cell.algorithm, cell.model, optimizer=cell.optimizer)
    usual = dataclasses.replace(usual, optimizer=DEFAULTS["optimizer"])
    told = [f"{n} {getattr(cell, n)}" for n in _TOLD if getattr(cell, n) != getattr(usual, n)]
    return " ".join([cell.title, *told])


def is_whole(cell: Cell) -> bool:
    """Whether Keras differentiates the net as one; of a class of the user's own nobody knows."""
    return cell.algorithm in _WHOLE or catalogue.is_own(cell.algorithm)


def read(path: Path) -> GateFile:
    """The file; paths in it are meant from its folder.

    Raises:
        UsageError: it is not there, is no TOML, or says what makes no sense, and where.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist; write one, which begins with [[cells]], model = "
            '"mymodel.py:build", algo = ["fit"], batch_size = 32'
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    _check_keys(content, ("tolerance", "baselines", "cells", "relations"), str(path))
    usual = _tolerance(content, str(path), None)
    cells: dict[str, Cell] = {}
    tolerances: dict[tuple[str, str], float] = {}
    for place, table in _tables(content, "cells", path):
        own = _tolerance(table, place, usual)
        for cell in _cells({k: v for k, v in table.items() if k != "tolerance"}, place):
            name = name_of(cell)
            if name in cells:
                raise UsageError(f"{place}: {name} is in this file twice; remove one of them")
            cells[name] = cell
            tolerances |= _tolerances(name, cell, own)
    if not cells:
        raise UsageError(f"{path} names no cells; write [[cells]] with model and algo")
    relations = [
        _relation(table, place, cells) for place, table in _tables(content, "relations", path)
    ]
    folder = content.get("baselines", baseline.FOLDER)
    if not isinstance(folder, str) or not folder:
        raise UsageError(f"{path}: baselines is {folder!r}, where a folder's name is meant")
    return GateFile(Path(folder), cells, tolerances, relations)


def _tables(content: Mapping[str, Any], key: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each table of a list, and where it stands."""
    found = content.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"{path}: {key} is no list of tables; write each under [[{key}]]")
    return [(f"{path}, [[{key}]] {number}", one) for number, one in enumerate(found, start=1)]


def _check_keys(table: Iterable[str], known: Sequence[str], place: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            advice = f"is {near[0]!r} meant?" if near else f"take {', '.join(known)}"
            raise UsageError(f"{place}: there is no key {key!r}; {advice}")


def _tolerance(table: Mapping[str, Any], place: str, usual: float | None) -> float | None:
    try:
        return parse_percent(table["tolerance"]) if "tolerance" in table else usual
    except ValueError as error:
        raise UsageError(f"{place}: tolerance: {error}") from error


def _tolerances(name: str, cell: Cell, own: float | None) -> dict[tuple[str, str], float]:
    found = dict.fromkeys([(name, n) for n in ("kept", "step", "resident")], own)
    if own is None and is_whole(cell):
        found[name, "step"] = baseline.WHOLE_TOLERANCE_PERCENT
    return {key: percent for key, percent in found.items() if percent is not None}


def _cells(table: Mapping[str, Any], place: str) -> list[Cell]:
    """The cells that a table's options name, read by the command line's own parser."""
    parser = arguments.Parser("gate", "")
    arguments.add_cell_options(parser, [catalogue.AS_COMPILED], lists=arguments.LISTS)
    parser.set_defaults(steps=STEPS, dataset="synthetic")
    known = [action.dest for action in parser._actions if action.dest != "help"]
    _check_keys(table, known, place)
    words = [word for key, value in table.items() for word in _words(key, value, place)]
    try:
        cells = arguments.cells(parser.parse_args(words))
    except UsageError as error:
        said = re.sub(r"^argument --([\w-]+)", _key, str(error).removesuffix(" (see --help)"))
        raise UsageError(f"{place}: {said}") from error
    return [
        dataclasses.replace(cell, execution="compiled")
        if cell.algorithm == catalogue.AS_COMPILED
        else cell
        for cell in cells
    ]


def _key(option: re.Match[str]) -> str:
    """What the file calls an option of the command line."""
    return option[1].replace("-", "_")


def _words(key: str, value: Any, place: str) -> list[str]:
    """An option of the command line: a list becomes a,b and a table of options one each."""
    if isinstance(value, dict):
        return [word for n, one in value.items() for word in (arguments.flag(key), f"{n}={one}")]
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) in (str, int, float) for one in values):
        raise UsageError(f"{place}: {key} is {value!r}; give a text or a number, or a list of some")
    return [arguments.flag(key) + "=" + ",".join(map(str, values))]


def _relation(table: Mapping[str, Any], place: str, cells: Mapping[str, Cell]) -> Relation:
    _check_keys(table, [field.name for field in dataclasses.fields(Relation)], place)
    claim, quantity, limit = (table.get(name) for name in ("claim", "quantity", "limit"))
    named = table.get("cells")
    if not isinstance(named, dict):
        raise UsageError(f"{place}: cells is {named!r}, where a table is meant, as under [[cells]]")
    if not isinstance(claim, str) or not isinstance(limit, int | float):
        raise UsageError(f"{place}: give claim, a text, and limit, a number")
    if quantity not in QUANTITIES:
        raise UsageError(f"{place}: quantity is {quantity!r}; take {', '.join(QUANTITIES)}")
    own = tuple(_cells(named, place))
    for name in map(name_of, own):
        if name not in cells:
            raise UsageError(f"{place}: {name} is under no [[cells]], so it is not measured")
    least = 3 if quantity.startswith("growth") else 2
    if len(own) < least:
        raise UsageError(f"{place}: {quantity} is of {least} cells; these are {len(own)}")
    return Relation(claim, quantity, limit, own)
