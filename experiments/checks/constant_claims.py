"""What is promised of memory in every execution mode, at any depth and below one block's own size.

See `experiments.claims`. References are a first sketch's numbers, and the original code's. Every
promise about MEM-DFA is made of SGD and of Adam, whose slots count as resident.
"""

from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.findings import Finding, make_finding, mebibytes
from mem_dfa.experiments.engine.processes import Row

OPTIMIZERS = {"sgd": 0.01, "adam": 0.001}
DEPTHS = (10, 20, 40)
SLICED_LIMIT_MIB, SLICED_TIME_LIMIT = 21, 1.20
WHOLE_LIMIT_MIB, WHOLE_TIME_LIMIT = 27, 1.05
XLA_LIMIT_MIB, XLA_SPREAD_LIMIT_PERCENT = 30, 3.0
EAGER_LIMIT_MIB = 32
VGG_LIMIT_MIB, VGG_TIME_LIMIT, VGG_REFERENCE_MIB = 45, 1.20, 66.0
MANY_CLASSES = 1000
WIDE_LIMIT_MIB, WIDE_REFERENCE_MIB = 24, 192
DEEP, DEEP_LIMIT_MIB, DEEP_GROWTH_LIMIT = (10, 100, 1000), 5, 1024
DEEP_RESIDENT_LIMIT = 2048
DEEP_FIRST_STEP_LIMIT_S = 30
# Of bp's step bytes in the same execution, at 20 layers; in graph execution it is 0.34.
CHECKPOINT_SHARE_LIMIT = 0.40
REVNET_GROWTH_LIMIT_PERCENT = 5.0


def findings(kit: Any) -> list[Finding]:
    """Slices, execution modes, wide layers and depth."""
    found = []
    for name, rate in OPTIMIZERS.items():
        optimizer = {"optimizer": name, "learning_rate": rate}
        for part in (_slices, _executions, _vgg, _deep):
            found += part(kit, optimizer)
    wide = kit.wide_update_bytes(_cell(kit, None, "vgg16", optimizer="adam", learning_rate=0.001))
    title = "one dense layer 4096 x 4096 mem_dfa, adam: step bytes, batch 8"
    found.append(make_finding(title, "MiB", WIDE_LIMIT_MIB, mebibytes(wide), WIDE_REFERENCE_MIB))
    return [*found, _many_classes(kit), *_checkpoint(kit), *_revnet(kit)]


def _cell(kit: Any, layers: int | None, model: str = "conv20", **changes: Any) -> Cell:
    return kit.cell("mem_dfa", model, layers, **changes)


def _spread_percent(rows: list[Row]) -> float | None:
    """How far apart their requested bytes are, of the least."""
    requested = [row["step_requested_bytes"] for row in rows]
    return 100 * (max(requested) / min(requested) - 1) if all(requested) else None


def _slices(kit: Any, optimizer: dict[str, Any]) -> list[Finding]:
    cells = [_cell(kit, 20, **optimizer), _cell(kit, 20, slices=1, **optimizer)]
    ratios = kit.time_ratios([kit.cell("bp", "conv20", 20, **optimizer), *cells]) or [None] * 3
    limits = ((SLICED_LIMIT_MIB, SLICED_TIME_LIMIT), (WHOLE_LIMIT_MIB, WHOLE_TIME_LIMIT))
    found = []
    names = ("automatic slices", "slices=1")
    for name, cell, ratio, (limit, time) in zip(names, cells, ratios[1:], limits, strict=True):
        title = f"conv20 mem_dfa, {optimizer['optimizer']}, 20 layers, {name}"
        found.append(
            make_finding(
                f"{title}: step bytes", "MiB", limit, mebibytes(kit.measure(cell)["step_bytes"]), 32
            )
        )
        found.append(
            make_finding(f"{title}: step time over bp, taking turns", "ratio", time, ratio)
        )
    return found


def _executions(kit: Any, optimizer: dict[str, Any]) -> list[Finding]:
    rows = [kit.measure(_cell(kit, layers, execution="xla", **optimizer)) for layers in DEPTHS]
    name = f"conv20 mem_dfa, {optimizer['optimizer']}"
    found = [
        make_finding(
            f"{name}, XLA, {row['layers']} layers: step bytes",
            "MiB",
            XLA_LIMIT_MIB,
            mebibytes(row["step_bytes"]),
        )
        for row in rows
    ]
    title = f"{name}, XLA, 10, 20, 40 layers: requested bytes differ by"
    found.append(make_finding(title, "%", XLA_SPREAD_LIMIT_PERCENT, _spread_percent(rows)))
    eager = kit.measure(_cell(kit, 20, execution="eager", **optimizer))
    title = f"{name}, eager, 20 layers: step bytes"
    return [*found, make_finding(title, "MiB", EAGER_LIMIT_MIB, mebibytes(eager["step_bytes"]))]


