"""The options of the command line, checked as far as possible without TensorFlow."""

import argparse
import functools
import itertools
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Never

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import ARGUMENTS, DEFAULTS, MEASURED_STEPS, Argument, Cell
from mem_dfa.experiments.cells.errors import UsageError as UsageError

from mem_dfa import registry, units
from mem_dfa.data import prepared

SCRIPT = "mem-dfa"
MAXIMUM_LAYERS = 10_000
MAXIMUM_RANGE = 10_000  # numbers in one range
MAXIMUM_COUNT = 2**31 - 1
LISTS = ("model", "layers", "batch_size", "execution", "seed")
"""Fields of a cell of which a sweep takes several, and combines them."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage text that would bury it."""

    def __init__(self, command: str, description: str, epilog: str | None = None) -> None:
        """Of a command, as it was called: ``mem-dfa run`` or ``python -m experiments.run``."""
        is_script = os.path.basename(sys.argv[0]) == SCRIPT
        called = f"{SCRIPT} {command}" if is_script else f"python -m experiments.{command}"
        super().__init__(called, None, description, epilog, allow_abbrev=False)
        # A value such as -1e-3 is a value, not an unknown option.
        self._negative_number_matcher = re.compile(r"-(\d|\.|inf|nan)")

    def error(self, message: str) -> Never:
        """As in argparse, but for the caller to report."""
        raise UsageError(f"{message} (see --help)")


def add_cell_options(
    parser: argparse.ArgumentParser,
    also: Iterable[str] = (),
    default: Sequence[str] = (),
    data: str = "auto",
    lists: Sequence[str] = (),
) -> None:
    """Adds the options that say what is measured: those of `Cell`, and those of algorithms.

    Args:
        parser: gets the options.
        also: names that --algo takes besides those of algorithms.
        default: what --algo is if not given; where empty it must be given.
        data: what --dataset is if not given.
        lists: fields of a cell of which several values may be given.
    """
    names = [*registry.ALGORITHMS, *also]
    parser.add_argument(
        "--algo",
        type=lambda text: _algorithms(text, names),
        required=not default,
        default=list(default),
        metavar="NAME,...",
        help=f"{', '.join(names)}, or package.module:Class for one of your own"
        + (f" (default: {','.join(default)})" if default else ""),
    )
    models = list(registry.MODELS)
    parser.add_argument(
        "--model",
        type=functools.partial(_models, several="model" in lists),
        required=True,
        metavar="NAME,..." if "model" in lists else "NAME",
        help=f"{', '.join(models)}, or one of your own: package.module:function or "
        "file.py:function, which returns a built keras.Model, or file.keras",
    )
    for name, argument in ARGUMENTS.items():
        _add_argument(parser, name, argument, name in lists)
    parser.add_argument(
        "--dataset",
        type=one_of("a data set", catalogue.DATASETS),
        default=data,
        help=f"{', '.join(catalogue.DATASETS)} (default: {data})",
    )
    parser.add_argument(
        "--data",
        type=_own,
        metavar="NAME",
        help="your own in place of --dataset: package.module:function or file.py:function, which "
        "returns a tf.data.Dataset, or two, for training and tests",
    )
    parser.add_argument(
        "--option",
        type=_own_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of an algorithm of your own; may be given again",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where tensorflow_datasets keeps data")
    for option in registry.OPTIONS:
        kind, metavar = _HOW.get(option.kind, (one_of(option.help, option.choices), "NAME"))
        choices = f": {', '.join(option.choices)}" if option.choices else ""
        text = f"{', '.join(registry.takers(option))}: {option.help}{choices}"
        text += f" (default: {option.default})"
        parser.add_argument(flag(option.name), type=kind, metavar=metavar, help=text)


def _add_argument(
    parser: argparse.ArgumentParser, name: str, argument: Argument, several: bool
) -> None:
    """Adds a field of a cell; where several values may be given, its value is a list of them."""
    default, text = DEFAULTS[name], argument.help
    kind, metavar = _HOW.get(argument.kind, (str, "NAME"))
    if argument.kind == "name":
        kind = (some_of if several else one_of)(argument.help, argument.choices)
        text = f"{', '.join(argument.choices)} (default: {default})"
    elif several and argument.kind != "layers":
        kind = numbers(name.replace("_", " "), int(argument.kind == "count"))
    if several or argument.kind == "layers":
        default, metavar = [default], f"{metavar},..."
    parser.add_argument(flag(name), type=kind, metavar=metavar, default=default, help=text)


def flag(name: str) -> str:
    """The option of that name."""
    return f"--{name.replace('_', '-')}"


def add_out_option(parser: argparse.ArgumentParser) -> None:
    """Adds the folder that results are written to."""
    parser.add_argument("--out", default="results", metavar="DIR", help="default: results")


def add_wide_option(parser: argparse.ArgumentParser) -> None:
    """Adds whether the table that a command ends with has every column."""
    parser.add_argument(
        "--wide", action="store_true", help="every column of the table, which takes 150 characters"
    )


def add_length_options(parser: argparse.ArgumentParser) -> None:
    """Adds how many steps are measured, or epochs trained."""
    length = parser.add_mutually_exclusive_group()
    add_count(length, "--steps", MEASURED_STEPS, "measured steps")
    length.add_argument(
        "--epochs", type=count, default=0, metavar="N", help="also train, and report test accuracy"
    )


