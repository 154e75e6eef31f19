"""Peers train as Keras does, and the bench puts times and bytes beside each other."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mem_dfa.experiments import bench
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.measure import peers
from mem_dfa.experiments.store import results

import mem_dfa
from tests.experiments.meter import good

BATCH = np.random.default_rng(0).normal(size=(16, 6)).astype("float32"), np.arange(16) % 3


def chain(*extra: keras.layers.Layer) -> keras.Sequential:
    """Four dense layers; `extra` ones stand in the first segment."""
    keras.utils.set_random_seed(0)  # before layers, which draw seeds as they are made
    body = [keras.layers.Dense(8), *extra, keras.layers.ReLU()]
    for _ in range(2):
        body += [keras.layers.Dense(8), keras.layers.Activation("tanh")]
    return keras.Sequential([keras.Input((6,)), *body, keras.layers.Dense(3)])


def train(
    algorithm: Callable[..., keras.Model], network: keras.Model, steps: int, execution: str
) -> tuple[keras.Model, list[float]]:
    """The trained network, and the loss of each step."""
    trainer = algorithm(network)
    trainer.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=execution == "eager",
        jit_compile=execution == "xla",
    )
    return trainer.network, [float(trainer.train_on_batch(*BATCH)) for _ in range(steps)]


@pytest.mark.parametrize("execution", ["graph", "eager", "xla"])
@pytest.mark.parametrize("name", catalogue.PEERS)
def test_a_step_is_that_of_keras(name: str, execution: str) -> None:
    before = chain().get_weights()
    expected, _ = train(mem_dfa.BP, chain(), 1, execution)
    trained, _ = train(catalogue.PEERS[name].load(), chain(), 1, execution)
    for old, one, other in zip(before, expected.get_weights(), trained.get_weights(), strict=True):
        change = np.linalg.norm(one - old)
        assert np.linalg.norm(other - one) <= 1e-5 * change


@pytest.mark.parametrize("name", catalogue.PEERS)
def test_the_loss_falls(name: str) -> None:
    _, losses = train(catalogue.PEERS[name].load(), chain(), 12, "graph")
    assert losses[-1] < 0.8 * losses[0]


def test_normalisation_moves_twice_when_it_runs_again() -> None:
    """What the bench says of `tf.recompute_grad`."""
    means = [
        train(algorithm, chain(keras.layers.BatchNormalization()), 1, "graph")[0].layers[1]
        for algorithm in (mem_dfa.BP, peers.RecomputeGrad)
    ]
    once, twice = (np.asarray(layer.moving_mean) for layer in means)
    np.testing.assert_allclose(twice, once * (1 - 0.99**2) / (1 - 0.99), rtol=1e-4)


def test_segments_are_cut_before_weights() -> None:
    network = mem_dfa.MODELS["conv20"](layers=8, input_shape=(4, 4, 3))
    lengths = [sum(bool(x.weights) for x in part) for part in peers.segments(network)]
    assert lengths == [3, 3, 3]
    assert all(part[0].weights for part in peers.segments(network))


def test_only_a_sequential_is_cut_into_segments() -> None:
    network = mem_dfa.MODELS["resnet32"](layers=1)
    with pytest.raises(mem_dfa.UnsupportedError, match=r"'resnet32' is no keras\.Sequential"):
        peers.RecomputeGrad(network)


def test_layers_called_with_training_stay_outside_of_the_scope() -> None:
    copied = peers.RematScope(chain()).network
    modes = {type(layer).__name__: layer._remat_mode.mode for layer in copied.layers}
    assert modes == {"Dense": None, "ReLU": "full", "Activation": "full"}


def test_times_and_bytes_of_a_small_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(cell: Cell, *_: Any) -> tuple[dict[str, Any], list]:
        return good(cell, step_bytes=3 * 2**19, step_requested_bytes=2**20), []

    monkeypatch.setattr(processes, "check", lambda cells, report: cells)
    monkeypatch.setattr(processes, "measure", measure)
    line = ["--algo", "recompute_grad", "--model", "mlp", "--dataset", "synthetic"]
    line += ["--layers", "1", "--batch-size", "8", "--out", str(tmp_path)]
    assert bench.main(line) == 0
    with (tmp_path / "tables" / "bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["algorithm"] for row in rows] == ["bp", "recompute_grad"]
    assert float(rows[0]["ratio_to_bp"]) == 1
    for row in rows:
        assert row["status"] == "ok"
        assert float(row["min_s"]) <= float(row["median_s"]) <= float(row["max_s"])
        assert int(row["step_bytes"]) == 3 * 2**19
    text = (tmp_path / "tables" / "bench.md").read_text()
    assert text.startswith(bench.PEERS_NOTE)
    assert text.count("| mlp | 1 | 8 | graph |") == text.count("| 1.5 | 1.0 |") == 2
    assert "recompute_grad" in capsys.readouterr().out
    assert len(results.read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--algo", "remat"], "'remat' is not an algorithm"),
        (["--model", "resnet"], "'resnet' is not a model"),
        (["--repeats", "0"], "from 1 to"),
        (["--out", "/dev/null/below"], "cannot be written"),
    ],
)
def test_bad_value_gets_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--model", "mlp", "--dataset", "synthetic", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert part in lines[0]


def test_turns_of_all_processes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]]])
    monkeypatch.setattr(
        worker, "call", lambda *_: {"status": "ok", "error": None, "seconds": next(answers)}
    )
    cells = [Cell(name, "mlp", 1) for name in ("bp", "dfa")]
    assert bench.take_turns(cells)["seconds"] == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]


def test_a_process_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"status": "ok", "error": None, "seconds": [[1.0]]}, {"status": "killed"}])
    monkeypatch.setattr(worker, "call", lambda *_: next(answers))
    assert bench.take_turns([Cell("bp", "mlp", 1)]) == {"status": "killed"}
