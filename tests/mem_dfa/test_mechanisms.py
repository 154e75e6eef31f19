"""Why the memory is saved: what runs again, what is freed, what is kept in order."""

import itertools
import sys
from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, profiling
from mem_dfa.optimizer.step import BLOCKWISE, is_blockwise
from mem_dfa.schedules import second_forward as schedule
from tests.mem_dfa.table import STEPS, reversible, trainer_by

DEPTH = 6
BATCH = 16
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4
SLICES = 4
SLICE_BYTES = ACTIVATION_BYTES // SLICES


def trained_conv(
    algorithm: str,
    depth: int = DEPTH,
    dropout: bool = False,
    options: dict | None = None,
    **how,  # noqa: ANN003
) -> keras.Model:
    """A trainer of the conv net after two steps, with the batch it was trained on."""
    network = MODELS["conv20"](layers=depth, seed=0)
    if dropout:
        layers = []
        for layer in network.layers:
            layers.append(layer)
            if "sigmoid" in layer.name:
                layers.append(keras.layers.Dropout(0.5, seed=1))
        network = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    trainer = ALGORITHMS[algorithm](network, **(options or {}))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(0.01), loss, **{"jit_compile": False, **how})
    for _ in range(2):
        step(trainer)
    return trainer


def step(trainer: keras.Model) -> None:
    x = tf.fill((BATCH, 32, 32, 3), 0.5)
    trainer.train_on_batch(x, tf.zeros((BATCH,), tf.int32))


def recorded(trainer: keras.Model) -> profiling.Timeline:
    with profiling.trace(trainer) as timeline:
        step(trainer)
    return timeline


@cache
def timeline_of(
    algorithm: str, depth: int = DEPTH, dropout: bool = False, slices: int | None = None
) -> profiling.Timeline:
    """A step of a net of which nothing is changed."""
    options = {} if slices is None else {"slices": slices}
    return recorded(trained_conv(algorithm, depth, dropout, options))


def activations(
    timeline: profiling.Timeline, phase: str, size: int = ACTIVATION_BYTES
) -> list[str]:
    """The blocks whose operations took memory for a whole activation, or a slice, in order."""
    large = timeline.tensors["requested_bytes"] == size
    chosen = timeline.tensors[large & (timeline.tensors["phase"] == phase)]
    return chosen["block"].tolist()


def requested_peak(trainer: keras.Model) -> int:
    return recorded(trainer).step_requested_bytes


def test_the_second_forward_pass_really_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts executed convolutions by the memory each takes for its output."""
    blocks = [f"block_{i:03d}" for i in range(1, DEPTH + 1)]
    timeline = timeline_of("mem_dfa", slices=1)
    for phase in ("forward", "replay"):
        assert activations(timeline, phase) == blocks
    # Whole first, because the classifier's gradient takes as much, then slice by slice.
    in_turn = [block for block in blocks for _ in range(SLICES)]
    timeline = timeline_of("mem_dfa", slices=SLICES)
    assert activations(timeline, "forward") == blocks
    assert activations(timeline, "replay") == []
    assert activations(timeline, "replay", SLICE_BYTES) == in_turn
    # Where a whole first pass would set the peak, a slice goes through all blocks at once.
    monkeypatch.setattr(schedule, "first_pass_counts", lambda blocks, counts, *rest: counts)
    timeline = recorded(trained_conv("mem_dfa", options={"slices": SLICES}))
    assert activations(timeline, "forward") == []
    assert activations(timeline, "forward", SLICE_BYTES) == blocks * SLICES


def test_dfa_runs_forward_once() -> None:
    timeline = timeline_of("dfa")
    assert len(activations(timeline, "forward")) == DEPTH
    assert activations(timeline, "replay") == []


def test_nothing_of_a_block_is_alive_when_the_second_next_one_runs() -> None:
    timeline = timeline_of("mem_dfa", slices=1)
    most = 0
    for time_ns in timeline.events["time_ns"]:
        live = timeline.live_at(time_ns)
        live = live[(live["requested_bytes"] >= ACTIVATION_BYTES) & (live["phase"] == "replay")]
        blocks = [int(block.removeprefix("block_")) for block in live["block"]]
        most = max(most, len(blocks))
        assert not blocks or max(blocks) - min(blocks) <= 1
    assert most == 2  # it does see activations: those of two adjacent blocks


@pytest.mark.parametrize("dropout", [False, True])
def test_mem_dfa_does_not_grow_with_depth_and_dfa_does(dropout: bool) -> None:
    peaks = {
        (algorithm, layers): timeline_of(algorithm, layers, dropout).step_requested_bytes
        for algorithm in ("mem_dfa", "dfa")
        for layers in (3, 9)
    }
    assert peaks["mem_dfa", 9] <= 1.03 * peaks["mem_dfa", 3]
    grown = peaks["dfa", 9] - peaks["dfa", 3]
    assert grown >= 5 * ACTIVATION_BYTES


def test_slices_of_a_block_are_freed_one_by_one() -> None:
    """Alive are slices of one activation, and of the next block those that replace them."""
    sliced, whole = (
        timeline_of("mem_dfa", slices=slices).step_requested_bytes for slices in (SLICES, 1)
    )
    assert whole >= 3 * ACTIVATION_BYTES
    # Input or output whole, and what is at work; gradients of the classifier, the largest weights.
    classifier_bytes = 32 * 32 * 16 * 10 * 4
    assert sliced <= ACTIVATION_BYTES + 2 * SLICE_BYTES + 2 * classifier_bytes


def test_a_slice_runs_beside_the_gradients_of_the_one_before() -> None:
    """One, not more: at first all inputs, an output and its error signal, and the next output."""
    trainer, greatest = trained_conv("mem_dfa", 9, options={"slices": SLICES}), []
    for _ in range(3):  # on a busy machine the one may be over before the other begins
        tensors = recorded(trainer).tensors
        tensors = tensors[(tensors["requested_bytes"] == SLICE_BYTES) & (tensors["start_ns"] >= 0)]
        changes = [(end, -1) for end in tensors["end_ns"]]
        changes += [(start, 1) for start in tensors["start_ns"]]
        alive = itertools.accumulate(change for _, change in sorted(changes))
        greatest.append(max(alive))
    assert max(greatest) == SLICES + 3


def test_slices_are_joined_when_their_block_is_done_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that takes a whole input has it made beside the slices, not beside their errors."""
    monkeypatch.setattr(sys.modules[__name__], "BATCH", 4 * BATCH)
    monkeypatch.setattr(
        schedule, "slice_counts", lambda blocks, *rest: [2] * (len(blocks) - 1) + [1]
    )
    peak = requested_peak(trained_conv("mem_dfa"))
    assert 2 * 4 * ACTIVATION_BYTES <= peak <= 2.75 * 4 * ACTIVATION_BYTES


