"""The contract: a training algorithm is a keras.Model with its own `train_step`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.chain import Chain
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback import check_initializer, for_matrix
from mem_dfa.update import Update, warn_if_whole


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
        super().__init__(name=name, dtype=network.dtype_policy)
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

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As in Keras, which leaves it to a class with a `compile` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def variable_bytes(variables: list[keras.Variable]) -> int:
    """Bytes of the values of `variables`."""
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


class RandomFeedback(Algorithm):
    """Blocks whose error signal is δ_i = e·B_i: what DFA and MEM-DFA share.

    The schedule, `update_blocks`, is each algorithm's own.
    """

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | keras.initializers.Initializer = "uniform",
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        """Cut `network` into blocks and draw their feedback matrices.

        Args:
            network: a built Sequential or functional model, see `Chain.from_model`.
            feedback_initializer: a name in `feedback.INITIALIZERS`, or a Keras initializer.
            seed: of the feedback matrices.
            name: of the trainer, as in Keras.

        Raises:
            UnsupportedError: the network cannot be cut, or the initializer is unknown.
        """
        super().__init__(network, seed=seed, name=name)
        check_initializer(feedback_initializer)
        self.feedback_initializer = feedback_initializer
        self._chain = Chain.from_model(network)
        *hidden, last = self._chain.blocks
        self._feedback: dict[str, keras.Variable] = {}
        # One seed a block, independent of which blocks are frozen.
        seeds = np.random.default_rng(seed).integers(2**31 - 1, size=len(hidden) + 1)
        for block, block_seed in zip(hidden, seeds, strict=False):
            if block.trainable_variables:
                self._feedback[block.name] = self.add_weight(
                    shape=(last.width, block.width),
                    initializer=for_matrix(
                        feedback_initializer, last.width, block.width, int(block_seed)
                    ),
                    trainable=False,
                    name=f"feedback_{block.name}",
                )

    @property
    def chain(self) -> Chain:
        """The network as this algorithm cuts it."""
        return self._chain

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the feedback matrices that are held: C·Σn_i values."""
        return variable_bytes(list(self._feedback.values()))

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

    def _refuse_at_compile(self) -> None:
        name = type(self).__name__
        if self.loss is None or isinstance(self.loss, (list, tuple, dict)):
            raise UnsupportedError(
                f"{name} received loss={self.loss!r}: it needs exactly one Keras loss, "
                "for example keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise UnsupportedError(
                f"{name} received a distribution strategy with {replicas} replicas: it trains on "
                "one device; compile it outside of the strategy, or use 'bp'."
            )
        for block in self._chain.blocks[:-1]:
            if block.trainable_variables and block.name not in self._feedback:
                raise UnsupportedError(
                    f"{name}: {block.name} was frozen when the trainer was made and has no "
                    "feedback matrix: unfreeze its layers before making the trainer."
                )
        warn_if_whole(self.optimizer, self.trainable_variables)

    def error_signal(self, block: str, error: tf.Tensor, width: tuple[int, ...]) -> tf.Tensor:
        """δ_i from the output error.

        Args:
            block: name of block i; the last block's error signal is e itself.
            error: e = dL/dz, shape (batch, ...).
            width: shape of a_i without its batch axis.

        Returns:
            δ_i, shape (batch, *width).
        """
        batch = tf.shape(error)[0]
        if block == self._chain.blocks[-1].name:
            return error
        feedback = tf.cast(self._feedback[block].value, error.dtype)
        # δ_i = e·B_i
        return tf.reshape(tf.reshape(error, [batch, -1]) @ feedback, [batch, *width])

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One batch: the algorithm's passes over the blocks, one optimizer step, metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = _as_input(x, self._chain.input)
        if not self.optimizer.built:
            # On all variables: the blocks' own calls each name a few of them.
            self.optimizer.build(self.trainable_variables)
        update = Update(self.optimizer)
        y_pred = self.update_blocks(inputs, y, sample_weight, update)
        update.finish()
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    @abstractmethod
    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, update: Update
    ) -> tf.Tensor:
        """Update every block once and return the network's output, shape (batch, ...)."""

    def output_error(
        self, inputs: tf.Tensor, logits: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """E = dL/dz at the logits and the network's output; keeps track of the loss.

        Raises:
            UnsupportedError: the loss does not depend on the logits in a differentiable way, or a
                layer called `add_loss`.
        """
        with tf.GradientTape() as tape:
            tape.watch(logits)
            # The head runs the model's last activation, so that the loss sees what the user sees.
            outputs = self._chain.head.run(logits, "forward")
            loss = self.compute_loss(inputs, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        penalties = sum(v.regularizer is not None for v in self.trainable_variables)
        if len(self.losses) > penalties:
            raise UnsupportedError(
                f"{type(self).__name__}: a layer of '{self.network.name}' calls add_loss, which "
                "blocks trained apart cannot honour: put the term into the loss, or use 'bp'."
            )
        error = tape.gradient(scaled, logits)
        if error is None:
            raise UnsupportedError(
                f"{type(self).__name__} received loss={self.loss!r}, which has no gradient with "
                "respect to the network's output: use a differentiable Keras loss."
            )
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(logits)[0])
        return tf.convert_to_tensor(error), outputs


def _as_input(x: Any, declared: keras.KerasTensor) -> tf.Tensor:
    """The batch in the dtype and rank the model's input declares, as a Keras model takes it."""
    x = keras.ops.convert_to_tensor(x, dtype=declared.dtype)
    if len(x.shape) == len(declared.shape) + 1 and x.shape[-1] == 1:
        return tf.squeeze(x, -1)
    if len(x.shape) == len(declared.shape) - 1 and declared.shape[-1] == 1:
        return tf.expand_dims(x, -1)
    return x
