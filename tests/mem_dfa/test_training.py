"""The trainer's contract: what a Keras user does with any model works with every algorithm."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from mem_dfa import ALGORITHMS, BP, DFA, MODELS, Algorithm, Checkpoint, MemDFA
from mem_dfa.feedback.matrices import KINDS
from tests.mem_dfa.comparison import blobs, distance, small_network
from tests.mem_dfa.table import STEPS, TABLE, reversible, trainer_by

LOSS = "sparse_categorical_crossentropy"


def trainer_of(name: str, net: keras.Model | None = None, **how) -> Algorithm:  # noqa: ANN003
    trainer = trainer_by(name, net or small_network(name), seed=1)
    how = {"optimizer": keras.optimizers.Adam(0.01), "loss": LOSS, "metrics": ["accuracy"], **how}
    trainer.compile(**{"jit_compile": False, **how})
    return trainer


def traced_for_one(name: str) -> dict[str, bool]:
    """What is not for the graph to decide needs no trace for each algorithm."""
    return {"run_eagerly": name != "mem_dfa"}


@pytest.mark.parametrize("name", STEPS)
def test_fit_learns_with_validation_and_metrics(name: str) -> None:
    trainer = trainer_of(name)
    x, y = blobs(480)
    history = trainer.fit(x, y, validation_data=(x, y), batch_size=24, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_accuracy"][-1] > TABLE[name].learns
    assert int(trainer.optimizer.iterations) == 3 * 20
    assert trainer.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > TABLE[name].learns
    np.testing.assert_array_equal(
        trainer.predict(x, verbose=0), trainer.network.predict(x, verbose=0)
    )


@pytest.mark.parametrize("name", STEPS)
def test_sample_and_class_weights_count(name: str) -> None:
    x, y = blobs(24)
    changes = []
    trainer = trainer_of(name, optimizer=keras.optimizers.SGD(0.1), **traced_for_one(name))
    before = trainer.get_weights()  # what an algorithm learns beside the network, too
    for weights in (
        {"sample_weight": np.where(y == 1, 0.5, 2.0)},
        {"class_weight": {0: 2.0, 1: 0.5, 2: 2.0}},
        {},
    ):
        trainer.set_weights(before)
        trainer.fit(x, y, batch_size=24, shuffle=False, verbose=0, **weights)
        after = trainer.get_weights()
        changes.append(
            np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])
        )
    np.testing.assert_allclose(changes[0], changes[1], rtol=1e-4, atol=1e-7)
    assert np.linalg.norm(changes[0] - changes[2]) > 0.1 * np.linalg.norm(changes[2])


@dataclass
class Whole:
    """Four epochs of an algorithm that nothing interrupts."""

    name: str
    trainer: Algorithm
    epochs: list[list[np.ndarray]]
    """The trainer's weights after each."""
    saved: Path
    """Those of the last, by Keras's callback."""


IN_ORDER = {"shuffle": False, "verbose": 0}


# Of every way to take a step, and of every signal that is learned or drawn by step.
@pytest.fixture(scope="module", params=[*STEPS, "arbp", "asrbp", "brsf"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    trainer, epochs = trainer_of(request.param, **traced_for_one(request.param)), []
    path = tmp_path_factory.mktemp("whole") / "last.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, save_weights_only=True),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: epochs.append(trainer.get_weights())
        ),
    ]
    trainer.fit(*blobs(32), epochs=4, callbacks=callbacks, **IN_ORDER)
    return Whole(request.param, trainer, epochs, path)