def add_count(
    parser: argparse._ActionsContainer, option: str, default: int, text: str, metavar: str = "N"
) -> None:
    """Adds a whole number, at least 1, whose default the help tells."""
    parser.add_argument(
        option, type=count, default=default, metavar=metavar, help=f"{text} (default: {default})"
    )


def cells(options: argparse.Namespace) -> list[Cell]:
    """Every combination that the options ask for, all algorithms of one beside each other.

    Raises:
        UsageError: an option that nothing asked for takes.
    """
    for option in registry.OPTIONS:
        value = getattr(options, option.name)
        if value is not None and not any(_takes(name, option) for name in options.algo):
            raise UsageError(
                f"{flag(option.name)} {value} is for {' and '.join(registry.takers(option))}; "
                f"--algo asks for {', '.join(options.algo)}"
            )
    if options.option and not any(":" in name for name in options.algo):
        raise UsageError("--option is for algorithms of your own; --algo asks for none")
    given = [getattr(options, name) for name in LISTS]
    values = itertools.product(*(one if isinstance(one, list) else [one] for one in given))
    combinations = [dict(zip(LISTS, one, strict=True)) for one in values]
    return [_cell(options, name, one) for one in combinations for name in options.algo]


def _cell(options: argparse.Namespace, algorithm: str, combination: dict[str, Any]) -> Cell:
    data = catalogue.dataset(options.dataset, combination["model"], options.data_dir)
    data = options.data or data
    own = prepared.DATASETS[data].classes if data in prepared.DATASETS else None
    if options.classes not in (None, own) and own and data != "synthetic":
        raise UsageError(
            f"--classes {options.classes} is for --dataset synthetic; {data} has {own} classes"
        )
    fields = {name: getattr(options, name) for name in ("data_dir", *ARGUMENTS)}
    fields |= {name: getattr(options, name) for name in ("steps", "epochs") if name in options}
    taken = tuple(
        (option.name, getattr(options, option.name))
        for option in registry.OPTIONS
        if getattr(options, option.name) is not None and _takes(algorithm, option)
    )
    taken += tuple(options.option if ":" in algorithm else ())
    return Cell(**{**fields, **combination}, algorithm=algorithm, dataset=data, options=taken)


def _takes(algorithm: str, option: registry.Option) -> bool:
    """Whether an algorithm has an option; one of the user's own is given any."""
    return algorithm in registry.takers(option) or ":" in algorithm


def size(text: str) -> str:
    """A size with its unit, such as "64 MiB"."""
    try:
        units.parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return " ".join(text.split())


def one_of(noun: str, allowed: Iterable[str]) -> Callable[[str], str]:
    """A checker of names, for argparse."""

    def check(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun}; take {', '.join(allowed)}")
        return text

    return check


def some_of(noun: str, allowed: Iterable[str]) -> Callable[[str], list[str]]:
    """A checker of lists of names, each once, for argparse."""
    check = one_of(noun, allowed)
    return lambda text: list(dict.fromkeys(check(part.strip()) for part in text.split(",")))


def _algorithms(text: str, names: Sequence[str]) -> list[str]:
    own = list(filter(catalogue.is_own, map(str.strip, text.split(","))))
    return some_of(f"an algorithm or {catalogue.OWN}", [*names, *own])(text)


def _models(text: str, several: bool) -> Any:
    parts = list(map(str.strip, text.split(","))) if several else [text]
    own = list(filter(catalogue.is_own_model, parts))
    allowed = [*registry.MODELS, *own]
    return (some_of if several else one_of)(f"a model or {catalogue.OWN}", allowed)(text)


def _own(text: str) -> str:
    if not catalogue.is_own(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name; take {catalogue.OWN}")
    return text


def _own_option(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not (name.isidentifier() and is_there and value.isprintable() and len(value) <= 200):
        raise argparse.ArgumentTypeError(f"{text!r} is no option; take name=value")
    return name, value


def numbers(noun: str, least: int, most: int = MAXIMUM_COUNT) -> Callable[[str], list[int]]:
    """A checker of "20", "1-20" or "5,10,20", each number once, for argparse."""

    def check(text: str) -> list[int]:
        found: list[int] = []
        for part in text.split(","):
            match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part.strip())
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
            if not least <= first <= last <= most or last - first >= MAXIMUM_RANGE:
                raise argparse.ArgumentTypeError(
                    f"{text!r} is no {noun}; take one such as 20, a rising range such as "
                    f"1-20, or a list such as 5,10,20, of numbers from {least} to {most}, at most "
                    f"{MAXIMUM_RANGE} in a range"
                )
            found.extend(range(first, last + 1))
        return list(dict.fromkeys(found))

    return check


layers = numbers("number of layers", 1, MAXIMUM_LAYERS)


def count(text: str, least: int = 1) -> int:
    """A whole number, at least 1 or what is said."""
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
    if value is None or not least <= value <= MAXIMUM_COUNT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; take a whole number from {least} to {MAXIMUM_COUNT}"
        )
    return value


def learning_rate(text: str) -> float:
    """A finite rate above 0."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate; take a number above 0")
    return rate


_HOW: dict[str, tuple[Callable[[str], Any], str]] = {
    "count": (count, "N"),
    "layers": (layers, "N"),
    "seed": (lambda text: count(text, 0), "N"),
    "rate": (learning_rate, "X"),
    "size": (size, "SIZE"),
}
"""How the kinds of arguments are read and named in the help."""
