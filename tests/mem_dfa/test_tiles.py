"""Row tiles: the step of every elementwise optimizer, and that no tensor is as wide as a kernel."""

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import MemDFA
from mem_dfa.memory import batch_slices
from mem_dfa.optimizer import wide_kernel
from mem_dfa.optimizer.step import tiled_layers
from mem_dfa.shapes import row_tiles
from tests.mem_dfa.comparison import LOSS, LOSS_FLOAT64, recorded

optimizers = keras.optimizers
Make = Callable[[], keras.optimizers.Optimizer]

TILED: dict[str, Make] = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "centered": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.9),
    "adagrad": lambda: optimizers.Adagrad(0.01),
    "adadelta": lambda: optimizers.Adadelta(0.1),
    "adamax": lambda: optimizers.Adamax(0.01),
    "lion": lambda: optimizers.Lion(0.01, weight_decay=0.1),
    "ftrl": lambda: optimizers.Ftrl(
        0.1, l1_regularization_strength=0.01, l2_shrinkage_regularization_strength=0.1, beta=0.1
    ),
    "clipvalue": lambda: optimizers.Adam(0.01, clipvalue=1e-3),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)),
    "loss_scale": lambda: optimizers.SGD(0.1, loss_scale_factor=8.0),
}
IN_GRAPH = ("nesterov", "amsgrad", "schedule", "ftrl")
WHOLE: dict[str, Make] = {
    "lamb": lambda: optimizers.Lamb(),
    "adafactor": lambda: optimizers.Adafactor(),
    "muon": lambda: optimizers.Muon(),
    "nadam": lambda: optimizers.Nadam(),
    "clipnorm": lambda: optimizers.SGD(clipnorm=1.0),
    "global_clipnorm": lambda: optimizers.SGD(global_clipnorm=1.0),
    "ema": lambda: optimizers.Adam(use_ema=True),
    "accumulation": lambda: optimizers.Adam(gradient_accumulation_steps=2),
    "loss_scaling": lambda: optimizers.LossScaleOptimizer(optimizers.SGD()),
}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tile the tests' small kernels: three rows of 24 float64 values, so that a rest remains."""
    monkeypatch.setattr(row_tiles, "TILED_FROM_BYTES", 1024)
    monkeypatch.setattr(row_tiles, "TILE_BYTES", 3 * 24 * 8)
    monkeypatch.setattr(row_tiles, "HELD_TILES", 2)


def network(**dense: object) -> keras.Sequential:
    """Two wide layers, one with its activation and bias, and a classifier that is not wide."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.Flatten(),
            layers.Dense(24, activation="tanh", **dense),
            layers.Dense(24, use_bias=False, **dense),
            layers.ReLU(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def trained(
    model: keras.Model, make: Make, steps: int = 3, dtype: str = "float64", **how: object
) -> MemDFA:
    generator = np.random.default_rng(0)
    trainer = MemDFA(model)
    loss = LOSS_FLOAT64 if dtype == "float64" else LOSS
    loss = type(loss)(from_logits=False, dtype=dtype)
    trainer.compile(make(), loss, **{"jit_compile": False, **how})
    shape = model.input_shape[1:]
    for _ in range(steps):
        x = generator.normal(size=(8, *shape)).astype(dtype)
        trainer.train_on_batch(x, generator.integers(3, size=8))
    return trainer


def tiled(trainer: MemDFA) -> list[str]:
    """The units of the layers whose kernels are updated in tiles."""
    return [
        layer.name
        for block in trainer.chain.blocks
        for layer in tiled_layers(block, trainer.optimizer)
    ]


@cache
def whole(build: Callable[[], keras.Model], make: Make) -> tuple[list[np.ndarray], ...]:
    """Weights before, after, and the optimizer's variables of a training without tiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_tiles, "TILED_FROM_BYTES", 2**40)
        trainer = trained(build(), make, run_eagerly=True)
        assert tiled(trainer) == []
    slots = [variable.numpy() for variable in trainer.optimizer.variables]
    return build().get_weights(), trainer.network.get_weights(), slots


