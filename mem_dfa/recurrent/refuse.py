"""What a recurrent net that is run a few time steps at a time cannot honour."""

from __future__ import annotations

import keras

from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.errors import UnsupportedError

RECURRENT = (
    keras.layers.SimpleRNN,
    keras.layers.LSTM,
    keras.layers.GRU,
)
# What these do to a time step depends on no other one, by the last axis or element by element.
STEPWISE_LAYERS = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.Embedding,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Subtract,
)
LAST_AXIS_LAYERS = (
    keras.layers.Concatenate,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.Softmax,
    keras.layers.UnitNormalization,
)
STEPWISE_OPERATIONS = ("Add", "Multiply", "Relu", "Sigmoid", "Subtract", "Tanh")


def refuse_recurrent(owner: str, layer: keras.layers.RNN, inputs: int) -> None:
    """Refuse a recurrent layer that does not go through time as plainly as a `for` loop.

    Args:
        owner: name of the trainer, for the message.
        layer: of one of the kinds in `RECURRENT`.
        inputs: how many tensors it is called with.

    Raises:
        UnsupportedError: it does not.
    """
    where = f"{owner}: layer '{layer.name}' ({type(layer).__name__})"
    if layer.stateful:
        raise UnsupportedError(
            f"{where} is stateful, so that its state would move with every run: use "
            "stateful=False; TruncatedBPTT carries states from batch to batch by stream_rows=..."
        )
    if layer.go_backwards:
        raise UnsupportedError(
            f"{where} goes backwards, so that no segment of time has all it needs before the next "
            "one: use go_backwards=False, or train with 'bp'."
        )
    if inputs > 1 or layer.return_state:
        raise UnsupportedError(
            f"{where} takes or returns a state as a tensor of the model: leave initial_state and "
            "return_state away, or train with 'bp'."
        )
    refuse_own_code(owner, layer)


def refuse_mask(owner: str, operation: keras.Operation) -> None:
    """Refuse what makes a mask.

    Raises:
        UnsupportedError: it does.
    """
    if isinstance(operation, keras.layers.Masking) or getattr(operation, "mask_zero", False):
        raise UnsupportedError(
            f"{owner}: layer '{operation.name}' ({type(operation).__name__}) makes a mask, which "
            "is not handed from segment to segment: give sample weights of shape (batch, steps) "
            "instead, or train with 'bp'."
        )


def refuse_stepwise(owner: str, operation: keras.Operation) -> None:
    """Refuse what stands among the time steps and may mix them.

    Args:
        owner: name of the trainer, for the message.
        operation: a layer or operation that is given all time steps.

    Raises:
        UnsupportedError: it is not known to treat each time step by itself.
    """
    where = f"{owner}: layer '{operation.name}' ({type(operation).__name__})"
    if isinstance(operation, keras.layers.Bidirectional):
        raise UnsupportedError(
            f"{where} reads the sequence from both ends, so that no segment of time has all it "
            "needs before the next one: use a layer of one direction, or train with 'bp'."
        )
    if isinstance(operation, keras.Model):
        raise UnsupportedError(
            f"{where} is a model inside the model: put its layers into the outer one, or train "
            "with 'bp'."
        )
    kind = type(operation)
    last_axis = getattr(operation, "axis", None) in (-1, [-1], 2, [2])
    known = kind in STEPWISE_LAYERS or (kind in LAST_AXIS_LAYERS and last_axis)
    if not known and not (
        kind.__module__.startswith("keras.src.ops.") and kind.__name__ in STEPWISE_OPERATIONS
    ):
        names = ", ".join(sorted(kind.__name__ for kind in STEPWISE_LAYERS + LAST_AXIS_LAYERS))
        raise UnsupportedError(
            f"{where} is not known to treat each time step by itself: between the input and the "
            f"last recurrent layer, and after one that returns sequences, use one of {names}, or "
            "train with 'bp'."
        )
    refuse_own_code(owner, operation)


def refuse_own_code(owner: str, operation: keras.Operation) -> None:
    """Refuse code that nobody here knows, and penalties of what a layer returns.

    Raises:
        UnsupportedError: there is some.
    """
    where = f"{owner}: layer '{operation.name}' ({type(operation).__name__})"
    if getattr(operation, "activity_regularizer", None) is not None:
        raise UnsupportedError(
            f"{where} has an activity regulariser, which is none of a segment of time: use a "
            "weight regulariser, or train with 'bp'."
        )
    if not is_keras_only(operation):
        raise UnsupportedError(
            f"{where} runs code of its own, which a second run need not repeat: use Keras's own "
            "functions, or train with 'bp'."
        )
