"""The gate: measures the cells of memory-gate.toml and says what takes more memory or less.

``mem-dfa gate`` compares them, up and down, with the baseline of this TensorFlow version and device
beside that file, and checks the relations that hold on any machine.

Exit status: 0 when nothing moved and every relation holds; 1 when something moved, a relation does
not hold, a cell could not be measured, or there is no baseline to compare with, so that a new
TensorFlow does not pass unseen; 2 for arguments or files that make no sense.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.checks import gate, gate_file
from mem_dfa.experiments.checks.claims import PASS, table
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import INTERRUPTED, command
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling import baseline
from mem_dfa.profiling.files import write_whole


def parser() -> arguments.Parser:
    """Of the command line."""
    description = "Says what memory the cells of memory-gate.toml take more or less than before."
    found = arguments.Parser("gate", description)
    found.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path(gate_file.NAME),
        metavar="FILE",
        help=f"what is measured (default: {gate_file.NAME}); paths in it are from its folder",
    )
    group = found.group("the gate", "nets/memory-gate.toml --update-baseline")
    writes = "write what moved into the baseline beside the file, to be reviewed and committed"
    group.add_argument("--update-baseline", action="store_true", help=writes)
    arguments.add_field(group, "device")
    return found


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = parser().parse_args(argv)
    wanted = gate_file.read(options.file)
    os.chdir(options.file.parent)
    known = baseline.read_all(wanted.baselines)
    if options.update_baseline:  # what cannot be written is found out before anything is measured
        write_whole(wanted.baselines / ".writable", b"").unlink()
    try:
        weights = gate.measure(wanted, options.device)
    except KeyboardInterrupt:
        screen.note("interrupted: nothing was compared or written")
        return INTERRUPTED
    if not weights:
        return 1
    found = gate.relations(wanted, weights)
    if found:
        screen.show(table(found, "Requested bytes, as they are on any machine"))
    holds = len(weights) == len(wanted.cells) and all(one["verdict"] == PASS for one in found)
    if options.update_baseline and not holds:
        print("the baseline is left as it is: a cell failed or a relation does not hold, see above")
        return 1
    return 0 if _compared(wanted, known, weights, options) and holds else 1


def _compared(
    wanted: gate_file.GateFile,
    known: Mapping[Path, Mapping[str, Any]],
    weights: Mapping[str, Any],
    options: argparse.Namespace,
) -> bool:
    """Says what moved; whether nothing did, or it was written."""
    versions = {name: next(iter(weights.values()))[name] for name in baseline.VERSIONS}
    sizes = {n: {q: one[q] for q in gate.QUANTITIES} for n, one in weights.items()}
    path, updates = baseline.path_of(wanted.baselines, versions), options.update_baseline
    named = [] if options.file == Path(gate_file.NAME) else [str(options.file)]
    update = shlex.join(["mem-dfa", "gate", *named, "--update-baseline"])
    before = known.get(path, {**versions, "cells": {}})
    if path not in known and not updates:
        there = f" (there is {', '.join(one.name for one in known)})" if known else ""
        print(
            f"{path} does not exist{there}: nothing to compare with, only the relations were "
            f"checked; make it with {update}, and commit it"
        )
        return False
    if before["keras"] != versions["keras"]:
        print(f"{path} was measured with Keras {before['keras']}, this is {versions['keras']}")
    pairs = baseline.pairs(before["cells"], sizes, wanted.tolerances)
    found = [pair for pair in pairs if pair.has_moved]
    if path in known:
        _show(found)
    if updates:
        new = [pair for pair in pairs if pair.after is not None]
        written = sum(pair.updated != pair.before for pair in new)
        print(f"{written} of {len(new)} written: {baseline.write(path, versions, new)}")
        return True
    if found:
        print(f"{len(found)} moved; if that is meant, run {update}, and commit {path}")
    else:
        print(f"{len(weights)} cells: nothing moved by more than its tolerance ({path})")
    return not found


def _show(pairs: Sequence[baseline.Pair]) -> None:
    from mem_dfa.profiling.render import moved  # pandas, which --help does without

    for pair in pairs:
        print(moved.text(pair))


if __name__ == "__main__":
    sys.exit(main())