def test_training_resumes_after_save_and_load_with_the_same_feedback(
    whole: Whole, tmp_path: Path
) -> None:
    path = tmp_path / "trainer.keras"
    trainer = trainer_of(whole.name, **traced_for_one(whole.name))
    trainer.fit(*blobs(32), **IN_ORDER)
    trainer.save(path)
    loaded = keras.saving.load_model(path)
    assert type(loaded) is type(trainer)
    loaded.fit(*blobs(32), **IN_ORDER)
    trainer.fit(*blobs(32), **IN_ORDER)
    for one in (loaded, trainer):
        assert int(one.optimizer.iterations) == 2
        for ours, theirs in zip(whole.epochs[1], one.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert loaded.feedback_bytes == trainer.feedback_bytes


def test_checkpoints_carry_the_feedback(whole: Whole) -> None:
    other = trainer_by(whole.name, small_network(whole.name), seed=99)
    other.load_weights(whole.saved)
    for ours, theirs in zip(whole.trainer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("whole", STEPS, indirect=True)
def test_a_crashed_fit_goes_on_from_its_backup(whole: Whole, tmp_path: Path) -> None:
    x, y = blobs(32)
    how = traced_for_one(whole.name)
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(whole.name, **how).fit(x, y, epochs=4, callbacks=[backup, Crash()], **IN_ORDER)
    # The seed's feedback gives way to the backup's.
    resumed = trainer_by(whole.name, small_network(whole.name), seed=99)
    resumed.compile(
        keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"], jit_compile=False, **how
    )
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    resumed.fit(x, y, epochs=4, callbacks=[backup], **IN_ORDER)
    iterations = [int(one.optimizer.iterations) for one in (resumed, whole.trainer)]
    assert iterations == [4, 4]
    for ours, theirs in zip(whole.epochs[3], resumed.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("feedback", KINDS)
def test_layers_may_be_frozen_before_saving(feedback: str, tmp_path: Path) -> None:
    """The matrices are those of the blocks that could be trained when they were drawn."""
    body = [keras.layers.Dense(8, name="first"), keras.layers.Dense(8)]
    net = keras.Sequential([keras.Input((6,)), *body, keras.layers.Dense(3, "softmax")])
    trainer, data = MemDFA(net, feedback=feedback), blobs(32)
    for trainable in (True, False):
        net.get_layer("first").trainable = trainable
        trainer.compile("sgd", LOSS, jit_compile=False)
        trainer.fit(*data, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.models.load_model(tmp_path / "trainer.keras")
    for one in (trainer, loaded):
        one.fit(*data, verbose=0, shuffle=False)
    for expected, got in zip(trainer.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


class OwnModel(keras.Model):
    """A subclass, which says nothing of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(3, activation="softmax")

    def call(self, inputs: object) -> object:
        return self.dense(inputs)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row.opens])
def test_a_subclass_of_model_has_metrics_too(name: str) -> None:
    net, data = OwnModel(), blobs(16)
    net(data[0])
    assert "accuracy" in trainer_of(name, net).fit(*data, verbose=0).history


def test_the_users_own_model_is_trained_and_saved(tmp_path: Path) -> None:
    net = small_network()
    before = net.get_weights()
    x, y = blobs(48)
    trainer_of("mem_dfa", net).fit(x, y, verbose=0)
    net.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    assert isinstance(loaded, keras.Sequential)
    for old, new, again in zip(before, net.get_weights(), loaded.get_weights(), strict=True):
        assert not np.array_equal(old, new)
        np.testing.assert_array_equal(new, again)


@pytest.mark.parametrize("name", STEPS)
def test_frozen_layers_are_passed_through(name: str) -> None:
    net = small_network(name)
    first, second = net.get_layer("first"), net.get_layer("second")
    first.trainable = False
    frozen, free = first.get_weights(), second.get_weights()
    x, y = blobs(48)
    trainer_of(name, net, **traced_for_one(name)).fit(x, y, verbose=0)
    for old, new in zip(frozen, first.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(free[0], second.get_weights()[0])


def test_a_layer_unfrozen_inside_a_frozen_wrapper_is_trained_as_by_keras() -> None:
    x, y = blobs(8)
    weights = []
    for wrap in (lambda net: net, Checkpoint):
        keras.utils.set_random_seed(0)
        inner = keras.layers.Dense(4)
        wrapper = keras.layers.TimeDistributed(inner)
        layers = [keras.layers.Reshape((2, 3)), wrapper, keras.layers.Flatten()]
        net = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(3, "softmax")])
        wrapper.trainable, inner.trainable = False, True
        trainer = wrap(net)
        trainer.compile("sgd", LOSS, run_eagerly=True)
        before = inner.get_weights()
        trainer.train_on_batch(x, y)
        weights.append(net.get_weights())
        assert not np.array_equal(before[0], inner.get_weights()[0])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def mobile_nets() -> dict[str | None, keras.Model]:
    """The same net ending in softmax and in logits; making 154 layers takes its time."""
    nets = {}
    for activation in ("softmax", None):
        keras.utils.set_random_seed(0)
        nets[activation] = keras.applications.MobileNetV2(
            weights=None,
            input_shape=(32, 32, 3),
            classes=4,
            alpha=0.35,
            classifier_activation=activation,
        )
    return nets


# Block by block without and with a chain of gradients.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "oracle"), [("mem_dfa", DFA), ("checkpoint", BP)])
def test_keras_applications_learn_with_their_own_softmax(
    name: str, oracle: type[Algorithm], mobile_nets: dict[str | None, keras.Model]
) -> None:
    """Beside the first step of one that runs every layer once, on logits."""
    y = np.arange(8) % 4
    x = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
    x += 2 * y[:, None, None, None]
    changes = []
    for make, activation in ((oracle, None), (ALGORITHMS[name], "softmax")):
        net = mobile_nets[activation]
        trainer = make(net, **({} if make is BP else {"seed": 1}))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
        trainer.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
        start = net.get_weights()
        losses = [trainer.train_on_batch(x, y)]
        changes.append([new - old for new, old in zip(net.get_weights(), start, strict=True)])
        if activation == "softmax":
            losses += [trainer.train_on_batch(x, y) for _ in range(5)]
        net.set_weights(start)
    assert distance(*changes) < 1e-4
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", STEPS)
def test_one_input_may_come_in_a_list_or_dictionary(name: str) -> None:
    x, y = blobs(8)
    weights = []
    for batch in (x, [x], {"inputs": x}):
        inputs = keras.Input((6,), name="inputs")
        keras.utils.set_random_seed(0)
        hidden = keras.layers.Dense(6, activation="tanh")(inputs)
        for layer in reversible(name, 6):
            hidden = layer(hidden)
        net = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
        trainer = trainer_of(name, net, optimizer=keras.optimizers.SGD(0.1), **traced_for_one(name))
        for _ in range(2):
            trainer.train_on_batch(batch, y)
        weights.append(net.get_weights())
    for one, *others in zip(*weights, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)


def test_recurrent_nets_train_alike_under_dfa_and_mem_dfa() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(8, 5, 6)).astype("float32"), generator.integers(3, size=8)
    weights = []
    for make in (DFA, MemDFA):
        keras.utils.set_random_seed(0)
        net = keras.Sequential(
            [
                keras.Input((5, 6)),
                keras.layers.LSTM(7, return_sequences=True, dropout=0.3, seed=1),
                keras.layers.GRU(4, recurrent_dropout=0.2, seed=2),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        trainer = make(net)
        trainer.compile(keras.optimizers.SGD(0.1), LOSS, jit_compile=False)
        for _ in range(3):
            trainer.train_on_batch(x, y)
        weights.append(net.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_seed_fixes_the_feedback() -> None:
    one, same, other = (
        [
            v.numpy()
            for v in DFA(small_network(), seed=seed).variables
            if v.name.startswith("feedback")
        ]
        for seed in (1, 1, 2)
    )
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert not np.array_equal(one[0].ravel()[:30], one[1].ravel()[:30])


def test_a_keras_initializer_is_drawn_anew_for_each_block() -> None:
    net = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(5) for _ in range(3)]])
    trainer = DFA(net, feedback_initializer=keras.initializers.RandomNormal(seed=3))
    one, two = (v.numpy() for v in trainer.variables if v.name.startswith("feedback"))
    assert one.shape == two.shape == (5, 5)
    assert not np.allclose(one, two)


def test_feedback_bytes_are_those_of_the_matrices() -> None:
    # vgg16, ten classes: 10 × the units of the fifteen hidden blocks.
    widths = [65536, 16384, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 2048, 2048, 512]
    assert MemDFA(MODELS["vgg16"]()).feedback_bytes == 4 * 10 * (sum(widths) + 2 * 4096)
    assert ALGORITHMS["bp"](MODELS["mlp"]()).feedback_bytes == 0
