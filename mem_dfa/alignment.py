"""How far an algorithm's updates point away from backpropagation's, block by block.

    angle_i = arccos( g_i·h_i / (‖g_i‖ ‖h_i‖) )

g_i is what the algorithm gives the optimizer for the weights of block i, h_i is BP's gradient of
the same weights on the same batch. At 0° they agree, at 90° they have nothing in common. While the
weights learn to make fixed random feedback useful, the angle falls (Lillicrap et al., 2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.chain.block import Block
from mem_dfa.chain.chain import Chain
from mem_dfa.errors import UnsupportedError
from mem_dfa.optimizer.kept_gradients import kept_gradients
from mem_dfa.random_state import restored_draws

NETWORK = "network"
"""In the place of a block's name: all of them together."""
_GLOBAL_SEEDS = "global_seed_generator"  # of Keras, for layers that have none of their own


class Alignment(keras.callbacks.Callback):
    """Measures on one held batch, before training and after each epoch, and changes nothing.

    Two steps run eagerly, the algorithm's and BP's, whose gradients go nowhere. Weights, slots,
    statistics, seeds and metrics are then as they were, so that training goes on as it would have.
    A layer that calls `tf.random` itself draws on.

    `fit`'s history gets `alignment_block_001` and so on, in degrees, and `alignment_network`.

    Attributes:
        measured: a row for each block and for the network: `after_epoch`, 0 before training,
            `block`, `block_layers` and `angle_degrees`, not a number where a gradient is zero.
    """

    def __init__(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        """Hold a batch.

        Args:
            x: what the network takes, examples first; a few hundred examples tell enough.
            y: their labels, as the loss takes them.
            sample_weight: as in `fit`, or None.
        """
        super().__init__()
        given = (x, y) if sample_weight is None else (x, y, sample_weight)
        self._batch = keras.tree.map_structure(tf.convert_to_tensor, given)
        self._blocks: Sequence[Block] = ()
        self.measured: list[dict[str, Any]] = []

    def set_model(self, model: keras.Model) -> None:
        """As in Keras.

        Raises:
            UnsupportedError: the model is no algorithm's trainer, its network cannot be cut into
                blocks, or it trains on several devices.
        """
        super().set_model(model)
        if not isinstance(model, Algorithm):
            raise UnsupportedError(
                f"Alignment received {type(model).__name__}: give it to the fit of a trainer, such "
                "as mem_dfa.DFA(network)."
            )
        replicas = model.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise UnsupportedError(
                f"Alignment received a trainer on {replicas} devices: it measures on one; compile "
                "the trainer outside of the strategy."
            )
        chain = getattr(model, "chain", None) or Chain.from_model(model.network)
        self._blocks = chain.blocks

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measure what there is before training, once."""
        if not self.measured:
            self._measure(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measure, and tell the history."""
        rows = self._measure(epoch + 1)
        if logs is not None:
            logs.update({f"alignment_{row['block']}": row["angle_degrees"] for row in rows})

    def _measure(self, epoch: int) -> list[dict[str, Any]]:
        own, exact = gradients(self.model, self._batch)
        rows = []
        for block in self._blocks:
            keys = [id(variable) for variable in block.trainable_variables]
            if keys:
                angle = angle_degrees([own[key] for key in keys], [exact[key] for key in keys])
                rows.append(_row(epoch, block.name, block.layer_names, angle))
        whole = angle_degrees(list(own.values()), list(exact.values()))
        rows.append(_row(epoch, NETWORK, "", whole))
        self.measured += rows
        return rows


def _row(epoch: int, block: str, layers: str, angle: float) -> dict[str, Any]:
    return {"after_epoch": epoch, "block": block, "block_layers": layers, "angle_degrees": angle}


def angle_degrees(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The angle between two vectors that lie in several arrays each.

    Args:
        one: arrays of any shapes.
        other: arrays of the same shapes.

    Returns:
        Degrees, from 0 to 180; not a number where one of them is zero or not finite.
    """
    lengths = [math.sqrt(sum(map(_square, arrays))) for arrays in (one, other)]
    if not all(length > 0 and math.isfinite(length) for length in lengths):
        return math.nan
    # 2·atan2(‖u − v‖, ‖u + v‖) of unit vectors: the arccosine of numbers near 1 has no digits.
    apart = together = 0.0
    for pair in zip(one, other, strict=True):
        u, v = (array.astype("float64") / n for array, n in zip(pair, lengths, strict=True))
        apart, together = apart + _square(u - v), together + _square(u + v)
    return math.degrees(2 * math.atan2(math.sqrt(apart), math.sqrt(together)))


def _square(array: np.ndarray) -> float:
    return float(np.sum(np.square(array, dtype="float64")))


def gradients(trainer: Algorithm, batch: tuple) -> tuple[dict[int, np.ndarray], ...]:
    """What an algorithm gives its optimizer for a batch, and what BP would; nothing is changed.

    Args:
        trainer: compiled.
        batch: tensors x, y and perhaps sample weights.

    Returns:
        Both by the `id` of the network's trainable variables.
    """
    found = []
    # Keras's own step is BP whatever the trainer's is: the loss, weights, masks are the same.
    for step in (trainer.train_step, lambda data: keras.Model.train_step(trainer, data)):
        with _undisturbed(trainer), kept_gradients(trainer) as kept:
            step(batch)
        found.append({id(v): _array(kept, v) for v in trainer.network.trainable_variables})
    return tuple(found)


def _array(kept: dict[int, Any], variable: keras.Variable) -> np.ndarray:
    """A variable's gradient, zeros where it has none."""
    if kept.get(id(variable)) is None:
        return np.zeros(variable.shape)
    return keras.ops.convert_to_numpy(tf.convert_to_tensor(kept[id(variable)]))


@contextmanager
def _undisturbed(trainer: Algorithm) -> Iterator[None]:
    """After the context every variable and generator is as it was."""
    seeds = get_global_attribute(_GLOBAL_SEEDS)
    held = [*trainer.variables, *trainer.metrics_variables, *trainer.optimizer.variables]
    held += [seeds.state] if seeds is not None else []
    values = [(variable, variable.numpy()) for variable in held]
    try:
        with restored_draws():
            yield
    finally:
        for variable, value in values:
            variable.assign(value)
        set_global_attribute(_GLOBAL_SEEDS, seeds)
