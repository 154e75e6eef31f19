"""Compares algorithms with Keras's own step and with what TensorFlow and Keras offer.

``python -m experiments.bench --model conv20`` writes ``tables/bench.csv`` and ``bench.md`` under
``--out``: step times of algorithms that take turns in one process, so that they share what disturbs
a machine, in three of them one after the other, and beside them the step bytes of each, measured in
fresh processes. `bp` is Keras's own step; for the peers see `measure.peers`.
"""

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import command, tell_dataset, with_baseline
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.files import write_markdown
from mem_dfa.experiments.store.schemas import BENCH, TIMES
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

PROCESSES = 3
"""That take turns: where tensors come to lie moves all ratios of a process by some percent."""
ALGORITHMS = ("bp", "mem_dfa", "checkpoint", *catalogue.PEERS)
HEADS: tuple[str, ...] = ("model", "layers", "batch", "execution", "algorithm", "median (ms)")
HEADS += ("min-max (ms)", "time / bp", "middle half", "step (MiB)", "requested (MiB)")
PEERS_NOTE = (
    "bp is Keras's own step. remat_scope is keras.RematScope around each layer that TensorFlow "
    "can trace in it, which Dense, BatchNormalization and Dropout are not. recompute_grad is "
    "tf.recompute_grad over about sqrt(n) segments of a Sequential model. Neither peer restores "
    "what the first run changed: recompute_grad moves BatchNormalization's statistics twice in a "
    "step and draws new dropout masks."
)


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    parser = arguments.Parser(
        "bench",
        "Step times of algorithms that take turns in one process, and step bytes.",
        epilog=PEERS_NOTE,
    )
    arguments.add_cell_options(parser, list(catalogue.PEERS), ALGORITHMS)
    arguments.add_repeats_option(parser.group("measurement", "--repeats 1"))
    arguments.add_out_option(parser.group("output", "--out results"))
    options = parser.parse_args(argv)
    cells = with_baseline(arguments.cells(options))
    tell_dataset(options.dataset, cells[0])
    return compare(cells, options.out, options.repeats)


def compare(cells: Sequence[Cell], out: str, repeats: int) -> int:
    """Times the cells of each depth in turns, keeps and shows the rows, and returns the status."""
    results.check_writable(out)
    table = Table(out, BENCH)
    table.check_writable()
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(cells, report)
    rows: list[Row] = []
    for _, group in itertools.groupby(cells, key=lambda cell: cell.layers):
        rows += _compared(list(group), out, repeats)
    path = table.append(rows)
    lines = [_line(row) for row in rows]
    write_markdown(out, "bench", [HEADS, *lines], PEERS_NOTE)
    title = "One training step: time, its ratio to bp in each turn, and memory"
    screen.show(screen.table(title, HEADS[:5], HEADS[5:], lines))
    print(f"one row per cell: {path}")
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _compared(cells: Sequence[Cell], out: str, repeats: int) -> list[Row]:
    """One row per algorithm; all cells are of one depth and bp is among them."""
    turns = take_turns(cells)
    seconds: Sequence[Sequence[float]] = turns.get("seconds", [[] for _ in cells])
    reference = seconds[[cell.algorithm for cell in cells].index("bp")]
    rows = []
    for cell, times in zip(cells, seconds, strict=True):
        measured = weigh(out, cell, repeats)
        row = {**measured, "rounds": len(times)}
        if turns["status"] != "ok":
            row |= {"status": turns["status"], "error": turns["error"]}
        else:
            # Of the ratios also the middle half: one slow step, bp's or its own, makes an extreme.
            ratios = np.quantile(np.divide(times, reference), (0.5, 0, 1, 0.25, 0.75))
            values = [*np.quantile(times, (0.5, 0, 1)).tolist(), *ratios.tolist()]
            row |= dict(zip(TIMES, values, strict=True))
        if row["status"] != "ok":
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")
        rows.append(row)
    return rows


def weigh(out: str, cell: Cell, repeats: int) -> Row:
    """Measures a cell in so many processes, and keeps the row."""
    with screen.progress(f"bytes of {cell.title}") as report:
        row, _ = processes.measure(cell, report, repeats)
    results.append(out, [row])
    return row


def take_turns(cells: Sequence[Cell]) -> dict[str, Any]:
    """All turns' ``seconds``, a list for each cell, or what the first process that failed says."""
    found = []
    names = ", ".join(cell.algorithm for cell in cells)
    for number in range(1, PROCESSES + 1):
        with screen.progress(f"{names} taking turns, process {number} of {PROCESSES}") as report:
            result = worker.call("bench", cells, report)
        if result["status"] != "ok":
            return result
        found.append(result["seconds"])
    return {**result, "seconds": np.concatenate(found, axis=1).tolist()}


def _line(row: Row) -> list[str]:
    names = ("model", "layers", "batch_size", "execution", "algorithm")
    times = [row["status"], "-", "-", "-"]
    if row["rounds"]:
        median, least, most = (f"{1000 * row[name]:.1f}" for name in TIMES[:3])
        ratio, *_, first, third = (f"{row[name]:.3f}" for name in TIMES[3:])
        times = [median, f"{least}-{most}", ratio, f"{first}-{third}"]
    return [
        *screen.words_of(row, names),
        *times,
        *(screen.mebibytes(row[name]) for name in ("step_bytes", "step_requested_bytes")),
    ]


if __name__ == "__main__":
    sys.exit(main())
