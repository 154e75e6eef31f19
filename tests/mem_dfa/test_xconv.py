"""Convolutions from probes: the formula, right on average, and as small as they say."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, UnsupportedError, XConv
from mem_dfa.algorithms import xconv
from mem_dfa.graph import exact_random
from mem_dfa.layers import SketchedConvolution
from mem_dfa.optimizer.kept_gradients import kept_gradients
from mem_dfa.sketches.convolution import relu
from mem_dfa.sketches.probes import LEAST_COLUMNS, PROBES
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    assert_goes_on_after_saving,
    batch,
    change,
    compiled,
    distance,
    operations_before,
    recorded,
)

layers = keras.layers
SEED, DRAWS = (3, 5), 2000
# Rank, channels, filters and what else the convolution is given.
CONVOLUTIONS = {
    "same": (2, 3, 2, {"padding": "same"}),
    "valid": (2, 3, 2, {}),
    "strides, same": (2, 2, 3, {"padding": "same", "strides": 2}),
    "strides, valid": (2, 2, 3, {"strides": 2}),
    "dilated": (2, 2, 2, {"padding": "same", "dilation_rate": 2}),
    "groups": (2, 4, 2, {"padding": "same", "groups": 2}),
    "one dimension": (1, 3, 2, {"padding": "same"}),
    "causal": (1, 3, 2, {"padding": "causal"}),
    "three dimensions": (3, 2, 2, {"padding": "same"}),
}
SIZE, EXAMPLES = 5, 3


def convolution_of(name: str, dtype: str = "float64") -> tuple[keras.layers.Layer, int]:
    rank, channels, filters, details = CONVOLUTIONS[name]
    keras.utils.set_random_seed(0)
    kind = getattr(layers, f"Conv{rank}D")
    convolution = kind(filters, 3, bias_initializer="normal", dtype=dtype, **details)
    convolution.build((None, *[SIZE] * rank, channels))
    return convolution, channels


def data_for(convolution: keras.layers.Layer, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """An input, and an error signal at the output."""
    generator = np.random.default_rng(1)
    shape = (EXAMPLES, *[SIZE] * convolution.rank, channels)
    outputs = convolution.compute_output_shape(shape)
    return tuple(
        tf.constant(generator.normal(size=size), convolution.compute_dtype)
        for size in (shape, outputs)
    )


def gradients(layer: keras.layers.Layer, x: tf.Tensor, error: tf.Tensor) -> list[np.ndarray]:
    """The output, and the gradients of the input, the kernel and the bias."""
    convolution = getattr(layer, "convolution", layer)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True) if layer is not convolution else layer(x)
    sources = [x, convolution.kernel.value, convolution.bias.value]
    return [y.numpy(), *(g.numpy() for g in tape.gradient(y, sources, output_gradients=error))]


def borders(convolution: keras.layers.Layer) -> tuple[int, int, int]:
    """Stride, dilation, and how many zeros lie before the first place, of every dimension."""
    stride, dilation = convolution.strides[0], convolution.dilation_rate[0]
    reach = dilation * 2
    if convolution.padding == "causal":
        return stride, dilation, reach
    if convolution.padding == "valid":
        return stride, dilation, 0
    outputs = -(-SIZE // stride)
    return stride, dilation, max(0, (outputs - 1) * stride + reach + 1 - SIZE) // 2


def exact_by_shifts(
    convolution: keras.layers.Layer, x: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """∇w_k = Σ x shifted by k, times δ: place by place, group by group."""
    stride, dilation, before = borders(convolution)
    groups = convolution.groups
    found = np.zeros(convolution.kernel.shape)
    each_in, each_out = found.shape[-2], found.shape[-1] // groups
    places = list(itertools.product(*map(range, error.shape[1:-1])))
    for k in itertools.product(*map(range, found.shape[:-2])):
        for place in places:
            source = [p * stride + i * dilation - before for p, i in zip(place, k, strict=True)]
            if not all(0 <= s < SIZE for s in source):
                continue
            for group in range(groups):
                inside = slice(group * each_in, (group + 1) * each_in)
                outside = slice(group * each_out, (group + 1) * each_out)
                values = x[(slice(None), *source, inside)]
                found[(*k, slice(None), outside)] += (
                    values.T @ error[(slice(None), *place, outside)]
                )
    return found


def drawn(kind: str, count: int, sizes: list[int]) -> np.ndarray:
    """Z of every place and channel, shape (r, ..., channels)."""
    channels = sizes[-1]
    if kind == "independent":
        shared = exact_random.normal(tf.constant(SEED), count, int(np.prod(sizes[:-1]))).numpy()
        return np.repeat(shared[..., None], channels, -1).reshape(count, *sizes)
    z = exact_random.normal(tf.constant(SEED), count, int(np.prod(sizes))).numpy()
    z = z.reshape(count, *sizes).astype("float64")
    if kind == "orthogonal":
        own = count // channels
        own = own if own > LEAST_COLUMNS else min(LEAST_COLUMNS, count)
        for probe, channel in itertools.product(range(count), range(channels)):
            is_own = probe in {(channel * own + i) % count for i in range(own)}
            z[probe, ..., channel] *= np.sqrt(count / own) if is_own else 0
    return z


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(("kind", "count"), [(k, 5) for k in PROBES] + [("orthogonal", 30)])
def test_the_gradient_is_that_of_the_formula(kind: str, count: int, name: str) -> None:
    """∇w_k ≈ (1/r)·Σ_z (zᵀX) δᵀ T_{-k} z, by loops, of an X̂ that is summed up in NumPy."""
    convolution, channels = convolution_of(name)
    x, error = data_for(convolution, channels)
    layer = SketchedConvolution(convolution, count, kind, dtype="float64")
    layer._generator = type("Fixed", (), {"next": lambda self: tf.constant(SEED)})()
    y, of_input, of_kernel, of_bias = gradients(layer, x, error)
    for ours, exact in zip((y, of_input, of_bias), _exact(convolution, x, error), strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-12)
    z = drawn(kind, count, x.shape[1:].as_list())
    axes = "xyz"[: convolution.rank]
    if kind == "independent":
        kept = np.einsum(f"r{axes}c,n{axes}c->nrc", z, x)
        restored = np.einsum(f"nrc,r{axes}c->n{axes}c", kept, z) / count
    else:
        kept = np.einsum(f"r{axes}c,n{axes}c->nr", z, x)
        restored = np.einsum(f"nr,r{axes}c->n{axes}c", kept, z) / count
    expected = exact_by_shifts(convolution, restored, error.numpy())
    np.testing.assert_allclose(of_kernel, expected, atol=1e-10 * np.abs(expected).max())


def _exact(convolution: keras.layers.Layer, x: tf.Tensor, error: tf.Tensor) -> list[np.ndarray]:
    y, of_input, of_kernel, of_bias = gradients(convolution, x, error)
    # The loops above are those of Keras's own convolution.
    np.testing.assert_allclose(
        exact_by_shifts(convolution, x.numpy(), error.numpy()), of_kernel, atol=1e-12
    )
    return [y, of_input, of_bias]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("independent", name) for name in [*CONVOLUTIONS][:4]),
        *((kind, "strides, same") for kind in ("gaussian", "orthogonal")),
    ],
)
def test_the_mean_of_draws_approaches_the_gradient(kind: str, name: str) -> None:
    """At the Monte-Carlo rate: the error of a mean of n draws falls as 1/√n."""
    convolution, channels = convolution_of(name, "float32")
    x, error = data_for(convolution, channels)
    exact = gradients(convolution, x, error)[2]
    layer = SketchedConvolution(convolution, 4, kind, seed=1)
    layer.build(x.shape)

    @tf.function
    def one_draw() -> tf.Tensor:
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
        return tape.gradient(y, convolution.kernel.value, output_gradients=error)

    draws = np.array([one_draw().numpy() for _ in range(DRAWS)]) - exact
    counts = np.array([1, 4, 20, 100, 500])
    means = [draws.reshape(-1, n, *exact.shape).mean(axis=1) for n in counts]
    errors = [np.sqrt((mean**2).mean()) for mean in means]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("size", [(2, 64), (3, 7, 11)])
def test_a_relu_of_bits_is_relu(size: tuple[int, ...]) -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=size), tf.float32)
    x = tf.where(abs(x) < 0.1, 0.0, x)
    error = tf.constant(np.random.default_rng(1).normal(size=size), tf.float32)
    for run in (relu, tf.nn.relu):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = run(x)
        found = y, tape.gradient(y, x, output_gradients=error)
        if run is relu:
            ours = found
    for one, other in zip(ours, found, strict=True):
        np.testing.assert_array_equal(one, other)


def net(seed: int = 0) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Conv2D(6, 3, padding="same", strides=2),
            layers.ReLU(),
            layers.Conv2D(5, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


sgd = functools.partial(keras.optimizers.SGD, 0.05)


@pytest.mark.parametrize("execution", ["eager", "xla"])
@pytest.mark.parametrize("kind", PROBES)
def test_training_does_not_depend_on_the_execution(kind: str, execution: str) -> None:
    one, other = (
        change(compiled(XConv(net(), probing=kind), sgd(), **EXECUTIONS[how]), 2)
        for how in ("graph", execution)
    )
    assert distance(one, other) <= 1e-5


@pytest.mark.parametrize("kind", PROBES)
def test_all_but_the_sketched_kernels_move_as_by_bp(kind: str) -> None:
    ours, exact = (
        change(compiled(trainer, sgd()), 1) for trainer in (XConv(net(), probing=kind), BP(net()))
    )
    for position, (one, other) in enumerate(zip(ours, exact, strict=True)):
        error = np.linalg.norm(one - other) / np.linalg.norm(other)
        assert error > 0.1 if position in (2, 4) else error <= 1e-5


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "ConvLSTM2D"])
def test_recurrent_layers_keep_their_relu(kind: str) -> None:
    def trainer_of(algorithm: type) -> keras.Model:
        keras.utils.set_random_seed(0)
        if kind == "ConvLSTM2D":
            recurrent = [
                layers.Reshape((2, 3, 1, 5)),
                layers.ConvLSTM2D(3, (2, 1), activation="relu"),
            ]
        else:
            recurrent = [getattr(layers, kind)(3, activation="relu")]
        convolutions = [layers.Conv1D(size, 3, activation="relu") for size in (4, 5)]
        body = [keras.Input((10, 2)), *convolutions, *recurrent, layers.Flatten(), layers.Dense(3)]
        return compiled(algorithm(keras.Sequential(body)), sgd())

    generator = np.random.default_rng(0)
    data = generator.normal(size=(8, 10, 2)).astype("float32"), generator.integers(3, size=8)
    moved = [change(trainer_of(algorithm), 1, data=data) for algorithm in (XConv, BP)]
    for position, (ours, exact) in enumerate(zip(*moved, strict=True)):
        if position != 2:  # the kernel that is sketched
            np.testing.assert_allclose(ours, exact, atol=1e-5 * np.abs(exact).max())


def test_without_probes_it_is_bp() -> None:
    ours, exact = (
        change(compiled(trainer, sgd()), 2) for trainer in (XConv(net(), probes=0), BP(net()))
    )
    for one, other in zip(ours, exact, strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_draw_anew_and_go_on_after_saving(tmp_path: Path) -> None:
    trainer, data = compiled(XConv(net()), keras.optimizers.SGD(0.0)), batch()
    kernel = trainer.network.layers[1].kernel
    trainer.compile(keras.optimizers.SGD(1.0), trainer.loss, jit_compile=False)
    moves = []
    for _ in range(2):
        before = trainer.network.get_weights()
        trainer.train_on_batch(*data)
        moves.append(kernel.numpy() - before[2])
        trainer.network.set_weights(before)
    assert np.abs(moves[0] - moves[1]).max() > 0.01 * np.abs(moves[0]).max()
    assert_goes_on_after_saving(trainer, data, tmp_path)


@pytest.mark.parametrize("wrapped", [lambda one: one, keras.optimizers.LossScaleOptimizer])
def test_batches_of_one_step_draw_anew(wrapped: Callable) -> None:
    """Gradients of several are gathered, in which the optimizer counts no step."""
    optimizer = wrapped(keras.optimizers.SGD(0.01, gradient_accumulation_steps=4))
    trainer, data = compiled(XConv(net()), optimizer), batch()

    def seed() -> tuple[int, ...]:
        with trainer._seeds.of_step(trainer):
            return tuple(trainer._seeds.seed(0, tf.zeros(())).numpy())

    found = []
    for _ in range(4):
        found.append(seed())
        with kept_gradients(trainer):
            assert seed() == found[-1]
        trainer.train_on_batch(*data)
    assert len(set(found)) == 4


def test_the_network_is_left_as_it_was() -> None:
    network = net()
    found = [vars(layer).copy() for layer in network.layers]
    compiled(XConv(network), sgd()).train_on_batch(*batch())
    for layer, before in zip(network.layers, found, strict=True):
        assert "call" not in vars(layer)
        assert getattr(layer, "activation", None) is before.get("activation")


def test_a_frozen_convolution_is_not_sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps nothing for a gradient that nobody asks for, and passes the others' on."""
    found: list[str] = []
    sketch = xconv.sketched
    monkeypatch.setattr(
        xconv, "sketched", lambda layer, *how: found.append(layer.name) or sketch(layer, *how)
    )
    network = net()
    convolutions = [one.name for one in network.layers if isinstance(one, layers.Conv2D)]
    network.layers[1].trainable = False
    moved = change(compiled(XConv(network), sgd()), 1)
    assert set(found) == set(convolutions[2:])
    assert not np.any(moved[2])
    assert np.any(moved[0])


