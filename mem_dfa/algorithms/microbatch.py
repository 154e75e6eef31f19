"""Microbatches (gradient accumulation): backpropagation over slices of the batch, one update.

    for each slice s of the batch:  G ← G + (n_s / n)·∇L_s;  then  W ← W − η·G

The gradient of a mean over the batch is the mean of its slices' gradients, each weighted by its
share of the examples. It is BP's own wherever examples do not meet, which the first batch has to
show: BatchNormalization, whose statistics are of the whole batch, is refused. Each slice draws
random numbers of its own, as for Dropout: others than the whole batch would, and as good.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses.loss import unscale_loss_for_distribution

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.chain.block import held_back_variables
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after, runs_as_a_graph, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.batch_parts import Part, add_parts
from mem_dfa.memory.budget import (
    PREDICTION_MARGIN,
    budget_bytes,
    check_batch_size,
    known_batch_size,
    refuse_unknown,
)
from mem_dfa.memory.first_batches import looked_at_first
from mem_dfa.memory.slices_proof import is_shown
from mem_dfa.memory.whole_batch import refuse_layers, refuse_pass, refuse_reductions
from mem_dfa.memory.whole_pass import kept_trackers, trackers
from mem_dfa.optimizer.step import TOGETHER_BYTES, Update, is_blockwise, update_copies
from mem_dfa.shapes.layer_bytes import backpropagation_bytes, looping_layer, variable_bytes

DEFAULT_SLICES = 8


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
            budget: bytes, such as "64 MiB", that the operations of a step stay within with as few
                slices as possible; what is promised is that of `Checkpoint`.
            batch_size: what the budget is for; needed where batches are of no fixed size.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network normalises over the batch, or the arguments make no sense.
        """
        super().__init__(network, **details)
        refuse_layers(self.network)
        if slices is not None and budget is not None:
            raise UnsupportedError("Microbatch received slices and budget: give one of them.")
        if slices is not None and (not isinstance(slices, int) or slices < 1):
            raise UnsupportedError(
                f"Microbatch received slices={slices!r}: give a whole number, at least 1."
            )
        check_batch_size("Microbatch", batch_size)
        if budget is not None:
            budget_bytes(budget)
        self.slices, self.budget, self.batch_size = slices, budget, batch_size

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("slices", "budget", "batch_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        refuse_layers(self.network)
        self._is_shown = False
        refuse_reductions(self.loss)
        self._warn_if_more_than_bp()

    def _warn_if_more_than_bp(self) -> None:
        size = self.batch_size or NOMINAL_BATCH
        try:
            own, others = self.predict_step_bytes(size), backpropagation_bytes(self.network, size)
        except ValueError:  # the layers' shapes are not known, or the budget is too small
            return
        if own is not None and own >= others:
            warnings.warn(
                f"Microbatch of '{self.network.name}' saves nothing: at batches of {size} a step "
                f"is predicted to take {own} bytes, one of 'bp' {others}, because all gradients "
                "are summed up before the update: use 'bp', or larger batches.",
                stacklevel=4,
            )

    def count_slices(self, batch_size: int | None) -> int:
        """Into how many parts a batch of that size is cut.

        Raises:
            UnsupportedError: one example alone does not fit the budget.
        """
        if self.budget is None:
            wanted = self.slices or DEFAULT_SLICES
            return wanted if batch_size is None else min(wanted, batch_size)
        batch_size = known_batch_size("Microbatch", self.budget, self.batch_size, batch_size)
        refuse_unknown(
            f"Microbatch received budget={self.budget!r}",
            lambda: self._step_bytes(batch_size, batch_size),
            "slices=...",
        )
        looping = looping_layer(self.network, batch_size)
        if looping is not None:
            raise UnsupportedError(
                f"Microbatch received budget={self.budget!r}, but what layer '{looping.name}' "
                f"({type(looping).__name__}) takes differs from step to step: it loops, and "
                "TensorFlow works on up to 32 turns at once. Give slices=... instead, or ask "
                "`python -m experiments.fit`, which measures."
            )
        limit = budget_bytes(self.budget) / (1 + PREDICTION_MARGIN)
        for slices in range(1, batch_size + 1):
            if self._step_bytes(batch_size, slices) <= limit:
                return slices
        least = self._step_bytes(batch_size, batch_size) * (1 + PREDICTION_MARGIN)
        raise UnsupportedError(
            f"Microbatch received budget={self.budget!r}: one example at a time takes "
            f"{int(least) + 1} bytes ({least / 2**20:.1f} MiB), which is the least."
        )

    def _step_bytes(self, batch_size: int, slices: int) -> int:
        # The sums and one slice's gradients, beside the activations of the largest slice; then the
        # sums and what the optimizer makes of one variable, or of all.
        weights = [variable_bytes([v]) for v in self.network.trainable_variables]
        optimizer, update = getattr(self, "optimizer", None), 0
        if is_blockwise(optimizer):
            update = (update_copies(optimizer) - 1) * max(weights, default=0)
        elif optimizer is not None:
            update = 2 * sum(weights)  # as measured: 0.5 of Nadam, 1.3 with moving averages
        passes = backpropagation_bytes(self.network, -(-batch_size // slices))
        return sum(weights) + max(passes, update)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """One slice's activations and the sum of the gradients."""
        return self._step_bytes(batch_size, self.count_slices(batch_size))

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras; the first batches show that slices add up, before they are trained on."""
        made = self.train_function is None or force
        super().make_train_function(force)
        if made:
            self.train_function = looked_at_first(self.train_function, self, self.shows)

    def shows(self, batch: Any) -> bool:
        """Whether slices were seen to add up, in this batch or before; see `proof.is_shown`."""
        if not self._is_shown:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            count = self.count_slices(keras.tree.flatten(x)[0].shape[0])
            self._is_shown = is_shown(self, (x, y, sample_weight), count)
        return self._is_shown

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on the sum of the slices' gradients."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        leaf = keras.tree.flatten(x)[0]
        count, size = self.count_slices(leaf.shape[0]), leaf.shape[0] or tf.shape(leaf)[0]
        sums: list[tf.Tensor | None] = [None] * len(self.trainable_variables)
        outputs, losses, done = [], [], None
        changing = {id(v): v for v in self.network.non_trainable_variables}
        for number in range(count):
            part = Part(number, count, size)
            y_pred, loss, gradients = self._slice(part, x, y, sample_weight, done, changing)
            # G ← G + (n_s / n)·∇L_s
            sums = add_parts(self.trainable_variables, sums, gradients)
            done = token([total for total in sums if total is not None])
            outputs.append(y_pred)
            losses.append(loss)
            del gradients
        loss = unscale_loss_for_distribution(tf.add_n(losses))
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(leaf)[0])
        self._update(sums)
        y_pred = keras.tree.map_structure(lambda *parts: tf.concat(parts, 0), *outputs)
        for output in keras.tree.flatten(y_pred):
            output.set_shape((leaf.shape[0], *output.shape[1:]))
        if trackers(self):  # the losses of single outputs are logged of the whole batch
            self._compile_loss(y, y_pred, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _update(self, sums: list[tf.Tensor | None]) -> None:
        """W ← W − η·G, one large variable after another: an optimizer computes several like each.

        In one call, what does not depend on G, as the decay of momenta, is computed of all of them
        when the step starts.
        """
        if self.distribute_strategy.num_replicas_in_sync > 1:
            self.optimizer.apply(sums, self.trainable_variables)
            return
        update = Update(self.optimizer, compiled=bool(self.jit_compile))
        done: list[tf.Tensor | None] = []
        for variable, total in zip(self.trainable_variables, sums, strict=True):
            is_small = variable_bytes([variable]) < TOGETHER_BYTES
            if is_small and not isinstance(total, tf.IndexedSlices):
                update.collect("", [total], [variable])
            else:
                readers = [one for one in done[-1:] if one is not None]
                done.append(update.apply("", [total], [variable], readers))
        update.finish()

    def _slice(
        self,
        part: Part,
        x: Any,
        y: Any,
        sample_weight: Any,
        done: tf.Tensor | None,
        changing: dict[int, keras.Variable],
    ) -> tuple[Any, tf.Tensor, list[tf.Tensor | None]]:
        """Output, loss and gradients of one slice, weighted by its share of the batch.

        Slices would all start together: each waits for `done`, the sums of the one before it, and
        so do the variables that a pass is known to change; those it turns out to change are added.
        """
        variables = [variable.value for variable in self.trainable_variables]
        with scope("forward"), _not_before(done), tf.GradientTape() as tape:
            held = held_back_variables(changing.values(), done)
            with CollectingScope(held, collect_losses=True) as state:
                inputs = keras.tree.map_structure(lambda t: after(part.of(t), done), x)
                y_pred = self(inputs, training=True)
            refuse_pass(self.network, state, y_pred)
            # Regularisers take the weights themselves, which the scope does not know.
            loss = self._slice_loss(inputs, part.of_all(y), y_pred, part.of_all(sample_weight))
            loss = loss * tf.cast(part.share, loss.dtype)
            scaled = self.optimizer.scale_loss(loss)
        for variable, value in state.updates:
            variable.assign(part.chosen(value, variable.value))
            changing[id(variable)] = variable
        return part.counted(y_pred), loss, tape.gradient(scaled, variables)

    def _slice_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        """The loss, of which nothing is logged."""
        if self._compile_loss is not None and not self._compile_loss.built:
            # Keras makes what it logs in when the loss is first called: in a graph that never runs.
            tf.function(self._compile_loss.call).get_concrete_function(y, y_pred, sample_weight)
        with kept_trackers(self):
            return self.compute_loss(x, y, y_pred, sample_weight, training=True)


def _not_before(done: tf.Tensor | None) -> contextlib.AbstractContextManager:
    """What is made of weights alone would be made for all slices when the step starts.

    XLA, which has one order for everything, makes it once.
    """
    if done is None or not runs_as_a_graph():
        return contextlib.nullcontext()
    return tf.control_dependencies([done])
