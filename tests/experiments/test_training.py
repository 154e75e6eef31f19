"""Training that was ended goes on where it was, and ends as if it had not been."""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.measure import building, training
from mem_dfa.experiments.store import trainings

from mem_dfa import ALGORITHMS
from tests.experiments.drawn import cells

LINE = "--model mlp --layers 1 --batch-size 8 --dataset synthetic --optimizer adam --epochs 4"


def cell(algorithm: str, folder: Path) -> Cell:
    (planned,) = cells(f"sweep --algo {algorithm} {LINE}")
    return trainings.resumable(folder, planned)


def rows(result: dict) -> list[dict]:
    """Without times."""
    return [{name: row[name] for name in row if "time" not in name} for row in result["history"]]


def silent(note: str, done: float) -> None:
    pass


def end_after(epoch: int) -> training.Report:
    def report(note: str, done: float) -> None:
        if re.match(rf"epoch {epoch} of \d+: test accuracy", note):
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("algorithm", ["bp", "mem_dfa"])
def test_goes_on_after_the_last_finished_epoch(algorithm: str, tmp_path: Path) -> None:
    whole = cell(algorithm, tmp_path)
    straight = training.train(replace(whole, training_file=None), silent)
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        training.train(whole, end_after(2))
    notes: list[str] = []
    resumed = training.train(whole, lambda note, done: notes.append(note))
    known = straight["history"][1]["test_accuracy"]
    assert notes[:2] == [f"goes on after epoch 2 of 4: test accuracy {known:.4f}", "epoch 3 of 4"]
    assert rows(resumed) == rows(straight)
    assert [row["epoch"] for row in rows(straight)] == [1, 2, 3, 4]
    assert len({row["train_loss"] for row in rows(straight)}) == 4
    times = [row["train_time_s"] for row in resumed["history"]]
    assert times == sorted(set(times))
    trainings.forget(whole)
    assert not list(tmp_path.iterdir())


def test_goes_on_after_its_process_was_killed(tmp_path: Path) -> None:
    # More epochs than it trains while it is being killed.
    (planned,) = cells(f"sweep --algo dfa {LINE}".replace("--epochs 4", "--epochs 15"))
    whole = trainings.resumable(tmp_path, planned)
    with pytest.raises(KeyboardInterrupt):
        worker.call("train", [whole], end_after(2))
    notes: list[str] = []
    resumed = worker.call("train", [whole], lambda note, done: notes.append(note))
    assert re.match(r"goes on after epoch ([2-9]|1[0-4]) of 15", notes[0])
    assert rows(resumed) == rows(training.train(replace(whole, training_file=None), silent))


def test_each_training_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that decides its result is in the name; another one's is neither taken nor removed."""
    first = cell("bp", tmp_path)
    prepared = tmp_path / "data" / "mnist" / "3.0.1"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").touch()
    here = {"dataset": "mnist", "data_dir": str(tmp_path / "data")}
    changes = [{"device": "GPU:0"}, {"epochs": 5}, {"seed": 1}, {"classes": 5}, here]
    changes += [{**here, "data_dir": str(tmp_path)}]
    others = [trainings.resumable(tmp_path, replace(first, **change)) for change in changes]
    metadata = trainings.importlib.metadata
    for changed in ("tensorflow", "keras"):
        with monkeypatch.context() as other:
            versions = {name: metadata.version(name) for name in ("tensorflow", "keras")}
            other.setattr(metadata, "version", (versions | {changed: "0.0"}).get)
            others.append(trainings.resumable(tmp_path, first))
    monkeypatch.setattr(trainings, "fingerprint", lambda: "other code")
    others.append(trainings.resumable(tmp_path, first))
    files = {str(made.training_file) for made in (first, *others)}
    assert len(files) == 1 + len(others)
    for file in files:
        Path(file).touch()
    left = Path(f"{first.training_file}.of_a_killed_one")
    left.touch()
    trainings.forget(first)
    assert not left.exists()
    assert {file for file in files if not Path(file).exists()} == {first.training_file}


