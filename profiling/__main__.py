"""Records a script's step; shows and compares recorded timelines.

`python -m profiling run train.py`
`python -m profiling show step.timeline.json.gz --html step.html`
`python -m profiling diff before.timeline.json.gz after.timeline.json.gz`
`python -m profiling doctor`

A FILE is one that `Timeline.save` wrote, or an XPlane file (`*.xplane.pb`) of any TensorFlow
profiler recording. Exit status: 0, 2 where a file cannot be read or written or arguments make no
sense, 130 after Ctrl-C; of `run` see `profiling.run`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.run import Foretell, add_parser

from mem_dfa.units import show_bytes

if TYPE_CHECKING:
    from mem_dfa.profiling.facade import Timeline

_RECORDINGS = (".timeline.json.gz", ".xplane.pb")


def main(argv: Sequence[str] | None = None, foretell: Foretell = lambda step: ()) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: arguments; the program's own unless given.
        foretell: what `run` prints besides, of the step it recorded.
    """
    try:
        options = _parser().parse_args(argv)
        options.foretell = foretell
        return options.command(options)
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # what shells report for Ctrl-C


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage text that would bury it."""

    def error(self, message: str) -> Never:
        raise TraceError(f"{message} (see --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m profiling" if __name__ == "__main__" else "mem-dfa profile",
        description="Records a script's step; shows and compares recorded timelines.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_parser(commands)
    kinds = "a saved timeline (*.timeline.json.gz) or an XPlane file (*.xplane.pb)"

    show = commands.add_parser(
        "show",
        help="print timelines, draw them, export them",
        description="Prints what was alive at the peak of timelines; draws and exports them.",
        allow_abbrev=False,
    )
    group = show.add_argument_group("timelines", "example: step.timeline.json.gz")
    group.add_argument("files", nargs="+", metavar="FILE", help=f"{kinds}; several are compared")
    group = show.add_argument_group(
        "what is written besides", "example: step.timeline.json.gz --html step.html --png step.png"
    )
    group.add_argument("--html", metavar="OUT", help="write a page for any browser")
    group.add_argument("--png", metavar="OUT", help="write a picture: .png, .pdf or .svg")
    group.add_argument("--csv", metavar="OUT", help="write the events of one FILE as CSV")
    group.add_argument(
        "--perfetto", metavar="OUT", help="write one FILE as a trace for ui.perfetto.dev"
    )
    show.set_defaults(command=_show)

    diff = commands.add_parser(
        "diff",
        help="print what changed at the peak, by layer and category",
        description="Prints what differs at the peaks of two timelines, by layer and category.",
        allow_abbrev=False,
    )
    group = diff.add_argument_group(
        "timelines", "example: bp.timeline.json.gz mem_dfa.timeline.json.gz"
    )
    group.add_argument("files", nargs=2, metavar="FILE", help=kinds)
    diff.set_defaults(command=_diff)

    doctor = commands.add_parser("doctor", help="try what can be measured here", allow_abbrev=False)
    doctor.set_defaults(command=_doctor)
    return parser


def _show(options: argparse.Namespace) -> int:
    for option in ("csv", "perfetto"):
        if getattr(options, option) and len(options.files) > 1:
            raise TraceError(
                f"--{option} writes one timeline and received {len(options.files)}; name one FILE."
            )
    _check_outs(options)
    runs = _open(options.files)
    written = []
    for option, write in _WRITERS.items():
        out = getattr(options, option)
        if out is not None:
            write(runs, Path(out))
            written.append(out)
    from mem_dfa.profiling.render import summary, terminal

    console = summary.console()
    for run in runs:
        for table in terminal.timeline_tables(run):
            console.print(table)
    for out in written:
        print(f"written: {out}")
    return 0


def _check_outs(options: argparse.Namespace) -> None:
    """A recording takes time to make again: none is written over, nor one result by the next."""
    taken = {os.path.realpath(file): f"read from {file}" for file in options.files}
    for option in _WRITERS:
        out = getattr(options, option)
        if out is None:
            continue
        if out.endswith(_RECORDINGS):
            raise TraceError(
                f"--{option} {out} names a recording, which it would write over; after --{option} "
                "name the file to write, and the FILEs elsewhere."
            )
        path = os.path.realpath(out)
        if path in taken:
            raise TraceError(f"--{option} {out} would write over what is {taken[path]}.")
        taken[path] = f"written by --{option}"


def _diff(options: argparse.Namespace) -> int:
    runs = _open(options.files)
    from mem_dfa.profiling.render import summary, terminal

    table = terminal.difference_table(runs)
    if table is None:
        peak = show_bytes(runs[0].peak_bytes)
        print(f"Nothing changed: the same bytes in every layer, {peak} at the peak.")
    else:
        summary.console().print(table)
    for name, run in zip(options.files, runs, strict=True):
        if run.fault:
            print(f"{name} is not exact: {run.fault}", file=sys.stderr)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from mem_dfa.profiling import doctor

    return doctor.main([])


def _open(files: Sequence[str]) -> list[Timeline]:
    from mem_dfa.profiling.facade import open_timeline
    from mem_dfa.profiling.training.quiet_import import quiet_tensorflow

    with quiet_tensorflow():  # which reads XPlane files
        return [open_timeline(file) for file in files]


def _png(runs: Sequence[Timeline], out: Path) -> None:
    from mem_dfa.profiling.render import plot

    plot.save(plot.plot(runs), out)


_WRITERS: dict[str, Callable[[Sequence[Timeline], Path], object]] = {
    "html": lambda runs, out: runs[0].to_html(out, *runs[1:]),
    "png": _png,
    "csv": lambda runs, out: runs[0].to_csv(out),
    "perfetto": lambda runs, out: runs[0].to_perfetto(out),
}


if __name__ == "__main__":
    sys.exit(main())
