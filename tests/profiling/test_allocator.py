"""The meter tells the truth, or says that it cannot.

Whether TensorFlow counts is decided once per process, so what depends on it runs in a fresh one.
"""

import json
import os
from collections.abc import Callable

import pytest

from mem_dfa import profiling

RunPython = Callable[..., str]
VARIABLE = profiling.ENVIRONMENT_VARIABLE

EXACT_SIZES = """
import json
import profiling
profiling.enable()
import tensorflow as tf

def empty(size_bytes):
    return tf.raw_ops.Empty(shape=[size_bytes], dtype=tf.uint8, init=False)

# One large free chunk from which all others are cut exactly, so that rounding alone is left.
empty(64 * 2**20)
allocator = profiling.Allocator()
moves = {}
for size_bytes in (1, 1024, 1025, 100 * 1024, 10 * 2**20):
    before = allocator.current_bytes()
    allocator.reset_peak()
    reset = allocator.peak_bytes()
    tensor = empty(size_bytes)
    during, peak = allocator.current_bytes(), allocator.peak_bytes()
    del tensor
    after = allocator.current_bytes()
    moves[size_bytes] = [during - before, peak >= during, after - before, reset - before]
    assert allocator.peak_bytes() == peak
print(json.dumps(moves))
"""

REFUSED = """
import sys
import profiling
try:
    profiling.Allocator()
except profiling.MeterError as error:
    print(error)
    print("TensorFlow imported:", "tensorflow" in sys.modules)
"""

TOO_LATE = """
import tensorflow as tf
tf.zeros([3])
import profiling
profiling.enable()
try:
    profiling.Allocator()
except profiling.MeterError as error:
    print(error)
"""


def test_numbers_move_by_exactly_what_is_allocated(run_python: RunPython) -> None:
    moves = json.loads(run_python(EXACT_SIZES))
    assert moves == {
        "1": [256, True, 0, 0],
        "1024": [1024, True, 0, 0],
        "1025": [1280, True, 0, 0],
        "102400": [102_400, True, 0, 0],
        "10485760": [10_485_760, True, 0, 0],
    }


def test_importing_profiling_does_not_import_tensorflow(run_python: RunPython) -> None:
    source = "import profiling, sys; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    assert run_python(source).split() == ["False", "False"]


@pytest.mark.parametrize(
    ("environment", "state"), [({}, "is not set"), ({VARIABLE: "0"}, "is '0'")]
)
def test_variable_missing_or_off_is_refused(
    environment: dict[str, str], state: str, run_python: RunPython
) -> None:
    message = run_python(REFUSED, **environment)
    assert message.startswith(f"{VARIABLE} {state}; it must be '1'")
    assert f"Start Python with {VARIABLE}=1" in message
    assert message.endswith("TensorFlow imported: False\n")


@pytest.mark.parametrize(
    ("one_dnn", "symptom"),
    [
        ("1", "The memory statistics of CPU:0 did not move when 1024 bytes were allocated."),
        ("0", "TensorFlow has no memory statistics for CPU:0"),
    ],
)
def test_variable_set_after_the_first_operation_is_refused(
    one_dnn: str, symptom: str, run_python: RunPython
) -> None:
    message = run_python(TOO_LATE, TF_ENABLE_ONEDNN_OPTS=one_dnn)
    assert message.startswith(symptom)
    assert f"{VARIABLE} was set too late, after TensorFlow's first operation." in message


def test_enable_sets_the_variable_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    profiling.enable()
    profiling.enable()
    assert os.environ[VARIABLE] == "1"


def test_enable_refuses_to_overrule_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(profiling.MeterError, match=f"{VARIABLE} is '0'; it must be '1'"):
        profiling.enable()
    assert os.environ[VARIABLE] == "0"


def test_missing_device_is_named_with_those_found() -> None:
    with pytest.raises(profiling.MeterError, match=r"no device 'GPU:99'; it found CPU:0"):
        profiling.Allocator("GPU:99")


# What the meter reads before, during (twice: current and peak) and after the probe of 1024 bytes.
LIES = {
    "stuck": ([(5, 5), (5, 5), (5, 5)], "did not move when 1024 bytes"),
    "too little": ([(0, 0), (768, 768), (768, 768)], "moved by 768 bytes"),
    "too much": ([(0, 0), (2048, 2048), (2048, 2048)], "moved by 2048 bytes"),
    "no multiple of 256": ([(0, 0), (1025, 1025), (1025, 1025)], "moved by 1025 bytes"),
    "peak asleep": ([(0, 0), (1024, 0), (1024, 0)], "peak of CPU:0 reads 0 bytes"),
    "never freed": ([(0, 0), (1024, 1024), (1024, 1024), (1024, 1024)], "read 1024 bytes after"),
}


@pytest.mark.parametrize(("readings", "sentence"), LIES.values(), ids=LIES.keys())
def test_lying_meter_is_refused(
    readings: list[tuple[int, int]], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    answers = iter([*readings, (0, 0)])

    def get_memory_info(device: str) -> dict[str, int]:
        assert device == "CPU:0"
        return dict(zip(("current", "peak"), next(answers), strict=True))

    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", get_memory_info)
    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", lambda device: None)
    with pytest.raises(profiling.MeterError, match=sentence):
        profiling.Allocator()
