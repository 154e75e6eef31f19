"""Trains recurrent nets by full, truncated and predicted errors, and weighs them.

``python -m experiments.recurrent --task delay`` appends a row for each variant and seed to
``tables/recurrent.csv`` under ``--out`` and writes the means to ``recurrent_delay.md``: bits a
step, what an update asks for, and its time. `unroll` trains nothing: it compares checkpoints in
time with full backpropagation through a thousand steps. ``figures/recurrent.png`` has all tasks
that were run.
"""

import argparse
import datetime
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments.cli import arguments, values
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.store.files import write_markdown
from mem_dfa.experiments.store.schemas import RECURRENT
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

from mem_dfa import profiling

TASKS = ("delay", "text", "unroll")
HEADS: tuple[str, ...] = ("task", "variant", "chunk", "runs", "last bits", "best bits")
HEADS += ("requested (MiB)", "update (ms)", "time / bptt")


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    table = Table(options.out, RECURRENT)
    table.check_writable()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    profiling.enable()
    from mem_dfa.experiments.measure import unrolled
    from mem_dfa.experiments.pictures import canvas, recurrent_plots

    rows: list[Row] = []
    if options.task == "unroll":
        with screen.progress("checkpoints in time and full backpropagation taking turns"):
            rows = unrolled.unroll()
        path = table.append([_finished(row) for row in rows])
    else:
        for variant in unrolled.VARIANTS:
            for seed in range(options.runs):
                with screen.progress(f"{options.task}: {variant}, seed {seed}"):
                    rows.append(unrolled.train(options.task, variant, seed))
                path = table.append([_finished(rows[-1])])
    lines = [_line(of) for of in _by_variant(rows)]
    write_markdown(options.out, f"recurrent_{options.task}", [HEADS, *lines])
    screen.show(screen.table("Recurrent nets: means of the runs", HEADS[:2], HEADS[2:], lines))
    print(f"one row per run: {path}")
    drawn = recurrent_plots.against_memory(options.out)
    stem = Path(options.out, "figures", "recurrent")
    assert drawn.figure  # of the rows above
    canvas.save(drawn.figure, stem, ["png"])
    print(f"figure: {stem}.png")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.Parser("recurrent", "Recurrent nets: bits a step, memory and time.")
    group = parser.group("task", "--task delay --runs 3")
    group.add_argument(
        "--task",
        type=values.one_of("a task", TASKS),
        required=True,
        metavar="NAME",
        help="delay (tell the bit eight steps ago), text (the next character), or unroll "
        "(checkpoints in time)",
    )
    group.add_argument(
        "--runs",
        type=values.count,
        default=3,
        metavar="N",
        help="of each variant, from seed 0 on (default: 3)",
    )
    arguments.add_out_option(parser.group("output", "--out results"))
    return parser


def _finished(row: Row) -> Row:
    import keras
    import tensorflow as tf

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**row, "tensorflow": tf.__version__, "keras": keras.__version__, "timestamp": now}


def _by_variant(rows: Sequence[Row]) -> list[list[Row]]:
    names = dict.fromkeys(row["variant"] for row in rows)
    return [[row for row in rows if row["variant"] == name] for name in names]


def _line(rows: Sequence[Row]) -> list[str]:
    def mean(name: str, digits: int = 3, times: float = 1.0) -> str:
        found = [row[name] for row in rows if row.get(name) is not None]
        return f"{times * statistics.mean(found):.{digits}f}" if found else "-"

    first = rows[0]
    return [
        *(str(first[name]) for name in ("task", "variant", "chunk")),
        str(len(rows)),
        mean("last_bits"),
        mean("best_bits"),
        mean("step_requested_bytes", 2, 2.0**-20),
        mean("update_time_s", 2, 1000),
        mean("ratio_to_bp", 2),
    ]


if __name__ == "__main__":
    sys.exit(main())