def images(count: int = 6) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    body = [layers.Conv2D(16, 3, padding="same", activation="relu") for _ in range(count)]
    return keras.Sequential(
        [keras.Input((16, 16, 16)), *body, layers.GlobalAveragePooling2D(), layers.Dense(3)]
    )


@pytest.mark.parametrize("kind", PROBES)
def test_sketches_take_a_tenth_of_what_bp_keeps(kind: str) -> None:
    """By the allocator: what is there between the forward pass and the first error signal."""
    x = tf.random.stateless_normal((32, 16, 16, 16), (0, 0))
    one = 4 * 32 * 16 * 16 * 16

    def step_bytes(trainer: keras.Model) -> list[int]:
        compiled(trainer, sgd())
        steps = recorded(trainer, x, tf.zeros((32,), tf.int32), 4)
        return [step.step_requested_bytes for step in steps]

    assert min(step_bytes(BP(images(12)))) >= 12 * one  # every layer's input, in every step
    few, many = (max(step_bytes(XConv(images(n), probing=kind))) for n in (6, 12))
    assert many - few <= 6 * one / 10


@pytest.mark.parametrize("kind", PROBES)
def test_sketches_and_weights_gradients_are_waited_for(kind: str) -> None:
    """Otherwise inputs, or the error signals of all layers, may be there at one time."""
    convolution, channels = convolution_of("same", "float32")
    x, error = data_for(convolution, channels)
    layer = SketchedConvolution(convolution, 4, kind, seed=1)
    layer.build(x.shape)
    kinds: list[set[str]] = []

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        found = tape.gradient(y, x, output_gradients=error)
        kinds.extend({op.type for op in operations_before(one)} for one in (y, found))
        return found

    step.get_concrete_function(tf.TensorSpec(x.shape))
    forward, backward = kinds
    assert forward & {"MatMul", "BatchMatMulV2", "BatchMatMulV3"}
    assert "Conv2DBackpropFilter" in backward


