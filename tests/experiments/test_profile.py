"""`mem-dfa profile run`: a script from a terminal, and what each algorithm would take for it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from mem_dfa.experiments import profile
from mem_dfa.experiments.measure import predicting
from mem_dfa.experiments.report import prediction_table
from mem_dfa.profiling.render import summary
from mem_dfa.profiling.training.script_step import RecordedStep

import mem_dfa
from mem_dfa import profiling, registry
from tests.profiling.drawn import small

layers = keras.layers
SCRIPT = """
import os, sys
assert "tensorflow" not in sys.modules and "numpy" not in sys.modules
with open("imported", "a") as file: file.write(f"{sys.argv[1:]}\\n")
import tensorflow as tf
import keras
model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(512, activation="relu"),
                          keras.layers.Dense(512, activation="relu"), keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss)
model.fit(tf.ones([1024, 16]), tf.zeros([1024]), batch_size=256, verbose=0)
sys.exit(4)
"""


@pytest.mark.slow
def test_a_script_from_a_terminal(tmp_path: Path) -> None:
    """Its status is kept, nothing is imported before it, no line of TensorFlow's is shown."""
    (tmp_path / "train.py").write_text(SCRIPT)
    words = ("--out", "seen", "train.py", "--", "--out", "its own", "--", "--help")
    done = subprocess.run(
        [sys.executable, "-m", "mem_dfa.experiments", "profile", "run", *words],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.strip() == (
        "recorded: train.py, step 3; the summary follows when the script ends, or Ctrl-C ends it"
    )
    assert (tmp_path / "imported").read_text() == f"{[*words[3:]]}\n"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "What a step at batches of 256 would take" in done.stdout
    peaks = dict(re.findall(r"^│ (\w[\w ]+?) +│ +([\d.]+) │ +[\d.]+ │", done.stdout, re.MULTILINE))
    timeline = profiling.Timeline.load(tmp_path / "seen/train-step-3.timeline.json.gz")
    shown = summary.mebibytes(timeline.peak_bytes, timeline.peak_bytes)
    assert float(peaks.pop("as recorded")) == pytest.approx(float(shown), abs=0.05)
    # They need reversible blocks, convolutions and a device beside the host.
    without = ("revnet", "xconv", "offload")
    assert list(peaks) == [name for name in registry.ALGORITHMS if name not in without]
    # Plain `fit` is bp, whose weights, optimizer slots and batch are there before the step.
    # What `fit` fetches ahead is more where the machine has much to do.
    assert float(peaks["bp"]) == pytest.approx(timeline.peak_bytes / 2**20, rel=0.3)
    assert (tmp_path / "seen/train-step-3.html").exists()


def net(*more: Any) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(32, "relu"), *more, layers.Dense(4)], name="own"
    )
    model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    return model


def predictions(model: keras.Model) -> dict[str, predicting.Prediction]:
    told: list[str] = []
    found = predicting.predictions(model, 64, lambda note, done: told.append(note))
    assert told == [one.algorithm for one in found] == list(registry.ALGORITHMS)
    return {one.algorithm: one for one in found}


def test_predictions_are_those_of_the_trainers() -> None:
    model = net()
    found = predictions(model)
    assert found["bp"].step_bytes == mem_dfa.predict(model, 64).step_bytes
    trainer = mem_dfa.MemDFA(model)
    trainer.compile(model.optimizer, model.loss)
    assert found["mem_dfa"].step_bytes == trainer.predict_step_bytes(64)
    # Four output errors times 32 units.
    assert found["dfa"].feedback_bytes == 4 * 32 * 4
    assert found["revnet"].step_bytes is None
    assert found["revnet"].reason == "found no ReversibleBlock in model 'own'"
    # A model that an algorithm trains already is asked for its network.
    assert predictions(trainer) == found
    assert predicting.feedback_bytes(trainer) == 4 * 32 * 4
    assert predicting.feedback_bytes(model) == 0


class Own(keras.Model):
    """Whose train step nobody else runs."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class Failing(layers.Layer):
    """Of a user, that cannot be run again."""

    def get_config(self) -> Any:
        raise RuntimeError("no configuration")

    def call(self, x: Any) -> Any:
        return x + 0.0


def test_what_cannot_be_trained_or_known_says_so_in_a_few_words() -> None:
    inputs = keras.Input((16,))
    own = Own(inputs, layers.Dense(4)(inputs), name="own")
    own.compile("sgd", "mse")
    said = "received model 'own' with training of its own, which a trainer around it does not run"
    assert all(one.reason.startswith(said) for one in predictions(own).values())
    normalised = predictions(net(layers.BatchNormalization(name="norm")))["microbatch"].reason
    assert "layer 'norm' (BatchNormalization) needs the statistics" in normalised
    sequences = keras.Sequential([keras.Input((None, 16)), layers.Dense(4)])
    sequences.compile("sgd", "mse")
    assert predictions(sequences)["bp"].reason == "its bytes are not known from shapes"
    for one in predictions(net(Failing())).values():
        assert (one.step_bytes is None) == bool(one.reason)
        assert len(one.reason) <= predicting.REASON_WIDTH


def test_a_batch_of_unknown_size_is_told(tmp_path: Path) -> None:
    step = RecordedStep(small(), tmp_path / "unused", net(), None)
    (said,) = profile._foretell(step)
    assert str(said).startswith("No predictions: ")


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "layer of a long name " * 5
    found = [
        predicting.Prediction("bp", 3 * 2**20),
        predicting.Prediction("mem_dfa", 2**20, 2**19),
        predicting.Prediction("checkpoint_fa", None, reason=reason),
        predicting.Prediction("revnet", None, reason=reason),
    ]
    recorded = small()
    summary.console().print(prediction_table.table(found, 64, recorded, 512))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    rows = [re.findall(r"[^│\s]+", line) for line in printed.splitlines() if "│" in line]
    # 512 bytes were resident, all of them feedback.
    assert ["bp", "3.00", "3.00"] in rows
    assert ["mem_dfa", "1.50", "1.00"] in rows
    assert ["revnet", "-", "-", "as", "above"] in rows
