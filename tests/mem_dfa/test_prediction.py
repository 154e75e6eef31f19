"""What a step should take, from shapes, and models of which no shapes are known."""

import keras
import pytest
import tensorflow as tf

import mem_dfa
from mem_dfa.shapes.layer_bytes import backpropagation_bytes


def test_residents_are_weights_slots_and_the_batch() -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    predicted = mem_dfa.predict(model, 32)
    # As the allocator rounds, to multiples of 256: kernel and bias and two moments of each, Adam's
    # count of steps and learning rate, and the batch.
    assert predicted.resident_bytes == 3 * (256 + 256) + 2 * 256 + 32 * 8 * 4
    assert predicted.step_bytes == backpropagation_bytes(model, 32)
    assert predicted.peak_bytes == predicted.resident_bytes + predicted.step_bytes


class Own(keras.Model):
    """A subclass, whose shapes nobody knows."""

    def call(self, inputs: object) -> object:
        return inputs


@pytest.mark.parametrize(
    "model",
    [Own(name="own"), keras.Sequential([keras.layers.Dense(4)], name="own")],
    ids=["subclass", "not built"],
)
def test_a_model_of_unknown_shapes_is_refused(model: keras.Model) -> None:
    with pytest.raises(ValueError, match="Received the model 'own', of which the shapes"):
        mem_dfa.predict(model, 32)


class Python(keras.layers.Layer):
    """Leaves TensorFlow for Python, where nobody sees what is kept."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.py_function(tf.tanh, [x], x.dtype), tf.shape(x))


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([keras.Input((8,)), Python(name="hides")], r"layer 'hides' \(Python\)"),
        ([keras.Input((None, 8))], r"its input has the shape \(None, None, 8\)"),
    ],
)
def test_what_is_not_known_is_said(layers: list, says: str) -> None:
    model = keras.Sequential([*layers, keras.layers.Dense(4)], name="own")
    with pytest.raises(ValueError, match=f"Received the model 'own', .*{says}.*measure it"):
        mem_dfa.predict(model, 32)


def test_a_batch_of_nothing_is_refused() -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="Received batch_size=0"):
        mem_dfa.predict(model, 0)
