"""Timelines of real training steps, against the allocator and against what must be there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, profiling
from tests.mem_dfa.table import ANY_NETWORK, STEPS, TABLE

BATCH = 16
LAYERS = 5
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4
SHAPES = {
    "conv20": (32, 32, 3),
    "vgg16": (32, 32, 3),
    "mnist_conv": (28, 28, 1),
    "revnet38": (32, 32, 3),  # as conv20's, in the place of which it is trained
}


def trainer_of(
    algorithm: str,
    model: str = "conv20",
    options: dict | None = None,
    **how,  # noqa: ANN003
) -> keras.Model:
    layers = LAYERS if model == "conv20" else None
    if algorithm == "revnet":
        # Of the reversible nets the first units: ordinary and reversible ones.
        model, layers = "revnet38", 3
    network = MODELS[model](input_shape=SHAPES[model], layers=layers, seed=0)
    if algorithm == "anchor_steps":
        options = TABLE[algorithm].arguments  # of other batches there is nothing to see
    trainer = ALGORITHMS[algorithm](network, **(options or {}))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    how = {"jit_compile": False, **how}
    trainer.compile(keras.optimizers.SGD(0.01), loss, metrics=["accuracy"], **how)
    return trainer


def recorded(
    trainer: keras.Model, shape: tuple[int, ...] = (32, 32, 3), batch: int = BATCH
) -> profiling.Timeline:
    x = tf.random.stateless_uniform((batch, *shape), (1, 2))
    y = tf.zeros((batch,), tf.int32)
    trainer.train_on_batch(x, y)  # traces functions and makes optimizer slots
    with profiling.trace(trainer) as timeline:
        trainer.train_on_batch(x, y)
    return timeline


def blocks_of_activations(timeline: profiling.Timeline) -> list[str]:
    """The blocks whose whole activations are alive at the peak."""
    live = timeline.live_at_peak()
    chosen = (live["category"] == "activation") & (live["requested_bytes"] == ACTIVATION_BYTES)
    return sorted(live.loc[chosen, "block"])


# RevNet trains its own net alone, whatever is asked for, see `trainer_of`. VGG16 has wide kernels,
# updated whole or in tiles, and layers with draws, which are run again or not.
WIDE = [("bp", False), ("mem_dfa", False), ("mem_dfa", True), ("checkpoint", False)]
CASES = [
    *(
        (algorithm, model, eager)
        for algorithm in STEPS
        for model in (["conv20"] if algorithm == "revnet" else ["conv20", "mnist_conv"])
        for eager in (False, True)
    ),
    *((algorithm, "vgg16", eager) for algorithm, eager in WIDE),
]


@pytest.mark.parametrize(("algorithm", "model", "eager"), CASES)
def test_peak_is_the_allocators_own_and_phases_the_algorithms(
    algorithm: str, model: str, eager: bool
) -> None:
    trainer = trainer_of(algorithm, model, run_eagerly=eager)
    # VGG16 has its bytes in its kernels.
    timeline = recorded(trainer, SHAPES[model], batch=4 if model == "vgg16" else BATCH)
    assert timeline.fault == ""
    assert timeline.peak_bytes == timeline.allocator_peak_bytes > timeline.resident_bytes > 0
    for key in ("block", "phase", "category"):
        assert timeline.by(key).sum() == timeline.peak_bytes
    assert timeline.attribution == ("eager with layers" if eager else "graph")
    sums = [
        timeline.live_at(int(time))["allocated_bytes"].sum()
        for time in timeline.events["time_ns"].iloc[::97]
    ]
    assert sums == timeline.events["running_bytes"].iloc[::97].tolist()
    phases = set(timeline.tensors["phase"])
    assert {"resident", "forward", "backward"} <= phases
    assert ("replay" in phases) == TABLE[algorithm].replays


@pytest.mark.parametrize("algorithm", ["bp", "mem_dfa"])
def test_under_xla_it_says_that_the_parts_are_hidden(algorithm: str) -> None:
    timeline = recorded(trainer_of(algorithm, jit_compile=True))
    assert timeline.attribution == "xla"
    assert timeline.fault == ""
    assert timeline.peak_bytes == timeline.allocator_peak_bytes
    assert timeline.attributed_share < 0.5


def test_bp_keeps_one_activation_a_block() -> None:
    trainer = trainer_of("bp")
    steps = [blocks_of_activations(recorded(trainer)) for _ in range(5)]
    blocks = [f"conv_{i}" for i in range(1, LAYERS + 1)]
    # Where two gradients run at once the peak is theirs, and the last block is done with.
    assert all(step in (blocks, blocks[:-1]) for step in steps)
    assert blocks in steps


def test_mem_dfa_keeps_two_adjacent_ones() -> None:
    blocks = blocks_of_activations(recorded(trainer_of("mem_dfa", options={"slices": 1})))
    first, second = (int(block.removeprefix("block_")) for block in blocks)
    assert second == first + 1


# Nobody predicts RevNet's peak: it is that of the block with the largest working set.
@pytest.mark.parametrize("algorithm", ANY_NETWORK)
def test_prediction_from_shapes_is_near(algorithm: str) -> None:
    trainer = trainer_of(algorithm)
    # Of a step of BP's layers two gradients may or may not run at once: of several the middle one.
    steps = sorted(recorded(trainer).step_requested_bytes for _ in range(5))
    measured = steps[len(steps) // 2]
    predicted = trainer.predict_step_bytes(BATCH)
    # The classifier's gradient, as large as its kernel, may or may not be alive at the peak.
    kernel_bytes = 4 * 32 * 32 * 16 * 10
    assert abs(predicted - measured) <= 0.05 * predicted + kernel_bytes


def test_feedback_and_optimizer_slots_are_named() -> None:
    trainer = trainer_of("mem_dfa")
    trainer.compile(keras.optimizers.SGD(0.01, momentum=0.9), trainer.loss, jit_compile=False)
    timeline = recorded(trainer)
    before = timeline.live_at(-1)
    found = before.groupby("category")["requested_bytes"].sum()
    assert found["feedback"] == trainer.feedback_bytes
    parameters = sum(4 * np.prod(v.shape) for v in trainer.network.variables)
    assert found["parameter"] == parameters
    assert found["optimizer state"] >= parameters
    inputs = before.loc[before["category"] == "input", "shape"].tolist()
    assert f"[{BATCH},32,32,3]" in inputs
    # A slot belongs to its variable's layer, and that to the block that ran it.
    slots = before[before["op"].str.contains("conv_2") & (before["category"] == "optimizer state")]
    assert set(slots["block"]) == {"block_002"}


def test_any_model_of_the_users() -> None:
    whole = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False)
    # The later blocks have the same layers, and tracing takes most of the time.
    pooled = keras.layers.GlobalAveragePooling2D()(whole.get_layer("block_2_add").output)
    model = keras.Model(whole.input, keras.layers.Dense(10, "softmax")(pooled))
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    x = tf.random.stateless_uniform((8, 32, 32, 3), (1, 2))
    y = tf.zeros((8,), tf.int32)
    model.train_on_batch(x, y)
    # Without a model the optimizer's operations, some two fifths of the bytes, have no layer.
    for known, least in ((model, 0.95), (None, 0.5)):
        with profiling.trace(known) as timeline:
            model.train_on_batch(x, y)
        assert timeline.fault == ""
        assert timeline.peak_bytes == timeline.allocator_peak_bytes
        tensors = timeline.tensors
        layers = set(tensors["layer"]) - {""}
        if known is not None:
            named = timeline.by("category")
            assert named["parameter"] >= sum(4 * np.prod(v.shape) for v in model.variables)
            assert layers <= {layer.name for layer in model.layers}
        made = tensors[tensors["start_ns"] >= 0]
        share = made.loc[made["layer"] != "", "requested_bytes"].sum()
        assert share >= least * made["requested_bytes"].sum()
        assert "block_1_expand" in layers
