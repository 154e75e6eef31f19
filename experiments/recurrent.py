"""Trains recurrent nets by full, truncated and predicted errors, and weighs them.

``python -m experiments.recurrent --task delay`` appends a row for each variant and seed to
``tables/recurrent.csv`` under ``--out`` and writes the means to ``recurrent_delay.md``: bits a
step, what an update asks for, and its time. `unroll` trains nothing: it compares checkpoints in
time with full backpropagation through a thousand steps. ``figures/recurrent.png`` has all tasks
that were run. A run that has a row, of the same versions and as many updates, is not done again.
"""

import argparse
import datetime
import itertools
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mem_dfa.experiments.cli import arguments, values
from mem_dfa.experiments.cli.program import command
from mem_dfa.experiments.store.files import write_markdown
from mem_dfa.experiments.store.schemas import RECURRENT
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling.training.quiet_import import quiet_tensorflow

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
    profiling.enable()
    screen.note("starting TensorFlow")
    with quiet_tensorflow():
        import tensorflow  # noqa: F401, because whatever imports it later is to be quiet
    from mem_dfa.experiments.pictures import canvas, recurrent_plots

    rows = _rows(options.task, options.runs, table)
    lines = [_line(of) for of in _by_variant(rows)]
    write_markdown(options.out, f"recurrent_{options.task}", [HEADS, *lines])
    screen.show(screen.table("Recurrent nets: means of the runs", HEADS[:2], HEADS[2:], lines))
    print(f"one row per run: {Path(options.out, RECURRENT.name)}")
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


def _rows(task: str, runs: int, table: Table) -> list[Row]:
    """A row for each run; those that are not known are done, and appended to the table."""
    from mem_dfa.experiments.measure import unrolled

    if task == "unroll":
        asked, updates = [(variant, 0) for variant in unrolled.UNROLLED], unrolled.TURNS
    else:
        asked = list(itertools.product(unrolled.VARIANTS, range(runs)))
        updates = unrolled.TASKS[task]().updates
    known = {run: row for run, row in _known(table, task, updates).items() if run in asked}
    if task == "unroll" and len(known) < len(asked):
        known = {}  # they are compared with each other, by turns
    if known:
        screen.note(
            f"{len(known)} of {len(asked)} runs are known from {table.path}; move it away to do "
            "them again"
        )
    if task == "unroll" and not known:
        title = "checkpoints in time and full backpropagation taking turns"
        with screen.progress(title) as report:
            rows = [_finished(row) for row in unrolled.unroll(report)]
        table.append(rows)
        return rows
    for variant, seed in asked:
        if (variant, seed) not in known:
            with screen.progress(f"{task}: {variant}, seed {seed}") as report:
                row = _finished(unrolled.train(task, variant, seed, report))
            table.append([row])
            known[variant, seed] = row
    return [known[run] for run in asked]


def _known(table: Table, task: str, updates: int) -> dict[tuple[str, int], Row]:
    """The newest row of each variant and seed that these versions trained for so many updates."""
    same = {"task": task, "updates": updates, **_versions()}
    return {
        (row["variant"], row["seed"]): row
        for row in table.read()
        if all(row[name] == value for name, value in same.items())
    }


def _finished(row: Row) -> Row:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**row, **_versions(), "timestamp": now}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tensorflow", "keras")}


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
