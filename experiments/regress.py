"""The gate: measures a fixed set of cells and says what memory they take more or less than before.

``python -m experiments.regress`` compares them, up and down, with the baseline of this TensorFlow
version and device in ``baselines/``, and checks relations that hold on any machine.

Exit status: 0 when nothing moved and every relation holds; 1 when something moved, a relation does
not hold, a cell could not be measured, or there is no baseline to compare with, so that a new
TensorFlow does not pass unseen; 2 for arguments or files that make no sense.
"""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from typing import Any

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import baseline, findings, gate_cells, relations
from mem_dfa.experiments.checks.baseline import Content, Weights
from mem_dfa.experiments.cli import arguments, screen
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import engines, processes, worker
from mem_dfa.experiments.run import INTERRUPTED, guarded

PROCESSES = min(2, os.cpu_count() or 1)  # most of a cell's time is one thread's
# Of cells, a process each: to start one takes as long as to measure a cell, and few enough follow
# one another that what an earlier one left behind is nothing to them.
GROUPS = 4
# A process that hangs fails; each takes a minute at most. More threads let more operations take
# their memory at once: two, as where the baselines are from, however many cores there are.
LIMITS = worker.Limits(time_s=600, threads=2)
SHOWN_BLOCKS = 10
UPDATE = "python -m experiments.regress --update-baseline"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse(argv)
    baselines = baseline.read_all()
    if options.update_baseline:
        baseline.check_writable()
    try:
        measured = _measure(options.device)
    except KeyboardInterrupt:
        screen.note("interrupted: nothing was compared or written")
        return INTERRUPTED
    if not measured:
        return 1
    weights = {title: gate_cells.weights_of(title, r) for title, r in measured.items()}
    found = relations.findings(weights)
    screen.show(findings.table(found, "Requested step bytes, as they are on any machine"))
    versions = {name: next(iter(measured.values()))[name] for name in baseline.VERSIONS}
    before = baselines.get(baseline.path_of(versions))
    whole = len(weights) == len(gate_cells.CELLS)
    holds = whole and all(finding["verdict"] == findings.PASS for finding in found)
    if options.update_baseline:
        return _update(before, versions, weights) if whole and holds else _refuse()
    return 0 if _compare(before, versions, weights) and holds else 1


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog=called("regress"),
        description="Says what memory the cells of the gate take more or less than before.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--update-baseline",
        action="store_true",
        help=f"write what moved to {baseline.FOLDER}/, to be reviewed and committed",
    )
    devices = catalogue.DEVICES
    parser.add_argument(
        "--device",
        type=arguments.one_of("a device", devices),
        default="auto",
        help=f"{', '.join(devices)} (default: auto)",
    )
    return parser


def _measure(device: str) -> dict[str, dict[str, Any]]:
    """The result of each cell that could be measured, by its title, in the order of the cells."""
    with screen.progress("checking", quiet=True) as report:
        probe = dataclasses.replace(gate_cells.FLAT[0], device=device)
        device = processes.check([probe], report)[0].device
    cells = [dataclasses.replace(cell, device=device) for cell in gate_cells.CELLS]
    results = {}
    with screen.progress(f"measuring {len(cells)} cells") as report:
        for number, (cell, result) in enumerate(_weighed(cells), start=1):
            report(f"{number} of {len(cells)}", number / len(cells))
            results[cell.title] = result
            sizes = (
                screen.mebibytes(sum(result.get(q, {}).values())) for q in ("step", "resident")
            )
            good = result["status"] == "ok"
            said = "{} MiB a step, {} resident".format(*sizes) if good else _failure(result)
            screen.note(f"{number}/{len(cells)} {cell.title}: {said}")
    return {c.title: results[c.title] for c in cells if results[c.title]["status"] == "ok"}


def _failure(result: dict[str, Any]) -> str:
    return f"{result['status']}: {result['error']}"


def _weighed(cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell and its result, as soon as it is there: many in a process.

    Of a process that fails each cell is measured again in one of its own, so that one which cannot
    be measured takes no other with it.
    """
    with engines.opened(None, PROCESSES) as engine:  # ends what goes on when this is interrupted

        def submit(group: Sequence[Cell]) -> tuple[Future, Sequence[Cell]]:
            return engine.submit(worker.call, "weigh", group, processes.silent, LIMITS), group

        waiting = dict(submit(cells[number::GROUPS]) for number in range(GROUPS))
        while waiting:
            future = next(as_completed(waiting))
            group, result = waiting.pop(future), future.result()
            if result["status"] == "ok":
                for cell in group:
                    yield cell, {"status": "ok", **result["weights"][cell.title]}
            elif len(group) == 1:
                yield group[0], result
            else:
                waiting |= dict(submit([cell]) for cell in group)


def _compare(before: Content | None, versions: dict[str, str], weights: Weights) -> bool:
    """Says what moved; whether nothing did."""
    path = baseline.path_of(versions)
    if before is None:
        print(
            f"{path} does not exist: nothing to compare with, only the relations were checked; "
            f"make it with {UPDATE}, and commit it"
        )
        return False
    if before["keras"] != versions["keras"]:
        print(f"{path} was measured with Keras {before['keras']}, this is {versions['keras']}")
    moved = baseline.moves(before["cells"], weights, gate_cells.tolerance_percent)
    for move in moved:
        _show(move)
    if moved:
        print(f"{len(moved)} moved; if that is meant, run {UPDATE}, and commit {path}")
    else:
        print(f"{len(weights)} cells: nothing moved by more than its tolerance ({path})")
    return not moved


def _update(before: Content | None, versions: dict[str, str], weights: Weights) -> int:
    """Writes the baseline and says what moved."""
    cells = before["cells"] if before else {}
    moved = baseline.moves(cells, weights, gate_cells.tolerance_percent)
    for move in moved if before else []:
        _show(move)
    if before and before["keras"] != versions["keras"]:
        print(f"Keras {before['keras']} -> {versions['keras']}: what did not move keeps its bytes")
    new = baseline.updated(cells, weights, moved)
    places = [(title, quantity) for title in new for quantity in baseline.QUANTITIES]
    written = sum(new[t][q] != cells.get(t, {}).get(q) for t, q in places)
    path = baseline.write(versions, new)
    print(f"{written} of {len(places)} written: {path}")
    return 0


def _show(move: baseline.Move) -> None:
    """What moved, and the blocks that moved it most."""
    from mem_dfa.profiling.render import terminal

    before, after = move.sums
    what = f"{move.title}: {move.quantity} bytes"
    if before is None or after is None:
        print(f"{what}: {'not in the baseline' if before is None else 'no longer measured'}")
        return
    percent = 100 * (after - before) / max(before, 1)
    print(
        f"{what} {before:,} -> {after:,} ({percent:+.1f} %, tolerance {move.tolerance_percent:g} %)"
    )
    differences = move.differences()
    shown = min(SHOWN_BLOCKS, int((differences["difference_bytes"] != 0).sum()))
    names = ("baseline", "now")
    total = f"requested {move.quantity} bytes"
    # No title: it would be broken to the table's width.
    terminal.console().print(terminal.differences_table("", names, differences, shown, total))


def _refuse() -> int:
    print("the baseline is left as it is: a cell failed or a relation does not hold, see above")
    return 1


if __name__ == "__main__":
    sys.exit(main())
