"""Trainers of recurrent nets: what backpropagation through time in segments has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.errors import UnsupportedError
from mem_dfa.recurrent.unrolled import Unrolled

MEANS = ("mean", "sum_over_batch_size")


@dataclass(frozen=True)
class Sequences:
    """A batch of sequences of one length.

    Attributes:
        x: shape (batch, steps, ...).
        y: labels, with a time axis where the model has an output at each step.
        sample_weight: None, or of shape (batch, ...).
        steps: of each sequence.
        labelled_steps: whether `y` has a time axis.
    """

    x: tf.Tensor
    y: tf.Tensor
    sample_weight: tf.Tensor | None
    steps: int
    labelled_steps: bool

    def segment(self, start: tf.Tensor | int, length: int) -> Sequences:
        """`length` steps from `start` on; labels of no time step stay whole."""

        def of(tensor: tf.Tensor) -> tf.Tensor:
            # XLA slices from a place that it does not know only by sizes that it knows.
            sizes = [size or tf.shape(tensor)[axis] for axis, size in enumerate(tensor.shape)]
            sizes[1] = length
            part = tf.slice(tensor, [0, start, *[0] * (len(sizes) - 2)], sizes)
            part.set_shape([tensor.shape[0], length, *tensor.shape[2:]])
            return part

        y, weight = self.y, self.sample_weight
        if self.labelled_steps:
            y = of(y)
            # One weight for a whole sequence has no time axis.
            weight = of(weight) if weight is not None and len(weight.shape) > 1 else weight
        return Sequences(of(self.x), y, weight, length, self.labelled_steps)


class Recurrent(Algorithm):
    """A trainer that runs a recurrent net a segment of time at a time.

    Attributes:
        unrolled: the network as a function of a segment of time.
    """

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model with SimpleRNN, LSTM or GRU layers.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: it cannot be run a segment of time at a time; says which layer.
        """
        super().__init__(network, **details)
        self.unrolled = Unrolled(network, type(self).__name__)

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        name = type(self).__name__
        losses = keras.tree.flatten(self.loss)
        if len(losses) != 1 or losses[0] is None:
            raise UnsupportedError(
                f"{name} received loss={self.loss!r}: it needs exactly one Keras loss, for example "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )
        reduction = getattr(losses[0], "reduction", MEANS[0])
        if self.unrolled.has_output_each_step and reduction not in MEANS:
            raise UnsupportedError(
                f"{name} received a loss with reduction={reduction!r}, which is not the mean of "
                f"those of its segments of time: use one of {', '.join(MEANS)}."
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise UnsupportedError(
                f"{name} received a distribution strategy with {replicas} replicas: it trains on "
                "one device; compile it outside of the strategy, or use 'bp'."
            )

    def sequences(self, data: Any) -> Sequences:
        """A batch as it was given to `train_step`.

        Raises:
            UnsupportedError: sequences of unknown length, or labels without the time axis that the
                output has.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        declared = self.network.inputs[0]
        x = keras.ops.convert_to_tensor(keras.tree.flatten(x)[0], dtype=declared.dtype)
        y = tf.convert_to_tensor(y)
        sample_weight = None if sample_weight is None else tf.convert_to_tensor(sample_weight)
        name, steps = type(self).__name__, x.shape[1]
        if steps is None:
            raise UnsupportedError(
                f"{name} received sequences of unknown or of several lengths, shape "
                f"{tuple(x.shape)}: give all batches of a trainer one length, as by padding."
            )
        each_step = self.unrolled.has_output_each_step
        if each_step and (len(y.shape) < 2 or y.shape[1] != steps):
            raise UnsupportedError(
                f"{name} received labels of shape {tuple(y.shape)} for sequences of {steps} steps: "
                "the model has an output at each step, so give one label for each."
            )
        return Sequences(x, y, sample_weight, steps, each_step)

    @property
    def has_metrics(self) -> bool:
        """Whether there are metrics of the outputs, which are held for them until the end."""
        return self._compile_metrics is not None

    def logs(self, batch: Sequences, outputs: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """What a step returns, with the outputs counted in the metrics where they are there."""
        if outputs is None:
            return self.get_metrics_result()
        return self.compute_metrics(batch.x, batch.y, outputs, sample_weight=batch.sample_weight)
