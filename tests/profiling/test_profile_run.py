"""`profile run`: the step that was asked for, whatever the script does, or one sentence."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from mem_dfa.profiling.__main__ import main
from mem_dfa.profiling.render import summary
from mem_dfa.profiling.training.script_step import RecordedStep

from mem_dfa import profiling
from tests.profiling.drawn import small

WIDTH, ROWS = 1024, 48
OUTPUT_BYTES = ROWS * WIDTH * 4
MODEL = f"""
import keras, sys
import numpy as np
wide = keras.layers.Dense({WIDTH}, activation="tanh", name="wide")
model = keras.Sequential([keras.Input((8,)), wide, keras.layers.Dense(1, name="last")])
model.compile("sgd", "mse", steps_per_execution=1)
x, y = np.ones(({4 * ROWS}, 8)), np.ones(({4 * ROWS}, 1))
options = dict(batch_size={ROWS}, verbose=0)
"""
FIT = "model.fit(x, y, **options)\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script that goes on after the model is made; its status, and what was said."""
    monkeypatch.chdir(tmp_path)
    original = keras.Model.fit

    def run(source: str, *options: str, **more: Any) -> tuple[int, str, str]:
        Path("train.py").write_text(MODEL + source)
        status = main(["run", *options, "train.py"], **more)
        assert keras.Model.fit is original
        return status, *capsys.readouterr()

    return run


def recorded(name: str = "train-step-3") -> profiling.Timeline:
    assert Path("memory-profile", f"{name}.html").stat().st_size > 100_000
    return profiling.Timeline.load(Path("memory-profile", f"{name}.timeline.json.gz"))


def test_the_third_step_is_recorded_and_the_script_sees_nothing_of_it(run: Run) -> None:
    source = (
        "seen = []\n"
        "class Own(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None): seen.append(sorted(logs))\n"
        "given = [Own()]\n"
        "history = model.fit(x, y, callbacks=given, **options).history\n"
        "assert seen == [['loss']] and list(history) == ['loss'], (seen, history)\n"
        "assert len(given) == 1\n"
        "print('its own line')\n"
    )
    status, out, err = run(source)
    assert status == 0, err
    timeline = recorded()
    assert timeline.title == "train.py, step 3"
    assert timeline.fault == ""
    assert timeline.step_bytes >= OUTPUT_BYTES
    assert out.startswith("its own line\ntrain.py, step 3, on CPU:0")
    assert out.endswith(
        "written: memory-profile/train-step-3.timeline.json.gz\n"
        "written: memory-profile/train-step-3.html\n"
    )
    for size in (timeline.peak_bytes, timeline.resident_bytes, timeline.step_bytes):
        assert f" {summary.mebibytes(size, timeline.peak_bytes)} │" in out
    assert "wide" in set(timeline.tensors["layer"])
    assert err == "\nrecorded: train.py, step 3; the summary follows when the script ends, or " + (
        "Ctrl-C ends it\n"
    )


def test_a_step_is_counted_over_all_fits_and_models(run: Run) -> None:
    """The fifth is the first of the second model's, whose layers are twice as wide."""
    source = FIT + (
        "wider = keras.layers.Dense(2048, name='wider')\n"
        "other = keras.Sequential([keras.Input((8,)), wider, keras.layers.Dense(1)])\n"
        "other.compile('sgd', 'mse')\n"
        "other.fit(x, y, **options)\n"
        "model.fit(x, y, **options)\n"
    )
    assert run(source, "--step", "5")[0] == 0
    assert "wider" in set(recorded("train-step-5").tensors["layer"])
    # What is there is kept.
    assert run(source, "--step", "5")[0] == 0
    recorded("train-step-5")
    recorded("train-step-5-2")


@pytest.mark.parametrize(
    ("source", "batch_size"),
    [
        (FIT, ROWS),
        # Neither Keras nor TensorFlow knows its size before it comes: the last one of three.
        (
            "import tensorflow as tf\n"
            f"data = tf.data.Dataset.from_tensor_slices((x, y)).skip({ROWS})\n"
            f"model.fit(data.batch({ROWS + 10}), verbose=0)\n",
            3 * ROWS - 2 * (ROWS + 10),
        ),
        ("model.compile('sgd', 'mse', steps_per_execution=4)\n" + FIT, ROWS),
        ("model.compile('sgd', 'mse', jit_compile=True)\n" + FIT, ROWS),
        ("model.compile('sgd', 'mse', run_eagerly=True)\n" + FIT, ROWS),
        (
            "class Own(keras.Model):\n"
            "    def train_step(self, data): return {'loss': self(data[0])}\n"
            "model = Own(model.inputs, model.outputs)\n"
            "model.compile()\n" + FIT,
            None,
        ),
        # Keras takes this one as it is, without a progress bar.
        (
            "own = keras.callbacks.CallbackList([keras.callbacks.History()], model=model)\n"
            f"history = model.fit(x, y, {ROWS}, 1, 1, own)\n"
            "assert list(history.history) == ['loss']\n",
            ROWS,
        ),
        # A fit within another one is left alone.
        (
            "class Own(keras.callbacks.Callback):\n"
            "    def on_train_batch_begin(self, batch, logs=None):\n"
            "        inner = keras.models.clone_model(self.model)\n"
            "        inner.compile('sgd', 'mse')\n"
            "        inner.fit(x[:2], y[:2], verbose=0)\n"
            "model.fit(x, y, callbacks=Own(), **options)\n",
            ROWS,
        ),
    ],
    ids=["arrays", "data set", "executions", "xla", "eager", "own step", "list", "nested"],
)
def test_the_model_and_the_batch_are_handed_on(
    source: str, batch_size: int | None, run: Run
) -> None:
    steps: list[RecordedStep] = []

    def foretell(step: RecordedStep) -> list[str]:
        steps.append(step)
        return ["what is foretold"]

    status, out, err = run(source, foretell=foretell)
    assert status == 0, err
    (step,) = steps
    assert step.batch_size == batch_size
    assert step.model.layers[-1].name == "last"
    assert "what is foretold\n" in out


