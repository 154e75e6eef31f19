"""Gradients guessed from one direction: noise on a block's features, and the loss's slope along it.

    z = Σ_g a_g·C_g + c,  e = dL/dz,  u ~ N(0, I), 0 where a_j = 0,
    δ̂_j = (Σ_{j' in g} ∂L/∂a_j'·u_j')·u_j = (e·(u_g·C_g))·u_j   for j in g, for each example

Ren, Kornblith, Liao and Hinton (arXiv 2210.03310), with noise on activations. Each of G groups of
features has its own loss, which moves with the group alone, though it is the same number for all:
that of a linear classifier of the whole block, so that it need be computed but once. Then E δ̂ = δ,
with a noise E‖δ̂ − δ‖² = (q + 1)·‖δ‖² for q features a group, not for as many as the block has.

The slope is found going forward; C and c have their exact gradients a_gᵀe and e, and start at zero,
so that the first step moves no other weight of a hidden block. Of an image the features are
averages over windows, see `Features`, and their δ̂ is spread over these as averaging has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.features import Features
from mem_dfa.feedback.heads import Heads, zero_classifier
from mem_dfa.feedback.logits import error_at
from mem_dfa.graph import exact_random
from mem_dfa.graph.ordering import in_turn
from mem_dfa.graph.profile_scope import scope
from mem_dfa.graph.step_seeds import StepSeeds
from mem_dfa.shapes.layer_bytes import tensor_bytes

DEFAULT_GROUPS = 16


class Perturbation(Heads):
    """A classifier for each block, and noise on groups of its features, drawn anew each step."""

    def __init__(self, trainer: Any, groups: int | None, heads: Sequence[str] | None) -> None:
        """Make the heads.

        Args:
            trainer: see `Heads`.
            groups: G, of each block's channels or units; None for `DEFAULT_GROUPS`, or as many as
                it has.
            heads: see `Heads`.

        Raises:
            UnsupportedError: `groups` is no number of them, or more than a block has units; see
                `Heads`.
        """
        if groups is not None and (
            isinstance(groups, bool) or not isinstance(groups, int) or groups < 1
        ):
            raise UnsupportedError(
                f"{type(trainer).__name__} received perturbation_groups={groups!r}: give 1, 2, … "
                "or None."
            )
        self._given = groups
        super().__init__(trainer, heads)
        self._numbers = {name: number for number, name in enumerate(self._heads)}
        self._draws = StepSeeds(trainer, [self._seeds[name] for name in self._heads])

    def _made(self, block: Block, features: Features, seed: int) -> Sequence[keras.Variable]:
        groups = self._given or min(DEFAULT_GROUPS, features.channels)
        if groups > features.channels:
            raise UnsupportedError(
                f"{self._owner} received perturbation_groups={groups}, but {block.name} "
                f"({block.layer_names}) has {features.channels} "
                f"{'channels' if features.sizes else 'units'}: give that many or fewer."
            )
        # With a zero for what a group has less than another.
        size = features.positions * -(-features.channels // groups)
        return zero_classifier(self._trainer, block, [groups, size])

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {"perturbation_groups": self._given, **super().get_config()}

    def way_back(self, trainer: keras.Model) -> AbstractContextManager[Any]:
        """Within the context noise is that of the batch that the optimizer has counted up to."""
        return self._draws.of_step(trainer)

    def signal(
        self, block: Block, outputs: tf.Tensor, y: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """δ̂_i and the gradients of the block's classifier; see `LocalSignal.signal`."""
        kernels, bias = (tf.convert_to_tensor(v.value) for v in self._heads[block.name])
        features = self._features[block.name]
        # One after another, so that no more is held than one needs.
        with scope("backward", block.name), in_turn():
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                seen = tf.cast(features.of(outputs), kernels.dtype)
            parts = in_groups(seen, kernels.shape[0])
            noise = self._noise(block, parts)
            with tf.autodiff.ForwardAccumulator(parts, noise) as accumulator:
                # z = Σ_g a_g·C_g + c
                shares = parts @ kernels
            change = accumulator.jvp(shares)
            logits = tf.reduce_sum(shares, axis=0) + bias
            # e = dL/dz
            error = error_at(self._trainer, logits, y, sample_weight)
            # ∇C_g = a_gᵀ e,  ∇c = Σ e
            gradients = [
                tf.matmul(parts, error, transpose_a=True),
                tf.reduce_sum(error, axis=0),
            ]
            # δ̂_j = (e·(u_g·C_g))·u_j
            slopes = tf.reduce_sum(error * change, axis=2, keepdims=True)
            estimate = out_of_groups(slopes * noise, features)
            return tape.gradient(seen, outputs, output_gradients=estimate), gradients

    def step_bytes(self, block: Block, batch_size: int) -> int:
        """Of the features, with what noise is drawn by, with the slopes of logits, or with δ̂_i."""
        features, (kernels, _) = self._features[block.name], self._heads[block.name]
        groups, size, logits = kernels.shape
        own = tensor_bytes((groups, batch_size, size), kernels.dtype)
        shares = tensor_bytes((groups, batch_size, logits), kernels.dtype)
        output = block.bytes(batch_size).output if features.is_pooled else own
        return own + max(4 * own, own + 3 * shares, output)

    def _noise(self, block: Block, parts: tf.Tensor) -> tf.Tensor:
        """Noise u ~ N(0, I) for features in groups, not before they are there."""
        seed = self._draws.seed(self._numbers[block.name], parts)
        rows = parts.shape[0] * tf.shape(parts)[1]
        noise = exact_random.normal(seed, rows, parts.shape[2])
        noise = tf.cast(tf.reshape(noise, tf.shape(parts)), parts.dtype)
        # What ReLU or dropout switches off passes nothing back: its noise would only add up.
        return tf.where(tf.equal(parts, 0), tf.zeros_like(noise), noise)


def in_groups(features: tf.Tensor, groups: int) -> tf.Tensor:
    """Features by groups, shape (groups, batch, positions · channels of a group).

    Args:
        features: shape (batch, positions, channels). Channel c is in group c mod `groups`; groups
            that have one less than others have a zero in its place.
        groups: how many.
    """
    positions, channels = features.shape[1:]
    each = -(-channels // groups)
    features = tf.pad(features, [[0, 0], [0, 0], [0, each * groups - channels]])
    parts = tf.transpose(tf.reshape(features, [-1, positions, each, groups]), [3, 0, 1, 2])
    return tf.reshape(parts, [groups, -1, positions * each])


def out_of_groups(parts: tf.Tensor, features: Features) -> tf.Tensor:
    """What `in_groups` made groups of, shape (batch, positions, channels)."""
    groups, positions = parts.shape[0], features.positions
    split = tf.reshape(parts, [groups, -1, positions, parts.shape[2] // positions])
    joined = tf.reshape(tf.transpose(split, [1, 2, 3, 0]), [tf.shape(split)[1], positions, -1])
    return joined[..., : features.channels]
