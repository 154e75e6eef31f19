"""The limit that a test may put on its own memory: exact at the byte, clear when it is passed.

Inner runs of pytest are processes of their own, because TensorFlow decides once what it counts.
"""

import json

import pytest
from mem_dfa.profiling import ENVIRONMENT_VARIABLE

MARK = "limit_device_memory(limit, *, device, baseline, tolerance)"
pytest_plugins = ["pytester"]

# An operation that takes exactly this much, cut from one large free chunk; its argument is made
# before the measurement.
LIMITED = """
import pytest
import tensorflow as tf

SIZE = 100 * 256
SHAPE = tf.constant([SIZE])
tf.raw_ops.Empty(shape=[64 * 2**20], dtype=tf.uint8, init=False)

def take():
    return tf.raw_ops.Empty(shape=SHAPE, dtype=tf.uint8, init=False)

@pytest.fixture
def costly():
    return take(), take()

@pytest.mark.limit_device_memory(SIZE)
def test_at_the_limit():
    take()

@pytest.mark.limit_device_memory(SIZE - 1)
def test_one_byte_above():
    take()

@pytest.mark.limit_device_memory("25 KiB", device="CPU:0")
def test_text_and_device():
    take()

@pytest.mark.limit_device_memory(SIZE)
def test_fixtures_are_free(costly):
    take()

@pytest.mark.limit_device_memory(SIZE)
def test_one_after_another_counts_once():
    take()
    take()

@pytest.mark.limit_device_memory(2 * SIZE - 1)
def test_both_at_once():
    both = take(), take()

@pytest.mark.limit_device_memory(SIZE, baseline=True, tolerance="1 %")
def test_against_a_baseline():
    take()

@pytest.mark.limit_device_memory(0)
def test_nothing():
    pass

@pytest.mark.limit_device_memory(0)
def test_own_failure():
    take()
    assert "own" == "failure"

@pytest.mark.limit_device_memory(0)
@pytest.mark.xfail(strict=True)
def test_expected():
    take()

@pytest.mark.limit_device_memory(0, device="GPU:99")
def test_missing_device():
    pass

def test_fixture_alone(device_memory):
    held = take()
    assert device_memory.device == "CPU:0"
    assert device_memory.current_bytes() == device_memory.resident_bytes + SIZE
    del held
    with device_memory.trace():
        held = take(), take()
    del held
    # Recording must not lose the peak, neither before nor in it.
    assert device_memory.peak_bytes() == device_memory.resident_bytes + 2 * SIZE

# The last one: its freed chunks are handed out whole for smaller requests.
@pytest.mark.limit_device_memory("2 MiB")
def test_with_a_model(device_memory):
    import keras

    wide = keras.layers.Dense(1024, activation="tanh", name="wide")
    model = keras.Sequential([keras.Input((8,)), wide, keras.layers.Dense(1, name="last")])
    model.compile("sgd", "mse")
    batch = tf.ones([512, 8]), tf.ones([512, 1])
    model.train_on_batch(*batch)
    assert device_memory.timeline is None
    with device_memory.trace(model) as timeline:
        model.train_on_batch(*batch)
    assert device_memory.timeline is timeline
    assert device_memory.resident_bytes < device_memory.current_bytes()
    assert timeline.peak_bytes <= device_memory.peak_bytes()
"""
FAILED = ("one_byte_above", "both_at_once", "own_failure", "missing_device", "with_a_model")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where nobody asked for the counting allocator."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.mark.usefixtures("unset")
def test_limit_is_exact_and_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LIMITED)
    run = pytester.runpytest_subprocess("-rA", "--strict-markers", "--update-memory-baseline")
    run.assert_outcomes(passed=7, failed=5, xfailed=1)
    text = run.stdout.str()
    assert all(
        f"FAILED test_limit_is_exact_and_explained.py::test_{name}" in text for name in FAILED
    )
    run.stdout.fnmatch_lines(
        [
            "The test took more memory of CPU:0 than its limit of 25.0 KiB: 25.0 KiB.",
            "*limit*25599 bytes*",
            "*taken*25600 bytes*",
            "*too much*1 bytes*",
            "The largest of the 1 tensors that it held at its peak:",
            "* MiB *shape*layer*category*operation or variable*",
            "* 0.0244 *[[]25600[]]*Empty*",
        ]
    )
    (written,) = pytester.path.glob("memory-baselines/test_limit_is_exact_and_explained/*.json")
    (parts,) = json.loads(written.read_text())["cells"]["test_against_a_baseline"].values()
    assert sum(parts.values()) == 100 * 256
    run.stdout.fnmatch_lines(["*largest of the 2 tensors*", "*assert 'own' == 'failure'*"])
    run.stdout.fnmatch_lines(
        ["*cannot be measured: TensorFlow found no device 'GPU:99'; it found*"]
    )
    run.stdout.fnmatch_lines(
        [
            "The largest of the * tensors alive at the peak of the recorded step, * MiB:",
            "* 2.00 *[[]512,1024[]]*wide*activation*",
        ]
    )