def same_as_whole(build: Callable[[], keras.Model], make: Make, **how: object) -> MemDFA:
    """Train in tiles and whole from the same start; every weight and slot must agree."""
    start, weights, slots = whole(build, make)
    ours = trained(build(), make, **how)
    for got, wanted, before in zip(ours.network.get_weights(), weights, start, strict=True):
        assert np.linalg.norm(wanted - before) > 0
        assert np.linalg.norm(got - wanted) <= 1e-12 * np.linalg.norm(wanted - before)
    for got, wanted in zip(ours.optimizer.variables, slots, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-10, atol=1e-15)
    return ours


# In a graph those with decay, with a slot more, with a rate of its own, with options of its own.
@pytest.mark.parametrize(
    ("name", "execution"),
    [*((name, "eager") for name in TILED), *((name, "graph") for name in IN_GRAPH)],
)
@pytest.mark.usefixtures("float64", "small_tiles")
def test_a_step_in_tiles_is_the_whole_step(
    monkeypatch: pytest.MonkeyPatch, name: str, execution: str
) -> None:
    formed = []
    rows = wide_kernel.TiledGradient.rows
    monkeypatch.setattr(
        wide_kernel.TiledGradient, "rows", lambda *args: formed.append(args) or rows(*args)
    )
    how = {"run_eagerly": execution == "eager"}
    same_as_whole(network, TILED[name], **how)
    assert formed  # in tiles indeed


