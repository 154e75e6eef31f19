"""One pass of a batch through a trainer's network and loss, of which nothing stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.memory.batch_parts import Part
from mem_dfa.memory.whole_batch import refuse_masked_losses, refuse_pass

# Keras's functions whose first argument is a shape, examples first.
SHAPED = ("beta", "binomial", "gamma", "normal", "randint", "truncated_normal", "uniform")
CANNOT_RUN = (TypeError, ValueError, tf.errors.InvalidArgumentError)


@dataclass(frozen=True)
class Result:
    """What a pass gives: outputs, losses, and what is to be assigned.

    Attributes:
        losses: of the outputs, and of outputs that differ more from example to example.
    """

    outputs: list[tf.Tensor]
    losses: list[float]
    states: list[tf.Tensor]


class Pass:
    """A batch through a trainer's network and loss, of which nothing stays.

    Attributes:
        network: the trainer's.
        mode: `inference` or `training`.
        assigned: what the last pass would have assigned to, states of seed generators left out.
    """

    def __init__(self, trainer: keras.Model, mode: str, data: Any) -> None:
        """Prepare passes of batches like `data`: inputs, labels, sample weights, and `scales`."""
        self._trainer, self.network, self.mode = trainer, trainer.network, mode
        self.assigned: list[keras.Variable] = []
        self._function: Any = self._step
        self._weights = _instead_of_zeros(self.network)
        self._plain = _plain_attributes(self.network)
        if not trainer.run_eagerly:
            # As the step's slices are: of any number of examples.
            self._function = tf.function(self._step, autograph=False)
            kinds = keras.tree.map_structure(lambda t: None if t is None else _kind(t), data)
            traced = self._function.get_concrete_function(*kinds)
            own = _ids((*trainer.variables, *trackers(trainer)))
            self._plain = [v for v in traced.graph.variables if id(v) not in own]

    def __call__(self, data: Any) -> Result:
        """What a batch gives.

        Raises:
            UnsupportedError: slices of it cannot add up, whatever it gives.
        """
        before = [(variable, tf.identity(variable)) for variable in self._plain]
        outputs, losses, states = self._function(*data)
        changed = [v for v, value in before if not np.array_equal(v.numpy(), value.numpy())]
        for variable, value in before if changed else ():
            variable.assign(value)
        if changed:
            raise UnsupportedError(
                f"Microbatch: a layer of '{self.network.name}' assigns to a tf.Variable "
                f"({', '.join(v.name for v in changed)}), which every slice would do again: use "
                "self.add_weight(..., trainable=False), or train with 'bp'."
            )
        return Result(outputs, [float(loss) for loss in losses], states)

    def _step(self, x: Any, y: Any, sample_weight: Any, scales: tf.Tensor) -> tuple:
        is_training = self.mode == "training"
        with (
            CollectingScope(self._weights, collect_losses=True) as scope,
            _same_for_every_example(),
        ):
            y_pred = self._trainer(x, training=is_training)
        refuse_pass(self.network, scope, y_pred)
        updates = [pair for pair in scope.updates if pair[0].name != "seed_generator_state"]
        self.assigned = [variable for variable, _ in updates]
        losses = [
            self._trainer.compute_loss(x, y, outputs, sample_weight, training=is_training)
            for outputs in (y_pred, _scaled(y_pred, scales))
        ]
        refuse_masked_losses(losses_of(self._trainer), y, y_pred)
        return keras.tree.flatten(y_pred), losses, [value for _, value in updates]

    def in_slices(self, data: Any, parts: Sequence[Part]) -> tuple[list[Result], list[tf.Tensor]]:
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


def scales(size: int) -> tf.Tensor:
    """A number for each of `size` examples, by which its outputs are multiplied.

    The outputs of a net before training are all alike, and a loss that compares examples, such as
    Dice over a batch, is then nearly the mean of those of its slices.
    """
    return tf.linspace(0.1, 1.0, size)


def _scaled(outputs: Any, scales: tf.Tensor) -> Any:
    def scaled(output: tf.Tensor) -> tf.Tensor:
        shape = [-1, *[1] * (len(output.shape) - 1)]
        return output * tf.cast(tf.reshape(scales, shape), output.dtype)

    return keras.tree.map_structure(scaled, outputs)


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
    if not isinstance(kind, tf.TensorSpec | tf.SparseTensorSpec):
        return kind
    return type(kind)((None, *kind.shape[1:]), kind.dtype)


def losses_of(trainer: keras.Model) -> list[keras.losses.Loss]:
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
def kept_trackers(trainer: keras.Model) -> Iterator[None]:
    """After the context the losses of single outputs are added up as before it."""
    before = {id(variable): tf.identity(variable.value) for variable in trackers(trainer)}
    try:
        yield
    finally:
        for variable in trackers(trainer):
            value = before.get(id(variable))  # None of one that was made inside
            variable.assign(tf.zeros_like(variable.value) if value is None else value)


def _plain_attributes(network: keras.Model) -> list[tf.Variable]:
    """The tf.Variables, not Keras's, that layers hold as attributes."""
    own = _ids(network.variables)
    held = [tf.nest.flatten(list(vars(layer).values())) for layer in network._flatten_layers()]
    found = {id(v): v for values in held for v in values if isinstance(v, tf.Variable)}
    return [variable for key, variable in found.items() if key not in own]


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
    """The shape of one example; of a single number, the same."""
    shape = tf.convert_to_tensor(shape, "int32")
    return tf.concat([tf.ones_like(shape[:1]), shape[1:]], 0)
