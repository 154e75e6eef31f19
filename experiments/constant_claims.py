"""What is promised of MEM-DFA's memory in every execution mode and at any depth.

See `experiments.claims`. References are a first sketch's numbers, and the original code's.
"""

from typing import Any

from experiments.findings import Finding, make_finding
from experiments.plan import Cell
from experiments.sweep import Row

MEBIBYTE = 2**20
DEPTHS = (10, 20, 40)
SLICED_LIMIT_MIB, SLICED_TIME_LIMIT = 21, 1.20
WHOLE_LIMIT_MIB, WHOLE_TIME_LIMIT = 27, 1.05
XLA_LIMIT_MIB, XLA_SPREAD_LIMIT_PERCENT = 30, 3.0
EAGER_LIMIT_MIB = 32
VGG_LIMIT_MIB, VGG_TIME_LIMIT, VGG_REFERENCE_MIB = 45, 1.20, 66.0
VGG_OPTIMIZERS = {"sgd": 0.01, "adam": 0.001}
DEEP, DEEP_LIMIT_MIB, DEEP_GROWTH_LIMIT = (10, 100, 1000), 5, 1024
DEEP_RESIDENT_LIMIT = 2048


def findings(kit: Any) -> list[Finding]:
    """Slices, execution modes, wide layers and depth."""
    return [*_slices(kit), *_executions(kit), *_vgg(kit), *_deep(kit)]


def _cell(kit: Any, layers: int | None, model: str = "conv20", **changes: Any) -> Cell:
    return kit.cell("mem_dfa", model, layers, **changes)


def _mib(row: Row) -> float | None:
    return None if row["step_bytes"] is None else row["step_bytes"] / MEBIBYTE


def _slices(kit: Any) -> list[Finding]:
    cells = [kit.cell("bp", "conv20", 20), _cell(kit, 20), _cell(kit, 20, slices=1)]
    ratios = kit.time_ratios(cells) or [None] * 3
    limits = ((SLICED_LIMIT_MIB, SLICED_TIME_LIMIT), (WHOLE_LIMIT_MIB, WHOLE_TIME_LIMIT))
    found = []
    names = ("automatic slices", "slices=1")
    for name, cell, ratio, (limit, time) in zip(names, cells[1:], ratios[1:], limits, strict=True):
        title = f"conv20 mem_dfa, 20 layers, {name}"
        found.append(
            make_finding(f"{title}: step bytes", "MiB", limit, _mib(kit.measure(cell)), 32)
        )
        found.append(
            make_finding(f"{title}: step time over bp, taking turns", "ratio", time, ratio)
        )
    return found


def _executions(kit: Any) -> list[Finding]:
    rows = [kit.measure(_cell(kit, layers, execution="xla")) for layers in DEPTHS]
    found = [
        make_finding(
            f"conv20 mem_dfa, XLA, {row['layers']} layers: step bytes",
            "MiB",
            XLA_LIMIT_MIB,
            _mib(row),
        )
        for row in rows
    ]
    requested = [row["step_requested_bytes"] for row in rows]
    spread = 100 * (max(requested) / min(requested) - 1) if all(requested) else None
    title = "conv20 mem_dfa, XLA, 10, 20, 40 layers: requested bytes differ by"
    found.append(make_finding(title, "%", XLA_SPREAD_LIMIT_PERCENT, spread))
    eager = kit.measure(_cell(kit, 20, execution="eager"))
    title = "conv20 mem_dfa, eager, 20 layers: step bytes"
    return [*found, make_finding(title, "MiB", EAGER_LIMIT_MIB, _mib(eager))]


def _vgg(kit: Any) -> list[Finding]:
    found = []
    for name, rate in VGG_OPTIMIZERS.items():
        optimizer = {"optimizer": name, "learning_rate": rate}
        cell = _cell(kit, None, "vgg16", **optimizer)
        ratios = kit.time_ratios([kit.cell("bp", "vgg16", None, **optimizer), cell])
        title, measured = f"vgg16 mem_dfa, {name}", _mib(kit.measure(cell))
        step = f"{title}: step bytes, batch {cell.batch_size}"
        found.append(make_finding(step, "MiB", VGG_LIMIT_MIB, measured, VGG_REFERENCE_MIB))
        time = f"{title}: step time over bp, taking turns"
        found.append(make_finding(time, "ratio", VGG_TIME_LIMIT, ratios and ratios[1]))
    return found


def _deep(kit: Any) -> list[Finding]:
    rows = [
        kit.measure(_cell(kit, layers, "depth_net", feedback="regenerated", dataset="synthetic"))
        for layers in DEEP
    ]
    name = "depth_net mem_dfa, regenerated feedback"
    found = [
        make_finding(
            f"{name}, {row['layers']} layers: step bytes, batch {row['batch_size']}",
            "MiB",
            DEEP_LIMIT_MIB,
            _mib(row),
        )
        for row in rows
    ]
    known = all(row["status"] == "ok" and row["step_requested_bytes"] for row in rows)
    step = resident = None
    if known:
        layers = DEEP[-1] - DEEP[0]
        grown = rows[-1]["step_requested_bytes"] - rows[0]["step_requested_bytes"]
        step = grown / layers
        held = [
            row["resident_bytes"] - row["parameter_bytes"] - row["optimizer_bytes"] for row in rows
        ]
        resident = (held[-1] - held[0]) / layers
    title = f"{name}, {DEEP[0]} to {DEEP[-1]} layers:"
    return [
        *found,
        make_finding(f"{title} requested bytes grow a layer by", "B", DEEP_GROWTH_LIMIT, step),
        make_finding(
            f"{title} resident bytes but weights and slots grow a layer by",
            "B",
            DEEP_RESIDENT_LIMIT,
            resident,
        ),
    ]