def test_bad_marks_are_told_and_a_switched_off_allocator_is_respected(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "0")
    marks = {
        '("120 MB")': "('120 MB')",
        "(-1)": "(-1)",
        "(1.5)": "(1.5)",
        "(True)": "(True)",
        "()": "()",
        '("1 B", "2 B")': "('1 B', '2 B')",
        '("1 B", device="TPU:0")': "('1 B', device='TPU:0')",
        "(1, dev=0)": "(1, dev=0)",
        "(baseline=1)": "(baseline=1)",
        '(1, tolerance="1 %")': "(1, tolerance='1 %')",
        "(baseline=True, tolerance=1)": "(baseline=True, tolerance=1)",
    }
    source = ["import pytest"]
    for number, mark in enumerate(marks):
        source.append(f"@pytest.mark.limit_device_memory{mark}\ndef test_{number}(): pass")
    limited = '@pytest.mark.limit_device_memory("1 GiB", device="CPU:0")'
    source += [f"{limited}\ndef test_limited(): pass", "def test_other(): pass"]
    pytester.makepyfile("\n".join(source))
    run = pytester.runpytest_subprocess()
    run.assert_outcomes(passed=1, failed=1, errors=len(marks))
    sentence = f"*cannot be measured: {ENVIRONMENT_VARIABLE} is '0'; it must be '1'*"
    run.stdout.fnmatch_lines([sentence])
    text = run.stdout.str()
    for shown in marks.values():
        assert f"Received @pytest.mark.limit_device_memory{shown}; give one limit, a size" in text
    assert "Traceback" not in text
    assert "exception" not in text


@pytest.mark.usefixtures("unset")
def test_operation_before_the_plugin_could_ask_is_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TensorFlow does without oneDNN it has no statistics then, see `test_counting`."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    pytester.makeconftest("import tensorflow as tf\ntf.zeros([3])")
    pytester.makepyfile("def test_limited(device_memory): pass")
    run = pytester.runpytest_subprocess()
    run.assert_outcomes(errors=1)
    late = f"{ENVIRONMENT_VARIABLE} was set too late, after TensorFlow's first operation."
    run.stdout.fnmatch_lines([f"*TensorFlow has no memory statistics for CPU:0*{late}*"])


@pytest.mark.usefixtures("unset")
def test_other_suites_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import os, sys

        def test_nothing_is_imported_and_nothing_set():
            assert "mem_dfa.profiling.pytest_plugin" in sys.modules
            assert not {{"tensorflow", "keras", "numpy", "pandas"}} & set(sys.modules)
            assert {ENVIRONMENT_VARIABLE!r} not in os.environ
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_mark_is_documented(pytestconfig: pytest.Config) -> None:
    found = [mark for mark in pytestconfig.getini("markers") if "limit_device_memory" in mark]
    assert [mark.partition(":")[0] for mark in found] == [MARK]