def _vgg(kit: Any, optimizer: dict[str, Any]) -> list[Finding]:
    cell = _cell(kit, None, "vgg16", **optimizer)
    ratios = kit.time_ratios([kit.cell("bp", "vgg16", None, **optimizer), cell])
    title = f"vgg16 mem_dfa, {optimizer['optimizer']}"
    measured = mebibytes(kit.measure(cell)["step_bytes"])
    step = f"{title}: step bytes, batch {cell.batch_size}"
    time = f"{title}: step time over bp, taking turns"
    return [
        make_finding(step, "MiB", VGG_LIMIT_MIB, measured, VGG_REFERENCE_MIB),
        make_finding(time, "ratio", VGG_TIME_LIMIT, ratios and ratios[1]),
    ]


def _many_classes(kit: Any) -> Finding:
    changes = {"feedback": "regenerated", "dataset": "synthetic", "classes": MANY_CLASSES}
    row = kit.measure(_cell(kit, None, "vgg16", **changes), repeats=1)
    title = f"vgg16 mem_dfa, {MANY_CLASSES} classes, regenerated feedback: feedback bytes"
    return make_finding(title, "B", 0, row["feedback_bytes"])


def _deep(kit: Any, optimizer: dict[str, Any]) -> list[Finding]:
    changes = {"feedback": "regenerated", "dataset": "synthetic", **optimizer}
    rows = [kit.measure(_cell(kit, layers, "depth_net", **changes)) for layers in DEEP]
    name = f"depth_net mem_dfa, {optimizer['optimizer']}, regenerated feedback"
    found = [
        make_finding(
            f"{name}, {row['layers']} layers: step bytes, batch {row['batch_size']}",
            "MiB",
            DEEP_LIMIT_MIB,
            mebibytes(row["step_bytes"]),
        )
        for row in rows
    ]
    step = resident = first = None
    if all(row["status"] == "ok" and row["step_requested_bytes"] for row in rows):
        layers = DEEP[-1] - DEEP[0]
        step = (rows[-1]["step_requested_bytes"] - rows[0]["step_requested_bytes"]) / layers
        held = [row["resident_bytes"] - row["variable_allocated_bytes"] for row in rows]
        resident, first = (held[-1] - held[0]) / layers, rows[-1]["first_step_s"]
    title = f"{name}, {DEEP[0]} to {DEEP[-1]} layers:"
    grown = f"{title} resident bytes but weights and slots, as allocated, grow a layer by"
    return [
        *found,
        make_finding(f"{title} requested bytes grow a layer by", "B", DEEP_GROWTH_LIMIT, step),
        make_finding(grown, "B", DEEP_RESIDENT_LIMIT, resident),
        make_finding(
            f"{name}, {DEEP[-1]} layers: first step, with tracing",
            "s",
            DEEP_FIRST_STEP_LIMIT_S,
            first,
        ),
    ]


def _checkpoint(kit: Any) -> list[Finding]:
    """What checkpointing leaves of BP's bytes where TensorFlow has no graph to keep in order."""
    found = []
    for execution in ("eager", "xla"):
        bp, row = (
            kit.measure(kit.cell(name, "conv20", 20, execution=execution), repeats=1)
            for name in ("bp", "checkpoint")
        )
        known = row["step_requested_bytes"] and bp["step_requested_bytes"]
        share = row["step_requested_bytes"] / bp["step_requested_bytes"] if known else None
        title = f"conv20 checkpoint, {execution}, 20 layers: requested bytes over bp's"
        found.append(make_finding(title, "ratio", CHECKPOINT_SHARE_LIMIT, share))
    return found


def _revnet(kit: Any) -> list[Finding]:
    found = []
    for execution in ("eager", "xla"):
        rows = [
            kit.measure(kit.cell("revnet", model, None, execution=execution), repeats=1)
            for model in ("revnet38", "revnet110")
        ]
        title = f"revnet38 to revnet110 revnet, {execution}: requested bytes grow by"
        limit = REVNET_GROWTH_LIMIT_PERCENT
        found.append(make_finding(title, "%", limit, _spread_percent(rows)))
    return found
