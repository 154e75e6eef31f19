"""Measures again what this project promises, and says which promises hold.

``python -m experiments.claims`` writes ``claims_PART.csv`` and ``claims_PART.md`` under ``--out``
for each part, and its cells to ``measurements.csv``. Exit status: 0 when all hold, 1 when one does
not.

Step bytes are judged as the median of fresh processes, growth with depth by requested bytes, which
the allocator's rounding does not touch, and time by algorithms that take turns in one process.
"""

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mem_dfa.experiments import bench
from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.checks import constant_claims, exact_claims, timeline_claims
from mem_dfa.experiments.checks.findings import (
    PASS,
    Finding,
    heads,
    make_cell,
    make_finding,
    mebibytes,
    shown,
    table,
)
from mem_dfa.experiments.cli import arguments, screen
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.run import guarded, tell_dataset
from mem_dfa.experiments.store import results

GROWTH_LIMIT_PERCENT = 3.0
GROWTH_DEPTHS = (10, 20, 40)
TIME_RATIO_LIMIT = 1.10
ORIGINAL_TIME_RATIO = 1.12


@dataclass(frozen=True)
class StepBytesClaim:
    """One cell's step bytes and their limit, beside the original code's on one machine."""

    algorithm: str
    model: str
    layers: int | None
    limit_mib: float
    original_mib: float | None


# Within 5 % of what Keras itself takes for bp and fa, and of what dfa needs beside it.
STEP_BYTES_CLAIMS = (
    StepBytesClaim("bp", "conv20", 20, 1.05 * 170, 169.3),
    StepBytesClaim("fa", "conv20", 20, 1.05 * 170, 168.6),
    StepBytesClaim("dfa", "conv20", 20, 1.05 * 177, 176.1),
    StepBytesClaim("mem_dfa", "conv20", 10, 33, 32.0),
    StepBytesClaim("mem_dfa", "conv20", 20, 28, 32.0),
    StepBytesClaim("mem_dfa", "conv20", 40, 33, 32.0),
    StepBytesClaim("mem_dfa", "vgg16", None, 80, 66.0),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    parser = arguments.Parser(
        prog=called("claims"),
        description="Measures again what this project promises.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--part",
        type=arguments.one_of("a part", list(PARTS)),
        help=f"{', '.join(PARTS)} (default: all)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where tensorflow_datasets keeps data")
    arguments.add_out_option(parser)
    options = parser.parse(argv)
    results.check_writable(options.out)
    probe = make_cell("bp", "conv20", 1, data_dir=options.data_dir)
    with screen.progress("checking", quiet=True) as report:
        device = processes.check([probe], report)[0].device
    tell_dataset("auto", probe)
    bench_kit = Kit(options.out, options.data_dir, device)
    holds = True
    for part in [options.part] if options.part else list(PARTS):
        findings = PARTS[part](bench_kit)
        lines = [heads(findings), *map(shown, findings)]
        results.write_table(options.out, f"claims_{part}", findings, lines)
        screen.show(table(findings, "Claims"))
        holds = holds and all(finding["verdict"] == PASS for finding in findings)
    return 0 if holds else 1


@dataclass(frozen=True)
class Kit:
    """What a part of the claims is measured with."""

    out: str
    data_dir: str | None
    device: str
    _measured: dict[tuple[Cell, int], processes.Row] = field(default_factory=dict)

    def cell(self, algorithm: str, model: str, layers: int | None, **changes: Any) -> Cell:
        """A cell with every default of the command line but `changes`."""
        cell = make_cell(algorithm, model, layers, data_dir=self.data_dir)
        return dataclasses.replace(cell, device=self.device, **changes)

    def measure(self, cell: Cell, repeats: int = REPEATS) -> processes.Row:
        """The cell's row, of so many processes, which is kept in the results; measured once."""
        if (cell, repeats) in self._measured:
            return self._measured[cell, repeats]
        with screen.progress(cell.title) as report:
            row, _ = processes.measure(cell, report, repeats)
        results.append(self.out, [row])
        self._measured[cell, repeats] = row
        return row

    def distances(self, cells: Sequence[Cell]) -> list[float] | None:
        """How far each cell's gradient is from the first's in float64; None if it failed."""
        note = f"{cells[0].model}: gradients in float32 and float64"
        result = _result("distances", cells, note)
        return result and result["distances"]

    def wide_update_bytes(self, cell: Cell) -> int | None:
        """Step bytes of one wide dense layer under the cell's optimizer; None if it failed."""
        result = _result("wide_update", [cell], f"one wide dense layer, {cell.optimizer}")
        return result and result["step_bytes"]

    def time_ratios(self, cells: Sequence[Cell]) -> list[float] | None:
        """Each cell's step time over the first's, the medians of turns; None if it failed."""
        result = bench.take_turns(cells)
        if result["status"] != "ok":
            screen.note(f"{result['status']}: {result['error']}")
            return None
        reference = result["seconds"][0]
        return [statistics.median(bench.ratios(t, reference)) for t in result["seconds"]]


def _result(task: str, cells: Sequence[Cell], note: str) -> dict[str, Any] | None:
    """What a task in a process of its own found; None, and a note, if it failed."""
    with screen.progress(note) as report:
        result = worker.call(task, cells, report)
    if result["status"] == "ok":
        return result
    screen.note(f"{result['status']}: {result['error']}")
    return None


def feedback_findings(kit: Kit) -> list[Finding]:
    """BP, FA, DFA and MEM-DFA on the 20-layer conv net and VGG-16."""
    rows = [kit.measure(kit.cell(c.algorithm, c.model, c.layers)) for c in STEP_BYTES_CLAIMS]
    whole = kit.cell("mem_dfa", "conv20", 20, slices=1)  # the original has no slices
    ratios = kit.time_ratios([kit.cell("bp", "conv20", 20), whole])
    title = "conv20, 20 layers: step time of mem_dfa in whole batches / bp, taking turns"
    time = make_finding(title, "ratio", TIME_RATIO_LIMIT, ratios and ratios[1], ORIGINAL_TIME_RATIO)
    return [*map(step_bytes_finding, STEP_BYTES_CLAIMS, rows), growth_finding(rows), time]


PARTS: dict[str, Callable[[Kit], list[Finding]]] = {
    "feedback": feedback_findings,
    "timelines": timeline_claims.findings,
    "exact": exact_claims.findings,
    "constant": constant_claims.findings,
}


def step_bytes_finding(claim: StepBytesClaim, row: processes.Row) -> Finding:
    """Whether a cell stays within its limit; one that failed does not."""
    depth = "" if claim.layers is None else f", {claim.layers} layers"
    measured = mebibytes(row["step_bytes"])
    return make_finding(
        f"{claim.model} {claim.algorithm}{depth}: step bytes, batch {row['batch_size']}",
        "MiB",
        claim.limit_mib,
        measured,
        claim.original_mib,
    )


def growth_finding(rows: Sequence[processes.Row]) -> Finding:
    """How far apart the requested bytes of mem_dfa are over depths, in percent of the least."""
    requested = [
        row["step_requested_bytes"]
        for row in rows
        if (row["algorithm"], row["model"]) == ("mem_dfa", "conv20")
    ]
    known = len(requested) == len(GROWTH_DEPTHS) and all(requested)
    return make_finding(
        f"conv20 mem_dfa, {', '.join(map(str, GROWTH_DEPTHS))} layers: requested bytes differ by",
        "%",
        GROWTH_LIMIT_PERCENT,
        100 * (max(requested) - min(requested)) / min(requested) if known else None,
        None,
    )


if __name__ == "__main__":
    sys.exit(main())
