"""The CSV of measurements against depth: one row a cell, written as soon as it is known."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store.keyed import KeyedFile, Row

FILE_NAME = "depth.csv"
WHOLE = ("layers", "batch_size", "peak_bytes", "resident_bytes", "step_bytes")
WHOLE += ("step_requested_bytes", "memory_limit_bytes", "time_limit_s")
FRACTIONS = ("step_time_s", "cell_time_s")
COLUMNS = [
    *("algorithm", "execution", "layers", "batch_size", "status"),
    *("step_requested_bytes", "step_bytes", "resident_bytes", "peak_bytes", "step_time_s"),
    *("cell_time_s", "memory_limit_bytes", "time_limit_s", "model", "device", "dataset"),
    *("tensorflow", "keras", "timestamp", "error"),
]
LIMITED = ("skipped", "timed_out", "out_of_memory")
REACH = 10  # a guess goes no further than so many times the deepest cell that was measured

Key = tuple[str, str, int, int]


def key_of(row: Mapping[str, Any]) -> Key:
    """What a row is about; one row is kept of each."""
    return row["algorithm"], row["execution"], row["layers"], row["batch_size"]


FILE = KeyedFile(
    name=FILE_NAME,
    noun="table of depths",
    columns=COLUMNS,
    key_of=key_of,
    whole=WHOLE,
    fractions=FRACTIONS,
    always=("algorithm", "execution", "layers", "batch_size", "status"),
    if_good=("peak_bytes", "model"),
)
read, keep = FILE.read, FILE.keep


def is_settled(row: Row | None, limits: Limits) -> bool:
    """Whether measuring again would tell nothing new: it is known, or was limited no more.

    Another version of TensorFlow may tell otherwise.
    """
    if row is not None and row["tensorflow"] not in (None, version("tensorflow")):
        return False
    if row is None or row["status"] not in LIMITED:
        return row is not None and row["status"] == "ok"
    allowed = (row["time_limit_s"] or 0) >= limits.time_s
    return allowed and (row["memory_limit_bytes"] or 0) >= limits.memory_bytes


def reason_to_skip(rows: Mapping[Key, Row], key: Key, limits: Limits) -> str | None:
    """Why a cell would exceed the limits, judged by shallower ones; None if nothing says so."""
    algorithm, execution, layers, batch_size = key
    shallower = [
        row
        for row in rows.values()
        if key_of(row) == (algorithm, execution, row["layers"], batch_size)
        and row["layers"] < layers
    ]
    shallower.sort(key=lambda row: row["layers"])
    beyond = [r for r in shallower if r["status"] in LIMITED and is_settled(r, limits)]
    if beyond:
        return f"{beyond[0]['layers']} layers: {beyond[0]['status']}"
    known = [row for row in shallower if row["status"] == "ok"]
    memory, time = (_expected(known, name, layers) for name in ("peak_bytes", "cell_time_s"))
    if memory is not None and memory > limits.memory_bytes:
        return f"would take about {memory / 2**20:.0f} MiB, by the shallower ones"
    if time is not None and time > limits.time_s:
        return f"would take about {time:.0f} s, by the shallower ones"
    return None


def _expected(known: list[Row], name: str, layers: int) -> float | None:
    """What a line through the last two says; None where there is none or it would reach far."""
    known = [row for row in known if row[name] is not None]
    if len(known) < 2 or layers > REACH * known[-1]["layers"]:
        return None
    before, last = known[-2:]
    slope = (last[name] - before[name]) / (last["layers"] - before["layers"])
    return last[name] + max(0, slope) * (layers - last["layers"])