@pytest.mark.parametrize(
    ("source", "options", "status", "says"),
    [
        ("", (), 1, "train.py never called fit of a Keras 3 model; around one step"),
        ("model.train_on_batch(x, y)\n", (), 1, "train.py never called fit"),
        (FIT, ("--step", "5"), 1, "took 4 steps of fit, fewer than --step 5; give --step 1 to 4."),
        ("sys.exit(7)", (), 7, "train.py ended before step 3 of its fit was done."),
        ("1 / 0", (), 1, "train.py ended before step 3"),
        ("raise KeyboardInterrupt", (), 130, "train.py ended before step 3"),
        (
            "keras.backend.backend = lambda: 'other'\n" + FIT,
            (),
            1,
            "Keras runs on 'other', and the memory of TensorFlow alone is recorded",
        ),
        (
            "from mem_dfa import profiling\n"
            "with profiling.trace() as timeline:\n"
            "    model.fit(x, y, **options)\n",
            (),
            1,
            "no timeline of train.py, step 3: Another TensorFlow profiler recording is running",
        ),
    ],
    ids=["no fit", "own loop", "few steps", "status", "error", "Ctrl-C", "backend", "profiler"],
)
def test_no_step_is_one_sentence(
    source: str,
    options: tuple[str, ...],
    status: int,
    says: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keras.backend, "backend", keras.backend.backend)
    ended, out, err = run(source, *options)
    assert (ended, out) == (status, "")
    assert says in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: no step was recorded: ")
    assert err.count("Traceback") == ("1 / 0" in source)
    assert list(Path("memory-profile").iterdir()) == []


def test_a_script_is_not_ended_by_a_meter_that_counts_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, device: str) -> None:
        raise profiling.MeterError("it counts nothing")

    monkeypatch.setattr(profiling.Allocator, "__init__", fail)
    status, out, err = run(FIT + "print('to the end')")
    assert (status, out) == (1, "to the end\n")
    assert err == "error: no step was recorded: it counts nothing\n"


@pytest.mark.parametrize(
    ("ending", "status"),
    [("sys.exit(5)", 5), ("1 / 0", 1), ("import os, signal; os.kill(os.getpid(), 2)", 130)],
    ids=["status", "error", "Ctrl-C"],
)
def test_what_was_recorded_is_shown_however_the_script_ends(
    ending: str, status: int, run: Run
) -> None:
    ended, out, err = run(FIT + ending)
    assert ended == status, err
    assert "written: memory-profile/train-step-3.html\n" in out
    assert err.endswith("interrupted\n") == (status == 130)
    recorded()


def test_a_call_of_fit_that_is_wrong_says_so_itself(run: Run) -> None:
    status, _, err = run("model.fit(no_such_argument=1)")
    assert status == 1
    assert "unexpected keyword argument 'no_such_argument'" in err
    assert "profiling" not in err


def test_what_is_wrong_before_the_script_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = "open('started', 'w')\n" + FIT
    status, _, err = run(started, "--out", "train.py/below")
    assert (status, err.count("\n")) == (2, 1)
    assert "Cannot write into train.py/below (Not a directory); name a folder" in err
    for step in ("0", "-1", "first", "1.5"):
        status, _, err = run(started, "--step", step)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{step!r} is no step; give a whole number from 1 on" in err
    for script, reason in (("none.py", "No such file or directory"), (".", "Is a directory")):
        assert main(["run", script]) == 2
        assert capsys.readouterr().err == (
            f"error: Cannot run {script} ({reason}); name a Python script that trains with fit.\n"
        )
    monkeypatch.setenv("TF_CPU_ALLOCATOR_USE_BFC", "0")
    status, _, err = run(started)
    assert (status, err.count("\n")) == (1, 1)
    assert "TF_CPU_ALLOCATOR_USE_BFC is '0'" in err
    assert not Path("started").exists()
    assert str(tmp_path) not in sys.path


def test_a_page_that_cannot_be_written_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, path: object) -> None:
        raise profiling.TraceError("Cannot write it.")

    monkeypatch.setattr(profiling.Timeline, "to_html", fail)
    status, out, err = run(FIT)
    assert (status, err.splitlines()[-1]) == (1, "error: no page: Cannot write it.")
    assert "train-step-3.timeline.json.gz" in out
    assert run(FIT + "sys.exit(4)")[0] == 4


def test_a_summary_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    timeline = small("a_script_of_a_very_long_name.py, step 3" * 3, layer_op="long_layer_" * 20)
    timeline.fault = "256 bytes are missing."
    for table in summary.tables(timeline):
        summary.console().print(table)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "Not exact: 256 bytes are missing." in " ".join(printed.split())