def dense() -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3, name="last")])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"probes": -1}, "probes=-1: give a whole number"),
        ({"probes": 2.5}, "probes=2.5"),
        ({"probing": "circular"}, "'circular': use one of independent, gaussian, orthogonal"),
        ({"probing": ["gaussian"]}, r"probing=\['gaussian'\]: use one of independent"),
    ],
)
def test_bad_arguments_are_refused(given: dict, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        XConv(net(), **given)


class OwnCall(keras.Model):
    """Two convolutions in a model that is no graph of layers."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.convolutions = [layers.Conv2D(3, 3), layers.Conv2D(3, 3)]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        first, second = self.convolutions
        return second(first(inputs))


@pytest.mark.parametrize(
    "tail", [None, [], [layers.Flatten(), layers.Dense(3)]], ids=["itself", "alone", "nested"]
)
def test_a_model_with_its_own_call_is_not_opened(tail: list | None) -> None:
    model = OwnCall()
    model(tf.zeros((1, 8, 8, 3)))
    if tail is not None:
        model = keras.Sequential([keras.Input((8, 8, 3)), model, *tail])
    words = r"'own' \(OwnCall\) has a call of its own.*functional.*'bp', with.*SketchedConvolution"
    with pytest.raises(UnsupportedError, match=words):
        XConv(model)


def test_layers_that_cannot_be_sketched_are_named() -> None:
    with pytest.raises(UnsupportedError, match=r"'last' \(Dense\): no Conv1D, Conv2D or Conv3D"):
        XConv(dense())
    with pytest.raises(UnsupportedError, match=r"\(SeparableConv2D\): no Conv1D"):
        SketchedConvolution(layers.SeparableConv2D(3, 3))
    with pytest.raises(UnsupportedError, match="'channels_first', not 'channels_last'"):
        SketchedConvolution(layers.Conv2D(3, 3, data_format="channels_first"))
    with pytest.raises(UnsupportedError, match="of no fixed size"):
        SketchedConvolution(layers.Conv2D(3, 3)).build((None, None, 8, 3))
