"""One cell of a measurement, as plain data that travels between processes."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from mem_dfa.experiments.cells.catalogue import BATCH_SIZE, DEVICES, EXECUTIONS, OPTIMIZERS

from mem_dfa import registry
from mem_dfa.data import prepared

WARM_UP_STEPS = 2
MEASURED_STEPS = 5
REPEATS = 3  # odd, so that the median is one of the measured values
_LONGEST = 150  # characters of a file's name, before what tells it from all others

Options = tuple[tuple[str, int | float | str], ...]
Kind = Literal["count", "count from 0", "layers", "rate", "name"]
_READ: Mapping[str, Callable[[str], int | float | str]] = {
    "count": int,
    "count from 0": int,
    "hidden layers": int,
    "fraction": float,
    "groups": lambda text: int(text) if text.isdigit() else text,
}
"""How tables tell the values of options that are no text."""
Report = Callable[[str, float], None]
"""Who is told how far something is: takes a note, and which part is done, 0 to 1."""


@dataclass(frozen=True)
class Argument:
    """How a field of a cell is given on the command line."""

    kind: Kind
    help: str
    choices: tuple[str, ...] = ()


def _given(kind: Kind, help: str, choices: Iterable[str] = (), default: Any = None) -> Any:
    argument = Argument(kind, help, tuple(choices))
    return field(default=default, metadata={"argument": argument})


@dataclass(frozen=True)
class Cell:
    """algorithm x model x layers x batch x execution, and what else decides the result.

    What is not given is what the model is made for, and the optimizer's own rate.
    """

    algorithm: str
    model: str
    layers: int | None = _given("layers", "weight layers before the classifier (default: all)")
    batch_size: int = _given("count", "images in a batch (default: the model's own)")
    execution: str = _given("name", "a way to execute", EXECUTIONS, "graph")
    device: str = _given("name", "a device", DEVICES, "auto")
    """As given; a TensorFlow name such as "CPU:0" once it was looked for."""
    dataset: str = "synthetic"  # or another data set's name, but not "auto"
    classes: int = _given("count", "of --dataset synthetic (default: 10)")
    optimizer: str = _given("name", "an optimizer", OPTIMIZERS, "sgd")
    learning_rate: float = _given("rate", "the optimizer's (default: its own)")
    seed: int = _given("count from 0", "of weights, feedback and data (default: 0)", default=0)
    steps: int = MEASURED_STEPS
    epochs: int = 0  # of training, each with a test; 0 measures memory only
    options: Options = ()  # of the algorithm, sorted by name; any mapping is taken
    data_dir: str | None = None
    """Where data are kept. Like all that follows it does not decide what is measured."""
    trace_file: str | None = None  # for the timeline of one step
    training_file: str | None = None  # for how far a training is, until its end is kept

    def __post_init__(self) -> None:
        """Put in what is not given."""
        own, data = registry.MODELS.get(self.model), prepared.DATASETS.get(self.dataset)
        vars(self).update(
            batch_size=self.batch_size or (own.batch_size if own else BATCH_SIZE),
            classes=self.classes or (data and data.classes),
            learning_rate=self.learning_rate or OPTIMIZERS.get(self.optimizer),
            options=tuple(sorted(dict(self.options).items())),
        )

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The cell that a row of a table is about; None is what was not given."""
        given = {name: row[name] for name in COLUMNS if row.get(name) is not None}
        if "options" in given:
            given["options"] = options_of(given["options"])
        return cls(**given)

    def row(self) -> dict[str, Any]:
        """What rows of tables say of this cell: a value for each of `COLUMNS`."""
        values = {name: getattr(self, name) for name in COLUMNS}
        options = "; ".join(f"{name}={value}" for name, value in self.options)
        return {**values, "layers": self.depth, "options": options or None}

    def key(self, *free: str) -> str:
        """What the same cell means, everywhere: all that decides what is measured but ``free``."""
        values = self.row()
        return " ".join(f"{name}={values[name]}" for name in COLUMNS if name not in free)

    @property
    def depth(self) -> int | None:
        """Its number of layers, also where that is a whole model's; None where nobody knows."""
        entry = registry.MODELS.get(self.model)
        return self.layers or (entry.layers if entry else None)

    @property
    def title(self) -> str:
        """The cell in a few words."""
        depth = "" if self.layers is None else f" {self.layers} layers"
        return f"{self.name} {self.model}{depth} batch {self.batch_size} {self.execution}"

    @property
    def name(self) -> str:
        """The algorithm and its own options, such as "checkpoint every 2"."""
        return " ".join([self.algorithm, *(f"{name} {value}" for name, value in self.options)])

    @property
    def file_stem(self) -> str:
        """The name of files of this cell alone, without their endings."""
        whole = dataclasses.replace(self, layers=self.depth)
        return stem(f"{whole.title} {self.optimizer}", self.key())

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Of one image; synthetic images look like those that the model is made for.

        None where the data, or the model that they are made for, are of the user's own.
        """
        model = registry.MODELS.get(self.model)
        name = self.dataset if self.dataset != "synthetic" else model and model.dataset
        return prepared.DATASETS[name].input_shape if name in prepared.DATASETS else None


_FIELDS = [one.name for one in fields(Cell)]
# The fields that decide what is measured, and the columns of tables that say it.
COLUMNS = tuple(_FIELDS[: _FIELDS.index("data_dir")])
# Those that are given on the command line in the same way by every command.
ARGUMENTS: Mapping[str, Argument] = {
    one.name: one.metadata["argument"] for one in fields(Cell) if "argument" in one.metadata
}
# What fields are where nothing is said; None where that depends on others.
DEFAULTS: Mapping[str, Any] = {one.name: one.default for one in fields(Cell)}


def names_of(cells: Iterable[Cell]) -> dict[Cell, str]:
    """Algorithms, with their options where one of them is there with several."""
    several: dict[str, set[str]] = {}
    every = list(cells)
    for cell in every:
        several.setdefault(cell.algorithm, set()).add(cell.name)
    return {c: c.name if len(several[c.algorithm]) > 1 else c.algorithm for c in every}


def stem(told: str, key: str) -> str:
    """The name of files about what a key tells from all else: letters, digits and "_"."""
    name = re.sub(r"\W+", "_", told)[:_LONGEST]
    return f"{name}_{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def options_of(text: str) -> Options:
    """The options that a row tells, such as "budget=64 MiB; every=2"; ValueError if it is none."""
    kinds = {option.name: option.kind for option in registry.OPTIONS}
    found: dict[str, int | float | str] = {}
    for part in text.split("; "):
        name, separator, value = part.partition("=")
        if not separator or not name.isidentifier():
            raise ValueError(f"options is {text!r}, where name=value is meant")
        found[name] = _READ.get(kinds.get(name, ""), str)(value)
    return tuple(sorted(found.items()))


def on_devices(cell: Cell) -> list[Cell]:
    """The cell on each device that it may be of, the first choice first."""
    places = {"auto": ("CPU:0", "GPU:0"), "cpu": ("CPU:0",), "gpu": ("GPU:0",)}
    devices = places.get(cell.device, (cell.device,))
    return [dataclasses.replace(cell, device=device) for device in devices]
