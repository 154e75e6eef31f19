"""The gate: measures a fixed set of cells and says what memory they take more or less than before.

``python -m experiments.regress`` compares them, up and down, with the baseline of this TensorFlow
version and device in ``results/baselines/``, and checks relations that hold on any machine.

Exit status: 0 when nothing moved and every relation holds; 1 when something moved, a relation does
not hold, a cell could not be measured, or there is no baseline to compare with, so that a new
TensorFlow does not pass unseen; 2 for arguments or files that make no sense.
"""

import sys
from collections.abc import Sequence

from mem_dfa.experiments.checks import baseline, gate
from mem_dfa.experiments.checks.claims import PASS, table
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import INTERRUPTED, command
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling.files import write_whole

from mem_dfa.units import show_bytes

SHOWN_BLOCKS = 10
UPDATE = "python -m experiments.regress --update-baseline"


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    description = "Says what memory the cells of the gate take more or less than before."
    parser = arguments.Parser("regress", description)
    writes = f"write what moved to {baseline.FOLDER}/, to be reviewed and committed"
    group = parser.group("the gate", "--device cpu --update-baseline")
    group.add_argument("--update-baseline", action="store_true", help=writes)
    arguments.add_field(group, "device")
    options = parser.parse_args(argv)
    updates = options.update_baseline
    baselines = baseline.read_all()
    if updates:  # what cannot be written is found out before anything is measured
        write_whole(baseline.FOLDER / ".writable", b"").unlink()
    try:
        weights = gate.measure(options.device)
    except KeyboardInterrupt:
        screen.note("interrupted: nothing was compared or written")
        return INTERRUPTED
    if not weights:
        return 1
    found = gate.relations(weights)
    screen.show(table(found, "Requested step bytes, as they are on any machine"))
    verdicts = {finding["verdict"] for finding in found}
    holds = len(weights) == len(gate.CELLS) and verdicts == {PASS}
    versions = {name: next(iter(weights.values()))[name] for name in baseline.VERSIONS}
    path = baseline.path_of(versions)
    before = baselines.get(path, {**versions, "cells": {}})
    if updates and not holds:
        print("the baseline is left as it is: a cell failed or a relation does not hold, see above")
        return 1
    if path not in baselines and not updates:
        print(
            f"{path} does not exist: nothing to compare with, only the relations were checked; "
            f"make it with {UPDATE}, and commit it"
        )
        return 1
    if before["keras"] != versions["keras"]:
        print(f"{path} was measured with Keras {before['keras']}, this is {versions['keras']}")
    pairs = baseline.pairs(before["cells"], weights)
    moved = [pair for pair in pairs if pair.has_moved]
    for pair in moved if path in baselines else []:
        _show(pair)
    if updates:
        new = [pair for pair in pairs if pair.after is not None]
        written = sum(pair.updated != pair.before for pair in new)
        print(f"{written} of {len(new)} written: {baseline.write(versions, new)}")
        return 0
    if moved:
        print(f"{len(moved)} moved; if that is meant, run {UPDATE}, and commit {path}")
    else:
        print(f"{len(weights)} cells: nothing moved by more than its tolerance ({path})")
    return 0 if holds and not moved else 1


def _show(pair: baseline.Pair) -> None:
    """What moved, and the blocks that moved it most."""
    from mem_dfa.profiling.render import summary, terminal

    before, after = pair.sums
    what = f"{pair.title}: {pair.quantity} bytes"
    if before is None or after is None:
        print(f"{what}: {'not in the baseline' if before is None else 'no longer measured'}")
        return
    percent = 100 * (after - before) / max(before, 1)
    change = f"({percent:+.1f} %, tolerance {pair.tolerance_percent:g} %)"
    print(f"{what} {show_bytes(before)} -> {show_bytes(after)} {change}")
    differences = pair.differences()
    shown = min(SHOWN_BLOCKS, int((differences["difference_bytes"] != 0).sum()))
    total = f"requested {pair.quantity} bytes"
    # No title: it would be broken to the table's width.
    shown_table = terminal.differences_table("", ("baseline", "now"), differences, shown, total)
    summary.console().print(shown_table)


if __name__ == "__main__":
    sys.exit(main())
