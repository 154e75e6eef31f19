"""Measures again what this project promises, and says which promises hold.

``python -m experiments.claims`` writes ``claims.csv`` and ``claims.md`` under ``--out``, and its
cells to ``measurements.csv``. Exit status: 0 when all hold, 1 when one does not.

Step bytes are judged as the median of fresh processes, growth with depth by requested bytes, which
the allocator's rounding does not touch, and time by algorithms that take turns in one process.
"""

import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from experiments import arguments, bench, display, results, sweep, timeline_claims, worker
from experiments.plan import Cell
from experiments.run import guarded, tell_dataset

GROWTH_LIMIT_PERCENT = 3.0
GROWTH_DEPTHS = (10, 20, 40)
TIME_RATIO_LIMIT = 1.10
ORIGINAL_TIME_RATIO = 1.12
PASS, FAIL = "holds", "does not hold"


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
Finding = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    parser = arguments.Parser(
        prog="python -m experiments.claims",
        description="Measures again what this project promises.",
        allow_abbrev=False,
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where tensorflow_datasets keeps data")
    arguments.add_out_option(parser)
    options = parser.parse(argv)
    results.check_writable(options.out)
    cells = [
        _cell(claim.algorithm, claim.model, claim.layers, options.data_dir)
        for claim in STEP_BYTES_CLAIMS
    ]
    with display.progress("checking", quiet=True) as report:
        device = sweep.check(cells[:1], report)[0].device  # the cells differ in nothing else
    cells = [dataclasses.replace(cell, device=device) for cell in cells]
    tell_dataset("auto", cells[0])
    rows = [_measure(cell, options.out) for cell in cells]
    findings = [*map(step_bytes_finding, STEP_BYTES_CLAIMS, rows), growth_finding(rows)]
    findings.append(_time_finding(options.data_dir))

    def cpu_cell(algorithm: str, model: str, layers: int | None) -> Cell:
        cell = _cell(algorithm, model, layers, options.data_dir)
        return dataclasses.replace(cell, device=device)

    findings += timeline_claims.findings(cpu_cell, _finding)
    _write(findings, Path(options.out))
    display.show(_table(findings))
    return 0 if all(finding["verdict"] == PASS for finding in findings) else 1


def _cell(algorithm: str, model: str, layers: int | None, data_dir: str | None) -> Cell:
    """A cell with every default of the command line."""
    parser = arguments.Parser()
    arguments.add_cell_options(parser)
    words = ["--algo", algorithm, "--model", model]
    words += [] if layers is None else ["--layers", str(layers)]
    words += [] if data_dir is None else ["--data-dir", data_dir]
    return arguments.cells(parser.parse([*words, "--device", "cpu"]))[0]


def _measure(cell: Cell, out: str) -> sweep.Row:
    with display.progress(cell.title) as report:
        row, _ = sweep.measure(cell, report)
    results.append(out, [row])
    return row


def step_bytes_finding(claim: StepBytesClaim, row: sweep.Row) -> Finding:
    """Whether a cell stays within its limit; one that failed does not."""
    depth = "" if claim.layers is None else f", {claim.layers} layers"
    measured = None if row["status"] != "ok" else row["step_bytes"] / 2**20
    return _finding(
        f"{claim.model} {claim.algorithm}{depth}: step bytes, batch {row['batch_size']}",
        "MiB",
        claim.limit_mib,
        measured,
        claim.original_mib,
    )


def growth_finding(rows: Sequence[sweep.Row]) -> Finding:
    """How far apart the requested bytes of mem_dfa are over depths, in percent of the least."""
    requested = [
        row["step_requested_bytes"]
        for row in rows
        if (row["algorithm"], row["model"]) == ("mem_dfa", "conv20")
    ]
    known = len(requested) == len(GROWTH_DEPTHS) and all(requested)
    return _finding(
        f"conv20 mem_dfa, {', '.join(map(str, GROWTH_DEPTHS))} layers: requested bytes differ by",
        "%",
        GROWTH_LIMIT_PERCENT,
        100 * (max(requested) - min(requested)) / min(requested) if known else None,
        None,
    )


def _time_finding(data_dir: str | None) -> Finding:
    cells = [_cell(algorithm, "conv20", 20, data_dir) for algorithm in ("bp", "mem_dfa")]
    with display.progress("bp and mem_dfa taking turns") as report:
        result = worker.call("bench", cells, report)
    measured = None
    if result["status"] == "ok":
        reference, times = result["seconds"]
        measured = statistics.median(bench.ratios(times, reference))
    title = "conv20, 20 layers: step time of mem_dfa / bp, taking turns"
    return _finding(title, "ratio", TIME_RATIO_LIMIT, measured, ORIGINAL_TIME_RATIO)


def _finding(
    title: str,
    unit: str,
    limit: float,
    measured: float | None,
    original: float | None = None,
) -> Finding:
    holds = measured is not None and measured <= limit
    return {
        "claim": title,
        "unit": unit,
        "limit": limit,
        "measured": measured,
        "original_code": original,
        "verdict": PASS if holds else FAIL,
    }


def _shown(finding: Finding) -> list[str]:
    numbers = (finding[name] for name in ("limit", "measured", "original_code"))
    texts = ["-" if number is None else f"{number:.2f}" for number in numbers]
    return [finding["claim"], finding["unit"], *texts, finding["verdict"]]


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(*(name.replace("_", " ") for name in findings[0]), title="Claims")
    for finding in findings:
        table.add_row(*_shown(finding))
    return table


def _write(findings: Sequence[Finding], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    csv = pd.DataFrame(findings).to_csv(index=False, lineterminator="\n")
    results.replace(folder / "claims.csv", csv)
    heads = [name.replace("_", " ") for name in findings[0]]
    lines = [heads, ["---"] * len(heads), *map(_shown, findings)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    results.replace(folder / "claims.md", text)


if __name__ == "__main__":
    sys.exit(main())
