"""A look at the first batches that are trained on, each of which is trained on all the same."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def looked_at_first(
    function: Callable[..., Any], trainer: keras.Model, look: Callable[[Any], bool]
) -> Callable[..., Any]:
    """A train function as Keras calls it, with an iterator over batches.

    A data set is not read once more, which would change its order, nor is a step traced twice.

    Args:
        function: takes as many steps as the trainer takes in one execution.
        trainer: whose function it is.
        look: at a batch before it is trained on, of several replicas at the first one's share;
            until it says True.
    """
    is_done = False

    def looked_at(batches: Any) -> Any:
        nonlocal is_done
        if is_done:
            return function(batches)
        taken = list(itertools.islice(batches, trainer.steps_per_execution))
        for batch in taken:
            of_replicas = trainer.distribute_strategy.experimental_local_results(batch)
            is_done = is_done or look(of_replicas[0])
        if taken and isinstance(batches, tf.data.Iterator):
            return function(_iterator_again(taken, batches.element_spec))
        return function(iter(taken))

    return looked_at


def _iterator_again(batches: list[Any], spec: Any) -> tf.data.Iterator:
    """Over batches that were taken from an iterator whose elements are known by `spec`."""
    datasets = [
        tf.data.experimental.from_variant(
            tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch)), spec
        )
        for batch in batches
    ]
    return iter(functools.reduce(tf.data.Dataset.concatenate, datasets))
