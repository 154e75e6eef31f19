"""The options of the command line, checked as far as possible without TensorFlow."""

import argparse
import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Never

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import ARGUMENTS, DEFAULTS, MEASURED_STEPS, Argument, Cell
from mem_dfa.experiments.cells.errors import UsageError as UsageError

from mem_dfa import registry, units
from mem_dfa.data import prepared

MAXIMUM_LAYERS = 10_000
MAXIMUM_RANGE = 10_000  # numbers in one range
MAXIMUM_COUNT = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage text that would bury it."""

    def error(self, message: str) -> Never:
        """As in argparse, but for the caller to report."""
        raise UsageError(f"{message} (see --help)")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses ``arguments``; a value such as -1e-3 is a value, not an unknown option."""
        joined: list[str] = []
        for argument in arguments:
            after_option = joined and re.fullmatch(r"--[a-z-]+", joined[-1])
            if after_option and re.match(r"-(\d|\.|inf|nan)", argument):
                joined[-1] += f"={argument}"
            else:
                joined.append(argument)
        return self.parse_args(joined)


def add_cell_options(
    parser: argparse.ArgumentParser,
    also: Sequence[str] = (),
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
    add_algorithms(parser, also, default)
    models = list(registry.MODELS)
    several = "model" in lists
    parser.add_argument(
        "--model",
        type=(some_of if several else one_of)("a model", models),
        required=True,
        metavar="NAME,..." if several else "NAME",
        help=", ".join(models),
    )
    for name, argument in ARGUMENTS.items():
        _add_argument(parser, name, argument, name in lists)
    _add_choice(parser, "--dataset", "a data set", catalogue.DATASETS, data)
    parser.add_argument(
        "--data-dir", type=folder, metavar="DIR", help="where tensorflow_datasets keeps data"
    )
    for option in registry.OPTIONS:
        _add_option(parser, option)


def _add_argument(
    parser: argparse.ArgumentParser, name: str, argument: Argument, several: bool
) -> None:
    """Adds a field of a cell; where several values may be given, its value is a list of them."""
    how = dict(zip(("type", "metavar"), _HOW.get(argument.kind, (None, "NAME")), strict=True))
    default, text = DEFAULTS[name], argument.help
    if argument.kind == "name":
        how["type"] = (some_of if several else one_of)(argument.help, argument.choices)
        text = f"{', '.join(argument.choices)} (default: {default})"
    elif several and argument.kind != "layers":
        how["type"] = numbers(name.replace("_", " "), int(argument.kind == "count"))
    if several or argument.kind == "layers":
        default = [default]
        how["metavar"] += ",..."
    parser.add_argument(_flag(name), default=default, help=text, **how)


def _add_option(parser: argparse.ArgumentParser, option: registry.Option) -> None:
    """Adds an option of some algorithms."""
    kind, metavar = _HOW.get(option.kind, (one_of(option.help, option.choices), "NAME"))
    names = f": {', '.join(option.choices)}" if option.choices else ""
    text = f"{', '.join(registry.takers(option))}: {option.help}{names}"
    parser.add_argument(
        _flag(option.name), type=kind, metavar=metavar, help=f"{text} (default: {option.default})"
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_algorithms(
    parser: argparse.ArgumentParser, also: Sequence[str], default: Sequence[str]
) -> None:
    """Adds --algo, see `add_cell_options`."""
    names = ", ".join([*list(registry.ALGORITHMS), *also])
    usual = f" (default: {','.join(default)})" if default else ""
    parser.add_argument(
        "--algo",
        type=functools.partial(algorithms, also=also),
        required=not default,
        default=list(default),
        metavar="NAME,...",
        help=f"{names}, or package.module:Class for one of your own{usual}",
    )


def add_out_option(parser: argparse.ArgumentParser) -> None:
    """Adds the folder that results are written to."""
    parser.add_argument("--out", default="results", metavar="DIR", help="default: results")


def add_trace_option(parser: argparse.ArgumentParser) -> None:
    """Adds whether timelines are kept."""
    parser.add_argument(
        "--trace",
        action="store_true",
        help="also write each cell's timeline, its page and its picture, and one of all cells",
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


def _add_choice(
    parser: argparse.ArgumentParser, option: str, noun: str, allowed: Sequence[str], default: str
) -> None:
    text = f"{', '.join(allowed)} (default: {default})"
    parser.add_argument(option, type=one_of(noun, allowed), default=default, help=text)


def cells(options: argparse.Namespace) -> list[Cell]:
    """The cells that the options ask for, all algorithms of one depth beside each other."""
    _check_taken(options)
    data = catalogue.dataset(options.dataset, options.model, options.data_dir)
    own = prepared.DATASETS[data].classes
    if options.classes not in (None, own) and data != "synthetic":
        raise UsageError(
            f"--classes {options.classes} is for --dataset synthetic; {data} has {own} classes"
        )
    given = {name: getattr(options, name) for name in ARGUMENTS if name != "layers"}
    length = {name: getattr(options, name) for name in ("steps", "epochs") if name in options}
    return [
        Cell(
            algorithm,
            options.model,
            depth,
            dataset=data,
            data_dir=options.data_dir,
            options=_options_of(algorithm, options),
            **given,
            **length,
        )
        for depth in options.layers
        for algorithm in options.algo
    ]


def _options_of(algorithm: str, options: argparse.Namespace) -> dict[str, int | str]:
    """Those of the given options that an algorithm takes; one of the user's own takes any."""
    return {
        option.name: getattr(options, option.name)
        for option in registry.OPTIONS
        if getattr(options, option.name) is not None
        and (algorithm in registry.takers(option) or ":" in algorithm)
    }


def _check_taken(options: argparse.Namespace) -> None:
    """Refuse an option that none of the algorithms asked for takes."""
    for option in registry.OPTIONS:
        value, takers = getattr(options, option.name), registry.takers(option)
        if value is None or any(a in takers or ":" in a for a in options.algo):
            continue
        raise UsageError(
            f"{_flag(option.name)} {value} is for {' and '.join(takers)}; --algo asks for "
            f"{', '.join(options.algo)}"
        )


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


def algorithms(text: str, also: Sequence[str] = ()) -> list[str]:
    """Names of algorithms or of those in ``also``, each once."""
    allowed = [*list(registry.ALGORITHMS), *also]
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in allowed and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
            raise argparse.ArgumentTypeError(
                f"{name!r} is not an algorithm; take {', '.join(allowed)}, "
                "or package.module:Class for one of your own"
            )
    return names


def layers(text: str) -> list[int]:
    """Depths from "20", "1-20" or "5,10,20"."""
    return numbers("number of layers", 1, MAXIMUM_LAYERS)(text)


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


def count(text: str) -> int:
    """A number of things, at least 1."""
    return _integer(text, 1)


def seed(text: str) -> int:
    """A seed, at least 0."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
    if value is None or not least <= value <= MAXIMUM_COUNT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; take a whole number from {least} to {MAXIMUM_COUNT}"
        )
    return value


def folder(text: str) -> str:
    """A folder that can be, whether it is there or not."""
    try:
        Path(text).exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no folder ({reason})") from error
    return text


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
    "seed": (seed, "N"),
    "rate": (learning_rate, "X"),
    "size": (size, "SIZE"),
}
"""How the kinds of arguments are read and named in the help."""
