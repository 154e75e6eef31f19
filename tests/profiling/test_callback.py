"""The memory of `fit`, in its logs, in TensorBoard's files and in timelines."""

import csv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mem_dfa.profiling import MemoryCallback, Timeline

from mem_dfa import profiling

# A layer's output is this large, so a training step takes at least that.
ROWS, WIDTH = 64, 1024
OUTPUT_BYTES = ROWS * WIDTH * 4


def build(**options: Any) -> Any:
    import keras

    wide = keras.layers.Dense(WIDTH, activation="tanh", name="wide")
    model = keras.Sequential([keras.Input((8,)), wide, keras.layers.Dense(1, name="last")])
    model.compile("sgd", "mse", **options)
    return model


def held_batch() -> Any:
    """One batch again and again: the input pipeline allocates nothing new."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((tf.ones([ROWS, 8]), tf.ones([ROWS, 1]))).repeat()


def fit(
    model: Any,
    callback: MemoryCallback,
    epochs: int = 1,
    steps: int = 2,
    verbose: int = 0,
    **more: Any,
) -> Any:
    return model.fit(
        held_batch(),
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=verbose,
        callbacks=[callback, *more.pop("after", ())],
        **more,
    ).history


@pytest.fixture
def quiet() -> Iterator[None]:
    """What a recording cannot do becomes a warning: here none is expected."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="MemoryCallback")
        yield


@pytest.mark.usefixtures("quiet")
def test_every_epoch_logs_numbers_that_fit_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    after = [keras.callbacks.CSVLogger(tmp_path / "log.csv")]
    history = fit(build(), MemoryCallback(), epochs=3, after=after, verbose=2)
    peaks, residents, steps = (history[name] for name in ("peak_mib", "resident_mib", "step_mib"))
    # No byte is lost.
    assert all((number * 2**20).is_integer() for number in (*peaks, *residents, *steps))
    assert [peak - resident for peak, resident in zip(peaks, residents, strict=True)] == steps
    assert min(steps) * 2**20 >= OUTPUT_BYTES
    with open(tmp_path / "log.csv", newline="") as file:
        assert [float(row["peak_mib"]) for row in csv.DictReader(file)] == peaks
    printed = capsys.readouterr().out
    assert f" - peak_mib: {peaks[0]:.4f} - " in printed
    assert "bytes" not in printed


@pytest.mark.usefixtures("quiet")
def test_peak_of_a_recorded_epoch_is_the_timelines(tmp_path: Path) -> None:
    callback = MemoryCallback(trace_steps=(1,), trace_dir=tmp_path / "made")
    history = fit(build(), callback, epochs=3, steps=1)
    timeline = callback.timelines[1]
    assert timeline.fault == ""
    # Recording a step resets the allocator's peak; the epoch's must not be lost by that.
    assert history["peak_mib"][1] == timeline.peak_bytes / 2**20
    saved = Timeline.load(tmp_path / "made" / "step_000001.timeline.json.gz")
    assert saved.peak_bytes == timeline.peak_bytes
    # The model is known: even its variables have names.
    assert {"wide", "last"} <= set(saved.tensors["layer"])
    assert any(name.endswith("wide/kernel") for name in saved.tensors["op"])


@pytest.mark.usefixtures("quiet")
def test_recording_a_small_step_does_not_lose_the_peak_of_a_large_one() -> None:
    import tensorflow as tf

    batches = [(tf.ones([rows, 8]), tf.ones([rows, 1])) for rows in (8 * ROWS, ROWS)]
    large, small = map(tf.data.Dataset.from_tensors, batches)
    callback = MemoryCallback(trace_steps=(1,))
    history = (
        build()
        .fit(large.concatenate(small), verbose=0, shuffle=False, callbacks=[callback])
        .history
    )
    assert callback.timelines[1].step_bytes < 8 * OUTPUT_BYTES <= history["step_mib"][0] * 2**20


