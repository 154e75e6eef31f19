"""The contract: a training algorithm is a keras.Model with its own `train_step`."""

from __future__ import annotations

import warnings
from typing import Any, Self

import keras
import tensorflow as tf
from keras.src.backend.common.global_state import get_global_attribute

from mem_dfa.chain.overrides import refuse_own_training
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.signal import Exact, Signal
from mem_dfa.memory.first_batches import looked_at_first
from mem_dfa.shapes.graph_models import is_graph
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_bytes import variable_bytes


class Algorithm(keras.Model):
    """Trains a network, which stays the user's own model, by one algorithm.

    `fit`, `evaluate`, `predict`, callbacks, metrics and weights work as in Keras.

    Attributes:
        budget: bytes that a step stays within, for those that plan for it; None for no limit.
        batch_size: of the largest batch that the budget is for; None for the first batch's.
    """

    budget: str | int | None = None
    batch_size: int | None = None

    def __init__(self, network: keras.Model, seed: int = 0, name: str | None = None) -> None:
        """Wrap `network`.

        Args:
            network: a built Keras model; its dtype policy becomes the trainer's.
            seed: of everything random that the algorithm adds, not of the network.
            name: of the trainer, as in Keras.

        Raises:
            UnsupportedError: the network is none, is not built, or has training of its own.
        """
        if not isinstance(network, keras.Model):
            raise UnsupportedError(
                f"{type(self).__name__} received {type(network).__name__} for a network: give it a "
                "keras.Model of Keras 3."
            )
        # The network casts its inputs itself, if its first layers do.
        super().__init__(name=name, dtype=network.dtype_policy, autocast=False)
        if keras.backend.backend() != "tensorflow":
            raise UnsupportedError(
                f"Keras runs on {keras.backend.backend()!r}: these algorithms need TensorFlow; "
                "set KERAS_BACKEND=tensorflow before Python starts."
            )
        # Of a subclass `build` says that it is built when the layers inside are not.
        unbuilt = [layer for layer in network._flatten_layers() if not layer.built]
        if not network.built or (unbuilt and not (network._called or is_graph(network))):
            raise UnsupportedError(
                f"Model '{network.name}' is not built: add a keras.Input as its first layer, or "
                "call the model on a batch, model(x), first."
            )
        refuse_own_training(network, type(self).__name__)
        self.network, self.seed = network, seed
        self.signal: Signal = Exact()
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The network's output."""
        return self.network(inputs, training=training)

    @property
    def batches_a_step(self) -> int:
        """How many batches there are for each optimizer step."""
        return 1

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the random weights that the error signal takes and that are held."""
        return variable_bytes(self.signal.held)

    def host_bytes(self, batch_size: int) -> int | None:
        """Bytes that a step keeps in another device's memory, from shapes; None if nobody knows."""
        try:
            return self._host_bytes(batch_size)
        except UnknownBytesError:
            return None

    def _host_bytes(self, batch_size: int) -> int:
        """The same; may raise UnknownBytesError for what cannot be known."""
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

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """As in Keras, with the network's own, which it leaves out of a model in a model."""
        found = super().metrics
        own = len(self._get_own_metrics())
        return [*found[:own], *self.network._metrics, *found[own:]]

    @property
    def output_names(self) -> list[str]:
        """The network's, which losses and metrics are given by; a subclass of Model has none."""
        return getattr(self.network, "_functional", self.network).output_names

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras: of the network, which is all that inference runs."""
        return self.network.export(*args, **kwargs)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As in Keras.

        Raises:
            UnsupportedError: to an HDF5 file, which Keras would write and not load.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise _hdf5_error(self)
        super().save(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """As in Keras; the network is part of it.

        Raises:
            UnsupportedError: for an HDF5 file, see `save`.
        """
        if get_global_attribute("use_legacy_config", False):
            raise _hdf5_error(self)
        network = keras.saving.serialize_keras_object(self.network)
        own = {"network": network, "seed": self.seed, "name": self.name}
        return {**own, **self.signal.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Self:
        """As in Keras."""
        made = {
            name: keras.saving.deserialize_keras_object(value, custom_objects)
            for name, value in config.items()
            if isinstance(value, dict)
        }
        return cls(**{**config, **made})

    def _refuse_at_compile(self) -> None:
        """Raise UnsupportedError for what this algorithm cannot honour."""
        if self.budget is not None and (self.run_eagerly or self.jit_compile):
            how = "run_eagerly=True" if self.run_eagerly else "XLA, by jit_compile,"
            warnings.warn(
                f"{type(self).__name__} received budget={self.budget!r} and {how} under which a "
                "step may take more: budgets are planned for graph execution; compile with "
                "jit_compile=False.",
                stacklevel=4,
            )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.compile`.

        Raises:
            UnsupportedError: the algorithm cannot honour the network, loss or optimizer.
        """
        refuse_own_training(self.network, type(self).__name__)
        super().compile(*args, **kwargs)
        self._refuse_at_compile()
        self.signal.refuse_at_compile(self.loss)

    train_function: Any

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras, with the optimizer's slots there: a step that makes them is traced twice.

        A slot made while a step is traced takes ten times as long besides.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        made = self.train_function is None or force
        super().make_train_function(force)
        if made and self.budget is not None and self.batch_size is not None:
            look = self._refuse_larger
            self.train_function = looked_at_first(self.train_function, self, look)

    def _refuse_larger(self, batch: Any) -> bool:
        """Refuse a batch that the budget is not planned for; True where it is."""
        x = keras.utils.unpack_x_y_sample_weight(batch)[0]
        size, planned = int(keras.tree.flatten(x)[0].shape[0]), self.batch_size
        if planned is not None and size > planned:
            raise UnsupportedError(
                f"{type(self).__name__} received budget={self.budget!r} for batches of {planned}, "
                f"and a batch of {size}: give batch_size={size}, or smaller batches."
            )
        return True

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's own, in which error signals pass layers back as the `signal` says."""
        with self.signal.way_back(self):
            logs = super().train_step(data)
        self.signal.end_step()
        return logs

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
        metrics, leaves = self._compile_metrics, keras.tree.flatten(labels)
        if metrics is None or metrics.built or len(leaves) != 1 or not hasattr(leaves[0], "shape"):
            return
        outputs = getattr(self.network, "outputs", None)  # a subclass of Model has none
        if not outputs or len(outputs) > 1:
            return
        dtype = keras.backend.standardize_dtype(leaves[0].dtype)
        shape = (None, *leaves[0].shape[1:])
        metrics.build(keras.KerasTensor(shape, dtype), outputs[0])

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As in Keras, which leaves it to a class with a `compile` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _hdf5_error(trainer: Algorithm) -> UnsupportedError:
    return UnsupportedError(
        f"{type(trainer).__name__} cannot be saved as an HDF5 file, which Keras could not load: "
        "save the trainer to a .keras file, its weights by save_weights, or trainer.network alone."
    )
