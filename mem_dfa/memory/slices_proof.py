"""Shown on data: slices of a batch, put together, give what the whole batch gives.

No list names every layer in which examples meet, nor every loss that compares them. So the first
batch that is trained on runs whole and in slices, outside of the step, and nothing of it is kept:
the outputs, the loss and what layers assigned have to be the same but for rounding. In training
mode too, where Keras's random functions then give every example the same numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.memory.batch_parts import Part
from mem_dfa.memory.whole_pass import Pass, kept_trackers, losses_of, scales
from mem_dfa.random_state import restored_draws

# Relative, of a norm: far above rounding, far below what an example that counts twice makes.
TOLERANCE = {"bfloat16": 0.1, "float16": 0.03, "float32": 1e-3, "float64": 1e-8}
# A GPU multiplies float32 rounded to ten bits, in some of its kernels.
GPU_TOLERANCE = 0.01


def is_shown(trainer: keras.Model, data: Any, count: int) -> bool:
    """Look whether a batch's slices add up; False if it is too small to tell.

    Args:
        trainer: compiled; `compute_loss` and a call are what is looked at.
        data: inputs, labels and sample weights, the last two of which may be None.
        count: of slices.

    Raises:
        UnsupportedError: the slices do not add up; says by how much.
    """
    data = keras.tree.map_structure(lambda t: None if t is None else _tensor(t), data)
    size = keras.tree.flatten(data[0])[0].shape[0]
    count = min(count, size)
    if count < 2:
        return False
    data = (*data, scales(size))
    with kept_trackers(trainer), restored_draws():
        try:
            _refuse_unless_shown(trainer, data, count, size)
        except tf.errors.ResourceExhaustedError:  # as many examples as make two slices
            few = max(2, 2 * size // count)
            part = Part(0, 1, few)
            _refuse_unless_shown(trainer, part.of_all(data), 2, few)
    return True


def _tensor(value: Any) -> Any:
    return value if tf.is_tensor(value) else tf.convert_to_tensor(value)


def _refuse_unless_shown(trainer: keras.Model, data: Any, count: int, size: int) -> None:
    parts = [Part(number, count, size) for number in range(count)]
    near = _tolerance(trainer)
    for one in [Pass(trainer, mode, data) for mode in ("inference", "training")]:
        _refuse_unless_near(one, data, parts, near)


def _refuse_unless_near(run: Pass, data: Any, parts: Sequence[Part], near: float) -> None:
    """Compare the slices with the whole batch in one mode."""
    whole, again = run(data), run(data)
    if not _is_near(again.outputs, whole.outputs, near):
        warnings.warn(
            f"Microbatch cannot show that slices of a batch add up for '{run.network.name}': two "
            f"passes of one batch in {run.mode} mode differ, as with tf.random, or are not finite.",
            stacklevel=2,
        )
        return
    slices, states = run.in_slices(data, parts)
    where = f"On the first batch, in {run.mode} mode, Microbatch found that"
    together = [tf.concat(same, 0) for same in zip(*(part.outputs for part in slices), strict=True)]
    if not _is_near(together, whole.outputs, near):
        apart = max(map(_distance, together, whole.outputs))
        raise UnsupportedError(
            f"{where} the outputs of {len(parts)} slices are {apart:.2g} times their norm away "
            f"from the whole batch's: in a layer of '{run.network.name}' examples meet. Use "
            "another layer, or train with 'checkpoint' or 'bp'."
        )
    for number, due in enumerate(whole.losses):
        losses = [part.losses[number] for part in slices]
        loss = sum(float(part.share) * own for part, own in zip(parts, losses, strict=True))
        if not abs(loss - due) <= near * max(abs(due), *map(abs, losses)):
            raise UnsupportedError(
                f"{where} the loss of {len(parts)} slices, weighted by their shares, is "
                f"{loss:.6g}, and the whole batch's {due:.6g}: use a loss that is a mean over "
                "examples with a loss of their own each, or train with 'bp'."
            )
    for variable, state, due in zip(run.assigned, states, whole.states, strict=True):
        if not _is_near([state], [due], near):
            raise UnsupportedError(
                f"{where} {len(parts)} slices leave '{variable.path}', which a layer assigns to, "
                f"{_distance(state, due):.2g} times its norm away from where the whole batch does: "
                "use another layer, or train with 'checkpoint' or 'bp'."
            )


def _tolerance(trainer: keras.Model) -> float:
    """The relative difference that rounding makes at most."""
    dtypes = {layer.compute_dtype for layer in trainer.network._flatten_layers()}
    dtypes |= {loss.dtype for loss in losses_of(trainer)}
    greatest = max(TOLERANCE.get(dtype, 0) for dtype in dtypes)
    return max(greatest, GPU_TOLERANCE) if tf.config.list_physical_devices("GPU") else greatest


def _is_near(tensors: Sequence[tf.Tensor], due: Sequence[tf.Tensor], tolerance: float) -> bool:
    return all(_distance(*pair) <= tolerance for pair in zip(tensors, due, strict=True))


def _distance(tensor: tf.Tensor, due: tf.Tensor) -> float:
    """‖a − b‖ / ‖b‖; not a number if either is not finite."""
    if tensor.shape != due.shape:
        return float("inf")
    one, other = (np.asarray(t).astype("float64") for t in (tensor, due))
    apart, norm = np.linalg.norm(one - other), np.linalg.norm(other)
    return float(apart / norm) if norm else float(apart)
