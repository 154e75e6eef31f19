"""A loss for each block: of a linear classifier, of how alike its outputs are, or of both.

    L_pred = L(z_i),  z_i = pool(a_i)·C_i + c_i
    L_sim  = mean (S(u_i) − S(y))²,  u_i = a_i·R_i, of an image the deviations of a_i ∗ R_i
    δ_i    = ∂/∂a_i ((1 − β)·L_pred + β·L_sim)

Nøkland and Eidnes (arXiv 1901.06656). S is that of `similarities`, y one-hot; C_i and c_i start at
zero, R_i as they have it, U(±1/√fan-in). Examples' weights count in L_pred as in the net's loss;
in L_sim a pair of examples has the product of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.heads import Heads
from mem_dfa.feedback.logits import loss_at, one_hot
from mem_dfa.feedback.similarity import deviations, similarities
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.registry import LOCAL_LOSSES

SHARES = {"prediction": 0.0, "similarity": 1.0, "both": 0.99}
"""β of each kind of loss."""
FEW_CHANNELS = 3
"""Of an image with so many the values are compared, not the channels' deviations."""


class LocalLosses(Heads):
    """A classifier and a projection for each block, as its loss takes them."""

    def __init__(self, trainer: Any, local_loss: str, heads: Sequence[str] | None) -> None:
        """Make the heads.

        Args:
            trainer: see `Heads`.
            local_loss: a name in `registry.LOCAL_LOSSES`.
            heads: see `Heads`.

        Raises:
            UnsupportedError: unknown loss, or one class, of which none are alike; see `Heads`.
        """
        if local_loss not in SHARES:
            raise UnsupportedError(
                f"{type(trainer).__name__} received local_loss={local_loss!r}: use one of "
                f"{', '.join(LOCAL_LOSSES)}."
            )
        self._kind, self._share = local_loss, SHARES[local_loss]
        classes = trainer.chain.blocks[-1].output_shape[-1]
        if self._share and classes == 1:
            raise UnsupportedError(
                f"{type(trainer).__name__} received local_loss={local_loss!r} and a model of one "
                "logit, whose labels are not one-hot: use local_loss='prediction'."
            )
        super().__init__(trainer, heads)

    def _made(
        self, block: Block, add_weight: Callable[..., keras.Variable]
    ) -> Mapping[str, keras.Variable]:
        features, logits, head = self._features[block.name], self._last.width, {}
        if self._share < 1:
            shapes = {"kernel": (features.count, logits), "bias": (logits,)}
            for name, shape in shapes.items():
                called = f"{block.name}_classifier_{name}"
                head[name] = add_weight(shape=shape, initializer="zeros", name=called)
        if self._share:
            window = [3] * len(features.sizes)
            head["projection"] = add_weight(
                shape=(*window, features.channels, features.channels),
                # U(±1/√fan-in)
                initializer=keras.initializers.VarianceScaling(
                    1 / 3, "fan_in", "uniform", seed=self._seeds[block.name]
                ),
                name=f"{block.name}_projection",
            )
        return head

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {"local_loss": self._kind, **super().get_config()}

    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """δ_i and the gradients of the block's head; see `LocalSignal.signal`.

        Raises:
            UnsupportedError: labels are compared that are neither one-hot nor numbers of classes.
        """
        head = {name: variable.value for name, variable in self._heads[block.name].items()}
        with scope("backward", block.name):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([outputs, *head.values()])
                loss = self._loss(block, outputs, head, y, sample_weight)
            # δ_i = ∂L_i/∂a_i
            signal, *gradients = tape.gradient(loss, [outputs, *head.values()])
        return signal, gradients

    def _loss(
        self,
        block: Block,
        outputs: tf.Tensor,
        head: Mapping[str, tf.Variable],
        y: Any,
        sample_weight: Any,
    ) -> tf.Tensor:
        """(1 − β)·L_pred + β·L_sim, times the optimizer's loss scale."""
        terms = []
        if self._share < 1:
            loss = self._prediction_loss(block, outputs, head, y, sample_weight)
            terms.append((1 - self._share) * loss)
        if self._share:
            loss = self._similarity_loss(block, outputs, head, y, sample_weight)
            scaled = self._trainer.optimizer.scale_loss(loss)
            terms.append(self._share * tf.cast(scaled, terms[0].dtype if terms else scaled.dtype))
        return tf.add_n(terms)

    def _prediction_loss(
        self,
        block: Block,
        outputs: tf.Tensor,
        head: Mapping[str, tf.Variable],
        y: Any,
        sample_weight: Any,
    ) -> tf.Tensor:
        """L_pred = L(z_i)."""
        features = self._features[block.name]
        pooled = tf.reshape(features.of(outputs), [-1, features.count])
        # z_i = pool(a_i)·C_i + c_i
        logits = tf.matmul(tf.cast(pooled, head["kernel"].dtype), head["kernel"]) + head["bias"]
        return loss_at(self._trainer, logits, y, sample_weight)

    def _similarity_loss(
        self,
        block: Block,
        outputs: tf.Tensor,
        head: Mapping[str, tf.Variable],
        y: Any,
        sample_weight: Any,
    ) -> tf.Tensor:
        """L_sim = mean (S(u_i) − S(y))²."""
        labels = one_hot(self._owner, y, self._last.output)
        # They depend on no block: those of every block would be made when the step starts.
        labels = tf.cast(after(labels, token([outputs])), head["projection"].dtype)
        difference = similarities(self._projected(block, outputs, head["projection"]))
        difference -= similarities(tf.reshape(labels, [-1, self._last.width]))
        squares = tf.square(difference)
        if sample_weight is not None:
            weight = tf.cast(tf.convert_to_tensor(sample_weight), squares.dtype)
            weight = tf.reduce_mean(tf.reshape(weight, [tf.shape(weight)[0], -1]), axis=1)
            squares *= weight * weight[:, tf.newaxis]
        return tf.reduce_mean(squares)

    def _projected(self, block: Block, outputs: tf.Tensor, projection: tf.Variable) -> tf.Tensor:
        """u_i, shape (batch, n)."""
        features = self._features[block.name]
        image, kernel = features.image(outputs), tf.cast(projection, outputs.dtype)
        if not features.sizes:
            return tf.cast(image @ kernel, projection.dtype)
        projected = tf.nn.convolution(image, kernel, padding="SAME")
        if max(features.sizes) == 1 or features.channels <= FEW_CHANNELS:
            width = features.channels * tf.reduce_prod(features.sizes)
            return tf.cast(tf.reshape(projected, [-1, width]), projection.dtype)
        return deviations(tf.cast(projected, projection.dtype))
