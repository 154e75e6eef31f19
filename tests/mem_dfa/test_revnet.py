"""RevNet is BP: the same gradient from activations that are rebuilt, none of which is kept."""

from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, BP, MODELS, RevNet, UnsupportedError, profiling
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.memory.rebuilt_inputs import Greatest, relative_distance
from tests.mem_dfa import table
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    batch,
    blobs,
    change,
    compiled,
    distance,
    recorded,
    small_network,
)

CHANNELS = 4


def momentum() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.05, momentum=0.9)


def branch(coupling: str, seed: int, dropout: bool = True) -> keras.Sequential:
    filters = CHANNELS if coupling == "affine" else CHANNELS // 2
    drop = [keras.layers.Dropout(0.3, seed=seed)] if dropout else []
    # Small, because BP itself diverges when scales are e to the power of a few units.
    deviation = 0.05 if coupling == "affine" else 0.3
    initializer = keras.initializers.RandomNormal(stddev=deviation, seed=seed)
    convolution = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer)
    return keras.Sequential(
        [keras.layers.BatchNormalization(), keras.layers.ReLU(), *drop, convolution]
    )


def reversible(seed: int, coupling: str = "additive", dropout: bool = True) -> ReversibleBlock:
    branches = (branch(coupling, number, dropout) for number in (2 * seed, 2 * seed + 1))
    return ReversibleBlock(*branches, coupling)


def convolution(seed: int) -> keras.layers.Layer:
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Conv2D(CHANNELS, 3, padding="same", kernel_initializer=initializer)


def net_of(place: str, coupling: str = "additive") -> keras.Model:
    """Two runs of reversible blocks: between ordinary ones, first of all, or last of all."""
    keras.utils.set_random_seed(0)
    layers = {
        "between": lambda: [
            convolution(31),
            reversible(1, coupling),
            reversible(2, coupling),
            convolution(32),
            keras.layers.MaxPooling2D(),
            reversible(3, coupling),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ],
        "first": lambda: [
            # Four channels without weights; zeros would sit on the kink of ReLU, where rounding
            # of the rebuilt input decides about the gradient.
            keras.layers.Reshape((8, 6, CHANNELS)),
            reversible(1, coupling),
            reversible(2, coupling),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ],
        "last": lambda: [
            convolution(31),
            reversible(1, coupling),
            reversible(2, coupling),
            keras.layers.GlobalAveragePooling2D(),
        ],
    }
    return keras.Sequential([keras.Input((8, 8, 3)), *layers[place]()])


def both(place: str, coupling: str, dtype: str, **how) -> tuple[float, list[list[np.ndarray]]]:  # noqa: ANN003
    """How far RevNet's change is from BP's after one step and after two more; moving statistics."""
    trainers = [compiled(make(net_of(place, coupling)), momentum(), **how) for make in (RevNet, BP)]
    first = [change(trainer, 1, dtype) for trainer in trainers]
    moving = [
        [v.numpy() for v in trainer.network.non_trainable_variables if "moving" in v.path]
        for trainer in trainers
    ]
    seeds = [
        [v.numpy() for v in trainer.network.non_trainable_variables if "seed" in v.path]
        for trainer in trainers
    ]
    assert len(seeds[0]) >= 4
    for one, other in zip(*seeds, strict=True):
        np.testing.assert_array_equal(one, other)
    later = [change(trainer, 2, dtype) for trainer in trainers]
    assert all(np.any(weight != 0) for weight in later[1][-2:])
    error = float(trainers[0].reconstruction_error.result())
    assert 0 < error <= (1e-12 if dtype == "float64" else 1e-4)
    return max(distance(*first), distance(*later)), moving


