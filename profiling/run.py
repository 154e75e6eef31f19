"""What takes the memory of my script? `profile run train.py`: one step of its `fit`, recorded.

The script is run as Python would run it. Exit status: the script's, where that is not 0; 1 where no
exact step was recorded, or one could not be shown; 2 for what is wrong before the script starts;
130 after Ctrl-C, and what was recorded by then is shown.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mem_dfa.profiling.allocator import enable
from mem_dfa.profiling.errors import MeterError, TraceError
from mem_dfa.profiling.training.every_fit import in_every_fit
from mem_dfa.profiling.training.quiet_import import quiet_tensorflow
from mem_dfa.profiling.training.script import INTERRUPTED, run_script
from mem_dfa.profiling.training.script_step import RecordedStep, ScriptStep

if TYPE_CHECKING:
    from rich.console import RenderableType

Foretell = Callable[[RecordedStep], Iterable["RenderableType"]]
"""What else is said of a recorded step, such as what it would take otherwise."""
OUT = "memory-profile"
STEP = 3
# Of the timeline and of its page.
_TIMELINE, _PAGE = ".timeline.json.gz", ".html"
_NEEDED = ("bokeh", "jinja2", "pandas", "rich")


def add_parser(commands: Any) -> None:
    """Add the command `run` to those of a parser."""
    parser = commands.add_parser(
        "run",
        help="run a Keras script and show what takes its memory",
        description="Runs a Keras script as it is, records one step of its fit, and shows what "
        "takes its memory.",
        allow_abbrev=False,
    )
    group = parser.add_argument_group("recording", "example: --step 5 --out recorded train.py")
    group.add_argument(
        "--step",
        type=_step,
        default=STEP,
        metavar="N",
        help=f"to record, counted from 1 over the whole run (default: {STEP}; the first one "
        "traces functions and makes optimizer slots)",
    )
    group.add_argument(
        "--out", default=OUT, metavar="DIR", help=f"folder to write to (default: {OUT})"
    )
    group.add_argument(
        "words",
        nargs=argparse.PARSER,  # all from the first one that is no option
        metavar="SCRIPT",
        help="a Python file that calls fit, and the arguments it takes",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the script and show its step; returns the exit status.

    Raises:
        TraceError: there is no such script, or no writing into the folder.
    """
    script, *arguments = options.words
    _check_script(script)
    for name in _NEEDED:  # before the script takes its time
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    try:
        enable()
    except MeterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = _free_path(options.out, f"{Path(script).stem}-step-{options.step}")
    step = ScriptStep(Path(script).name, options.step, path.absolute())
    with quiet_tensorflow(), in_every_fit(step.callback_for):
        status = run_script(script, arguments)
    if status == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    if step.recorded is None:
        print(f"error: no step was recorded: {step.why_not(failed=status != 0)}", file=sys.stderr)
        return status or 1
    shown = _show(step.recorded, path, options.foretell)
    return status or shown


def _step(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no step; give a whole number from 1 on")
    return int(text)


def _check_script(script: str) -> None:
    try:
        with open(script, "rb"):
            pass
    except OSError as error:
        raise TraceError(
            f"Cannot run {script} ({error.strerror}); name a Python script that trains with fit."
        ) from error


def _free_path(folder: str, name: str) -> Path:
    """Where the timeline is written, so that no earlier recording is lost.

    Raises:
        TraceError: the folder cannot be made or written to.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TraceError(
            f"Cannot write into {folder} ({error.strerror}); name a folder to write to as --out."
        ) from error
    for number in itertools.count(1):
        stem = Path(folder, name if number == 1 else f"{name}-{number}")
        if not any(Path(f"{stem}{suffix}").exists() for suffix in (_TIMELINE, _PAGE)):
            break
    return Path(f"{stem}{_TIMELINE}")


def _show(step: RecordedStep, path: Path, foretell: Foretell) -> int:
    """Print the summary, and write the page beside the timeline; returns 1 where that failed."""
    from mem_dfa.profiling.render import summary

    console = summary.console()
    for table in summary.tables(step.timeline):
        console.print(table)
    for part in foretell(step):
        console.print(part)
    print(f"written: {path}")
    page = str(path).removesuffix(_TIMELINE) + _PAGE
    try:
        step.timeline.to_html(str(step.path).removesuffix(_TIMELINE) + _PAGE)
    except TraceError as error:
        print(f"error: no page: {error}", file=sys.stderr)
        return 1
    print(f"written: {page}")
    return 0
