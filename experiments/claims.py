"""Measures again what this project promises, and says which promises hold.

``python -m experiments.claims`` writes ``tables/claims_PART.csv`` and ``.md`` under ``--out`` for
each part, and its cells to ``measurements.csv``. Exit status: 0 when all hold, 1 when one does not.

Step bytes are judged as the median of fresh processes, growth with depth by requested bytes, which
the allocator's rounding does not touch, and time by algorithms that take turns in one process.
Accuracies are those of trainings that are recorded, which ``python -m experiments.reproduce`` does.
"""

import functools
import sys
from collections.abc import Sequence

from mem_dfa.experiments import bench
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.claims import PARTS, PASS, cells_of, claims, judge, lines, table
from mem_dfa.experiments.cli import arguments, values
from mem_dfa.experiments.cli.program import command, tell_dataset
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results, trainings
from mem_dfa.experiments.store.schemas import Row
from mem_dfa.experiments.terminal import screen

TITLES = {"follow": "timeline", "distances": "gradients", "wide_update": "one wide layer"}


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    parser = arguments.Parser(
        "claims",
        "Measures again what this project promises.",
    )
    group = parser.group("claims", "--part exact --out results")
    group.add_argument(
        "--part",
        type=values.one_of("a part", PARTS),
        metavar="NAME",
        help=f"{', '.join(PARTS)} (default: all)",
    )
    arguments.add_data_dir_option(group)
    arguments.add_out_option(group)
    options = parser.parse_args(argv)
    results.check_writable(options.out)
    (probe,) = cells_of("bp conv20 1", data_dir=options.data_dir)
    with screen.progress("checking", quiet=True) as report:
        device = processes.check([probe], report)[0].device
    tell_dataset("auto", probe)
    row = functools.cache(functools.partial(_row, options.out))
    result = functools.cache(_result)
    verdicts = set()
    for part in [options.part] if options.part else PARTS:
        known = claims(part, row, result, data_dir=options.data_dir, device=device)
        findings = [judge(claim) for claim in known]
        results.write_table(options.out, f"claims_{part}", findings, lines(findings))
        screen.show(table(findings, "Claims"))
        verdicts |= {finding["verdict"] for finding in findings}
    return 0 if verdicts == {PASS} else 1


def _row(out: str, cell: Cell, repeats: int) -> Row:
    """What is known of a cell: its bytes, weighed now, or how its training ended."""
    if not cell.epochs:
        return bench.weigh(out, cell, repeats)
    epochs = trainings.read(out, cell)
    if not epochs:
        screen.note(f"not trained: {cell.title} seed {cell.seed}")
    return {"accuracy": epochs[-1]["test_accuracy"]} if epochs else {}


def _result(task: str, cells: tuple[Cell, ...]) -> dict[str, object]:
    if task == "bench":
        result = bench.take_turns(cells)
    else:
        with screen.progress(f"{TITLES[task]} of {cells[0].title}") as report:
            result = worker.call(task, cells, report)
    if result["status"] != "ok":
        screen.note(f"{result['status']}: {result['error']}")
    return result


if __name__ == "__main__":
    sys.exit(main())