# "between" in a graph is compared in float32.
@pytest.mark.parametrize(
    ("place", "coupling", "eager"),
    [
        ("first", "additive", False),
        ("last", "affine", False),
        ("between", "additive", True),
        ("between", "affine", True),
        ("first", "affine", True),
        ("last", "additive", True),
    ],
)
@pytest.mark.usefixtures("float64")
def test_the_weights_are_those_of_bp_in_float64(place: str, coupling: str, eager: bool) -> None:
    found, moving = both(place, coupling, "float64", run_eagerly=eager)
    assert found <= 1e-10
    assert len(moving[0]) >= 8
    for one, other in zip(*moving, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("eager", [False, True])
def test_the_weights_are_those_of_bp_in_float32(eager: bool) -> None:
    found, moving = both("between", "additive", "float32", run_eagerly=eager)
    assert found <= 1e-4
    for one, other in zip(*moving, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_one_step_of_revnet38_is_that_of_bp(
    dtype: str, tolerance: float, request: pytest.FixtureRequest
) -> None:
    if dtype == "float64":
        request.getfixturevalue("float64")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(4, 32, 32, 3)).astype(dtype), generator.integers(10, size=4)
    changes = []
    for make in (RevNet, BP):
        trainer = compiled(make(MODELS["revnet38"](seed=0)), momentum(), run_eagerly=True)
        before = trainer.network.get_weights()
        trainer.train_on_batch(x, y)
        after = trainer.network.get_weights()
        changes.append([a - b for a, b in zip(after, before, strict=True)])
    assert distance(*changes) <= tolerance


def test_the_reconstruction_error_is_in_the_logs() -> None:
    x, y = batch()
    trainer = compiled(RevNet(net_of("between")), momentum())
    history = trainer.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert len(history["reconstruction_error"]) == 2
    assert all(0 < error < 1e-4 for error in history["reconstruction_error"])


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_an_inverse_beyond_the_bound_fails(execution: str) -> None:
    trainer = RevNet(small_network("revnet"), reconstruction_bound=0)
    compiled(trainer, momentum(), **EXECUTIONS[execution])
    with pytest.raises(tf.errors.InvalidArgumentError, match="reconstruction_bound=0"):
        trainer.train_on_batch(*blobs(16))


@pytest.mark.parametrize(("execution", "value"), [("graph", np.nan), ("eager", np.inf)])
def test_what_is_not_finite_is_said_to_be(execution: str, value: float) -> None:
    trainer = compiled(RevNet(net_of("last")), momentum(), **EXECUTIONS[execution])
    x, y = batch()
    x[3, 2, 1, 0] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not finite.*in the batch first"):
        trainer.train_on_batch(x, y)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_single_value_that_is_not_finite_makes_the_distance_so(
    value: float, compiled: bool
) -> None:
    """Wherever it is: a maximum passes over NaN."""
    measure = tf.function(relative_distance, jit_compile=compiled)
    true = np.ones((24, 4), "float32")
    for place in ((0, 0), (11, 1), (23, 3)):
        wrong = true.copy()
        wrong[place] = value
        halves = lambda x: (tf.constant(x[:, :2]), tf.constant(x[:, 2:]))  # noqa: E731
        for rebuilt, original in ((wrong, true), (true, wrong), (wrong, wrong)):
            assert not np.isfinite(measure(halves(rebuilt), tf.constant(original)))
    assert measure(halves(true * 1.5), tf.constant(true)) == 0.5


@pytest.mark.parametrize("execution", ["graph", "eager"])
def test_a_low_precision_is_said_to_be_the_reason(execution: str) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = RevNet(net_of("between"), reconstruction_bound=1e-3)
    finally:
        keras.config.set_dtype_policy(policy)
    compiled(trainer, momentum(), **EXECUTIONS[execution])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"compute in bfloat16.*float32"):
        trainer.train_on_batch(*batch())


def test_the_greatest_value_stays_no_number() -> None:
    greatest = Greatest()
    for value in (0.5, np.nan, 0.1):
        greatest.update_state(value)
    assert np.isnan(greatest.result())


def halves_of(*shared: keras.layers.Layer) -> ReversibleBlock:
    halves = [keras.Sequential([keras.layers.Dense(2), *shared]) for _ in "fg"]
    return ReversibleBlock(*halves)


@pytest.mark.parametrize(
    "make",
    [
        lambda: halves_of(keras.layers.Dense(2, name="shared")),
        lambda: halves_of(keras.layers.Dropout(0.5, name="shared")),
        lambda: ReversibleBlock(*[keras.layers.Dense(2, name="shared")] * 2),
    ],
)
def test_halves_that_share_a_layer_are_refused_by_name(make: Callable) -> None:
    net = keras.Sequential([keras.Input((4,)), make(), keras.layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=r"share layer 'shared'.*'checkpoint'"):
        RevNet(net)


def test_a_call_set_on_a_half_runs_both_times_and_stays() -> None:
    halves = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]) for _ in "fg"]
    own = halves[0].call
    halves[0].call = doubled = lambda *args, **kwargs: 2 * own(*args, **kwargs)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    net = keras.Sequential([*layers, ReversibleBlock(*halves), keras.layers.Dense(3)])
    change(compiled(RevNet(net), momentum()), 1)  # fails where another input is rebuilt
    assert halves[0].call is doubled


def test_an_inverse_that_drifts_fails() -> None:
    """Scales of e^±20 squeeze what the other half was into the last digits of the sum."""
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    for seed in range(3):
        initializer = keras.initializers.RandomNormal(stddev=20.0, seed=seed)
        branches = (keras.layers.Dense(4, kernel_initializer=initializer) for _ in "fg")
        layers.append(ReversibleBlock(*branches, "affine"))
    trainer = RevNet(keras.Sequential([*layers, keras.layers.Dense(3)]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="reconstruction_bound"):
        change(compiled(trainer, momentum()), 1)


def test_a_net_without_a_reversible_block_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"no ReversibleBlock in model 'mlp'.*'checkpoint'"):
        RevNet(MODELS["mlp"]())


