"""What `profiling.doctor` tries, each in a fresh process: small steps that measure themselves.

A probe returns what it saw; an exception says that the source does not work, and why.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mem_dfa.profiling.allocator import PROBE_BYTES, Allocator

from mem_dfa.units import show_bytes

if TYPE_CHECKING:
    from mem_dfa.profiling.facade import Timeline

_PLUGIN_TEST = """
import pytest
import tensorflow as tf

@pytest.mark.limit_device_memory("1 MiB", device="CPU:0")
def test_within():
    tf.raw_ops.Empty(shape=[2**10], dtype=tf.uint8, init=False)

@pytest.mark.limit_device_memory("1 MiB", device="CPU:0")
def test_above():
    tf.raw_ops.Empty(shape=[2**21], dtype=tf.uint8, init=False)
"""


class ProbeError(RuntimeError):
    """A source of numbers gives none, or wrong ones."""


def cpu_statistics() -> str:
    """The CPU allocator counts small and large tensors."""
    Allocator("CPU:0")
    sizes = ", ".join(map(show_bytes, PROBE_BYTES))
    return f"tensors of {sizes} moved the current and the peak bytes by their size"


def small_tensors() -> str:
    """What the CPU's statistics say of a small tensor when nobody set the variable."""
    import tensorflow as tf

    tf.zeros([1])
    size = 100 * 1024

    def current() -> int:
        return tf.config.experimental.get_memory_info("CPU:0")["current"]

    before = current()
    held = [tf.raw_ops.Empty(shape=[size], dtype=tf.uint8, init=False) for _ in range(10)]
    moved = current() - before
    seen = f"{len(held)} tensors of {show_bytes(size)} moved the statistics by {show_bytes(moved)}"
    if moved < len(held) * size:
        raise ProbeError(seen)
    return seen


def events() -> str:
    """The recorded events reach the same peak as the allocator."""
    timeline = _recorded()
    return (
        f"{len(timeline.events)} events of a step reach {show_bytes(timeline.peak_bytes)}, as "
        "does the allocator itself"
    )


def graph_paths() -> str:
    """In a traced function each operation has its path."""
    return _named(_recorded("graph", jit_compile=False))


def eager_spans() -> str:
    """Eagerly, spans say which layer runs."""
    return _named(_recorded("eager with layers", run_eagerly=True))


def xla() -> str:
    """A compiled step runs, and its one buffer is seen."""
    peak_bytes = _recorded("xla", jit_compile=True).peak_bytes
    return f"exact peak of {show_bytes(peak_bytes)}; one buffer, nothing is known of its parts"


def gpus() -> str:
    """Each GPU's allocator counts."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU")
    if not devices:
        raise ProbeError("TensorFlow found no GPU")
    for number in range(len(devices)):
        Allocator(f"GPU:{number}")
        _recorded(device=f"GPU:{number}")
    return f"exact statistics and events on {len(devices)}: {', '.join(d.name for d in devices)}"


def pytest_plugin() -> str:
    """The installed plugin passes a test within its limit and fails one above it."""
    if not any(
        entry.value == "mem_dfa.profiling.pytest_plugin"
        for entry in importlib.metadata.entry_points(group="pytest11")
    ):
        raise ProbeError("no installed package registers it with pytest")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_limit.py").write_text(_PLUGIN_TEST)
        command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"]
        own = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        run = subprocess.run(
            [*command, "test_limit.py"], cwd=directory, env=own, capture_output=True, text=True
        )
    outcome = (run.stdout.strip() or run.stderr.strip()).rsplit("\n", 1)[-1]
    if not outcome.startswith("1 failed, 1 passed"):
        raise ProbeError(f"of a test within its limit and one above it: {outcome}")
    return "a test within its limit passed, one above it failed"


def bokeh() -> str:
    """A page is made without a browser."""
    from bokeh.embed import file_html
    from bokeh.plotting import figure
    from bokeh.resources import INLINE

    picture = figure()
    picture.line([0, 1], [0, 1])
    return f"made a page of {show_bytes(len(file_html(picture, INLINE, 'probe')))}"


def matplotlib() -> str:
    """A picture is made without a display."""
    from matplotlib.figure import Figure

    content = io.BytesIO()
    Figure().savefig(content, format="png")
    return f"made a picture of {show_bytes(content.tell())}"


def _recorded(attribution: str = "", device: str = "CPU:0", **how: Any) -> Timeline:
    """The exact timeline of a training step of a small model, compiled as asked.

    Args:
        attribution: what the step must look like; "" for anything.
        device: that it runs on.
        how: arguments of `compile`.
    """
    import keras
    import tensorflow as tf
    from mem_dfa.profiling.tracing import trace

    with tf.device(device):
        layers = [keras.layers.Dense(32, name="first"), keras.layers.Dense(8, name="second")]
        model = keras.Sequential([keras.Input((64,)), *layers])
        model.compile("sgd", "mse", **how)
        batch = tf.ones([256, 64]), tf.ones([256, 8])
        model.train_on_batch(*batch)
    with trace(model, device=device) as timeline, tf.device(device):
        model.train_on_batch(*batch)
    timeline.require_exact()
    if attribution not in ("", timeline.attribution):
        raise ProbeError(
            f"the recorded step looks like {timeline.attribution!r}, not like {attribution!r}"
        )
    return timeline


def _named(timeline: Timeline) -> str:
    """Which layers and phases the recorded operations name, or what is missing."""
    made = timeline.tensors[timeline.tensors["start_ns"] >= 0]
    missing = [
        name
        for column, names in (("layer", ("first", "second")), ("phase", ("forward", "backward")))
        for name in names
        if name not in set(made[column])
    ]
    if missing:
        raise ProbeError(f"no operation is placed in {', '.join(missing)}")
    return "operations name both layers of a model, and forward and backward"


def result(probe: Callable[[], str]) -> dict[str, Any]:
    """Try one probe: its name, whether it works, and what it saw."""
    try:
        return {"probe": probe.__name__, "works": True, "saw": probe()}
    except Exception as error:
        # Whatever goes wrong is the finding.
        return {"probe": probe.__name__, "works": False, "saw": str(error) or type(error).__name__}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(result(globals()[name])), flush=True)
