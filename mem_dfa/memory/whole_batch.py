"""What needs the whole batch, and is known by name whatever the data: for slices it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError

# Means over the examples, which the slices' means make up by their shares.
MEANS = ("sum_over_batch_size", "mean")


def refuse_layers(network: keras.Model) -> None:
    """Look for layers, at any depth, that slices cannot do without a change.

    Raises:
        UnsupportedError: there is one.
    """
    for layer in network._flatten_layers():
        what = None
        # A frozen one takes its moving statistics in training, too.
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            what = "needs the statistics of the whole batch; use another normalisation"
        elif getattr(layer, "stateful", False):
            what = "keeps a state for each example of a batch; give it stateful=False"
        elif isinstance(layer, (keras.layers.MixUp, keras.layers.CutMix)):
            what = "mixes the examples of a batch; apply it to the data set"
        if what:
            raise UnsupportedError(
                f"Microbatch cannot train model '{network.name}': layer '{layer.name}' "
                f"({type(layer).__name__}) {what}, or train with 'checkpoint'."
            )


def refuse_reductions(loss: Any) -> None:
    """Look for losses that are no means over the examples; `loss` as given to `compile`.

    Raises:
        UnsupportedError: there is one.
    """
    for one in keras.tree.flatten(loss):
        reduction = getattr(one, "reduction", MEANS[0])
        if reduction not in MEANS:
            raise UnsupportedError(
                f"Microbatch received a loss with reduction={reduction!r}: slices add up to "
                f"the batch for a mean over the examples only; use {MEANS[0]!r}, or 'bp'."
            )


def refuse_masked_losses(losses: Sequence[keras.losses.Loss], y: Any, y_pred: Any) -> None:
    """Look for a loss with a mask: a mean over what counts, of which slices have unequal parts.

    Raises:
        UnsupportedError: there is one.
    """
    labels, outputs = keras.tree.flatten(y), keras.tree.flatten(y_pred)
    for label, output, loss in zip(labels, outputs, losses, strict=False):
        if type(loss).call is keras.losses.Loss.call:
            continue  # it overrides `__call__`, which is where Keras heeds a mask
        values = loss.call(keras.ops.cast(label, loss.dtype), keras.ops.cast(output, loss.dtype))
        if getattr(values, "_keras_mask", None) is not None:
            raise UnsupportedError(
                f"Microbatch received the loss {loss.name!r}, which leaves labels out (as with "
                "ignore_class): examples do not count alike and slices do not add up to the "
                "batch. Give the labels to leave out sample_weight=0 instead, or use 'bp'."
            )


def refuse_pass(network: keras.Model, state: CollectingScope, y_pred: Any) -> None:
    """Look for what slices never add up with, whatever the data.

    Args:
        network: that ran.
        state: that a pass ran in.
        y_pred: what it gave.

    Raises:
        UnsupportedError: there is something.
    """
    if state.losses:
        raise UnsupportedError(
            f"Microbatch: a layer of '{network.name}' calls add_loss, whose share of "
            "the batch nobody knows: put the term into the loss, or use 'bp'."
        )
    changed = state.paths_assigned(network.trainable_variables)
    if changed:
        raise UnsupportedError(
            f"Microbatch: a layer of '{network.name}' changes its own weights in the "
            f"forward pass ({', '.join(changed)}), which every slice would do again: use "
            "another layer, or 'bp'."
        )
    outputs = keras.tree.flatten(y_pred)
    if any(getattr(output, "_keras_mask", None) is not None for output in outputs):
        raise UnsupportedError(
            f"Microbatch: the output of '{network.name}' has a mask, so that examples do "
            "not count alike and slices do not add up to the batch: use 'bp'."
        )
