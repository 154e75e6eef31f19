"""What the options of the command line take, checked as far as possible without TensorFlow."""

import argparse
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mem_dfa.experiments.cells import catalogue

from mem_dfa import registry, units

MAXIMUM_LAYERS = 10_000
MAXIMUM_RANGE = 10_000  # numbers in one range
MAXIMUM_COUNT = 2**31 - 1


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


def algorithms(text: str, names: Sequence[str]) -> list[str]:
    """A list of these names, or of algorithms of the user's own."""
    found = list(filter(catalogue.is_own, map(str.strip, text.split(","))))
    return some_of(f"an algorithm or {catalogue.OWN}", [*names, *found])(text)


def models(text: str, several: bool) -> Any:
    """A model of the registry or of the user's own, or a list of them."""
    parts = list(map(str.strip, text.split(","))) if several else [text]
    found = list(filter(catalogue.is_own_model, parts))
    allowed = [*registry.MODELS, *found]
    return (some_of if several else one_of)(f"a model or {catalogue.OWN}", allowed)(text)


def own(text: str) -> str:
    """The name of something of the user's own."""
    if not catalogue.is_own(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name; take {catalogue.OWN}")
    return text


def own_option(text: str) -> tuple[str, str]:
    """An argument of an algorithm of the user's own, name=value."""
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


def count(text: str, least: int = 1, most: int = MAXIMUM_COUNT) -> int:
    """A whole number, at least 1 or what is said."""
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; take a whole number from {least} to {most}"
        )
    return value


def groups(text: str) -> int | str:
    """A number of blocks, a size, "sqrt" or names; which names there are only a model tells."""
    parts = [part.strip() for part in text.split(",")]
    if text.strip().isdigit():
        return count(text)
    if text.strip()[:1].isdigit():
        return size(text)
    if not all(re.fullmatch(r"sqrt|block_[0-9]{1,9}", part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} makes no groups; take a number of blocks, sqrt, a size such as '16 MiB', or "
            "names of first blocks such as block_001,block_005"
        )
    return ",".join(parts)


def learning_rate(text: str) -> float:
    """A finite rate above 0."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate; take a number above 0")
    return rate


def fraction(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; take a number from 0 to below 1"
        )
    return value


HOW: dict[str, tuple[Callable[[str], Any], str]] = {
    "count": (count, "N"),
    "layers": (layers, "N"),
    "count from 0": (lambda text: count(text, 0), "N"),
    "rate": (learning_rate, "X"),
    "fraction": (fraction, "X"),
    "size": (size, "SIZE"),
    "groups": (groups, "GROUPS"),
    "hidden layers": (lambda text: count(text, 0, 3), "N"),
}
"""How the kinds of arguments are read and named in the help."""
