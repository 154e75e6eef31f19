"""Shown on data: slices of a batch, put together, give what the whole batch gives.

No list names every layer in which examples meet, nor every loss that compares them. So the first
batch that is trained on runs whole and in slices, outside of the step, and nothing of it is kept:
the outputs, the loss and what layers assigned have to be the same but for rounding. In training
mode too, where Keras's random functions then give every example the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.parts import Part

# Keras's functions whose first argument is a shape, examples first.
SHAPED = ("beta", "binomial", "gamma", "normal", "randint", "truncated_normal", "uniform")
# Relative, of a norm: far above rounding, far below what an example that counts twice makes.
TOLERANCE = {"bfloat16": 0.1, "float16": 0.03, "float32": 1e-3, "float64": 1e-8}
# A GPU multiplies float32 rounded to ten bits, in some of its kernels.
GPU_TOLERANCE = 0.01
CANNOT_RUN = (TypeError, ValueError, tf.errors.InvalidArgumentError)


def is_shown(trainer: keras.Model, data: Any, count: int) -> bool:
    """Whether a batch shows that its slices add up; False if it is too small or draws anew.

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
    with _kept(trainer):
        try:
            return _compared(trainer, data, count, size)
        except tf.errors.ResourceExhaustedError:  # as many examples as make two slices
            few = max(2, 2 * size // count)
            part = Part(0, 1, few)
            return _compared(trainer, part.of_all(data), 2, few)


def _tensor(value: Any) -> Any:
    return value if tf.is_tensor(value) else tf.convert_to_tensor(value)


def _compared(trainer: keras.Model, data: Any, count: int, size: int) -> bool:
    parts = [Part(number, count, size) for number in range(count)]
    passes = [_Pass(trainer, mode, data) for mode in ("inference", "training")]
    return all([_agree(one, data, parts) for one in passes])


def _agree(run: _Pass, data: Any, parts: Sequence[Part]) -> bool:
    """Whether one mode's slices could be compared with the whole batch; raises if they differ."""
    whole, again = run(data), run(data)
    near = run.tolerance
    if not _is_near(again.outputs, whole.outputs, near):
        return False  # it draws by a state that nobody sees, or is not finite
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
    losses = [part.loss for part in slices]
    loss = sum(float(part.share) * own for part, own in zip(parts, losses, strict=True))
    if not abs(loss - whole.loss) <= near * max(abs(whole.loss), *map(abs, losses)):
        raise UnsupportedError(
            f"{where} the loss of {len(parts)} slices, weighted by their shares, is {loss:.6g}, "
            f"and the whole batch's {whole.loss:.6g}: use a loss that is a mean over examples with "
            "a loss of their own each, or train with 'bp'."
        )
    for variable, state, due in zip(run.assigned, states, whole.states, strict=True):
        if not _is_near([state], [due], near):
            raise UnsupportedError(
                f"{where} {len(parts)} slices leave '{variable.path}', which a layer assigns to, "
                f"{_distance(state, due):.2g} times its norm away from where the whole batch does: "
                "use another layer, or train with 'checkpoint' or 'bp'."
            )
    return True


@dataclass(frozen=True)
class _Result:
    """What a pass gives: outputs, loss, and what is to be assigned."""

    outputs: list[tf.Tensor]
    loss: float
    states: list[tf.Tensor]


class _Pass:
    """A batch through a trainer's network and loss, of which nothing stays.

    Attributes:
        assigned: what the last pass would have assigned to, states of seed generators left out.
        tolerance: relative difference that rounding makes at most.
    """

    def __init__(self, trainer: keras.Model, mode: str, data: Any) -> None:
        self._trainer, self.network, self.mode = trainer, trainer.network, mode
        self.assigned: list[keras.Variable] = []
        self._function, self._weights = self._step, _instead_of_zeros(self.network)
        self._plain = _plain_attributes(self.network)
        if not trainer.run_eagerly:
            # As the step's slices are: of any number of examples.
            self._function = tf.function(self._step, autograph=False)
            kinds = keras.tree.map_structure(lambda t: None if t is None else _kind(t), data)
            traced = self._function.get_concrete_function(*kinds)
            own = _ids((*trainer.variables, *trackers(trainer)))
            self._plain = [v for v in traced.graph.variables if id(v) not in own]

    @property
    def tolerance(self) -> float:
        dtypes = {layer.compute_dtype for layer in self.network._flatten_layers()}
        dtypes |= {loss.dtype for loss in _losses(self._trainer)}
        greatest = max(TOLERANCE.get(dtype, 0) for dtype in dtypes)
        return max(greatest, GPU_TOLERANCE) if tf.config.list_physical_devices("GPU") else greatest

    def __call__(self, data: Any) -> _Result:
        before = [(variable, tf.identity(variable)) for variable in self._plain]
        outputs, loss, states = self._function(*data)
        changed = [v for v, value in before if not np.array_equal(v.numpy(), value.numpy())]
        for variable, value in before if changed else ():
            variable.assign(value)
        if changed:
            raise UnsupportedError(
                f"Microbatch: a layer of '{self.network.name}' assigns to a tf.Variable "
                f"({', '.join(v.name for v in changed)}), which every slice would do again: use "
                "self.add_weight(..., trainable=False), or train with 'bp'."
            )
        return _Result(outputs, float(loss), states)

    def _step(self, x: Any, y: Any, sample_weight: Any) -> tuple:
        is_training = self.mode == "training"
        with (
            CollectingScope(self._weights, collect_losses=True) as scope,
            _same_for_every_example(),
        ):
            y_pred = self._trainer(x, training=is_training)
        self._trainer.refuse_after_pass(scope, y_pred)
        updates = [pair for pair in scope.updates if pair[0].name != "seed_generator_state"]
        self.assigned = [variable for variable, _ in updates]
        loss = self._trainer.compute_loss(x, y, y_pred, sample_weight, training=is_training)
        _refuse_masked_losses(self._trainer, y, y_pred)
        return keras.tree.flatten(y_pred), loss, [value for _, value in updates]

    def in_slices(self, data: Any, parts: Sequence[Part]) -> tuple[list[_Result], list[tf.Tensor]]:
        """Each part's pass with what the one before it assigned, and the states after the last.

        Raises:
            UnsupportedError: the network runs on no slices.
        """
        held = [(variable, tf.identity(variable.value)) for variable in self.assigned]
        results = []
        try:
            for part in parts:
                results.append(self(part.of_all(data)))
                for (variable, _), state in zip(held, results[-1].states, strict=True):
                    variable.assign(state)
            return results, [tf.identity(variable.value) for variable, _ in held]
        except UnsupportedError:
            raise
        except CANNOT_RUN as error:
            raise UnsupportedError(
                f"Microbatch: '{self.network.name}' runs on the whole batch and not on a slice of "
                f"it ({str(error).strip().splitlines()[0]}): let it take any number of examples, "
                "or train with 'bp'."
            ) from error
        finally:
            for variable, value in held:
                variable.assign(value)


def _instead_of_zeros(network: keras.Model) -> list[tuple[keras.Variable, tf.Tensor]]:
    """Values for weights that are all 0 before training, behind which nothing would be seen."""
    return [
        (
            variable,
            0.1 * tf.random.stateless_normal(variable.shape, (number, 0), dtype=variable.dtype),
        )
        for number, variable in enumerate(network.trainable_variables)
        if not variable.overwrite_with_gradient and not tf.math.count_nonzero(variable.value)
    ]


def _kind(tensor: Any) -> Any:
    kind = tf.type_spec_from_value(tensor)
    if not isinstance(kind, tf.TensorSpec):
        return kind
    return tf.TensorSpec((None, *kind.shape[1:]), kind.dtype)


def _losses(trainer: keras.Model) -> list[keras.losses.Loss]:
    """Keras makes them with the first batch."""
    made = getattr(trainer._compile_loss, "_flat_losses", None) or ()
    return [weighted.loss for weighted in made]


def trackers(trainer: keras.Model) -> list[keras.Variable]:
    """What the losses of single outputs are added up in; Keras makes it with the first batch."""
    metrics = trainer._compile_loss.metrics if trainer._compile_loss else ()
    return [variable for metric in metrics for variable in metric.variables]


def _ids(variables: Iterable[keras.Variable]) -> set[int]:
    """Of TensorFlow's variables that Keras's are made of, on every replica."""
    held = [variable.value for variable in variables]
    return {id(part) for value in held for part in (value, *getattr(value, "values", ()))}


@contextlib.contextmanager
def _kept(trainer: keras.Model) -> Iterator[None]:
    """What the losses of single outputs have added up stays as it is."""
    before = [(variable, tf.identity(variable.value)) for variable in trackers(trainer)]
    yield
    for variable in trackers(trainer):
        variable.assign(tf.zeros_like(variable.value))
    for variable, value in before:
        variable.assign(value)


def _plain_attributes(network: keras.Model) -> list[tf.Variable]:
    """The tf.Variables, not Keras's, that layers hold as attributes."""
    own = _ids(network.variables)
    held = [tf.nest.flatten(list(vars(layer).values())) for layer in network._flatten_layers()]
    found = {id(v): v for values in held for v in values if isinstance(v, tf.Variable)}
    return [variable for key, variable in found.items() if key not in own]


def _refuse_masked_losses(trainer: keras.Model, y: Any, y_pred: Any) -> None:
    """A loss with a mask is a mean over what counts, of which slices have unequal parts."""
    labels, outputs, losses = keras.tree.flatten(y), keras.tree.flatten(y_pred), _losses(trainer)
    for label, output, loss in zip(labels, outputs, losses, strict=False):
        values = loss.call(keras.ops.cast(label, loss.dtype), keras.ops.cast(output, loss.dtype))
        if getattr(values, "_keras_mask", None) is not None:
            raise UnsupportedError(
                f"Microbatch received the loss {loss.name!r}, which leaves labels out (as with "
                "ignore_class): examples do not count alike and slices do not add up to the "
                "batch. Give the labels to leave out sample_weight=0 instead, or use 'bp'."
            )


@contextlib.contextmanager
def _same_for_every_example() -> Iterator[None]:
    """Keras's random functions draw once for all examples, so that every slice has the same."""
    module = keras.src.backend.random
    functions = {name: getattr(module, name) for name in (*SHAPED, "dropout")}

    def shaped(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def draw(shape: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
            return tf.broadcast_to(function(_of_one(shape), *args, **kwargs), shape)

        return draw

    def dropout(inputs: tf.Tensor, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
        others = inputs.shape[1:] if noise_shape is None else noise_shape[1:]
        return functions["dropout"](inputs, rate, (1, *others), seed)

    try:
        for name in SHAPED:
            setattr(module, name, shaped(functions[name]))
        module.dropout = dropout
        yield
    finally:
        for name, function in functions.items():
            setattr(module, name, function)


def _of_one(shape: Any) -> tf.Tensor:
    """The shape of one example; of no example, the same."""
    return tf.concat([tf.ones_like(shape[:1]), shape[1:]], 0)


def _is_near(tensors: Sequence[tf.Tensor], due: Sequence[tf.Tensor], tolerance: float) -> bool:
    return all(_distance(*pair) <= tolerance for pair in zip(tensors, due, strict=True))


def _distance(tensor: tf.Tensor, due: tf.Tensor) -> float:
    """‖a − b‖ / ‖b‖; not a number if either is not finite."""
    if tensor.shape != due.shape:
        return float("inf")
    one, other = (np.asarray(t).astype("float64") for t in (tensor, due))
    apart, norm = np.linalg.norm(one - other), np.linalg.norm(other)
    return float(apart / norm) if norm else float(apart)
