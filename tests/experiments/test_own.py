"""Models, data and algorithms of the user's own, as commands take them."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from mem_dfa.experiments import run
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.worker import silent
from mem_dfa.experiments.measure import building, own

MINE = """
import keras, mem_dfa, numpy as np, tensorflow as tf

def build(layers=2, seed=0):
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(6, activation="relu") for _ in range(layers)]
    return keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(3)])

def words():
    net = keras.Sequential([
        keras.Input((5,), dtype="int32"), keras.layers.Embedding(7, 2), keras.layers.Flatten(),
        keras.layers.Dense(1)])
    net.compile("sgd", "mse")
    return net

def two():
    first, second = keras.Input((4,)), keras.Input((2,), dtype="int32")
    joined = keras.layers.concatenate([first, keras.ops.cast(second, "float32")])
    net = keras.Model([first, second], keras.layers.Dense(3, activation="softmax")(joined))
    net.compile("sgd", "categorical_crossentropy")
    return net

def data(batch_size):
    x, y = np.ones((20, 4), "float32"), np.arange(20, dtype="int32") % 3
    whole = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size, drop_remainder=True)
    return whole, whole.take(1)

def others(batch_size):
    return data(batch_size)[0].map(lambda x, y: (tf.concat([x, x], 1), y))

def number(): return 3
def unbuilt(): return keras.Sequential([keras.layers.Dense(3)])
def failing(): raise RuntimeError("no disk today")

class Own(mem_dfa.BP):
    def __init__(self, network, strength=1.0, **details):
        super().__init__(network, **details)
        self.strength = strength
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of the user's, in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").write_text(MINE)
    return "mine.py"


def cell(name: str, **changes: Any) -> Cell:
    return Cell("bp", name, batch_size=4, device="CPU:0", steps=2, **changes)


def test_a_function_is_given_what_it_has_parameters_for(mine: str) -> None:
    assert len(own.model(cell(f"{mine}:build", layers=3)).layers) == 4
    with pytest.raises(building.RefusedError) as refused:
        own.model(cell(f"{mine}:words", layers=3))
    assert str(refused.value) == (
        f"--model '{mine}:words' takes no layers: give it such a parameter, or leave out "
        "--layers and --over layers"
    )


def test_files_of_one_name_are_told_apart(mine: str, tmp_path: Path) -> None:
    """One process may build the models of several cells."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text(MINE.replace("layers=2", "layers=5"))
    first, second = (own.model(cell(f"{place}:build")) for place in (mine, "other/mine.py"))
    assert (len(first.layers), len(second.layers)) == (3, 6)


def test_batches_have_the_models_shapes_and_dtypes(mine: str) -> None:
    words, labels = building.first_batch(cell(f"{mine}:words"))
    assert (words.shape, words.dtype, labels.shape) == ((4, 5), np.int32, (4, 1))
    assert words.min() >= 0
    assert words.max() < 7
    (first, second), labels = building.first_batch(cell(f"{mine}:two"))
    assert (first.shape, second.shape, second.dtype) == ((4, 4), (4, 2), np.int32)
    np.testing.assert_array_equal(labels.sum(axis=1), np.ones(4))
    _, labels = building.first_batch(cell(f"{mine}:build"))  # logits of three classes
    assert labels.dtype == np.int32
    assert set(labels) <= {0, 1, 2}


@pytest.mark.parametrize("name", ["build", "words", "two"])
def test_they_are_stepped_on(name: str, mine: str) -> None:
    asked = cell(f"{mine}:{name}")
    trainer = building.build_trainer(asked)
    logs = trainer.train_on_batch(*building.held(building.first_batch(asked)), return_dict=True)
    assert np.isfinite(logs["loss"])


def test_data_of_ones_own(mine: str) -> None:
    asked = cell(f"{mine}:build", dataset=f"{mine}:data")
    inputs, _ = building.first_batch(asked)
    np.testing.assert_array_equal(inputs, np.ones((4, 4)))
    train, test = building.splits(asked)
    assert (len(list(train)), len(list(test))) == (5, 1)
    assert isinstance(train, tf.data.Dataset)
    with pytest.raises(building.RefusedError, match="give --data"):
        building.splits(cell(f"{mine}:build"))


def test_data_that_do_not_suit_the_model_are_refused(mine: str) -> None:
    with pytest.raises(building.RefusedError, match=r"of shape \(8,\), and model .* \(4,\)"):
        building.build_trainer(cell(f"{mine}:build", dataset=f"{mine}:others"))
    few = dataclasses.replace(cell(f"{mine}:build", dataset=f"{mine}:data"), batch_size=21)
    with pytest.raises(building.RefusedError, match="no batch of 21"):
        building.first_batch(few)


def test_an_algorithm_of_ones_own_takes_its_options(mine: str) -> None:
    asked = dataclasses.replace(
        cell(f"{mine}:build"), algorithm=f"{mine}:Own", options={"strength": "0.5"}
    )
    assert building.build_trainer(asked).strength == 0.5


def test_a_saved_model_is_measured(mine: str, tmp_path: Path) -> None:
    own.named(f"{mine}:build", "--model")().save("net.keras")
    row, _ = processes.measure(cell("net.keras"), silent, repeats=1)
    assert (row["status"], row["layers"]) == ("ok", None)
    assert row["step_bytes"] > 0


def test_what_is_unsafe_is_refused(tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    net.save(tmp_path / "unsafe.keras")
    with pytest.raises(building.RefusedError, match=r"safe mode; give file\.py:function"):
        own.model(cell(str(tmp_path / "unsafe.keras")))
    (tmp_path / "damaged.keras").write_text("no archive")
    with pytest.raises(building.RefusedError, match="cannot be loaded"):
        own.model(cell(str(tmp_path / "damaged.keras")))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("gone", "has no attribute 'gone'"),
        ("number", "gave int"),
        ("unbuilt", "is not built; begin it with a keras.Input"),
        ("failing", "no disk today"),
    ],
)
def test_no_model_is_one_sentence(name: str, part: str, mine: str) -> None:
    with pytest.raises(building.RefusedError) as refused:
        own.model(cell(f"{mine}:{name}"))
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "mine.txt"], "'mine.txt' is not a model or package.module:name"),
        (["--model", "mine.py:build", "--data", "mine"], "'mine' is no name"),
        (["--model", "mine.py:build", "--option", "a=1"], "--option is for algorithms of your own"),
        (["--model", "mine.py:build", "--option", "a"], "take name=value"),
        (["--model", "mine.py:number"], "gave int"),
    ],
)
def test_bad_words_get_one_sentence(
    words: list[str], part: str, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--algo", "bp", *words, "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line
    assert not Path("out").exists()
