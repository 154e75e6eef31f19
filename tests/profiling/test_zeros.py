"""What TensorFlow's memory optimizer keeps is named: zeros as large as a sum of gradients."""

import keras
import pytest
import tensorflow as tf
from mem_dfa.profiling.timeline.lifetimes import UNNAMED
from mem_dfa.profiling.words import CONSTANT

from mem_dfa import profiling

MEBIBYTE = 2**20
SHAPE = (64, 64, 64)  # a MiB


def normalised() -> keras.Model:
    """Three times what keeps two tensors of its output's size and adds three gradients up."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(SHAPE)
    for _ in range(3):
        x = keras.layers.Conv2D(64, 1)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse", jit_compile=False)
    return model


# Grappler expects the step of 32 images to take more than 204.8 MiB, and that of 8 less.
@pytest.mark.parametrize(("images", "zeros_bytes"), [(32, 32 * MEBIBYTE), (8, 0)])
def test_zeros_are_named_where_a_step_is_expected_to_take_much(
    images: int, zeros_bytes: int
) -> None:
    model = normalised()
    x, y = tf.zeros((images, *SHAPE)), tf.zeros((images, 3))
    timelines = []
    for _ in range(2):
        with profiling.trace(model) as timeline:
            model.train_on_batch(x, y)
        timelines.append(timeline)
    first, later = timelines
    made, kept = (t.tensors[t.tensors["category"] == CONSTANT] for t in timelines)
    assert made["requested_bytes"].sum() == kept["requested_bytes"].sum() == zeros_bytes
    assert (made["start_ns"] >= 0).all() and (kept["start_ns"] == -1).all()
    assert made["op"].tolist() == kept["op"].tolist()
    # What the first step leaves behind, by the allocator's count alone, and has no other name.
    left_bytes = later.resident_bytes - first.resident_bytes
    assert zeros_bytes <= left_bytes < zeros_bytes + 2 * MEBIBYTE
    before, after = (
        t.tensors.loc[t.tensors["op"] == UNNAMED, "allocated_bytes"].sum() for t in timelines
    )
    assert after - before < 2 * MEBIBYTE