@pytest.mark.usefixtures("quiet")
def test_validation_is_not_in_the_peak() -> None:
    import tensorflow as tf

    large = 64 * ROWS
    validation = (tf.ones([large, 8]), tf.ones([large, 1]))
    history = fit(
        build(), MemoryCallback(), epochs=2, validation_data=validation, validation_batch_size=large
    )
    assert max(history["step_mib"]) * 2**20 < large * WIDTH * 4


@pytest.mark.usefixtures("quiet")
def test_steps_are_counted_over_epochs_and_fits() -> None:
    callback, model = MemoryCallback(trace_steps=[1, 2, 5]), build()
    fit(model, callback, epochs=2)
    assert sorted(callback.timelines) == [1, 2]
    fit(model, callback, epochs=1)
    assert sorted(callback.timelines) == [1, 2, 5]
    assert [callback.timelines[step].title for step in (1, 2, 5)] == ["step 1", "step 2", "step 5"]


@pytest.mark.usefixtures("quiet")
def test_timeline_covers_the_execution_that_a_step_is_in() -> None:
    callback = MemoryCallback(trace_steps=(1, 2, 7))
    # Two executions of three steps in each epoch.
    fit(build(steps_per_execution=3), callback, epochs=2, steps=6)
    assert callback.timelines[1] is callback.timelines[2]
    titles = {step: timeline.title for step, timeline in callback.timelines.items()}
    assert titles == {1: "steps 0 to 2", 2: "steps 0 to 2", 7: "steps 6 to 8"}
    forward = callback.timelines[7].events
    assert (forward["op"].str.contains("Tanh") & (forward["kind"] == "allocation")).sum() >= 3


@pytest.mark.usefixtures("quiet")
def test_step_after_the_end_of_data_of_unknown_size_is_the_next_epochs_first() -> None:
    data = held_batch().take(3).filter(lambda x, y: True)
    callback = MemoryCallback(trace_steps=(3,))
    build().fit(data, epochs=2, verbose=0, callbacks=[callback])
    # The vain call that finds the data at its end would have recorded none of the layers.
    assert callback.timelines[3].step_bytes >= OUTPUT_BYTES


@pytest.mark.usefixtures("quiet")
def test_scalars_for_tensorboard_are_exact(tmp_path: Path) -> None:
    import tensorflow as tf

    history = fit(build(), MemoryCallback(log_dir=tmp_path), epochs=2)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    written: dict[str, list] = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            point = (event.step, tf.make_ndarray(value.tensor).item())
            written.setdefault(value.tag, []).append(point)
    assert written == {
        f"memory/{name}": list(enumerate(history[name]))
        for name in ("peak_mib", "resident_mib", "step_mib")
    }


