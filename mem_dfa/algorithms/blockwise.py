"""Networks trained block by block: what the algorithms with a schedule of their own share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.chain.block_bytes import StepBytes
from mem_dfa.chain.chain import Chain
from mem_dfa.chain.loss_bytes import loss_bytes
from mem_dfa.chain.refuse_unrepeatable import refuse_borrowed
from mem_dfa.chain.warn_one_block import warn_if_one_block
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.profile_scope import scope
from mem_dfa.optimizer.step import Update, is_blockwise, update_copies, warn_if_whole
from mem_dfa.schedules.schedule import Schedule, Targets
from mem_dfa.shapes.layer_bytes import variable_bytes


class Blockwise(Algorithm):
    """One optimizer step a batch, taken by the algorithm's `schedule`.

    Attributes:
        chain: the network as this algorithm cuts it.
    """

    alone: tuple[type[keras.layers.Layer], ...] = ()
    """Kinds of layers that are a block of their own."""

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Cut `network` into blocks.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut.
        """
        super().__init__(network, **details)
        self.chain = self.cut(network)

    def cut(self, network: keras.Model) -> Chain:
        """The network in blocks."""
        return Chain.from_model(network, alone=self.alone)

    @abstractmethod
    def schedule(self, update: Update, batch_size: int | None) -> Schedule:
        """The passes of one step.

        Args:
            update: the optimizer's step.
            batch_size: None where it is not known.
        """

    def update_blocks(
        self, inputs: tf.Tensor, y: Any, sample_weight: Any, schedule: Schedule
    ) -> tf.Tensor:
        """Update every block once and return the network's output, shape (batch, ...)."""
        outputs: list[tf.Tensor] = []

        def error_of(logits: tf.Tensor) -> tf.Tensor:
            error, output = self.output_error(inputs, logits, y, sample_weight)
            outputs.append(output)
            return error

        schedule.run(inputs, Targets(y, sample_weight, error_of))
        return outputs[0]

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        name = type(self).__name__
        losses = keras.tree.flatten(self.loss)  # a list or dictionary may hold the one
        if len(losses) != 1 or losses[0] is None:
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
        trained = {id(v) for block in self.chain.blocks for v in block.trainable_variables}
        for variable in self.trainable_variables:
            if variable.regularizer is not None and id(variable) not in trained:
                raise UnsupportedError(
                    f"{name}: '{variable.path}' is regularised, but on no way from the input to "
                    f"the output of '{self.network.name}', so that no block trains it: freeze it, "
                    "or use 'bp'."
                )
        refuse_borrowed(self.chain.blocks)
        self._expect_step(losses[0])
        warn_if_whole(self.optimizer, self.trainable_variables)
        warn_if_one_block(name, self.chain.pieces)

    def _expect_step(self, loss: Any) -> None:
        """Let bytes count what the optimizer and the loss take."""
        known: dict[tuple, int] = {}

        def of_loss(logits: keras.KerasTensor) -> int:
            key = logits.shape, logits.dtype
            if key not in known:
                known[key] = loss_bytes(loss, self.chain.head, logits)
            return known[key]

        whole = 0 if is_blockwise(self.optimizer) else variable_bytes(self.trainable_variables)
        self.chain.expect(StepBytes(update_copies(self.optimizer), whole, of_loss))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One batch: the algorithm's passes over the blocks, one optimizer step, metrics."""
        return self.step_by(self.schedule, data)

    def step_by(
        self, schedule: Callable[[Update, int | None], Schedule], data: Any
    ) -> dict[str, tf.Tensor]:
        """`train_step` with the passes that `schedule` makes, such as the algorithm's own."""
        self.signal.refuse_unfrozen()  # layers may have been unfrozen since `compile`
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = _as_input(x, self.chain.input)
        self.chain.see(inputs.shape)
        if not self.optimizer.built:
            # On all variables: the blocks' own calls each name a few of them.
            self.optimizer.build(self.trainable_variables)
        update = Update(self.optimizer, compiled=bool(self.jit_compile))
        with self.signal.way_back(self):
            passes = schedule(update, inputs.shape[0])
            y_pred = self.update_blocks(inputs, y, sample_weight, passes)
        update.finish()
        self.signal.end_step()
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def output_error(
        self, inputs: tf.Tensor, logits: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """E = dL/dz at the logits and the network's output; keeps track of the loss.

        Raises:
            UnsupportedError: the loss does not depend on the logits in a differentiable way, or
                on weights besides, or a layer called `add_loss`.
        """
        with scope("forward", "loss"), tf.GradientTape() as tape:
            tape.watch(logits)
            # The head runs the model's last activation, so that the loss sees what the user sees.
            outputs = self.chain.head.run(logits, "forward")
            loss = self._compute_loss(inputs, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        self._refuse_weights_in_the_loss(tape)
        penalties = sum(v.regularizer is not None for v in self.trainable_variables)
        if len(self.losses) > penalties:
            raise UnsupportedError(
                f"{type(self).__name__}: a layer of '{self.network.name}' calls add_loss, which "
                "blocks trained apart cannot honour: put the term into the loss, or use 'bp'."
            )
        with scope("backward", "loss"):
            error = tape.gradient(scaled, logits)
        if error is None:
            last = self.chain.blocks[-1].atoms[-1]
            raise UnsupportedError(
                f"{type(self).__name__} received loss={self.loss!r}, which has no gradient with "
                f"respect to the output of '{last.name}': use a differentiable Keras loss; if "
                "that layer ends in a softmax or sigmoid, behind which Keras's loss looks, make "
                "that a keras.layers.Softmax or Activation after it, or use 'bp'."
            )
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(logits)[0])
        return tf.convert_to_tensor(error), outputs

    def _refuse_weights_in_the_loss(self, tape: tf.GradientTape) -> None:
        """Weights have the gradient of the loss by their blocks' outputs, and no other."""
        read = {id(variable) for variable in tape.watched_variables()}
        for variable in self.trainable_variables:
            if id(variable.value) in read and variable.regularizer is None:
                raise UnsupportedError(
                    f"{type(self).__name__} received a loss that reads '{variable.path}' itself, "
                    "which blocks trained apart cannot honour: give the layer a regulariser, or "
                    "use 'bp'."
                )


def _as_input(x: Any, declared: keras.KerasTensor) -> tf.Tensor:
    """The batch in the dtype and rank the model's input declares, as a Keras model takes it.

    A sparse tensor is made dense, unless the input is declared sparse.
    """
    leaves = keras.tree.flatten(x)
    if len(leaves) != 1:
        raise UnsupportedError(f"Received a batch of {len(leaves)} inputs: the model takes one.")
    x = keras.ops.convert_to_tensor(leaves[0], dtype=declared.dtype, sparse=declared.sparse)
    if len(x.shape) == len(declared.shape) + 1 and x.shape[-1] == 1:
        return tf.squeeze(x, -1)
    if len(x.shape) == len(declared.shape) - 1 and declared.shape[-1] == 1:
        return tf.expand_dims(x, -1)
    return x