@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.usefixtures("float64", "small_tiles")
def test_under_xla_the_step_is_taken_whole(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(wide_kernel.TiledGradient, "rows", None)
    same_as_whole(network, TILED[name], jit_compile=True)


@pytest.mark.parametrize("penalty", ["l1", "l2", keras.regularizers.L1L2(0.01, 0.02)])
@pytest.mark.usefixtures("float64", "small_tiles")
def test_penalties_count_once(penalty: str | keras.regularizers.Regularizer) -> None:
    def build() -> keras.Model:
        return network(kernel_regularizer=penalty)

    assert len(tiled(same_as_whole(build, TILED["loss_scale"]))) == 2


@pytest.mark.usefixtures("float64", "small_tiles")
def test_sequences_shared_layers_and_layers_inside_a_unit() -> None:
    """Inputs of rank 3, a layer called twice, a wide layer behind another in one block."""

    def build() -> keras.Model:
        keras.utils.set_random_seed(3)
        layers = keras.layers
        inputs = keras.Input((5, 24))
        stem = layers.Dense(24)(inputs)
        shared = layers.Dense(24, activation="tanh")
        branch = layers.Dense(24)(layers.Dense(24, activation="relu")(stem))
        outputs = layers.Add()([stem, branch, shared(shared(stem))])
        outputs = layers.Dense(3)(layers.Flatten()(outputs))
        return keras.Model(inputs, layers.Softmax()(outputs))

    # The classifier of 120 rows is one.
    assert len(tiled(same_as_whole(build, TILED["adam"]))) == 5


@pytest.mark.usefixtures("small_tiles")
def test_a_layer_with_its_own_call_is_not_tiled() -> None:
    """What it computes is not known to be a product with its kernel."""
    own = keras.layers.Dense(24)
    body = [keras.Input((24,)), keras.layers.Dense(24), own, keras.layers.Dense(3)]
    blocks = MemDFA(keras.Sequential(body)).chain.blocks
    sgd = TILED["sgd"]()

    def found() -> list[keras.layers.Layer]:
        return [layer for block in blocks for layer in tiled_layers(block, sgd)]

    assert own in found()
    own.call = lambda inputs, training=None: tf.tanh(tf.matmul(inputs, own.kernel))
    assert found()
    assert own not in found()


@pytest.mark.usefixtures("float64", "small_tiles")
def test_a_block_in_slices_of_the_batch_and_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slices' shares of a tile are summed; the penalty counts once."""
    shares = []
    rows = wide_kernel.TiledGradient.rows

    def counting(gradient: wide_kernel.TiledGradient, start: tf.Tensor, count: int) -> tf.Tensor:
        shares.append(len(gradient.inputs))
        return rows(gradient, start, count)

    def build() -> keras.Model:
        keras.utils.set_random_seed(3)
        layers = keras.layers
        wide = layers.Dense(24, activation="tanh", kernel_regularizer="l2")
        return keras.Sequential(
            [
                keras.Input((50, 24)),
                wide,
                layers.GlobalAveragePooling1D(),
                layers.Dense(3, activation="softmax"),
            ]
        )

    monkeypatch.setattr(wide_kernel.TiledGradient, "rows", counting)
    monkeypatch.setattr(batch_slices, "LEAST_SLICE_BYTES", 1)
    same_as_whole(build, TILED["adam"])
    assert max(shares) > 1


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.filterwarnings("ignore:.*needs every gradient at once")
def test_optimizers_that_need_the_whole_gradient_get_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(wide_kernel.TiledGradient, "rows", None)
    trainer = trained(network(), WHOLE[name], steps=1, dtype="float32", run_eagerly=True)
    assert tiled(trainer) == []


@pytest.mark.usefixtures("small_tiles")
def test_which_layers_are_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(keras.layers.Dense):
        pass

    def built(kind: type = keras.layers.Dense, **how: object) -> keras.layers.Layer:
        layer = kind(24, **how)
        layer.build((None, 24))
        return layer

    def is_tiled(layer: keras.layers.Layer) -> bool:
        return wide_kernel.can_tile(layer, optimizers.Adam())

    assert is_tiled(built())
    assert is_tiled(built(kernel_regularizer="l2", bias_constraint="non_neg"))
    assert not is_tiled(built(kernel_constraint="max_norm"))
    assert not is_tiled(built(kernel_regularizer="orthogonal_regularizer"))
    assert not is_tiled(built(dtype="mixed_float16"))
    assert not is_tiled(built(trainable=False))
    assert not is_tiled(built(Own))
    lora = built()
    lora.enable_lora(2)
    assert not is_tiled(lora)
    monkeypatch.setattr(row_tiles, "HELD_TILES", 5)  # of a quarter of the kernel each
    assert not is_tiled(built())
    monkeypatch.setattr(row_tiles, "HELD_TILES", 2)
    monkeypatch.setattr(row_tiles, "TILED_FROM_BYTES", 24 * 24 * 4 + 1)
    assert not is_tiled(built())


@pytest.mark.parametrize("in_tiles", [True, False])
def test_no_tensor_is_as_large_as_a_wide_kernel(
    monkeypatch: pytest.MonkeyPatch, in_tiles: bool
) -> None:
    width = 1024
    if not in_tiles:
        monkeypatch.setattr(row_tiles, "TILED_FROM_BYTES", 2**40)
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((width,)), keras.layers.Dense(width), keras.layers.Dense(3)]
    )
    trainer = MemDFA(model)
    trainer.compile(optimizers.Adam(), LOSS, jit_compile=False)
    x, y = tf.ones((8, width)), tf.zeros((8,), tf.int32)
    (timeline,) = recorded(trainer, x, y, 1)
    kernel_bytes = width * width * 4
    tensors = timeline.tensors[timeline.tensors["start_ns"] >= 0]  # the step's own
    formed = tensors[tensors["requested_bytes"] >= kernel_bytes]
    assert (len(formed) > 0) != in_tiles, formed
    assert (timeline.step_requested_bytes < kernel_bytes) == in_tiles
    predicted = trainer.predict_step_bytes(8)
    if in_tiles:
        # How many tiles are at work at once is the threads' affair; the prediction is the most.
        assert timeline.step_requested_bytes <= predicted <= 3 * timeline.step_requested_bytes
