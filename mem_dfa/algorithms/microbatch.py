"""Microbatches (gradient accumulation): backpropagation over slices of the batch, one update.

    for each slice s of the batch:  G ← G + (n_s / n)·∇L_s;  then  W ← W − η·G

The gradient of a mean over the batch is the mean of its slices' gradients, each weighted by its
share of the examples. It is BP's own wherever examples do not meet: BatchNormalization, whose
statistics are of the whole batch, is refused.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa import planning
from mem_dfa.algorithms.base import Algorithm, variable_bytes
from mem_dfa.block import assigned
from mem_dfa.errors import UnsupportedError
from mem_dfa.ordering import after, token
from mem_dfa.scopes import scope
from sizes.layers import backpropagation_bytes

DEFAULT_SLICES = 8
# Means over the examples, which the slices' means make up by their shares.
MEANS = ("sum_over_batch_size", "mean")


@keras.saving.register_keras_serializable("mem_dfa")
class Microbatch(Algorithm):
    """BP over slices of the batch, one after another."""

    def __init__(
        self,
        network: keras.Model,
        slices: int | None = None,
        budget: str | int | None = None,
        batch_size: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: any built Keras model without BatchNormalization and masks.
            slices: into how many parts a batch is cut; 8 where nothing is said.
            budget: step bytes, such as "64 MiB", to stay within with as few slices as possible.
            batch_size: what the budget is for; needed where batches are of no fixed size.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network normalises over the batch, or the arguments make no sense.
        """
        super().__init__(network, **details)
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                raise UnsupportedError(
                    f"Microbatch cannot train model '{network.name}': layer '{layer.name}' "
                    "(BatchNormalization) needs the statistics of the whole batch; use another "
                    "normalisation, or 'checkpoint'."
                )
        if slices is not None and budget is not None:
            raise UnsupportedError("Microbatch received slices and budget: give one of them.")
        if slices is not None and (not isinstance(slices, int) or slices < 1):
            raise UnsupportedError(
                f"Microbatch received slices={slices!r}: give a whole number, at least 1."
            )
        if budget is not None:
            planning.budget_bytes(budget)
        self.slices, self.budget, self.batch_size = slices, budget, batch_size

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("slices", "budget", "batch_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        self._is_checked = False
        for loss in keras.tree.flatten(self.loss):
            reduction = getattr(loss, "reduction", MEANS[0])
            if reduction not in MEANS:
                raise UnsupportedError(
                    f"Microbatch received a loss with reduction={reduction!r}: slices add up to "
                    f"the batch for a mean over the examples only; use {MEANS[0]!r}, or 'bp'."
                )

    def _refuse_at_first_slice(self, y: Any, y_pred: Any) -> None:
        """What the sum over slices would not be BP's gradient of, once there is an output."""
        outputs = keras.tree.flatten(y_pred)
        if any(getattr(output, "_keras_mask", None) is not None for output in outputs):
            raise UnsupportedError(
                f"Microbatch: the output of '{self.network.name}' has a mask, so that examples do "
                "not count alike and slices do not add up to the batch: use 'bp'."
            )
        losses, labels = self._compile_loss._flat_losses, keras.tree.flatten(y)
        if not len(losses) == len(labels) == len(outputs) == 1 or outputs[0].shape.rank == 1:
            return  # of one number an example a mean over the last axis is one over the examples
        loss = losses[0].loss
        pair = (tf.convert_to_tensor(labels[0]), outputs[0])
        specs = [tf.TensorSpec(tensor.shape, loss.dtype) for tensor in pair]
        if tf.function(loss.call).get_concrete_function(*specs).output_shapes.rank == 0:
            raise UnsupportedError(
                f"Microbatch received the loss {loss.name!r}, which gives one number for a whole "
                "batch, such as Dice with axis=None or a mean over everything: slices add up to "
                "the batch where each example has a loss of its own; give it axis=-1, or use 'bp'."
            )

    def count_slices(self, batch_size: int | None) -> int:
        """Into how many parts a batch of that size is cut.

        Raises:
            UnsupportedError: one example alone does not fit the budget.
        """
        if self.budget is None:
            wanted = self.slices or DEFAULT_SLICES
            return wanted if batch_size is None else min(wanted, batch_size)
        batch_size = self.batch_size or batch_size
        if batch_size is None:
            raise UnsupportedError(
                f"Microbatch received budget={self.budget!r} and batches of no fixed size: give "
                "batch_size=..., or batch the data with drop_remainder=True."
            )
        planning.refuse_unknown(
            f"Microbatch received budget={self.budget!r}",
            lambda: self._step_bytes(batch_size, batch_size),
            "slices=...",
        )
        limit = planning.budget_bytes(self.budget) / (1 + planning.ALLOCATOR_MARGIN)
        for slices in range(1, batch_size + 1):
            if self._step_bytes(batch_size, slices) <= limit:
                return slices
        least = self._step_bytes(batch_size, batch_size) * (1 + planning.ALLOCATOR_MARGIN)
        raise UnsupportedError(
            f"Microbatch received budget={self.budget!r}: one example at a time takes "
            f"{int(least) + 1} bytes ({least / 2**20:.1f} MiB), which is the least."
        )

    def _step_bytes(self, batch_size: int, slices: int) -> int:
        # The sums and one slice's gradients, beside the activations of the largest slice.
        weights = variable_bytes(self.network.trainable_variables)
        return backpropagation_bytes(self.network, -(-batch_size // slices)) + weights

    def _predict_step_bytes(self, batch_size: int) -> int:
        """One slice's activations and the sum of the gradients."""
        return self._step_bytes(batch_size, self.count_slices(batch_size))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on the sum of the slices' gradients."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        leaf = keras.tree.flatten(x)[0]
        count, size = self.count_slices(leaf.shape[0]), tf.shape(leaf)[0]
        sums: list[tf.Tensor | None] = [None] * len(self.trainable_variables)
        outputs, losses, done = [], [], None
        for number in range(count):
            part = _Part(number * size // count, (number + 1) * size // count, size)
            y_pred, loss, gradients = self._slice(part, x, y, sample_weight, done)
            # G ← G + (n_s / n)·∇L_s
            sums = [_add(total, gradient) for total, gradient in zip(sums, gradients, strict=True)]
            done = token([total for total in sums if total is not None])
            outputs.append(y_pred)
            losses.append(loss)
            del gradients
        self._loss_tracker.update_state(tf.add_n(losses), sample_weight=size)
        self.optimizer.apply(sums, self.trainable_variables)
        y_pred = keras.tree.map_structure(lambda *parts: tf.concat(parts, 0), *outputs)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _slice(
        self, part: _Part, x: Any, y: Any, sample_weight: Any, done: tf.Tensor | None
    ) -> tuple[Any, tf.Tensor, list[tf.Tensor | None]]:
        """Output, loss and gradients of one slice, weighted by its share of the batch.

        Slices would all start together: each waits for `done`, the sums of the one before it.
        """
        variables = [variable.value for variable in self.trainable_variables]
        with scope("forward"), tf.GradientTape() as tape:
            with keras.StatelessScope(self._hold_back(done), collect_losses=True) as state:
                inputs = keras.tree.map_structure(lambda t: after(part.of(t), done), x)
                y_pred = self(inputs, training=True)
            if state.losses:
                raise UnsupportedError(
                    f"Microbatch: a layer of '{self.network.name}' calls add_loss, whose share of "
                    "the batch nobody knows: put the term into the loss, or use 'bp'."
                )
            changed = assigned(self.trainable_variables, state)
            if changed:
                raise UnsupportedError(
                    f"Microbatch: a layer of '{self.network.name}' changes its own weights in the "
                    f"forward pass ({', '.join(changed)}), which every slice would do again: use "
                    "another layer, or 'bp'."
                )
            # Regularisers take the weights themselves, which the scope does not know.
            loss = self.compute_loss(
                inputs, part.of_all(y), y_pred, part.of_all(sample_weight), training=True
            )
            if not self._is_checked:
                self._refuse_at_first_slice(part.of_all(y), y_pred)
                self._is_checked = True
            loss = loss * tf.cast(part.share, loss.dtype)
            scaled = self.optimizer.scale_loss(loss)
        for variable in self._changing_variables():
            value = state.get_current_value(variable)
            if value is not None:
                variable.assign(value)
        return part.whole(y_pred), loss, tape.gradient(scaled, variables)

    def _changing_variables(self) -> list[keras.Variable]:
        """What a forward pass changes: states of seed generators, and a layer's own statistics."""
        return list(self.network.non_trainable_variables)

    def _hold_back(self, done: tf.Tensor | None) -> list[tuple[keras.Variable, tf.Tensor]]:
        if done is None or tf.executing_eagerly():
            return []
        return [(v, after(v.value, done)) for v in self._changing_variables()]


class _Part:
    """Examples `start` to `stop` - 1 of a batch of `size`; stands for one example if it is empty.

    A batch may be smaller than the number of slices: an empty slice runs on an example that does
    not count, because a mean over nothing is no number.
    """

    def __init__(self, start: tf.Tensor, stop: tf.Tensor, size: tf.Tensor) -> None:
        self._count = stop - start
        self._start = tf.minimum(start, size - 1)
        self._stop = tf.maximum(stop, self._start + 1)
        self.share = tf.cast(self._count, "float64") / tf.cast(size, "float64")

    def of(self, batch: tf.Tensor | tf.SparseTensor) -> tf.Tensor | tf.SparseTensor:
        if not isinstance(batch, tf.SparseTensor):
            return batch[self._start : self._stop]
        rest = [0] * (len(batch.shape) - 1)
        size = tf.concat([[self._stop - self._start], batch.dense_shape[1:]], 0)
        return tf.sparse.slice(batch, [self._start, *rest], size)

    def of_all(self, batch: Any) -> Any:
        return None if batch is None else keras.tree.map_structure(self.of, batch)

    def whole(self, outputs: Any) -> Any:
        """Only what counts of the outputs for the part."""
        return keras.tree.map_structure(lambda output: output[: self._count], outputs)


def _add(total: tf.Tensor | None, gradient: tf.Tensor | None) -> tf.Tensor | None:
    if total is None or gradient is None:
        return gradient if total is None else total
    return total + tf.convert_to_tensor(gradient)
