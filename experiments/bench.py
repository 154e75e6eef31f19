"""Compares algorithms with Keras's own step and with what TensorFlow and Keras offer.

``python -m experiments.bench --model conv20`` writes ``tables/bench.csv`` and ``bench.md`` under
``--out``: step times of algorithms that take turns in one process, in three of them one after the
other, and beside them the step bytes of each, measured in fresh processes. `bp` is Keras's own
step; `remat_scope` is keras.RematScope and `recompute_grad` tf.recompute_grad, see
`measure.peers`.

Turns share what disturbs a machine, so their ratio is steadier than that of two separate runs.
"""

import itertools
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.run import guarded, tell_dataset, with_baseline
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.bench_rows import BENCH, TIMES
from mem_dfa.experiments.store.files import write_markdown
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen
from rich.table import Table as ShownTable

PROCESSES = 3
"""That take turns: where tensors come to lie moves all ratios of a process by some percent."""
ALGORITHMS = ("bp", "mem_dfa", "checkpoint", *catalogue.PEERS)
HEADS = ("model", "layers", "batch", "execution", "algorithm", "median (ms)", "min-max (ms)")
HEADS += ("time / bp", "middle half", "step (MiB)", "requested (MiB)")
PEERS_NOTE = (
    "bp is Keras's own step. remat_scope is keras.RematScope around each layer that TensorFlow "
    "can trace in it, which Dense, BatchNormalization and Dropout are not. recompute_grad is "
    "tf.recompute_grad over about sqrt(n) segments of a Sequential model. Neither peer restores "
    "what the first run changed: recompute_grad moves BatchNormalization's statistics twice in a "
    "step and draws new dropout masks."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse(argv)
    cells = with_baseline(arguments.cells(options))
    tell_dataset(options.dataset, cells[0])
    return compare(cells, options.out, options.repeats)


def compare(cells: Sequence[Cell], out: str, repeats: int) -> int:
    """Times the cells of each depth in turns, keeps and shows the rows, and returns the status.

    Raises:
        ResultsError: the tables cannot be written.
    """
    results.check_writable(out)
    table = Table(out, BENCH)
    table.check_writable()
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(cells, report)
    rows: list[Row] = []
    for _, group in itertools.groupby(cells, key=lambda cell: cell.layers):
        rows += _compared(list(group), out, repeats)
    path = table.append(rows)
    shown = [_shown(row) for row in rows]
    write_markdown(out, "bench", [HEADS, *shown], PEERS_NOTE)
    screen.show(_table(shown))
    print(f"one row per cell: {path}")
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog=called("bench"),
        description="Step times of algorithms that take turns in one process, and step bytes.",
        epilog=PEERS_NOTE,
        allow_abbrev=False,
    )
    arguments.add_cell_options(parser, catalogue.PEERS, ALGORITHMS)
    arguments.add_count(
        parser, "--repeats", 1, "processes that measure the bytes of each algorithm"
    )
    arguments.add_out_option(parser)
    return parser


def _compared(cells: Sequence[Cell], out: str, repeats: int) -> list[Row]:
    """One row per algorithm; all cells are of one depth and bp is among them."""
    turns = take_turns(cells)
    seconds: Sequence[Sequence[float]] = turns.get("seconds", [[] for _ in cells])
    reference = seconds[[cell.algorithm for cell in cells].index("bp")]
    rows = []
    for cell, times in zip(cells, seconds, strict=True):
        with screen.progress(f"bytes of {cell.title}") as report:
            measured, _ = processes.measure(cell, report, repeats)
        results.append(out, [measured])
        row = {name: measured.get(name) for name in BENCH.columns} | _times(times, reference)
        faults = [result for result in (turns, measured) if result["status"] != "ok"]
        row |= {"status": "ok", "error": None}
        if faults:
            row |= {name: faults[0][name] for name in ("status", "error")}
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")
        rows.append(row)
    return rows


def take_turns(cells: Sequence[Cell]) -> dict[str, Any]:
    """Seconds of each cell's steps, one list a cell, turn by turn, of all processes.

    Returns:
        Those as ``seconds``, or what the first process that failed says.
    """
    seconds: list[list[float]] = [[] for _ in cells]
    names = ", ".join(cell.algorithm for cell in cells)
    for number in range(1, PROCESSES + 1):
        with screen.progress(f"{names} taking turns, process {number} of {PROCESSES}") as report:
            result = worker.call("bench", cells, report)
        if result["status"] != "ok":
            return result
        for known, own in zip(seconds, result["seconds"], strict=True):
            known += own
    return {**result, "seconds": seconds}


def _times(times: Sequence[float], reference: Sequence[float]) -> Row:
    """Medians and spread over the turns; nothing where they failed.

    Of the ratios also the middle half, since one slow step of bp's or of its own makes an extreme.
    """
    if not times:
        return {**dict.fromkeys(TIMES), "rounds": 0}
    own = ratios(times, reference)
    picks = (statistics.median, min, max)
    values = [float(pick(series)) for series in (times, own) for pick in picks]
    values += np.quantile(own, (0.25, 0.75)).tolist()
    return {**dict(zip(TIMES, values, strict=True)), "rounds": len(times)}


def ratios(times: Sequence[float], reference: Sequence[float]) -> list[float]:
    """The ratio of two algorithms' step times in each turn."""
    return [time / other for time, other in zip(times, reference, strict=True)]


def _shown(row: Row) -> list[str]:
    names = ("model", "layers", "batch_size", "execution", "algorithm")
    identity = ["all" if row[name] is None else str(row[name]) for name in names]
    numbers = [screen.mebibytes(row[name]) for name in ("step_bytes", "step_requested_bytes")]
    if row["median_s"] is None:
        return [*identity, row["status"], "-", "-", "-", *numbers]
    times = [
        f"{row['median_s'] * 1000:.1f}",
        f"{row['min_s'] * 1000:.1f}-{row['max_s'] * 1000:.1f}",
        f"{row['ratio_to_bp']:.3f}",
        f"{row['ratio_first_quartile']:.3f}-{row['ratio_third_quartile']:.3f}",
    ]
    return [*identity, *times, *numbers]


def _table(shown: Sequence[Sequence[str]]) -> ShownTable:
    table = ShownTable(title="One training step: time, its ratio to bp in each turn, and memory")
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="left" if number < 5 else "right", no_wrap=True)
    for line in shown:
        table.add_row(*line)
    return table


if __name__ == "__main__":
    sys.exit(main())
