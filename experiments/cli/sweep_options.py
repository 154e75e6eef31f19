"""The options of a sweep: lists of what a cell has one of, and what all cells may take."""

import argparse
import itertools
import re

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.engine.worker import Limits

from mem_dfa import units
from mem_dfa.machine_memory import memory_available_bytes

BESIDE_BYTES = 2**30
"""What a measuring process takes beside its tensors; 0.7 to 0.8 GiB were seen."""
MEMORY_SHARE = 0.8  # of what is available when a sweep begins
TIME_LIMIT_S = 3600
LISTS = ("model", "layers", "batch_size", "execution", "seed")
"""What a sweep takes several of, and combines."""


def parser() -> arguments.Parser:
    """All options of `experiments.sweep`."""
    parser = arguments.Parser(
        prog=called("sweep"),
        description="Measures every combination of algorithms, models, depths, batch sizes, "
        "executions and seeds, each cell in processes of its own; goes on where it stopped.",
        allow_abbrev=False,
    )
    arguments.add_cell_options(parser, lists=LISTS)
    arguments.add_length_options(parser)
    arguments.add_count(parser, "--repeats", REPEATS, "processes that measure a cell's bytes")
    arguments.add_out_option(parser)
    parser.add_argument(
        "--retry", action="store_true", help="measure again what failed, such as by lack of memory"
    )
    _add_machine_options(parser)
    return parser


def _add_machine_options(parser: arguments.Parser) -> None:
    parser.add_argument(
        "--workers",
        type=arguments.count,
        metavar="N",
        help="cells measured at once (default: 1, because they disturb each other's times)",
    )
    parser.add_argument(
        "--memory",
        type=arguments.size,
        metavar="SIZE",
        help="of all cells measured at once (default: "
        f"{MEMORY_SHARE:.0%} of what this process may still take)".replace("%", "%%"),
    )
    parser.add_argument(
        "--memory-limit",
        type=arguments.size,
        metavar="SIZE",
        help="of a cell's tensors; its process takes up to "
        f"{units.show_bytes(BESIDE_BYTES)} more (default: an equal part of --memory)",
    )
    parser.add_argument(
        "--time-limit",
        type=arguments.count,
        metavar="SECONDS",
        help="of each of a cell's processes "
        f"(default: {TIME_LIMIT_S}; with --epochs, that for each epoch)",
    )
    parser.add_argument(
        "--scheduler",
        type=scheduler,
        metavar="ADDRESS",
        help="measure through dask.distributed, on other machines: tcp://... or tls://... "
        f"(default: {engines.LOCAL})",
    )


def scheduler(text: str) -> str:
    """Where dask's scheduler is."""
    if text != engines.LOCAL and not re.fullmatch(r"(tcp|tls|wss?)://\S+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no scheduler; take {engines.LOCAL}, or an address such as tcp://host:8786"
        )
    return text


def cells(options: argparse.Namespace) -> list[Cell]:
    """Every combination, all algorithms of one beside each other."""
    found: list[Cell] = []
    for values in itertools.product(*(getattr(options, name) for name in LISTS)):
        one = dict(zip(LISTS, values, strict=True))
        one["layers"] = [one["layers"]]
        found += arguments.cells(argparse.Namespace(**{**vars(options), **one}))
    return found


def usual_limits(epochs: int) -> Limits:
    """Of each process where nothing is said of them and one cell is measured at a time."""
    memory = int(MEMORY_SHARE * memory_available_bytes())
    return Limits(TIME_LIMIT_S * max(1, epochs), max(memory - BESIDE_BYTES, 2**20))


def room(options: argparse.Namespace) -> tuple[int, Limits]:
    """How many cells may be measured at once, and what each of their processes may take.

    Raises:
        UsageError: not even one fits.
    """
    time_s = options.time_limit or TIME_LIMIT_S * max(1, options.epochs)
    if options.scheduler not in (None, engines.LOCAL):
        return _room_elsewhere(options, time_s)
    memory = int(MEMORY_SHARE * memory_available_bytes())
    if options.memory:
        memory = units.parse_bytes(options.memory)
    workers = options.workers or 1
    limit = memory // workers - BESIDE_BYTES
    if options.memory_limit:
        limit = units.parse_bytes(options.memory_limit)
    fitting = memory // (limit + BESIDE_BYTES) if limit > 0 else 0
    if not fitting:
        needed = units.show_bytes(max(limit, 0) + BESIDE_BYTES)
        raise arguments.UsageError(
            f"{units.show_bytes(memory)} of memory has no room for a cell: with {workers} at once "
            f"each takes more than {needed}; give more --memory, or lower --memory-limit or "
            "--workers"
        )
    return min(workers, fitting), Limits(time_s, limit)


def _room_elsewhere(options: argparse.Namespace, time_s: int) -> tuple[int, Limits]:
    for name in ("workers", "memory"):
        if getattr(options, name) is not None:
            raise arguments.UsageError(
                f"--{name} {getattr(options, name)} is for this machine, and --scheduler "
                f"{options.scheduler} has its own workers; start as many there as should work, or "
                "give --memory-limit"
            )
    limit = units.parse_bytes(options.memory_limit) if options.memory_limit else None
    return 1, Limits(time_s, limit)
