"""A recurrent Keras model run over a segment of time: all its recurrent layers go on together.

    (y_t … y_{t+T-1}),  s_{t+T} = f((x_t … x_{t+T-1}), s_t; W)

s_t holds the states of all recurrent layers. The layers between them treat each time step by
itself; what comes after a recurrent layer that returns its last output alone runs once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.recurrent.refuse import RECURRENT, refuse_mask, refuse_recurrent, refuse_stepwise
from mem_dfa.shapes.graph_models import graph_of

Tensor: TypeAlias = tf.Tensor


class Unrolled:
    """A recurrent model as a function of a segment of time and the states before it.

    Attributes:
        layers: the recurrent layers, in the order in which they run.
        has_output_each_step: whether the model's output has a time axis.
        seeds: the states of seed generators that the layers draw by.
    """

    def __init__(self, network: keras.Model, owner: str) -> None:
        """Look at how time passes through `network`, which stays as it is.

        Args:
            network: a built Sequential or functional model, of one input of shape (batch, steps,
                ...) and one output.
            owner: name of the trainer, for messages.

        Raises:
            UnsupportedError: it cannot be run a few time steps at a time; says which layer.
        """
        graph = graph_of(network)
        if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise UnsupportedError(
                f"{owner} received model '{network.name}': it takes a Sequential or functional "
                "model of one input and one output; train others with 'bp'."
            )
        self._input, self._output = graph.inputs[0], graph.outputs[0]
        depths = sorted(graph._nodes_by_depth, reverse=True)
        nodes = [n for depth in depths for n in graph._nodes_by_depth[depth] if not n.is_input]
        for node in nodes:
            refuse_mask(owner, node.operation)
        timed = {id(self._input)}
        self._in_time, self._at_end = [], []
        for node in nodes:
            have_time = [id(tensor) in timed for tensor in node.input_tensors]
            if not any(have_time):
                self._at_end.append(node)
                continue
            if not all(have_time):
                raise UnsupportedError(
                    f"{owner}: layer '{node.operation.name}' joins what has time steps with what "
                    "has none: let all its inputs return sequences, or train with 'bp'."
                )
            self._in_time.append(node)
            if isinstance(node.operation, RECURRENT):
                refuse_recurrent(owner, node.operation, len(node.input_tensors))
            else:
                refuse_stepwise(owner, node.operation)
            if getattr(node.operation, "return_sequences", True):
                timed.update(map(id, node.outputs))
        self.has_output_each_step = id(self._output) in timed
        self.layers = [n.operation for n in self._in_time if isinstance(n.operation, RECURRENT)]
        if not self.layers or len({id(layer) for layer in self.layers}) < len(self.layers):
            raise UnsupportedError(
                f"{owner} received model '{network.name}', which has no recurrent layer, or one "
                "that is used twice: it takes SimpleRNN, LSTM and GRU layers, each used once."
            )
        self._find_seeds(network)

    def _find_seeds(self, network: keras.Model) -> None:
        weights = {id(variable) for variable in network.weights}
        own = {id(v) for layer in self.layers for v in layer.variables}
        late = {id(v) for n in self._at_end for v in getattr(n.operation, "variables", ())}
        self.seeds = [v for v in network.variables if id(v) not in weights]
        # Of layers that draw for each time step: every segment draws its own.
        self._moving = [id(v) not in own | late for v in self.seeds]

    @property
    def seed_values(self) -> list[Tensor]:
        """What the seeds are now."""
        return [seed.value.read_value() for seed in self.seeds]

    def zero_states(self, batch_size: int | Tensor) -> list[Tensor]:
        """s_0, the states that a sequence starts from, those of one layer after another."""
        return [s for layer in self.layers for s in layer.get_initial_state(batch_size)]

    def run(
        self, x: Tensor, states: Sequence[Tensor], at_end: bool = True
    ) -> tuple[Tensor | None, list[Tensor]]:
        """The model's output for a segment, and the states after it.

        Args:
            x: shape (batch, steps of the segment, ...).
            states: s_t, as `zero_states` orders them.
            at_end: whether what runs once, at the end, runs now.

        Returns:
            The output, None where there is none yet, and s_{t+T}.
        """
        values, waiting, following = {id(self._input): x}, list(states), []
        for node in [*self._in_time, *(self._at_end if at_end else [])]:
            args, kwargs = node.arguments.fill_in(values)
            operation = node.operation
            if "training" in getattr(operation, "_call_context_args", ()):
                kwargs["training"] = True
            if any(operation is layer for layer in self.layers):
                count = len(operation.state_size)
                own, waiting = waiting[:count], waiting[count:]
                output, *after = _with_state(operation, args[0], own)
                outputs = [output]
                following += after
            else:
                outputs = keras.tree.flatten(operation(*args, **kwargs))
            values.update(zip(map(id, node.outputs), outputs, strict=True))
        return values.get(id(self._output)), following

    def run_drawing(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        seeds: Sequence[Tensor],
        number: Tensor,
        at_end: bool,
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """`run` by given seeds, which stay as they are; other variables are assigned as they come.

        The recurrent layers draw the same masks in every segment, as in a run of the whole
        sequence; what draws for each time step draws others in each segment.

        Args:
            x: see `run`.
            states: see `run`.
            seeds: what `seed_values` was when the sequence began.
            number: of the segment.
            at_end: see `run`.

        Returns:
            The output, the states after it, and the seeds that the next sequence begins with.
        """
        shifts = [
            tf.cast(tf.stack([number if moves else 0, 0]), seed.dtype)
            for seed, moves in zip(seeds, self._moving, strict=True)
        ]
        given = [seed + shift for seed, shift in zip(seeds, shifts, strict=True)]
        mapping = list(zip(self.seeds, given, strict=True))
        with CollectingScope(state_mapping=mapping) as scope:
            outputs, following = self.run(x, states, at_end)
        drawn = [scope.get_current_value(seed) for seed in self.seeds]
        own = {id(seed) for seed in self.seeds}
        for variable, value in scope.updates:
            if id(variable) not in own:
                variable.assign(value)
        return outputs, following, [d - s for d, s in zip(drawn, shifts, strict=True)]


def _with_state(layer: keras.layers.RNN, x: Tensor, states: Sequence[Tensor]) -> Sequence[Tensor]:
    """A recurrent layer's output and the states after it."""
    layer.return_state = True
    try:
        return layer(x, initial_state=list(states), training=True)
    finally:
        layer.return_state = False
