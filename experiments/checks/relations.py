"""What holds of the gate's cells on any machine, with no baseline."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import gate_cells
from mem_dfa.experiments.checks.baseline import Weights
from mem_dfa.experiments.checks.findings import Finding, distance_of_growth, make_finding

FLAT_LIMIT_PERCENT = 3.0
DIRECT_SHARE_LIMIT = 1 / 5  # of dfa's step bytes at 20 layers; two adjacent activations need 1 / 7
GROWTH_EXPONENT, GROWTH_EXPONENT_LIMIT = 0.5, 0.15
REVERSIBLE_LIMIT_PERCENT = 5.0
HELD_LIMIT_BYTES = 2048  # a layer; its stored matrix is 160 times as large


def findings(weights: Weights) -> list[Finding]:
    """Judges the cells that were measured; what was not does not hold."""
    return [
        _flat(gate_cells.FLAT, weights, FLAT_LIMIT_PERCENT),
        _share(gate_cells.FLAT[-1], gate_cells.DIRECT, weights),
        _growth(weights),
        _flat(gate_cells.REVERSIBLE, weights, REVERSIBLE_LIMIT_PERCENT),
        _flat(gate_cells.REVERSIBLE_GRAPH, weights, REVERSIBLE_LIMIT_PERCENT),
        _held(weights),
    ]


def _steps(cells: Sequence[Cell], weights: Weights) -> list[int] | None:
    """Step bytes of all cells; None if one is missing."""
    if any(cell.title not in weights for cell in cells):
        return None
    return [sum(weights[cell.title]["step"].values()) for cell in cells]


def _flat(cells: Sequence[Cell], weights: Weights, limit_percent: float) -> Finding:
    steps, first = _steps(cells, weights), cells[0]
    depths = ", ".join(str(cell.layers) for cell in cells)
    title = f"{first.algorithm} {first.model} {first.execution}, {depths} layers: differ by"
    spread = steps and 100 * (max(steps) / min(steps) - 1)
    return make_finding(title, "%", limit_percent, spread)


def _share(cell: Cell, other: Cell, weights: Weights) -> Finding:
    steps = _steps([cell, other], weights)
    title = f"{cell.algorithm} {cell.model}, {cell.layers} layers: over {other.algorithm}'s"
    return make_finding(title, "ratio", DIRECT_SHARE_LIMIT, steps and steps[0] / steps[1])


def _growth(weights: Weights) -> Finding:
    """How far the exponent of growth with depth is from that of a square root."""
    cells = gate_cells.CHECKPOINTED
    steps = _steps(cells, weights)
    distance = steps and distance_of_growth(steps, GROWTH_EXPONENT)
    depths = ", ".join(str(cell.layers) for cell in cells)
    title = f"checkpoint {cells[0].model}, {depths} layers: grow as n^e, e is from 0.5 by"
    return make_finding(title, "-", GROWTH_EXPONENT_LIMIT, distance)


def _held(weights: Weights) -> Finding:
    """What stays for a layer whose feedback matrix is drawn again, but its weights."""
    shallow, deep = gate_cells.REGENERATED
    grown = None
    if _steps([shallow, deep], weights) is not None:
        held = [_held_bytes(weights[cell.title]["resident"]) for cell in (shallow, deep)]
        grown = (held[1] - held[0]) / (deep.layers - shallow.layers)
    title = f"mem_dfa {deep.model}, regenerated feedback: resident bytes but weights, a layer"
    return make_finding(title, "B", HELD_LIMIT_BYTES, grown)


def _held_bytes(parts: dict[str, int]) -> int:
    return sum(size for name, size in parts.items() if not name.endswith("/parameter"))
