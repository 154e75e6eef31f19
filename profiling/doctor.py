"""Tries every source of numbers on this machine and says which work, why not, and what to do.

`python -m profiling.doctor`

Exit status: 0 when the CPU's peaks are exact and its allocation events work, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiling.allocator import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from rich.table import Table

_ASK = f"set {ENVIRONMENT_VARIABLE}=1 before TensorFlow starts, as profiling.enable() does"
_REPORT = "compare with the versions in setup.cfg: install TensorFlow 2.21 and Keras 3.15"


@dataclass(frozen=True, slots=True)
class Source:
    """A source of numbers.

    Attributes:
        probe: name of the function in `profiling.probes` that tries it.
        title: in the table.
        remedy: what to do where it does not work.
        required: whether the exit status depends on it.
    """

    probe: str
    title: str
    remedy: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying a source: whether it works, and what was seen."""

    source: Source
    works: bool
    saw: str


# By the environment that they are tried in: one fresh process each.
SOURCES = {
    "counting": (
        Source("cpu_statistics", f"CPU statistics, {ENVIRONMENT_VARIABLE}=1", _REPORT, True),
        Source("events", "allocation events (XPlane)", _REPORT, True),
        Source("graph_paths", "operation paths in graph mode", _REPORT),
        Source("eager_spans", "layers in eager mode", _REPORT),
        Source("xla", "XLA", "nothing, unless you train with jit_compile=True"),
        Source("gpus", "GPUs", "nothing on a CPU; else install tensorflow[and-cuda] and a driver"),
    ),
    "plain": (Source("small_tensors", "CPU statistics without that variable", _ASK),),
    "others": (
        Source("pytest_plugin", "pytest plugin", "pip install this package, with pytest"),
        Source("bokeh", "pages without a browser (bokeh)", "pip install bokeh"),
        Source("matplotlib", "pictures without a display (matplotlib)", "pip install matplotlib"),
    ),
}
# The slowest takes seconds; a driver that hangs must not hang this.
_PATIENCE_S = 300


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m profiling.doctor",
        description="Tries every source of memory numbers on this machine: what works, what does "
        "not, why, and what to do. Exit status 0 when exact peaks and events on the CPU work.",
    )
    parser.parse_args(argv)
    try:
        return _tell()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # what shells report for Ctrl-C


def _tell() -> int:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    errors = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    if not errors.is_terminal:
        print("trying every source of numbers, which takes some seconds", file=sys.stderr)
    found: list[Finding] = []
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
        total = sum(map(len, SOURCES.values()))
        task = progress.add_task("trying every source of numbers", total=total)
        for finding in examine():
            found.append(finding)
            progress.update(task, description=f"{len(found)} of {total} tried")
    from profiling.listing import console

    console().print(table_of(found))
    return 0 if all(finding.works for finding in found if finding.source.required) else 1


def examine() -> Iterator[Finding]:
    """Try all sources, each group in a process of its own, and yield what is found as it comes."""
    with ThreadPoolExecutor() as pool:
        groups = [pool.submit(_examine_group, group) for group in SOURCES]
        for group in as_completed(groups):
            yield from group.result()


def table_of(findings: Sequence[Finding]) -> Table:
    """The findings in the order of `SOURCES`."""
    from rich.table import Table

    table = Table(title="Sources of memory numbers on this machine", title_justify="left")
    for name in ("source", "works", "what was seen", "what to do"):
        table.add_column(name, overflow="fold")
    by_source = {finding.source: finding for finding in findings}
    for source in (source for sources in SOURCES.values() for source in sources):
        finding = by_source[source]
        works = "works" if finding.works else "does not"
        table.add_row(source.title, works, finding.saw, "" if finding.works else source.remedy)
    return table


def _examine_group(group: str) -> list[Finding]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop(ENVIRONMENT_VARIABLE, None)
    if group == "counting":
        environment[ENVIRONMENT_VARIABLE] = "1"
    pending = {source.probe: source for source in SOURCES[group]}
    findings = []
    try:
        # Each process ends by itself, or is ended after so long.
        run = subprocess.run(
            [sys.executable, "-m", "profiling.probes", *pending],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
        output, errors = run.stdout, run.stderr.strip()
        failure = f"its process ended with status {run.returncode}: {errors[-300:]}"
    except subprocess.TimeoutExpired as expired:
        output = (expired.stdout or b"").decode()
        failure = f"it did not end within {_PATIENCE_S} seconds"
    for line in output.splitlines():
        if line.startswith('{"probe"'):
            result = json.loads(line)
            source = pending.pop(result["probe"])
            findings.append(Finding(source, result["works"], result["saw"]))
    # What a process that died did not come to.
    return findings + [Finding(source, False, failure) for source in pending.values()]


if __name__ == "__main__":
    sys.exit(main())
