"""What moved from a baseline, in words and with the layers that moved it most."""

from __future__ import annotations

import io

from mem_dfa.profiling.baseline import Pair
from mem_dfa.profiling.render import terminal
from rich.console import Console

from mem_dfa.units import show_bytes

_SHOWN_ROWS = 10
_WIDTH = 80


def text(pair: Pair) -> str:
    """A sentence and, where there is a baseline, a table of layers; 80 columns wide."""
    before, after = pair.sums
    what = f"{pair.name}: {pair.quantity} bytes"
    if before is None or after is None:
        return f"{what}: {'not in the baseline' if before is None else 'no longer measured'}"
    percent = 100 * (after - before) / max(before, 1)
    change = f"({percent:+.1f} %, tolerance {pair.tolerance_percent:g} %)"
    differences = pair.differences()
    shown = min(_SHOWN_ROWS, int((differences["difference_bytes"] != 0).sum()))
    total = f"requested {pair.quantity}"
    table = terminal.differences_table("", ("baseline", "now"), differences, shown, total)
    written = io.StringIO()
    Console(file=written, width=_WIDTH, markup=False, emoji=False, highlight=False).print(table)
    said = f"{what} {show_bytes(before)} -> {show_bytes(after)} {change}"
    return f"{said}\n{written.getvalue().rstrip()}"
