"""The parser of a command: options in groups with an example each, errors of one sentence."""

import argparse
import os
import re
import sys
from typing import Never

from mem_dfa.experiments.cells.errors import UsageError

SCRIPT = "mem-dfa"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage text that would bury it."""

    def __init__(self, command: str, description: str, epilog: str | None = None) -> None:
        """Of a command, as it was called: ``mem-dfa run`` or ``python -m experiments.run``."""
        is_script = os.path.basename(sys.argv[0]) == SCRIPT
        called = f"{SCRIPT} {command}" if is_script else f"python -m experiments.{command}"
        super().__init__(called, None, description, epilog, allow_abbrev=False)
        # A value such as -1e-3 is a value, not an unknown option.
        self._negative_number_matcher = re.compile(r"-(\d|\.|inf|nan)")

    def group(self, title: str, example: str) -> argparse._ArgumentGroup:
        """Options that belong together, and words of a command line that has some of them."""
        return self.add_argument_group(title, f"example: {example}")

    def format_help(self) -> str:
        """As in argparse, but the usage names what must be given alone."""
        needed = [action for action in self._actions if action.required]
        words = [f"{action.option_strings[0]} {action.metavar}" for action in needed]
        lines = [self.prog, " ".join([*words, "[option ...]"])]
        # As wide as argparse's own lines; "usage: " stands before the first one.
        fits = len(" ".join(lines)) + len("usage: ") <= 78
        self.usage = (" " if fits else "\n           ").join(lines)
        return super().format_help()

    def error(self, message: str) -> Never:
        """As in argparse, but for the caller to report."""
        raise UsageError(f"{message} (see --help)")
