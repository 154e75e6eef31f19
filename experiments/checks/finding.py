"""What becomes of claims: each beside what was measured, as a line of a table."""

from collections.abc import Callable, Sequence
from typing import Any

from mem_dfa.experiments.checks import budgets, quantities
from mem_dfa.experiments.checks.claim import Claim, Known, NotMeasuredError
from rich.table import Table

PASS, FAIL = "holds", "does not hold"
Finding = dict[str, Any]
QUANTITIES: dict[str, tuple[str, Callable[..., float]]] = {
    "step_bytes": ("MiB", quantities.step_bytes),
    "feedback_bytes": ("B", quantities.feedback_bytes),
    "first_step_time": ("s", quantities.first_step_time),
    "requested_spread": ("%", quantities.requested_spread),
    "requested_share": ("ratio", quantities.requested_share),
    "requested_a_layer": ("B", quantities.requested_a_layer),
    "held_a_layer": ("B", quantities.held_a_layer),
    "growth": ("-", quantities.growth),
    "step_time": ("ratio", quantities.step_time),
    "gradient_distance": ("ratio", quantities.gradient_distance),
    "wide_update_bytes": ("MiB", quantities.wide_update_bytes),
    "peak_distance": ("bytes", quantities.peak_distance),
    "unattributed": ("%", quantities.unattributed),
    "recording_time": ("ratio", quantities.recording_time),
    "reading_time": ("s", quantities.reading_time),
    "budget": ("MiB", budgets.size),
    "budget_step_bytes": ("MiB", budgets.step_bytes),
    "budget_step_time": ("ratio", budgets.step_time),
}
"""By name: the unit, and the function of what is known, the claim and what the quantity takes."""


def judge(claim: Claim, known: Known) -> Finding:
    """A claim beside what was measured; what could not be measured does not hold."""

    def value(of: str) -> float | None:
        name, *arguments = of.split()
        try:
            return QUANTITIES[name][1](known, claim, *map(float, arguments))
        except NotMeasuredError:
            return None

    limit = value(claim.limit) if isinstance(claim.limit, str) else claim.limit
    measured = value(claim.quantity)
    holds = limit is not None and measured is not None and measured <= limit
    return {
        "claim": claim.title,
        "unit": QUANTITIES[claim.quantity.split()[0]][0],
        "limit": limit,
        "measured": measured,
        "reference": claim.reference,
        "verdict": PASS if holds else FAIL,
    }


def hold(findings: Sequence[Finding]) -> bool:
    """Whether all do."""
    return all(finding["verdict"] == PASS for finding in findings)


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
