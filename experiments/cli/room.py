"""What cells may take of a machine: how many at once, memory, time."""

import argparse
import re
from collections.abc import Callable
from typing import Any

from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.cli import arguments, values
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.engine.worker import Limits

from mem_dfa import units
from mem_dfa.machine_memory import memory_available_bytes

BESIDE_BYTES = 2**30
"""What a measuring process takes beside its tensors; 0.7 to 0.8 GiB were seen."""
LEAST_LIMIT_BYTES = 16 * units.MEBIBYTE
"""The least limit of a process that a cell is measured in: the meter's proof takes 10 MiB."""
MEMORY_SHARE = 0.8  # of what is available when a sweep begins
TIME_LIMIT_S = 3600


def add_options(group: argparse._ArgumentGroup) -> None:
    """Adds the options that say what all cells may take, and where."""
    share, beside = f"{100 * MEMORY_SHARE:.0f} %%", units.show_bytes(BESIDE_BYTES)
    help_of = {
        "workers": "cells measured at once (default: 1, because they disturb each other's times)",
        "total_memory": f"of all cells at once (default: {share} of what this process may still "
        "take)",
        "memory_limit": f"of each process's tensors, beside which it takes {beside} more (default: "
        "an equal part of --total-memory)",
        "scheduler": "measure through dask.distributed, on other machines: tcp://... or tls://... "
        f"(default: {engines.LOCAL})",
    }
    metavars = ("N", "SIZE", "SIZE", "ADDRESS")
    kinds: dict[str, Callable[[str], Any]]
    kinds = {"workers": values.count, "memory_limit": _memory_limit, "scheduler": _scheduler}
    for (name, text), metavar in zip(help_of.items(), metavars, strict=True):
        kind = kinds.get(name, values.size)
        group.add_argument(arguments.flag(name), type=kind, metavar=metavar, help=text)
    add_time_limit_option(group)
    arguments.add_renamed(group, "--memory", "--total-memory")


def add_time_limit_option(group: argparse._ArgumentGroup) -> None:
    """Adds how long a process may take."""
    group.add_argument(
        "--time-limit",
        type=values.count,
        metavar="SECONDS",
        help=f"of each process, tracing and compiling included (default: {TIME_LIMIT_S}; with "
        "--epochs, that for each epoch)",
    )


def _memory_limit(text: str) -> str:
    said = values.size(text)
    if units.parse_bytes(said) < LEAST_LIMIT_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is too little; take {LEAST_LIMIT_BYTES // units.MEBIBYTE} MiB or more, "
            "because in each process the meter allocates 10 MiB to prove that it counts"
        )
    return said


def _scheduler(text: str) -> str:
    if text != engines.LOCAL and not re.fullmatch(r"(tcp|tls|wss?)://\S+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no scheduler; take {engines.LOCAL}, or an address such as tcp://host:8786"
        )
    return text


def alone(epochs: int) -> Limits:
    """What each process of a cell may take that is measured by itself, for so many epochs."""
    memory = int(MEMORY_SHARE * memory_available_bytes())
    return Limits(TIME_LIMIT_S * max(1, epochs), max(memory - BESIDE_BYTES, LEAST_LIMIT_BYTES))


def of(options: argparse.Namespace) -> tuple[int, Limits]:
    """How many cells may be measured at once, and what each of their processes may take.

    Raises:
        UsageError: not even one fits, or another machine's room is asked for.
    """
    time_s = options.time_limit or TIME_LIMIT_S * max(1, options.epochs)
    asked = options.memory_limit and units.parse_bytes(options.memory_limit)
    if options.scheduler not in (None, engines.LOCAL):
        for name in ("workers", "total_memory"):
            if getattr(options, name) is not None:
                raise UsageError(
                    f"{arguments.flag(name)} {getattr(options, name)} is for this machine, and "
                    f"--scheduler {options.scheduler} has its own workers; start as many there as "
                    "should work, or give --memory-limit"
                )
        return 1, Limits(time_s, asked)
    memory = int(MEMORY_SHARE * memory_available_bytes())
    if options.total_memory:
        memory = units.parse_bytes(options.total_memory)
    workers = options.workers or 1
    limit = asked or memory // workers - BESIDE_BYTES
    fitting = memory // (limit + BESIDE_BYTES) if limit >= LEAST_LIMIT_BYTES else 0
    if not fitting:
        needed = units.show_bytes(max(limit, LEAST_LIMIT_BYTES) + BESIDE_BYTES)
        raise UsageError(
            f"{units.show_bytes(memory)} of memory has no room for a cell: with {workers} at once "
            f"each takes at least {needed}; give more --total-memory, or lower "
            "--memory-limit or --workers"
        )
    return min(workers, fitting), Limits(time_s, limit)
