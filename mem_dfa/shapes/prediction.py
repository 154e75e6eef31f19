"""What a training step should take, from shapes alone: an opinion beside the measurement.

Nothing here reads an allocator. The prediction is for plain backpropagation in graph execution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_bytes import backpropagation_bytes, tensor_bytes


@dataclass(frozen=True)
class Prediction:
    """Bytes of one training step, from shapes.

    Attributes:
        resident_bytes: weights, optimizer slots, other variables, and one batch of inputs.
        step_bytes: peak above that.
    """

    resident_bytes: int
    step_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Resident and step together."""
        return self.resident_bytes + self.step_bytes


def predict(model: Any, batch_size: int, optimizer: Any = None) -> Prediction:
    """What a step of backpropagation should take on `model`.

    Args:
        model: a built Sequential or functional Keras model.
        batch_size: number of examples.
        optimizer: where it is not `model.optimizer`; without one no slots are counted.

    Raises:
        ValueError: the model is neither a built Sequential nor a functional one, a step's bytes
            are not known from shapes, or the batch is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"Received batch_size={batch_size}; it must be at least 1.")
    try:
        inputs = model.inputs
    except AttributeError:  # of a subclass of Model, or of a Sequential that is not built
        inputs = None
    if not inputs:
        raise ValueError(
            f"Received the model {model.name!r}, of which the shapes are not known; give a "
            "functional model, or a Sequential one with a keras.Input."
        )
    optimizer = optimizer or getattr(model, "optimizer", None)
    variables = [*model.variables, *(() if optimizer is None else optimizer.variables)]
    held = {id(v): tensor_bytes(v.shape, v.dtype) for v in variables}
    try:
        step = backpropagation_bytes(model, batch_size)
    except UnknownBytesError as error:
        raise ValueError(
            f"Received the model {model.name!r}, of which a step's bytes are not known from "
            f"shapes: {error}; measure it instead."
        ) from error
    batch = sum(tensor_bytes((batch_size, *x.shape[1:]), x.dtype) for x in inputs)
    return Prediction(sum(held.values()) + batch, step)
