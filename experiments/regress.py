"""The gate: measures a fixed set of cells and says what memory they take more or less than before.

``python -m experiments.regress`` compares them, up and down, with the baseline of this TensorFlow
version and device in ``results/baselines/``, and checks relations that hold on any machine.

Exit status: 0 when nothing moved and every relation holds; 1 when something moved, a relation does
not hold, a cell could not be measured, or there is no baseline to compare with, so that a new
TensorFlow does not pass unseen; 2 for arguments or files that make no sense.
"""

import sys
from collections.abc import Sequence

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.checks import baseline, finding, gate, gate_cells
from mem_dfa.experiments.checks.baseline import Content, Weights
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import INTERRUPTED, command
from mem_dfa.experiments.terminal import screen

SHOWN_BLOCKS = 10
UPDATE = "python -m experiments.regress --update-baseline"


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    baselines = baseline.read_all()
    if options.update_baseline:
        baseline.check_writable()
    try:
        measured = gate.measure(options.device)
    except KeyboardInterrupt:
        screen.note("interrupted: nothing was compared or written")
        return INTERRUPTED
    if not measured:
        return 1
    weights = {title: gate_cells.weights_of(title, r) for title, r in measured.items()}
    found = gate_cells.relations(weights)
    screen.show(finding.table(found, "Requested step bytes, as they are on any machine"))
    versions = {name: next(iter(measured.values()))[name] for name in baseline.VERSIONS}
    before = baselines.get(baseline.path_of(versions))
    whole = len(weights) == len(gate_cells.CELLS)
    holds = whole and finding.hold(found)
    if not options.update_baseline:
        return 0 if _compare(before, versions, weights) and holds else 1
    if not holds:
        print("the baseline is left as it is: a cell failed or a relation does not hold, see above")
        return 1
    _update(before, versions, weights)
    return 0


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        "regress", "Says what memory the cells of the gate take more or less than before."
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


def _update(before: Content | None, versions: dict[str, str], weights: Weights) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