def test_without_order_the_memory_would_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ordering is what saves the memory: taken away, TensorFlow keeps what it should not."""
    from mem_dfa.chain import block

    ordered = timeline_of("mem_dfa", 9).step_requested_bytes
    for module in (schedule, block):
        monkeypatch.setattr(module, "after", lambda tensor, earlier: tensor)
    unordered = requested_peak(trained_conv("mem_dfa", 9))
    assert unordered >= ordered + 4 * ACTIVATION_BYTES


@pytest.mark.parametrize("algorithm", STEPS)
def test_step_two_does_not_retrace(algorithm: str) -> None:
    layers = MODELS["mlp"](seed=0).layers
    # Before the classifier, which is the layer that counts.
    layers[-1:-1] = reversible(algorithm, 30)
    network = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    traces = []

    class Counting(type(network.layers[-1])):
        def call(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN202
            traces.append(tf.inside_function())
            return super().call(*args, **kwargs)

    network.layers[-1].__class__ = Counting
    trainer = trainer_by(algorithm, network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.Adam(), loss, jit_compile=False)
    x, y = np.ones((4, 28, 28, 1), "float32"), np.zeros(4, "int32")
    trainer.train_on_batch(x, y)
    first = len(traces)
    assert first > 0
    trainer.train_on_batch(x, y)
    trainer.train_on_batch(x + 1, y)
    assert len(traces) == first


HALVING = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)


@cache
def probe_in_float64() -> keras.Model:
    """Its change by one step at the rate 1 is the gradient."""
    trainer = ALGORITHMS["mem_dfa"](MODELS["mlp"](seed=0))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    return trainer


def gradients(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[tf.Tensor]:
    probe = probe_in_float64()
    probe.network.set_weights(weights)
    probe.train_on_batch(x, y)
    after = probe.network.get_weights()
    return [tf.constant(b - a) for b, a in zip(weights, after, strict=True)]


@pytest.mark.parametrize(
    ("optimizer", "eager"),
    [
        # In a graph, each in `test_together.py`.
        *((kind, True) for kind in BLOCKWISE),
        (lambda: keras.optimizers.Nadam(), True),
        (lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.01), False),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.01, weight_decay=0.1), True),
        (lambda: keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=1), False),
        (lambda: keras.optimizers.Adam(HALVING), False),
        (lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), False),
    ],
)
@pytest.mark.usefixtures("float64")
@pytest.mark.filterwarnings("ignore:.*needs every gradient at once")
def test_block_by_block_is_one_step_of_any_optimizer(optimizer: Callable, eager: bool) -> None:
    """Oracle: the gradients of a unit-rate SGD step, given to the optimizer all at once."""

    def network() -> keras.Model:
        return MODELS["mlp"](seed=0)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(8, 28, 28, 1)).astype("float32"), generator.integers(10, size=8)
    trainer, reference = ALGORITHMS["mem_dfa"](network()), network()
    trainer.compile(optimizer(), loss, run_eagerly=eager, jit_compile=False)
    whole = optimizer()
    whole.build(reference.trainable_variables)
    for _ in range(3):
        whole.apply(gradients(reference.get_weights(), x, y))
        trainer.train_on_batch(x, y)
    assert int(trainer.optimizer.iterations) == int(whole.iterations)
    start, got = network().get_weights(), trainer.network.get_weights()
    for variable in zip(start, got, reference.get_weights(), strict=True):
        old, ours, expected = (value.ravel() for value in variable)
        assert np.linalg.norm(expected - old) > 0
        assert np.linalg.norm(ours - expected) <= 1e-6 * np.linalg.norm(expected - old)


def test_an_optimizer_that_needs_all_gradients_says_what_it_costs() -> None:
    trainer = ALGORITHMS["mem_dfa"](MODELS["mlp"](seed=0))
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    assert not is_blockwise(optimizer)
    with pytest.warns(UserWarning, match=f"{81_840 * 4} bytes of gradients"):
        trainer.compile(optimizer, "mse")
