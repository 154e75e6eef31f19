"""Training that was ended goes on where it was, and ends as if it had not been."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from experiments import histories, training, training_state
from experiments.plan import Cell
from mem_dfa import ALGORITHMS
from tests.experiments.drawn import cells

LINE = "--model mlp --layers 1 --batch-size 8 --dataset synthetic --optimizer adam --epochs 4"


def cell(algorithm: str, folder: Path) -> Cell:
    (planned,) = cells(f"sweep --algo {algorithm} {LINE}")
    return histories.resumable(folder, planned)


def rows(result: dict) -> list[dict]:
    """Without times."""
    return [{name: row[name] for name in row if "time" not in name} for row in result["history"]]


def silent(note: str, done: float) -> None:
    pass


def end_after(epoch: int) -> training.Report:
    def report(note: str, done: float) -> None:
        if note.startswith(f"epoch {epoch} of 4: test accuracy"):
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
    assert notes[0] == "epoch 3 of 4"
    assert rows(resumed) == rows(straight)
    assert [row["epoch"] for row in rows(straight)] == [1, 2, 3, 4]
    assert len({row["train_loss"] for row in rows(straight)}) == 4
    times = [row["train_time_s"] for row in resumed["history"]]
    assert times == sorted(set(times))

    # A shorter one is known by now, and what was trained beyond it stays.
    shorter = training.train(replace(whole, epochs=3), silent)
    assert shorter["accuracy"] == straight["history"][2]["test_accuracy"]
    assert rows(shorter) == rows(straight)

    written = histories.file_of(tmp_path, {**vars(whole), "layers": 1})
    histories.write(tmp_path, {**vars(whole), "layers": 1}, resumed["history"])
    assert {file.suffix for file in tmp_path.iterdir()} <= {".csv", ".lock"}
    assert written.exists()


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
    training_state.save(file, first, told)
    assert training_state.restore(file, second) == told
    losses = [
        [float(made.train_on_batch(images, labels)) for _ in "12"] for made in (first, second)
    ]
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_what_does_not_fit_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trainer(units: int) -> keras.Model:
        made = ALGORITHMS["bp"](keras.Sequential([keras.Input((6,)), keras.layers.Dense(units)]))
        made.compile("sgd", "mse")
        return made

    file = tmp_path / "kept"
    made = trainer(4)
    assert training_state.restore(file, made) == []
    training_state.save(file, made, [{"epoch": 1}])
    assert training_state.restore(file, made) == [{"epoch": 1}]
    before = file.read_bytes()
    other = trainer(5)
    weights = other.get_weights()
    assert training_state.restore(file, other) == []
    file.write_bytes(before[: len(before) // 2])
    assert training_state.restore(file, made) == []
    file.write_bytes(before)
    monkeypatch.setattr(training_state.keras, "__version__", "another")
    assert training_state.restore(file, made) == []
    assert all((a == b).all() for a, b in zip(weights, other.get_weights(), strict=True))


def test_a_full_disk_does_not_end_it(tmp_path: Path) -> None:
    planned = replace(cell("bp", tmp_path), epochs=1, training_file=str(tmp_path / "no" / "kept"))
    assert len(training.train(planned, silent)["history"]) == 1