def test_the_bound_is_saved_with_the_trainer(tmp_path) -> None:  # noqa: ANN001
    trainer = compiled(RevNet(net_of("between"), reconstruction_bound=0.5), momentum())
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert isinstance(loaded, RevNet)
    assert loaded.reconstruction_bound == 0.5


BATCH, SIZE, WIDTH = 16, 16, 16


def measured(
    algorithm: str, depth: int, steps: int
) -> tuple[list[profiling.Timeline], keras.Model]:
    """Steps on a stem and `depth` reversible units of one convolution a branch."""
    keras.utils.set_random_seed(0)
    same = {"padding": "same", "use_bias": False}

    def half() -> keras.Sequential:
        layers = keras.layers
        return keras.Sequential(
            [layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(WIDTH // 2, 3, **same)]
        )

    if algorithm == "checkpoint":
        # What a plan knows of is what ordinary layers keep.
        units = [keras.layers.Conv2D(WIDTH, 3, **same) for _ in range(depth)]
    else:
        units = [ReversibleBlock(half(), half()) for _ in range(depth)]
    stem, tail = keras.layers.Conv2D(WIDTH, 3, **same), keras.layers.GlobalAveragePooling2D()
    net = keras.Sequential([keras.Input((SIZE, SIZE, 3)), stem, *units, tail])
    trainer = compiled(ALGORITHMS[algorithm](net), keras.optimizers.SGD(0.01))
    x, y = tf.random.stateless_normal((BATCH, SIZE, SIZE, 3), (1, 2)), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, x, y, steps), trainer


def test_each_branch_runs_twice_a_step() -> None:
    depth = 3
    (timeline,), trainer = measured("revnet", depth, 1)
    tensors = timeline.tensors
    half_bytes = BATCH * SIZE * SIZE * WIDTH // 2 * 4
    ran = tensors[
        (tensors["requested_bytes"] == half_bytes)
        & tensors["op"].str.contains("convolution")
        & ~tensors["op"].str.contains("Backprop")
    ]
    runs = {phase: Counter(ran.loc[ran["phase"] == phase, "block"]) for phase in set(ran["phase"])}
    blocks = [
        block.name for block in trainer.chain.blocks if isinstance(block.layers[0], ReversibleBlock)
    ]
    assert len(blocks) == depth
    # F and G: two convolutions of a block in each pass.
    assert runs == {phase: dict.fromkeys(blocks, 2) for phase in ("forward", "replay")}


@pytest.mark.slow
def test_the_peak_of_checkpoints_grows_with_the_root_of_the_depth() -> None:
    # A layer's two gradients may run at once, or in either order: of five steps the least.
    low, middle, high = (
        min(timeline.step_requested_bytes for timeline in measured("checkpoint", n, 5)[0])
        for n in (9, 18, 36)
    )
    # Of c + a·nᵉ at doubled depths the increments have the ratio 2ᵉ: what is there once, as error
    # signals, falls out. Measured: 0.58, because segments have whole blocks.
    assert np.log2((high - middle) / (middle - low)) == pytest.approx(0.5, abs=0.25)


@pytest.mark.slow
def test_reversible_blocks_take_no_memory_for_being_more() -> None:
    few, many = (
        [timeline.step_requested_bytes for timeline in measured("revnet", depth, 8)[0]]
        for depth in (3, 9)
    )
    # Three times the blocks, whichever step: a run of N beside the gradient of the half after it,
    # or beside its own, would take an eighth more now and then.
    assert max(many) < 1.005 * min(few)


def test_the_error_of_what_is_rebuilt_is_told_of_training_alone() -> None:
    trainer = compiled(RevNet(small_network("revnet")), keras.optimizers.SGD(0.01))
    data = blobs(32)
    history = trainer.fit(*data, validation_data=data, verbose=0).history
    assert history["reconstruction_error"][0] > 0
    assert "val_reconstruction_error" not in history
    assert set(trainer.evaluate(*data, verbose=0, return_dict=True)) == {"loss", "accuracy"}


def test_zeros_are_rebuilt_without_error() -> None:
    """As where every unit before a reversible block is dead."""
    layers = keras.layers
    body = [layers.Dense(8, use_bias=False), layers.ReLU(), *table.reversible("revnet", 8)]
    network = keras.Sequential([keras.Input((6,)), *body, layers.Dense(3)])
    trainer = compiled(RevNet(network), keras.optimizers.SGD(0.01))
    points, labels = blobs(32)
    logs = trainer.train_on_batch(np.zeros_like(points), labels, return_dict=True)
    assert logs["reconstruction_error"] == 0


def test_what_no_gradient_reaches_is_refused() -> None:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8)(inputs)
    for block in table.reversible("revnet", 8):
        hidden = block(hidden)
    outputs = keras.layers.Dense(3)(keras.ops.stop_gradient(hidden))
    trainer = compiled(RevNet(keras.Model(inputs, outputs)), keras.optimizers.SGD(0.01))
    with pytest.raises(UnsupportedError, match="no gradient reaches block_"):
        trainer.train_on_batch(*blobs(8))
