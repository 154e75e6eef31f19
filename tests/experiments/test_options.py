"""Options of all commands: in groups with an example each; one name means one thing."""

import argparse
import functools
import shlex
from collections.abc import Iterator
from typing import Any

import commands
import pytest
from mem_dfa.experiments.__main__ import COMMANDS

PARSERS = dict(commands.parsers())
NAMES = sorted(PARSERS)
WIDTH = 80
# Names whose text or default differs between commands, and why.
DIFFERING = {
    "--algo": "Keras's own ways are compared by fit and bench alone, and bench has a usual set",
    "--out": "figures go beside what they are drawn from, quick ones and a script's apart",
}


def options(name: str) -> Iterator[argparse.Action]:
    """Of a command, but --help, and those that are refused because they have another name here."""
    for action in PARSERS[name]._actions:
        if action.option_strings and action.dest != "help" and action.help != argparse.SUPPRESS:
            yield action


def meaning(action: argparse.Action) -> tuple[Any, ...]:
    """What one name may mean once; a list of values is as good as one of them."""
    kind = action.type.func if isinstance(action.type, functools.partial) else action.type
    default, metavar = action.default, action.metavar
    if str(metavar).endswith(",..."):
        metavar = str(metavar).removesuffix(",...")
        # A list is read by another function, which takes the same words.
        kind, default = None, default[0] if default and len(default) == 1 else default
    text = (action.help or "").replace("\n", " ")
    return getattr(kind, "__qualname__", kind), repr(default), metavar, action.nargs, text


def test_one_name_means_one_thing_in_all_commands() -> None:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name in NAMES:
        for action in options(name):
            (flag,) = action.option_strings
            found.setdefault(flag, []).append(meaning(action))
    assert {"--memory", "--dataset", "--repeats", "--time-limit", "--from"} <= set(found)
    differing = set()
    for flag, meanings in found.items():
        # Where one command takes a list, the function that reads it is not looked at.
        kinds = {one[0] for one in meanings} - {None}
        if len({one[1:] for one in meanings}) > 1 or len(kinds) > 1:
            differing.add(flag)
    assert differing == set(DIFFERING)


@pytest.mark.parametrize("name", NAMES)
def test_help_has_groups_with_examples(name: str) -> None:
    """Every option is in a group, whose example the command takes."""
    parser = PARSERS[name]
    groups = [group for group in parser._action_groups if group._group_actions]
    titled = [group for group in groups if group.title not in ("options", "positional arguments")]
    grouped = [action for group in titled for action in group._group_actions]
    assert set(options(name)) <= set(grouped)
    assert all((group.description or "").startswith("example: ") for group in titled)
    examples = {
        group.title: shlex.split((group.description or "").removeprefix("example: "))
        for group in titled
    }
    needed = [group for group in titled if any(one.required for one in group._group_actions)]
    for group in titled:
        told = dict.fromkeys(one.title for one in (*needed[:2], group))
        parser.parse_args([word for title in told for word in examples[title]])
        flags = [flag for one in group._group_actions for flag in one.option_strings]
        assert not flags or set(flags) & set(examples[group.title])


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    lines = PARSERS[name].format_help().splitlines()
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("name", "words", "new"),
    [
        ("sweep", "--algo bp --model mlp --memory 4GiB", "--total-memory"),
        ("plot", "--x layers --y peak --out peak.png", "--file"),
    ],
)
def test_a_name_that_means_something_else_is_refused(name: str, words: str, new: str) -> None:
    with pytest.raises(Exception, match=f"argument --.* is given as {new} here"):
        PARSERS[name].parse_args(words.split())


def test_every_command_is_looked_at() -> None:
    assert {name.split()[0] for name in NAMES} == set(COMMANDS)
