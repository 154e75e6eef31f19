"""The options of the command line, checked as far as possible without TensorFlow."""

import argparse
import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Never

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import MEASURED_STEPS, Cell

from mem_dfa import registry, units
from mem_dfa.data import prepared

MAXIMUM_LAYERS = 10_000
MAXIMUM_RANGE = 10_000  # numbers in one range
MAXIMUM_COUNT = 2**31 - 1


class UsageError(Exception):
    """Arguments that make no sense: one sentence for the user, exit status 2."""


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
) -> None:
    """Adds the options that say what is measured.

    Args:
        parser: gets the options.
        also: names that --algo takes besides those of algorithms.
        default: what --algo is if not given; where empty it must be given.
        data: what --dataset is if not given.
    """
    add_algorithms(parser, also, default)
    models = list(registry.MODELS)
    parser.add_argument(
        "--model", type=one_of("a model", models), required=True, help=", ".join(models)
    )
    parser.add_argument(
        "--layers", type=layers, default=[None], help="20, 1-20 or 5,10,20 (default: all)"
    )
    parser.add_argument(
        "--batch-size", type=count, metavar="N", help="images in a batch (default: the model's own)"
    )
    _add_choice(parser, "--execution", "a way to execute", catalogue.EXECUTIONS, "graph")
    parser.add_argument(
        "--every", type=count, metavar="K", help="checkpoint: one every K blocks (default: sqrt)"
    )
    parser.add_argument(
        "--budget", type=size, metavar="SIZE", help='checkpoint, microbatch: such as "64 MiB"'
    )
    parser.add_argument(
        "--slices",
        type=count,
        metavar="N",
        help="microbatch, mem_dfa: parts of a batch (default: 8; 4 where that lowers the peak)",
    )
    parser.add_argument(
        "--feedback",
        type=one_of("a kind of feedback", registry.FEEDBACK_KINDS),
        help=f"dfa, mem_dfa: {', '.join(registry.FEEDBACK_KINDS)} (default: stored)",
    )
    initializers = registry.FEEDBACK_INITIALIZERS
    parser.add_argument(
        "--feedback-initializer",
        type=one_of("a distribution", initializers),
        help=f"random feedback: {', '.join(initializers)} (default: uniform)",
    )
    _add_choice(parser, "--dataset", "a data set", catalogue.DATASETS, data)
    parser.add_argument(
        "--data-dir", type=folder, metavar="DIR", help="where tensorflow_datasets keeps data"
    )
    parser.add_argument(
        "--classes", type=count, metavar="N", help="of --dataset synthetic (default: 10)"
    )
    _add_choice(parser, "--device", "a device", catalogue.DEVICES, "auto")
    _add_choice(parser, "--optimizer", "an optimizer", list(catalogue.OPTIMIZERS), "sgd")
    parser.add_argument(
        "--learning-rate", type=learning_rate, metavar="X", help="default: the optimizer's own"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="default: 0")


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
    defaults = registry.MODELS[options.model]
    _check_taken(options)
    rate = options.learning_rate or catalogue.OPTIMIZERS[options.optimizer]
    data = dataset(options.dataset, options.model, options.data_dir)
    return [
        Cell(
            algorithm=algorithm,
            model=options.model,
            layers=depth,
            batch_size=options.batch_size or defaults.batch_size,
            execution=options.execution,
            dataset=data,
            classes=_classes(options.classes, data),
            data_dir=options.data_dir,
            device=options.device,
            optimizer=options.optimizer,
            learning_rate=rate,
            seed=options.seed,
            steps=getattr(options, "steps", MEASURED_STEPS),
            epochs=getattr(options, "epochs", 0),
            **{
                name: getattr(options, name)
                for name, takers in catalogue.ALGORITHM_OPTIONS.items()
                if algorithm in takers or ":" in algorithm
            },
        )
        for depth in options.layers
        for algorithm in options.algo
    ]


def _classes(asked: int | None, data: str) -> int:
    own = prepared.DATASETS[data].classes
    if asked not in (None, own) and data != "synthetic":
        raise UsageError(f"--classes {asked} is for --dataset synthetic; {data} has {own} classes")
    return asked or own


def _check_taken(options: argparse.Namespace) -> None:
    """Refuse an option that none of the algorithms asked for takes."""
    for name, takers in catalogue.ALGORITHM_OPTIONS.items():
        value = getattr(options, name)
        if value is None or any(a in takers or ":" in a for a in options.algo):
            continue
        raise UsageError(
            f"--{name.replace('_', '-')} {value} is for {' and '.join(takers)}; --algo asks for "
            f"{', '.join(options.algo)}"
        )


def size(text: str) -> str:
    """A size with its unit, such as "64 MiB"."""
    try:
        units.parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text.strip()


def dataset(asked: str, model: str, data_dir: str | None) -> str:
    """The data set that "auto" stands for: the model's own where it is prepared."""
    own = registry.MODELS[model].dataset
    if asked != "auto":
        return asked
    return own if prepared.find(own, data_dir) else "synthetic"


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
