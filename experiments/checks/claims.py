"""What this project promises: the rows of claims.csv, in parts, and what becomes of them.

A row says which quantity (see `quantities`) of which cells (see `cells_of`) is at most the limit,
and how many processes measure a cell where that is not as usual. References are what others took:
the original code of random feedback, MemCNN for RevNet, `tf.recompute_grad` for checkpointing.
"""

import contextlib
import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.catalogue import dataset
from mem_dfa.experiments.cells.cell import DEFAULTS, Cell
from mem_dfa.experiments.checks.quantities import QUANTITIES, Claim, NotMeasuredError
from rich.table import Table

Finding = dict[str, Any]
PASS, FAIL = "holds", "does not hold"
with Path(__file__).with_name("claims.csv").open(newline="", encoding="utf-8") as _file:
    _ROWS = list(csv.DictReader(_file))
PARTS = tuple(dict.fromkeys(row["part"] for row in _ROWS))


def claims(part: str, *known: Any, **given: Any) -> list[Claim]:
    """The claims of a part, with `Claim.row` and, where it is needed, `Claim.result`.

    What is ``given`` is said of all cells, see `cells_of`.
    """
    return [
        Claim(
            row["claim"],
            row["quantity"],
            cells_of(row["cells"], **given),
            *(_value(row[name]) for name in ("limit", "reference", "repeats")),
            *known,
        )
        for row in _ROWS
        if row["part"] == part
    ]


def cells_of(text: str, **given: Any) -> list[Cell]:
    """The cells of a text such as "bp,mem_dfa conv20 10,20 execution=xla; bp vgg16 - seed=0,1".

    It names algorithms, models, numbers of layers ("-" for all), and what else the cells have, its
    options among that; what it does not is ``given``, or the command line's default, on the CPU.
    """
    cells = []
    for group in filter(None, text.split("; ")):
        algorithms, models, depths, *words = group.split()
        said = dict(word.split("=") for word in words)
        names = (models, depths, algorithms, *said.values())
        for model, depth, algorithm, *values in itertools.product(*(n.split(",") for n in names)):
            own = {"device": "cpu", **given, **dict(zip(said, map(_value, values), strict=True))}
            own["options"] = {name: own.pop(name) for name in [*own] if name not in DEFAULTS}
            data = {"dataset": dataset("auto", model, own.get("data_dir"))}
            cells.append(Cell(algorithm, model, _value(depth), **(data | own)))
    return cells


def _value(text: str) -> Any:
    """A whole number stays one in tables."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None if text in ("", "-") else text


def judge(claim: Claim) -> Finding:
    """A claim beside what was measured; what could not be measured does not hold."""
    limit = _measured(claim, claim.limit) if isinstance(claim.limit, str) else claim.limit
    measured = _measured(claim, claim.quantity)
    holds = limit is not None and measured is not None and measured <= limit
    return {
        "claim": claim.title,
        "unit": QUANTITIES[claim.quantity.split()[0]][0],
        "limit": limit,
        "measured": measured,
        "reference": claim.reference,
        "verdict": PASS if holds else FAIL,
    }


def _measured(claim: Claim, quantity: str) -> float | None:
    name, *numbers = quantity.split()
    try:
        return QUANTITIES[name][1](claim, *map(float, numbers))
    except NotMeasuredError:
        return None


def lines(findings: Sequence[Finding]) -> list[list[str]]:
    """The lines of a table, its heads first."""

    def text(value: str | float | None) -> str:
        return "-" if value is None else value if isinstance(value, str) else f"{value:.2f}"

    return [list(findings[0]), *([*map(text, finding.values())] for finding in findings)]


def table(findings: Sequence[Finding], title: str) -> Table:
    """Findings for a terminal."""
    heads, *rows = lines(findings)
    found = Table(*heads, title=title)
    for row in rows:
        found.add_row(*row)
    return found
