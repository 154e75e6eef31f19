"""The options of the command line, in groups with an example each, and the cells they ask for.

An option of one name has one meaning, one default and one text in every command that takes it.
"""

import argparse
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Never

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import ARGUMENTS, DEFAULTS, MEASURED_STEPS, REPEATS, Cell
from mem_dfa.experiments.cells.errors import UsageError as UsageError
from mem_dfa.experiments.cli import values
from mem_dfa.experiments.cli.parser import Parser as Parser

from mem_dfa import registry
from mem_dfa.data import prepared

OUT = "results"
LISTS = ("model", "layers", "batch_size", "execution", "seed")
"""Fields of a cell of which a sweep takes several, and combines them."""
Group = argparse._ActionsContainer


def add_cell_options(
    parser: Parser,
    also: Iterable[str] = (),
    default: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> None:
    """Adds the options that say what is measured: those of `Cell`, and those of algorithms.

    Args:
        parser: gets the options.
        also: names that --algo takes besides those of algorithms.
        default: what --algo is if not given; where empty it must be given.
        lists: fields of a cell of which several values may be given.
    """
    net = parser.group("algorithm and network", "--algo mem_dfa --model conv20 --layers 10")
    names = [*registry.ALGORITHMS, *also]
    net.add_argument(
        "--algo",
        type=functools.partial(values.algorithms, names=names),
        required=not default,
        default=list(default),
        metavar="NAME,...",
        help=f"{', '.join(names)}, or package.module:Class for one of your own"
        + (f" (default: {','.join(default)})" if default else ""),
    )
    net.add_argument(
        "--model",
        type=functools.partial(values.models, several="model" in lists),
        required=True,
        metavar="NAME,..." if "model" in lists else "NAME",
        help=f"{', '.join(registry.MODELS)}, or one of your own: package.module:function or "
        "file.py:function, which returns a built keras.Model, or file.keras",
    )
    for name in ("layers", "batch_size", "execution", "device"):
        add_field(net, name, name in lists)
    training = parser.group("training", "--optimizer adam --learning-rate 0.001")
    for name in ("optimizer", "learning_rate", "seed"):
        add_field(training, name, name in lists)
    _add_data_options(parser.group("data", "--dataset cifar10 --data-dir data"))
    _add_algorithm_options(parser.group("options of algorithms", "--feedback shared"))


def _add_data_options(group: Group) -> None:
    group.add_argument(
        "--dataset",
        type=values.one_of("a data set", catalogue.DATASETS),
        default="auto",
        metavar="NAME",
        help=f"{', '.join(catalogue.DATASETS)} (default: auto, the model's own if it is in "
        "--data-dir, otherwise synthetic)",
    )
    group.add_argument(
        "--data",
        type=values.own,
        metavar="NAME",
        help="your own in place of --dataset: package.module:function or file.py:function, which "
        "returns a tf.data.Dataset, or two, for training and tests",
    )
    add_data_dir_option(group)
    add_field(group, "classes")


def _add_algorithm_options(group: Group) -> None:
    for option in registry.OPTIONS:
        default = values.one_of(option.help, option.choices), "NAME"
        kind, metavar = values.HOW.get(option.kind, default)
        choices = f": {', '.join(option.choices)}" if option.choices else ""
        text = f"{', '.join(registry.takers(option))}: {option.help}{choices}"
        text += f" (default: {option.default})"
        group.add_argument(flag(option.name), type=kind, metavar=metavar, help=text)
    group.add_argument(
        "--option",
        type=values.own_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of an algorithm of your own; may be given again",
    )


def add_field(group: Group, name: str, several: bool = False) -> None:
    """Adds a field of a cell; where several values may be given, its value is a list of them."""
    argument = ARGUMENTS[name]
    default, text = DEFAULTS[name], argument.help
    kind, metavar = values.HOW.get(argument.kind, (str, "NAME"))
    if argument.kind == "name":
        kind = (values.some_of if several else values.one_of)(argument.help, argument.choices)
        text = f"{', '.join(argument.choices)} (default: {default})"
    elif several and argument.kind != "layers":
        kind = values.numbers(name.replace("_", " "), int(argument.kind == "count"))
    if several or argument.kind == "layers":
        default, metavar = [default], f"{metavar},..."
    group.add_argument(flag(name), type=kind, metavar=metavar, default=default, help=text)


def flag(name: str) -> str:
    """The option of that name."""
    return f"--{name.replace('_', '-')}"


def add_data_dir_option(group: Group) -> None:
    """Adds where data are."""
    group.add_argument("--data-dir", metavar="DIR", help="where tensorflow_datasets keeps data")


def add_out_option(group: Group, default: str = OUT) -> None:
    """Adds the folder that results are written to, with the words for its default."""
    group.add_argument(
        "--out",
        default=OUT if default == OUT else None,
        metavar="DIR",
        help=f"folder to write to (default: {default})",
    )


def add_from_option(group: Group) -> None:
    """Adds the folder that results are read from."""
    group.add_argument(
        "--from",
        dest="source",
        default=OUT,
        metavar="DIR",
        help=f"folder that was measured into (default: {OUT})",
    )


def add_wide_option(group: Group) -> None:
    """Adds whether the table that a command ends with has every column."""
    group.add_argument(
        "--wide", action="store_true", help="every column of the table, which takes 150 characters"
    )


def add_steps_option(group: Group) -> None:
    """Adds how many steps are measured."""
    add_count(group, "--steps", MEASURED_STEPS, "measured steps")


def add_length_options(group: argparse._ArgumentGroup) -> None:
    """Adds how many steps are measured, or epochs trained."""
    length = group.add_mutually_exclusive_group()
    add_steps_option(length)
    length.add_argument(
        "--epochs",
        type=values.count,
        default=0,
        metavar="N",
        help="also train, and report test accuracy",
    )


def add_repeats_option(group: Group) -> None:
    """Adds how often a cell is measured."""
    add_count(group, "--repeats", REPEATS, "fresh processes for each result")


def add_renamed(group: Group, name: str, new: str) -> None:
    """Has a name refused that means something else in other commands, and the right one told."""

    def refuse(text: str) -> Never:
        raise argparse.ArgumentTypeError(
            f"{text!r} is given as {new} here; {name} means something else in other commands"
        )

    group.add_argument(name, type=refuse, help=argparse.SUPPRESS)


def add_count(group: Group, option: str, default: int, text: str) -> None:
    """Adds a whole number, at least 1, whose default the help tells."""
    group.add_argument(
        option, type=values.count, default=default, metavar="N", help=f"{text} (default: {default})"
    )


def cells(options: argparse.Namespace) -> list[Cell]:
    """Every combination that the options ask for, all algorithms of one beside each other.

    Raises:
        UsageError: an option that nothing asked for takes.
    """
    for option in registry.OPTIONS:
        value = getattr(options, option.name)
        if value is not None and not any(_takes(name, option) for name in options.algo):
            *takers, last = registry.takers(option)
            told = f"{', '.join(takers)} and {last}" if takers else last
            raise UsageError(
                f"{flag(option.name)} {value} is for {told}; "
                f"--algo asks for {', '.join(options.algo)}"
            )
    if options.option and not any(":" in name for name in options.algo):
        raise UsageError("--option is for algorithms of your own; --algo asks for none")
    given = [getattr(options, name) for name in LISTS]
    chosen = itertools.product(*(one if isinstance(one, list) else [one] for one in given))
    combinations = [dict(zip(LISTS, one, strict=True)) for one in chosen]
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
