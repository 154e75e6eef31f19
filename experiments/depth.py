"""Measures memory against depth, for algorithms and ways to execute, and draws it.

``python -m experiments.depth`` writes ``depth.csv`` and ``depth.png`` under ``--out``. Each cell is
a row as soon as it is measured, and a rerun goes on where the last one ended. A cell beyond the
limits of time or memory is a row that says so, as is one that shallower ones show to be.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, screen
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.run import guarded
from mem_dfa.experiments.store import depth_rows, results
from mem_dfa.experiments.store.depth_rows import Key, Row
from rich.table import Table

from mem_dfa import units

MODEL = "depth_net"
DEPTHS = [1, 10, 100, 1000]
REVERSIBLE_MODEL = "depth_revnet"  # what revnet trains
ALGORITHMS = ("bp", "fa", "dfa", "mem_dfa", "checkpoint", "revnet", "microbatch")
# Stored matrices would grow with depth, whatever the step takes.
REGENERATED = ("dfa", "mem_dfa")
MEMORY_LIMIT, TIME_LIMIT_S = "8 GiB", 1200


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse(argv)
    limits = Limits(options.time_limit, units.parse_bytes(options.memory_limit))
    results.check_writable(options.out)
    rows = depth_rows.read(options.out)
    cells = _cells(options)
    waiting = [cell for cell in cells if not depth_rows.is_settled(rows.get(_key(cell)), limits)]
    if waiting:
        rows = _measure(waiting, rows, options.out, limits)
    screen.show(_table(cells, rows))
    print(f"one row per cell: {Path(options.out, depth_rows.FILE_NAME)}")
    _draw([row for row in rows.values() if row["batch_size"] == cells[0].batch_size], options.out)
    expected = ("ok", *depth_rows.LIMITED)
    return 0 if all(rows[_key(cell)]["status"] in expected for cell in cells) else 1


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog="python -m experiments.depth",
        description=f"Memory of {MODEL} (revnet: {REVERSIBLE_MODEL}) against its depth. dfa and "
        "mem_dfa draw their feedback matrices again when they need them.",
        allow_abbrev=False,
    )
    parser.set_defaults(
        model=MODEL, device="cpu", dataset="synthetic", data_dir=None, learning_rate=None,
        optimizer="sgd", seed=0, steps=1, classes=None,
        **dict.fromkeys(catalogue.ALGORITHM_OPTIONS),
    )  # fmt: skip
    arguments.add_algorithms(parser, catalogue.PEERS, ALGORITHMS)
    depths = ",".join(map(str, DEPTHS))
    parser.add_argument(
        "--layers", type=arguments.layers, default=DEPTHS, help=f"20, 1-20 or (default:) {depths}"
    )
    executions = list(catalogue.EXECUTIONS)
    parser.add_argument(
        "--execution",
        type=arguments.some_of("a way to execute", executions),
        default=executions,
        metavar="NAME,...",
        help=f"default: {','.join(executions)}",
    )
    parser.add_argument("--batch-size", type=arguments.count, metavar="N", help="default: 32")
    parser.add_argument(
        "--memory-limit",
        type=arguments.size,
        default=MEMORY_LIMIT,
        metavar="SIZE",
        help=f'of a cell\'s tensors (default: "{MEMORY_LIMIT}")',
    )
    arguments.add_count(
        parser, "--time-limit", TIME_LIMIT_S, "of a cell, with tracing and compiling", "SECONDS"
    )
    arguments.add_out_option(parser)
    return parser


def _cells(options: argparse.Namespace) -> list[Cell]:
    """The cells asked for, shallow ones first, which are cheap."""
    asked = vars(options)
    cells = [
        cell
        for execution in options.execution
        for cell in arguments.cells(argparse.Namespace(**{**asked, "execution": execution}))
    ]
    return sorted(map(_adapted, cells), key=lambda cell: cell.layers)  # a stable sort


def missing(words: Sequence[str], folder: str) -> list[Cell]:
    """Those cells of a command line of which the table under a folder says nothing.

    Raises:
        results.ResultsError: what is there is no table of depths.
        arguments.UsageError: the line makes no sense.
    """
    rows = depth_rows.read(folder)
    return [cell for cell in _cells(_parser().parse(words)) if _key(cell) not in rows]


def _adapted(cell: Cell) -> Cell:
    if cell.algorithm == "revnet":
        return dataclasses.replace(cell, model=REVERSIBLE_MODEL)
    if cell.algorithm in REGENERATED:
        return dataclasses.replace(cell, feedback="regenerated")
    return cell


def _key(cell: Cell) -> Key:
    return cell.algorithm, cell.execution, cell.layers, cell.batch_size


def _measure(
    cells: Sequence[Cell], rows: Mapping[Key, Row], out: str, limits: Limits
) -> Mapping[Key, Row]:
    """Measures the cells one after another; returns the rows with theirs among them."""
    with screen.progress("checking", quiet=True) as report:
        # The deepest nets take long to build, and would tell no more.
        shallow = [cell for cell in cells if cell.layers == cells[0].layers]
        device = processes.check(shallow, report)[0].device
    for number, waiting in enumerate(cells, start=1):
        cell = dataclasses.replace(waiting, device=device)
        row = {"memory_limit_bytes": limits.memory_bytes, "time_limit_s": limits.time_s}
        reason = depth_rows.reason_to_skip(rows, _key(cell), limits)
        if reason:
            row |= {**vars(cell), "status": "skipped", "error": reason}
        else:
            start = time.perf_counter()
            with screen.progress(f"{number}/{len(cells)} {cell.title}") as report:
                measured, _ = processes.measure(cell, report, repeats=1, limits=limits)
            row |= {**measured, "cell_time_s": round(time.perf_counter() - start, 1)}
        if row["status"] != "ok":
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")
        kept = {name: row.get(name) for name in depth_rows.COLUMNS}
        kept["tensorflow"] = kept["tensorflow"] or version("tensorflow")
        rows = depth_rows.keep(out, kept)
    return rows


def _table(cells: Sequence[Cell], rows: Mapping[Key, Row]) -> Table:
    """One line for each algorithm and execution, one column for each depth."""
    depths = list(dict.fromkeys(cell.layers for cell in cells))
    table = Table(title=f"Requested step bytes of {MODEL} (MiB), against its number of layers")
    for head in ("algorithm", "execution", *map(str, depths)):
        table.add_column(head, justify="right" if head.isdigit() else "left", no_wrap=True)
    batch_size = cells[0].batch_size
    for algorithm, execution in dict.fromkeys((cell.algorithm, cell.execution) for cell in cells):
        found = [rows[algorithm, execution, depth, batch_size] for depth in depths]
        table.add_row(algorithm, execution, *map(_shown, found))
    return table


def _shown(row: Row) -> str:
    if row["status"] != "ok":
        return row["status"]
    return screen.mebibytes(row["step_requested_bytes"])


def _draw(rows: Sequence[Row], out: str) -> None:
    from mem_dfa.experiments.pictures import depth_plot

    path = Path(out, "depth.png")
    if depth_plot.draw(rows, path):
        print(f"figure: {path}")


if __name__ == "__main__":
    sys.exit(main())
