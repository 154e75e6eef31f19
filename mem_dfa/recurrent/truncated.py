"""Truncated backpropagation through time (Williams and Peng, 1990).

    for each chunk of T time steps, first to last:
        L + s_{t+T} = f(x_t … x_{t+T-1}, s_t; W),  W ← W − η·∂L/∂W,  s_t a constant

A batch of sequences is as many optimizer steps as there are chunks. Kept are the internals of one
chunk; no error passes a border between chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.profile_scope import scope
from mem_dfa.recurrent.base import Recurrent, Sequences

Tensor: TypeAlias = tf.Tensor


@keras.saving.register_keras_serializable("mem_dfa")
class TruncatedBPTT(Recurrent):
    """Trains on chunks of time, from the states where the chunk before ended."""

    def __init__(
        self, network: keras.Model, chunk: int, stream_rows: int | None = None, **details: Any
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model with SimpleRNN, LSTM or GRU layers and
                an output at each time step.
            chunk: T, time steps for each optimizer step; sequences are as many chunks, whole ones.
            stream_rows: None where each batch holds sequences from their beginning, whose states
                start at 0. Otherwise the number of rows of every batch, each of which goes on where
                that row of the batch before ended, until `reset_states`: use fit with
                shuffle=False. The states are saved with the trainer.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be trained so, or the arguments make no sense.
        """
        super().__init__(network, **details)
        self.chunk, self.stream_rows = chunk, stream_rows
        for name, value in (("chunk", chunk), ("stream_rows", stream_rows)):
            optional = name == "stream_rows" and value is None
            if not optional and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise UnsupportedError(
                    f"{type(self).__name__} received {name}={value!r}: give a whole number, at "
                    "least 1."
                )
        if not self.unrolled.has_output_each_step:
            raise UnsupportedError(
                f"{type(self).__name__} received model '{network.name}', whose one output comes "
                "after the last time step, so that earlier chunks would learn nothing: let all "
                "recurrent layers return sequences, or train with CheckpointedBPTT."
            )
        self._carried = [
            self.add_weight(state.shape, "zeros", state.dtype, trainable=False, name="state")
            for state in (self.unrolled.zero_states(stream_rows) if stream_rows else [])
        ]

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        own = {"chunk": self.chunk, "stream_rows": self.stream_rows}
        return {**super().get_config(), **own}

    def reset_states(self) -> None:
        """Let the next batch of a stream begin at states 0."""
        for state in self._carried:
            state.assign(tf.zeros_like(state.value))

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One optimizer step for each chunk of the batch."""
        batch = self.sequences(data)
        if batch.steps % self.chunk or self.stream_rows not in (None, batch.x.shape[0]):
            raise UnsupportedError(
                f"{type(self).__name__} received a batch of shape {tuple(batch.x.shape)}: with "
                f"chunk={self.chunk} and stream_rows={self.stream_rows} it takes whole chunks of "
                "time, and that many rows."
            )
        count = batch.steps // self.chunk
        states = self._first_states(batch)
        loss = tf.zeros((), self._loss_tracker.dtype)
        empty = [self._no_outputs(count)] if self.has_metrics else []

        def body(number: Any, states: list[Tensor], loss: Tensor, held: list[Any]) -> tuple:
            part = batch.segment(number * self.chunk, self.chunk)
            goes_on = True if self.stream_rows else number < count - 1
            own, outputs, following = self._step(part, states, goes_on)
            held = [array.write(number, outputs) for array in held]
            return number + 1, following, loss + tf.cast(own, loss.dtype), held

        # One after another: each begins where the one before ended, by the weights it left.
        _, states, loss, held = tf.while_loop(
            lambda number, *_: number < count,
            body,
            (tf.constant(0), states, loss, empty),
            parallel_iterations=1,
            maximum_iterations=count,
        )
        for state, value in zip(self._carried, states, strict=bool(self._carried)):
            state.assign(value)
        self._loss_tracker.update_state(loss / count, sample_weight=tf.shape(batch.x)[0])
        return self.logs(batch, _in_time(held[0].stack()) if held else None)

    def _first_states(self, batch: Sequences) -> list[Tensor]:
        if self._carried:
            return [state.value.read_value() for state in self._carried]
        return self.unrolled.zero_states(batch.x.shape[0] or tf.shape(batch.x)[0])

    def _no_outputs(self, count: int) -> tf.TensorArray:
        output = self.network.outputs[0]
        return tf.TensorArray(
            output.dtype, count, element_shape=(None, self.chunk, *output.shape[2:])
        )

    def _step(
        self, part: Sequences, states: Sequence[Tensor], goes_on: Any
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """One optimizer step.

        Args:
            part: the chunk.
            states: s_t.
            goes_on: whether the sequence has time steps after it, a bool or a tensor of one.

        Returns:
            The chunk's loss, the output and s_{t+T}.
        """
        weights = self.network.trainable_variables
        with scope("forward"), tf.GradientTape() as tape:
            tape.watch(states)
            outputs, following = self.unrolled.run(part.x, states)
            loss = self.compute_loss(part.x, part.y, outputs, part.sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        errors = self._border_errors(part, following, goes_on)
        with scope("backward"):
            found = tape.gradient(
                [scaled, *following[: len(errors)]],
                [*(weight.value for weight in weights), *states],
                output_gradients=[tf.ones_like(scaled), *errors],
            )
        gradients, errors_before = found[: len(weights)], found[len(weights) :]
        learned, learned_gradients = self._learn(part, states, errors_before)
        with scope("update"):
            self.optimizer.apply([*gradients, *learned_gradients], [*weights, *learned])
        return loss, outputs, [tf.stop_gradient(state) for state in following]

    def _border_errors(
        self, part: Sequences, following: Sequence[Tensor], goes_on: Any
    ) -> list[Tensor]:
        """δ at the border after a chunk, for each state: none here."""
        return []

    def _learn(
        self, part: Sequences, states: Sequence[Tensor], errors: Sequence[Tensor | None]
    ) -> tuple[list[keras.Variable], list[Tensor]]:
        """What is trained beside the network, and its gradients, from δ before a chunk."""
        return [], []


def _in_time(chunks: Tensor) -> Tensor:
    """Shape (batch, steps, ...) from (chunks, batch, steps of a chunk, ...)."""
    shape = tf.shape(chunks)
    ahead = tf.transpose(chunks, [1, 0, *range(2, len(chunks.shape))])
    return tf.reshape(ahead, tf.concat([shape[1:2], shape[:1] * shape[2:3], shape[3:]], 0))
