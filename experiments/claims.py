"""Measures again what this project promises, and says which promises hold.

``python -m experiments.claims`` writes ``tables/claims_PART.csv`` and ``.md`` under ``--out``
for each part, and its cells to ``measurements.csv``. Exit status: 0 when all hold, 1 when one does
not.

Step bytes are judged as the median of fresh processes, growth with depth by requested bytes, which
the allocator's rounding does not touch, and time by algorithms that take turns in one process.
"""

import functools
import sys
from collections.abc import Sequence

from mem_dfa.experiments.checks import finding
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.checks.claims_table import PARTS, claims
from mem_dfa.experiments.checks.kit import kit
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import command, tell_dataset
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.store import results
from mem_dfa.experiments.terminal import screen


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    parser = arguments.Parser("claims", "Measures again what this project promises.")
    parser.add_argument(
        "--part",
        type=arguments.one_of("a part", PARTS),
        help=f"{', '.join(PARTS)} (default: all)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where tensorflow_datasets keeps data")
    arguments.add_out_option(parser)
    options = parser.parse_args(argv)
    results.check_writable(options.out)
    probe = make_cell("bp", "conv20", 1, data_dir=options.data_dir)
    with screen.progress("checking", quiet=True) as report:
        device = processes.check([probe], report)[0].device
    tell_dataset("auto", probe)
    known = kit(options.out)
    make = functools.partial(make_cell, data_dir=options.data_dir, device=device)
    all_hold = True
    for part in [options.part] if options.part else PARTS:
        findings = [finding.judge(claim, known) for claim in claims(part, make)]
        results.write_table(options.out, f"claims_{part}", findings, finding.lines(findings))
        screen.show(finding.table(findings, "Claims"))
        all_hold = finding.hold(findings) and all_hold
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
