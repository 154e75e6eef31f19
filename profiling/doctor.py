"""Tries every source of numbers on this machine and says which work, why not, and what to do.

`python -m profiling.doctor`

Exit status: 0 when the CPU's peaks are exact and its allocation events work, 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mem_dfa.profiling import probes
from mem_dfa.profiling.allocator import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from rich.table import Table

_ASK = f"set {ENVIRONMENT_VARIABLE}=1 before TensorFlow starts, as profiling.enable() does"
_REPORT = "compare with the versions in setup.cfg: install TensorFlow 2.21 and Keras 3.15"
_INSTALL = "pip install 'mem-dfa[profiling]'"


@dataclass(frozen=True, slots=True)
class Source:
    """A source of numbers.

    Attributes:
        probe: tries it in a process of its own; see `probes`.
        title: in the table.
        remedy: what to do where it does not work.
        required: whether the exit status depends on it.
    """

    probe: Callable[[], str]
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
        Source(probes.cpu_statistics, f"CPU statistics, {ENVIRONMENT_VARIABLE}=1", _REPORT, True),
        Source(probes.events, "allocation events (XPlane)", _REPORT, True),
        Source(probes.graph_paths, "operation paths in graph mode", _REPORT),
        Source(probes.eager_spans, "layers in eager mode", _REPORT),
        Source(probes.xla, "XLA", "nothing, unless you train with jit_compile=True"),
        Source(probes.gpus, "GPUs", "nothing on a CPU; else a driver, and mem-dfa[gpu]"),
    ),
    "plain": (Source(probes.small_tensors, "CPU statistics without that variable", _ASK),),
    "others": (  # the quick ones first
        Source(probes.bokeh, "pages without a browser (bokeh)", _INSTALL),
        Source(probes.matplotlib, "pictures without a display (matplotlib)", _INSTALL),
        Source(probes.pytest_plugin, "pytest plugin", "pip install 'mem-dfa[test]'"),
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
    total = sum(map(len, SOURCES.values()))
    found: list[Finding] = []
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
        task = progress.add_task("trying every source of numbers")
        if not errors.is_terminal:
            _note("trying every source of numbers, which takes some seconds")
        for finding in examine():
            found.append(finding)
            works = "works" if finding.works else "does not work"
            text = f"{len(found)} of {total} tried: {finding.source.title}: {works}"
            progress.update(task, description=text)
            if not errors.is_terminal:
                _note(text)
    from mem_dfa.profiling.render.summary import console

    console().print(table_of(found))
    return 0 if all(finding.works for finding in found if finding.source.required) else 1


def _note(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever reads it may have gone; the table is still wanted
        print(text, file=sys.stderr, flush=True)


def examine() -> Iterator[Finding]:
    """Try all sources, each group in a process of its own, and yield what is found as it comes."""
    found: SimpleQueue[Finding | None] = SimpleQueue()

    def try_group(group: str) -> None:
        try:
            for finding in _examine_group(group):
                found.put(finding)
        finally:
            found.put(None)

    with ThreadPoolExecutor() as pool:
        groups = [pool.submit(try_group, group) for group in SOURCES]
        for _ in groups:
            yield from iter(found.get, None)
        for group in groups:
            group.result()


def table_of(findings: Sequence[Finding]) -> Table:
    """The findings in the order of `SOURCES`."""
    from rich.table import Table

    table = Table(title="Sources of memory numbers on this machine", title_justify="left")
    for name in ("source", "works", "what was seen, and what to do"):
        table.add_column(name, overflow="fold")
    by_source = {finding.source: finding for finding in findings}
    for source in (source for sources in SOURCES.values() for source in sources):
        finding = by_source[source]
        works = "works" if finding.works else "does not"
        saw = finding.saw if finding.works else f"{finding.saw}\nto do: {source.remedy}"
        table.add_row(source.title, works, saw)
    return table


def _examine_group(group: str) -> Iterator[Finding]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop(ENVIRONMENT_VARIABLE, None)
    if group == "counting":
        environment[ENVIRONMENT_VARIABLE] = "1"
    pending = {source.probe.__name__: source for source in SOURCES[group]}
    command = [sys.executable, "-m", "mem_dfa.profiling.probes", *pending]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        # Each process ends by itself, or is ended after so long.
        patience = threading.Timer(_PATIENCE_S, end)
        patience.start()
        try:
            for line in process.stdout or ():
                if line.startswith('{"probe"'):
                    result = json.loads(line)
                    source = pending.pop(result["probe"])
                    yield Finding(source, result["works"], result["saw"])
            process.wait()
        finally:
            patience.cancel()
        errors.seek(0)
        failure = f"its process ended with status {process.returncode}: "
        failure += errors.read().strip()[-300:]
    if is_late.is_set():
        failure = f"it did not end within {_PATIENCE_S} seconds"
    # What a process that died did not come to.
    yield from (Finding(source, False, failure) for source in pending.values())


if __name__ == "__main__":
    sys.exit(main())
