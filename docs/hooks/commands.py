"""The parsers of all commands, caught when a command parses its arguments, before it does more."""

import argparse
import importlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from mem_dfa.experiments.__main__ import COMMANDS


class _CaughtError(BaseException):
    """Nothing on the way out takes it for an error of the user."""

    def __init__(self, parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
        self.parser, self.words = parser, words


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of `mem-dfa COMMAND`."""
    module = importlib.import_module(_module(command))

    def catch(parser: argparse.ArgumentParser, words: Sequence[str], *_: Any) -> None:
        raise _CaughtError(parser, words)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", catch):
        try:
            module.main([])
        except _CaughtError as caught:
            return caught.parser
    raise TypeError(f"{command} parses no arguments")


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, as it is called, with those inside others."""
    for name in COMMANDS:
        parser = parser_of(name)
        inner = [
            action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
        ]
        if not inner:
            yield name, parser
        for action in inner:
            for word, one in action.choices.items():
                yield f"{name} {word}", one


def documentation_of(command: str) -> str:
    """What the module of a command says of it."""
    return importlib.import_module(_module(command.split()[0])).__doc__ or ""


def _module(command: str) -> str:
    return f"mem_dfa.experiments.{command}"