def test_failing_step_leaves_no_recording_behind(tmp_path: Path) -> None:
    model, callback = build(run_eagerly=True), MemoryCallback(trace_steps=(1,))
    train_step, calls = model.train_step, []

    def failing(data: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            raise ZeroDivisionError
        return train_step(data)

    model.train_step = failing
    with pytest.raises(ZeroDivisionError):
        fit(model, callback)
    assert callback.timelines == {}
    # Only possible because the failed recording was stopped.
    with profiling.record(tmp_path):
        pass
    fit(model, callback)
    assert callback.timelines[1].fault == ""


def test_other_recording_is_named_and_training_goes_on(tmp_path: Path) -> None:
    callback = MemoryCallback(trace_steps=(0,))
    warned = pytest.warns(UserWarning, match="no timeline of step 0: Another TensorFlow profiler")
    with profiling.record(tmp_path), warned:
        history = fit(build(), callback, epochs=2)
    assert len(history["loss"]) == 2
    assert callback.timelines == {}


def test_inexact_timeline_is_kept_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    true_trace = profiling.trace

    @contextmanager
    def faulty(*arguments: Any, **options: Any) -> Iterator[Timeline]:
        with true_trace(*arguments, **options) as timeline:
            yield timeline
        timeline.fault = "256 bytes are missing"

    monkeypatch.setattr("mem_dfa.profiling.training.callback.trace", faulty)
    callback = MemoryCallback(trace_steps=(1,))
    with pytest.warns(UserWarning, match="step 1 is not exact: 256 bytes are missing"):
        fit(build(), callback)
    assert callback.timelines[1].fault


def test_loop_that_calls_no_train_function_is_told() -> None:
    model, callback = build(), MemoryCallback(trace_steps=(0,))
    model.make_train_function()
    own = model.train_function
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_train_batch_begin(0)
    with pytest.warns(UserWarning, match=r"does not call model.train_function; use fit"):
        callback.on_train_batch_end(0)
    assert model.train_function is own


@pytest.mark.parametrize("steps", [(-1,), (1.0,), (True,), ("3",), "3", 3.5])
def test_steps_that_are_none(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"Received trace_steps=.*; give whole numbers from 0 on"):
        MemoryCallback(trace_steps=steps)


def test_folder_for_no_timelines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without trace_steps, so nothing would be saved"):
        MemoryCallback(trace_dir=tmp_path)


def test_folder_that_cannot_be_made_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    callback = MemoryCallback(trace_steps=(0,), trace_dir=tmp_path / "file")
    model = build()
    with pytest.raises(profiling.TraceError, match=r"Cannot save timelines in .*file"):
        fit(model, callback)
    assert int(model.optimizer.iterations) == 0


def test_folder_for_scalars_that_cannot_be_made_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = build()
    with pytest.raises(profiling.TraceError, match=r"Cannot write scalars into .*file"):
        fit(model, MemoryCallback(log_dir=tmp_path / "file"))
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("kind", ["tensorflow", "system"])
def test_scalars_that_cannot_be_written_end_no_training(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(None, None, "full")
    errors = {"tensorflow": full, "system": OSError(28, "full")}

    def write(*_: object, **__: object) -> None:
        raise errors[kind]

    monkeypatch.setattr("tensorflow.summary.write", write)
    callback = MemoryCallback(log_dir=tmp_path)
    with pytest.warns(UserWarning, match="the numbers of epoch 0 are not in TensorBoard: .*full"):
        history = fit(build(), callback, epochs=2)
    assert len(history["peak_mib"]) == 2
    monkeypatch.undo()
    writer = SimpleNamespace(close=write)
    monkeypatch.setattr(callback._scalars, "_writer", writer)
    with pytest.warns(UserWarning, match="not all numbers are in TensorBoard: .*full"):
        callback.on_train_end()


def test_a_recording_that_cannot_be_made_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room for it, before it begins or when it is written."""
    callback = MemoryCallback(trace_steps=(0,))
    with monkeypatch.context() as nowhere:
        nowhere.setattr("tempfile.tempdir", str(tmp_path / "gone"))
        with pytest.warns(UserWarning, match="no timeline of step 0: Cannot make a folder"):
            assert len(fit(build(), callback)["loss"]) == 1

    import tensorflow as tf

    stop = tf.profiler.experimental.stop

    def fail() -> None:
        stop()
        raise tf.errors.ResourceExhaustedError(None, None, "full")

    callback = MemoryCallback(trace_steps=(0,))
    monkeypatch.setattr(tf.profiler.experimental, "stop", fail)
    with pytest.warns(UserWarning, match="no timeline of step 0: Cannot write the recording"):
        assert len(fit(build(), callback)["loss"]) == 1
    assert callback.timelines == {}


@pytest.mark.usefixtures("quiet")
def test_a_fit_that_failed_before_its_step_leaves_nothing_waiting() -> None:
    """Not the train function of before another `compile`, and the step is still recorded."""
    import keras

    class Failing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            raise RuntimeError("before the step")

    model, callback = build(), MemoryCallback(trace_steps=(0,))
    with pytest.raises(RuntimeError, match="before the step"):
        fit(model, callback, after=[Failing()])
    own = callback._replaced
    callback.set_model(build())
    callback.on_train_begin()
    assert model.train_function is own, "it is given back where it was taken"
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.get_weights()
    fit(model, callback, steps=3)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))
    assert callback.timelines[0].title == "step 0"