def test_begins_anew_where_it_is_not_known_what_to_keep(tmp_path: Path) -> None:
    own = replace(cell("bp", tmp_path), algorithm="package.module:Class", training_file=None)
    assert trainings.resumable(tmp_path, own) == own
    measured = replace(cell("bp", tmp_path), epochs=0, training_file=None)
    assert trainings.resumable(tmp_path, measured) == measured
    trainings.forget(own)


def test_what_is_kept_is_all_of_it(tmp_path: Path) -> None:
    """Slots, moving means and what Dropout draws next."""
    images, labels = np.random.default_rng(0).normal(size=(8, 6)).astype("float32"), np.arange(8)

    def trainer(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Dense(8), keras.layers.BatchNormalization()]
        layers += [keras.layers.Dropout(0.5), keras.layers.Dense(8)]
        made = ALGORITHMS["bp"](keras.Sequential([keras.Input((6,)), *layers]), seed=seed)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile("adam", loss)
        return made

    first, second = trainer(1), trainer(2)
    first.train_on_batch(images, labels)
    file = tmp_path / "kept"
    told = [{"epoch": 1, "train_loss": 0.1}]
    training.save(file, first, told)
    assert training.restore(file, second) == told
    losses = [
        [float(made.train_on_batch(images, labels)) for _ in "12"] for made in (first, second)
    ]
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_what_is_damaged_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    made = ALGORITHMS["bp"](keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)]))
    made.compile("sgd", "mse")
    assert training.restore(file, made) == []
    training.save(file, made, [{"epoch": 1}])
    assert training.restore(file, made) == [{"epoch": 1}]
    before = file.read_bytes()
    file.write_bytes(before[: len(before) // 2])
    assert training.restore(file, made) == []
    file.write_bytes(before)
    assert training.restore(file, made) == [{"epoch": 1}]


def test_a_full_disk_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is lost what was kept before."""
    folder = tmp_path / "not made yet"
    whole = cell("bp", folder)
    with pytest.raises(KeyboardInterrupt):
        training.train(whole, end_after(2))
    (file,) = folder.iterdir()
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(training.train(whole, silent)["history"]) == 4
    assert list(folder.iterdir()) == [file]
    assert file.read_bytes() == before


def test_seconds_of_training_leave_out_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the callbacks move: a batch takes 1 s, a test 100 s."""
    now = 0.0
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: now))

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            nonlocal now
            now += 1

        def on_test_end(self, logs: object = None) -> None:
            nonlocal now
            now += 100

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    data = np.ones((4, 2), "float32"), np.ones((4, 2), "float32")
    (planned,) = cells(f"sweep --algo bp {LINE}")
    progress = training.Progress(planned, silent, [])
    model.fit(
        *data, validation_data=data, epochs=3, batch_size=2, verbose=0,
        callbacks=[Clock(), progress],
    )  # fmt: skip
    assert [row["train_time_s"] for row in progress.rows] == [2, 4, 6]


def test_the_rate_falls_after_half_of_all_steps_and_kernels_alone_decay() -> None:
    asked = LINE.replace("--optimizer adam", "--optimizer stepped_momentum")
    (planned,) = cells(f"sweep --algo bp {asked}")
    optimizer = building.build_trainer(planned).optimizer
    rates = []
    for step in range(40):  # four epochs of ten batches
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    expected = [0.1] * 21 + [0.01] * 10 + [0.001] * 9
    assert rates == pytest.approx(expected)
    names = ("kernel", "bias", "gamma", "beta")
    optimizer.build([keras.Variable([1.0], name=name) for name in names])
    optimizer.iterations.assign(0)
    optimizer.apply([np.zeros(1, np.float32)] * len(names))
    decayed = [float(variable.numpy()[0]) for variable in optimizer._trainable_variables]
    assert decayed == pytest.approx([1 - 0.1 * 2e-3, 1, 1, 1])


def test_data_of_the_users_own_do_not_tell_how_many_steps_there_are() -> None:
    own = Cell("bp", "mlp", dataset="mine:data", optimizer="stepped_momentum", epochs=2)
    with pytest.raises(building.RefusedError, match=r"'mine:data' does not tell: take momentum"):
        building._optimizer(own)
    assert float(building._optimizer(replace(own, epochs=0)).learning_rate) == pytest.approx(0.1)
