"""What `profiling.doctor` tries, each in a fresh process: small steps that measure themselves.

A probe returns what it saw; an exception says that the source does not work, and why.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from profiling.allocator import PROBE_BYTES, Allocator
from profiling.units import show_bytes

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
    seen = f"{len(held)} tensors of {size} bytes moved the statistics by {moved} bytes"
    if moved < len(held) * size:
        raise ProbeError(seen)
    return seen


def events() -> str:
    """The recorded events reach the same peak as the allocator."""
    step, _ = _dense_step()
    timeline = _traced(step)
    timeline.require_exact()
    return (
        f"{len(timeline.events)} events of a step reach {timeline.peak_bytes} bytes, as does the "
        "allocator itself"
    )


def graph_paths() -> str:
    """In a traced function each operation has its path."""
    import tensorflow as tf

    step, model = _dense_step()
    timeline = _traced(tf.function(step), model)
    return _named(timeline, model, "graph")


def eager_spans() -> str:
    """Eagerly, spans say which layer runs."""
    step, model = _dense_step()
    return _named(_traced(step, model), model, "eager with layers")


def xla() -> str:
    """A compiled step runs, and its one buffer is seen."""
    import tensorflow as tf

    step, _ = _dense_step()
    timeline = _traced(tf.function(step, jit_compile=True))
    timeline.require_exact()
    if timeline.attribution != "xla":
        raise ProbeError(f"the recorded step looks like {timeline.attribution!r}, not like XLA")
    return f"exact peak of {timeline.peak_bytes} bytes; one buffer, nothing is known of its parts"


def gpus() -> str:
    """Each GPU's allocator counts."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU")
    if not devices:
        raise ProbeError("TensorFlow found no GPU")
    for number in range(len(devices)):
        Allocator(f"GPU:{number}")
        step, _ = _dense_step(f"GPU:{number}")
        _traced(step, device=f"GPU:{number}").require_exact()
    return f"exact statistics and events on {len(devices)}: {', '.join(d.name for d in devices)}"


def pytest_plugin() -> str:
    """The installed plugin passes a test within its limit and fails one above it."""
    if not any(
        entry.value == "profiling.pytest_plugin"
        for entry in importlib.metadata.entry_points(group="pytest11")
    ):
        raise ProbeError("no installed package registers it with pytest")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_limit.py").write_text(_PLUGIN_TEST)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_limit.py"]
        run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    outcome = run.stdout.strip().rsplit("\n", 1)[-1]
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


def _dense_step(device: str = "CPU:0") -> tuple[Callable[[], None], Any]:
    import keras
    import tensorflow as tf

    with tf.device(device):
        model = keras.Sequential(
            [keras.Input((64,)), keras.layers.Dense(32), keras.layers.Dense(8)]
        )
        batch = tf.ones([16, 64])

    def step() -> None:
        with tf.device(device), tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(batch))
            gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.01 * gradient)

    return step, model


def _traced(step: Callable[[], None], model: Any = None, device: str = "CPU:0") -> Any:
    from profiling.tracing import trace

    step()
    with trace(model, device=device) as timeline:
        step()
    return timeline


def _named(timeline: Any, model: Any, attribution: str) -> str:
    """How many layers the recorded operations name, or what is missing."""
    timeline.require_exact()
    if timeline.attribution != attribution:
        raise ProbeError(f"received attribution {timeline.attribution!r} instead")
    layers = {layer.name for layer in model.layers}
    made = timeline.tensors[timeline.tensors["start_ns"] >= 0]
    missing = layers - set(made["layer"])
    if missing:
        raise ProbeError(f"no operation names the layers {', '.join(sorted(missing))}")
    phases = ", ".join(p for p in ("forward", "backward") if p in set(made["phase"]))
    return f"layers {', '.join(sorted(layers))} and phases {phases} are named"


PROBES: dict[str, Callable[[], str]] = {
    probe.__name__: probe
    for probe in (
        cpu_statistics,
        events,
        graph_paths,
        eager_spans,
        xla,
        gpus,
        small_tensors,
        pytest_plugin,
        bokeh,
        matplotlib,
    )
}


def result(name: str) -> dict[str, Any]:
    """Try one probe: its name, whether it works, and what it saw."""
    try:
        return {"probe": name, "works": True, "saw": PROBES[name]()}
    except Exception as error:
        # Whatever goes wrong is the finding.
        return {"probe": name, "works": False, "saw": str(error) or type(error).__name__}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(result(name)), flush=True)
