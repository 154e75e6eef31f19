"""One step of backpropagation through time by a plan: segments run, kept, differentiated, freed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from mem_dfa.chain.factored_gradient import present_tensors
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.actions import Action
from mem_dfa.memory.batch_parts import add_parts
from mem_dfa.recurrent.base import Recurrent, Sequences

Tensor: TypeAlias = tf.Tensor


class Sweep:
    """Does the actions of a plan; position k is the border before segment k."""

    def __init__(
        self, trainer: Recurrent, sequences: Sequences, segments: Sequence[tuple[int, int]]
    ) -> None:
        """Begin a step.

        Args:
            trainer: whose network and loss.
            sequences: the batch.
            segments: first time step and length of each.
        """
        self._trainer, self._unrolled, self._sequences = trainer, trainer.unrolled, sequences
        self._segments = segments
        self._variables = [variable.value for variable in trainer.trainable_variables]
        self._seeds = self._unrolled.seed_values
        batch_size = sequences.x.shape[0] or tf.shape(sequences.x)[0]
        self._states = {0: self._unrolled.zero_states(batch_size)}
        self._recorded: dict[int, tuple[tf.GradientTape, list[Tensor], list[Tensor]]] = {}
        self._errors: list[Tensor] = []  # δ at the border after the segment that is next
        self._gradients: list[Any] = [None] * len(self._variables)
        self._losses: list[Tensor] = []
        self._outputs: dict[int, Tensor] = {}
        self._moved: list[Tensor] = []
        self._done: Tensor | None = None  # a token of the last gradient
        # Traced once for all segments of one length, and not inlined: the graph of a step would be
        # as large as the sequence is long.
        details: dict[str, Any] = {"experimental_attributes": {"_noinline": True}}
        self._advance = tf.function(self._run, autograph=False, **details)
        self._record = tf.function(self._run_to_losses, autograph=False, **details)

    def do(self, action: Action) -> None:
        """Do one action of a plan; see `Action`."""
        match action.kind:
            case "advance":
                states = self._states[action.start]
                for number in range(action.start, action.stop):
                    with self._scope(number):
                        states = self._called(self._advance, number, states)
                self._states[action.stop] = states
            case "record":
                self._states[action.stop] = self._recording(action.start)
            case "backward":
                self._differentiate(action.start)
            case "forget":
                del self._states[action.start]

    def finish(self) -> tuple[list[Any], Tensor, Tensor | None]:
        """The weights' gradients, in their order, the loss, and the outputs if metrics need them.

        Moves the seeds.
        """
        for seed, value in zip(self._unrolled.seeds, self._moved, strict=True):
            seed.assign(after(value, self._done))
        outputs = [self._outputs[number] for number in sorted(self._outputs)]
        whole = tf.concat(outputs, 1) if len(outputs) > 1 else next(iter(outputs), None)
        return self._gradients, tf.add_n(self._losses), whole

    def _run(
        self,
        start: Tensor,
        number: Tensor,
        length: int,
        ends: bool,
        states: list[Tensor],
        seeds: list[Tensor],
    ) -> list[Tensor]:
        """The states after a segment."""
        x = self._sequences.segment(start, length).x
        return self._unrolled.run_drawing(x, states, seeds, number, at_end=False)[1]

    def _run_to_losses(
        self,
        start: Tensor,
        number: Tensor,
        length: int,
        ends: bool,
        states: list[Tensor],
        seeds: list[Tensor],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Loss, as it is and scaled by the optimizer, and output, if any; states, seeds after."""
        part = self._sequences.segment(start, length)
        outputs, states, moved = self._unrolled.run_drawing(part.x, states, seeds, number, ends)
        if outputs is None:
            return [], states, moved
        trainer = self._trainer
        loss = trainer.compute_loss(part.x, part.y, outputs, part.sample_weight, training=True)
        if self._sequences.labelled_steps:
            loss *= tf.constant(length / self._sequences.steps, loss.dtype)
        return [loss, trainer.optimizer.scale_loss(loss), outputs], states, moved

    def _called(self, function: Any, number: int, states: Sequence[Tensor]) -> Any:
        """What a function returns for a segment, which runs when the last gradient is there."""
        start, length = self._segments[number]
        # Otherwise TensorFlow would run all kept segments at once, or merge a run into the first.
        states = [after(state, self._done) for state in states]
        run = function.python_function if tf.executing_eagerly() else function
        ends = number == len(self._segments) - 1
        return run(tf.constant(start), tf.constant(number), length, ends, states, self._seeds)

    def _scope(self, number: int) -> Any:
        return scope("forward" if self._done is None else "replay", _name(number))

    def _recording(self, number: int) -> list[Tensor]:
        """The states after a segment, whose internals are kept."""
        states = self._states[number]
        with self._scope(number), tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*self._variables, *states])
            ends, following, moved = self._called(self._record, number, states)
        targets, is_last = ends[1:2], number == len(self._segments) - 1
        if ends:
            self._losses.append(ends[0])
            if self._trainer.has_metrics:
                self._outputs[number] = ends[2]
        if is_last:
            self._moved = moved
        else:
            targets += following
        self._recorded[number] = (tape, states, targets)
        return following

    def _differentiate(self, number: int) -> None:
        """∇W_k is added to the sum, and δ_k takes the place of δ_{k+1}."""
        tape, states, targets = self._recorded.pop(number)
        with scope("backward", _name(number)):
            own_loss = targets[: len(targets) - len(self._errors)]
            found = tape.gradient(
                targets,
                [*self._variables, *states],
                output_gradients=[*map(tf.ones_like, own_loss), *self._errors],
            )
            own, errors = found[: len(self._variables)], found[len(self._variables) :]
            self._errors = [
                tf.zeros_like(s) if e is None else e for s, e in zip(states, errors, strict=True)
            ]
            variables = self._trainer.trainable_variables
            self._gradients = add_parts(variables, self._gradients, own)
            self._done = token([*present_tensors(self._gradients), *self._errors])


def _name(number: int) -> str:
    return f"segment_{number + 1:03d}"
