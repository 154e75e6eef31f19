"""The contract: a training algorithm is a keras.Model with its own `train_step`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback import check_initializer
from sizes.tensors import UnknownBytesError


class Algorithm(keras.Model):
    """Trains a network, which stays the user's own model, by one algorithm.

    `fit`, `evaluate`, `predict`, callbacks, metrics and weights work as in Keras.
    """

    def __init__(self, network: keras.Model, seed: int = 0, name: str | None = None) -> None:
        """Wrap `network`.

        Args:
            network: a built Keras model; its dtype policy becomes the trainer's.
            seed: of everything random that the algorithm adds, not of the network.
            name: of the trainer, as in Keras.

        Raises:
            UnsupportedError: the network is not built.
        """
        # The network casts its inputs itself, if its first layers do.
        super().__init__(name=name, dtype=network.dtype_policy, autocast=False)
        if keras.backend.backend() != "tensorflow":
            raise UnsupportedError(
                f"Keras runs on {keras.backend.backend()!r}: these algorithms need TensorFlow; "
                "set KERAS_BACKEND=tensorflow before Python starts."
            )
        if not network.built:
            raise UnsupportedError(
                f"Model '{network.name}' is not built: add a keras.Input as its first layer or "
                "call model.build(input_shape) first."
            )
        self.network = network
        self.seed = seed
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The network's output."""
        return self.network(inputs, training=training)

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the feedback matrices that are held."""
        return 0

    def predict_step_bytes(self, batch_size: int) -> int | None:
        """Step bytes in graph execution, from shapes; None for what nobody predicts or knows."""
        try:
            return self._predict_step_bytes(batch_size)
        except UnknownBytesError:
            return None

    def _predict_step_bytes(self, batch_size: int) -> int | None:
        """The same; may raise UnknownBytesError for what cannot be known."""
        return None

    def get_config(self) -> dict[str, Any]:
        """As in Keras; the network is part of it."""
        network = keras.saving.serialize_keras_object(self.network)
        return {"network": network, "seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Self:
        """As in Keras."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**{**config, "network": network})

    def _refuse_at_compile(self) -> None:
        """Raise UnsupportedError for what this algorithm cannot honour."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.compile`.

        Raises:
            UnsupportedError: the algorithm cannot honour the network, loss or optimizer.
        """
        super().compile(*args, **kwargs)
        self._refuse_at_compile()

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras, with the optimizer's slots there: a step that makes them is traced twice.

        A slot made while a step is traced takes ten times as long besides.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        super().make_train_function(force)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in Keras."""
        self._build_metrics(y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in Keras."""
        labels = y
        if y is None and isinstance(x, tf.data.Dataset):
            labels = keras.utils.unpack_x_y_sample_weight(x.element_spec)[1]
        self._build_metrics(labels)
        return super().fit(x, y, *args, **kwargs)

    def _build_metrics(self, labels: Any) -> None:
        """Make the metrics' variables before the step, which would otherwise be traced twice."""
        metrics = self._compile_metrics
        if metrics is None or metrics.built or not hasattr(labels, "shape"):
            return
        outputs = getattr(self.network, "outputs", None)  # a subclass of Model has none
        if not outputs or len(outputs) > 1:
            return
        dtype = keras.backend.standardize_dtype(labels.dtype)
        shape = (None, *labels.shape[1:])
        metrics.build(keras.KerasTensor(shape, dtype), outputs[0])

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As in Keras, which leaves it to a class with a `compile` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def variable_bytes(variables: list[keras.Variable]) -> int:
    """Bytes of the values of `variables`."""
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


class FeedbackAlgorithm(Algorithm):
    """An algorithm with random weights of its own, which are saved and loaded with it."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | keras.initializers.Initializer = "uniform",
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `feedback.INITIALIZERS`, or a Keras initializer.
            **details: `seed`, which the random weights are drawn from, and `name`; what a class
                that is an algorithm of another kind as well takes for that.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer.
        """
        super().__init__(network, **details)
        check_initializer(feedback_initializer)
        self.feedback_initializer = feedback_initializer
        self._draw_feedback()

    @abstractmethod
    def _draw_feedback(self) -> None:
        """Make the random weights; raises UnsupportedError for a network it cannot train."""

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        initializer = self.feedback_initializer
        if not isinstance(initializer, str):
            initializer = keras.saving.serialize_keras_object(initializer)
        return {**super().get_config(), "feedback_initializer": initializer}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Self:
        """As in Keras."""
        initializer = config["feedback_initializer"]
        if not isinstance(initializer, str):
            initializer = keras.saving.deserialize_keras_object(initializer)
        return super().from_config({**config, "feedback_initializer": initializer}, custom_objects)
