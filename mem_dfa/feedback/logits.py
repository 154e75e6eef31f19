"""What stands for the net's logits: the loss there, its gradient, and labels of their shape."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.chain import Chain
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.whole_pass import kept_trackers

MEANS = ("sum_over_batch_size", "mean")


def loss_at(
    trainer: Any,
    logits: tf.Tensor,
    y: Any,
    sample_weight: Any,
    inputs: tf.Tensor | None = None,
) -> tf.Tensor:
    """L for logits of a block's own, times the optimizer's loss scale; nothing of it is logged.

    They go the way of the net's: through the model's last activation, if it has one, and into the
    loss.

    Args:
        trainer: of the net: its `chain`, loss and optimizer are used.
        logits: one row an example, shape (batch, width of the net's).
        y: the labels, as they were given.
        sample_weight: as it was given, or None.
        inputs: x, for a trainer whose `compute_loss` is its own; None where it is not at hand.
    """
    last = trainer.chain.blocks[-1]
    with scope("forward", "loss"), kept_trackers(trainer):
        shaped = tf.reshape(logits, [tf.shape(logits)[0], *last.output_shape[1:]])
        outputs = trainer.chain.head.run(tf.cast(shaped, last.output.dtype), "forward")
        loss = trainer._compute_loss(inputs, y, outputs, sample_weight, training=True)
        return trainer.optimizer.scale_loss(loss)


def error_at(
    trainer: Any,
    logits: tf.Tensor,
    y: Any,
    sample_weight: Any,
    inputs: tf.Tensor | None = None,
) -> tf.Tensor:
    """dL/dz for logits of a block's own, of their shape and dtype; see `loss_at`."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = loss_at(trainer, logits, y, sample_weight, inputs)
    with scope("backward", "loss"):
        # A loss without a gradient is refused where e is made.
        zero = tf.UnconnectedGradients.ZERO
        return tf.convert_to_tensor(tape.gradient(loss, logits, unconnected_gradients=zero))


def one_hot(owner: str, y: Any, logits: keras.KerasTensor, instead: str = "lel") -> tf.Tensor:
    """Labels of the shape of the logits.

    Args:
        owner: name of the algorithm, for messages.
        y: one-hot labels, or numbers of classes.
        logits: the net's.
        instead: what to train with where the labels are neither.

    Raises:
        UnsupportedError: the labels are neither.
    """
    y, classes = tf.convert_to_tensor(y), logits.shape[-1]
    if len(y.shape) == len(logits.shape) and y.shape[1:] == logits.shape[1:]:
        return tf.cast(y, logits.dtype)
    if len(y.shape) == len(logits.shape) and y.shape[-1] == 1:
        y = tf.squeeze(y, -1)
    if y.shape[1:] == logits.shape[1:-1]:
        return tf.one_hot(tf.cast(y, tf.int64), classes, dtype=logits.dtype)
    raise UnsupportedError(
        f"{owner} received labels of shape {tuple(y.shape)} and type {y.dtype.name} for "
        f"logits of shape {tuple(logits.shape)}: its signal is made of one-hot labels of "
        f"{classes} classes; give such or whole numbers of classes, or train with {instead!r}."
    )


def refuse_no_mean(owner: str, loss: Any, what: str) -> None:
    """Raise UnsupportedError for a loss that is no mean over the batch, as `what` is made for.

    Args:
        owner: name of the algorithm, for messages.
        loss: as `compile` takes it.
        what: that needs a mean, in words.
    """
    reduction = getattr(keras.tree.flatten(loss)[0], "reduction", MEANS[0])
    if reduction not in MEANS:
        raise UnsupportedError(
            f"{owner} received a loss with reduction={reduction!r}: its {what} is that of a mean "
            f"over the batch; use one of {', '.join(MEANS)}."
        )


def refuse_probabilities(owner: str, chain: Chain, loss: Any) -> None:
    """Raise UnsupportedError for a loss of probabilities where no logits are to be seen.

    Args:
        owner: name of the algorithm, for messages.
        chain: of the net.
        loss: as `compile` takes it.
    """
    if not chain.head.atoms and _expects_probabilities(loss):
        last = chain.blocks[-1].atoms[-1].operations[-1]
        raise UnsupportedError(
            f"{owner} received loss={loss!r}, which takes probabilities, "
            f"and a model that ends in '{last.name}' ({type(last).__name__}), where no "
            "activation is to be seen to take the error before: end the model in a "
            "keras.layers.Softmax or an activation of a Dense, or in logits and give the loss "
            "from_logits=True."
        )


def _expects_probabilities(loss: Any) -> bool:
    """Whether a loss, as `compile` takes it, is one of logits or probabilities, and of these."""
    (loss,) = keras.tree.flatten(loss)
    if loss in ("crossentropy", "ce"):  # which Keras chooses a function for
        return True
    loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return not getattr(loss, "from_logits", True)
    parameter = inspect.signature(loss).parameters.get("from_logits")
    return parameter is not None and not parameter.default
