"""One block of a chain: run it, and run it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import tensorflow as tf

from mem_dfa.atom import Atom
from mem_dfa.collecting import CollectingScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.foreign_code import is_keras_only
from mem_dfa.ordering import after
from mem_dfa.rematerialised import without_rematerialisation
from mem_dfa.scopes import scope
from mem_dfa.tiles import tiled_bytes
from sizes.layers import backward_peak_bytes, forward_peak_bytes, layer_bytes, opened, tensor_bytes

Tensor = tf.Tensor


@dataclass(frozen=True)
class BlockBytes:
    """What one block takes for one batch, from shapes.

    Attributes:
        kept: kept for its local gradient.
        output: of a_i.
        forward_peak: while it runs and nothing is kept, its input included.
        update_peak: while it is differentiated and updated, its own activations and error signals.
        backward_peak: the same with the error signal at its input.
    """

    kept: int
    output: int
    forward_peak: int
    update_peak: int
    backward_peak: int


class Block:
    """Consecutive atoms a_i = f_i(a_{i-1}; W_i) that are trained together.

    Attributes:
        name: `block_004`; names the block's operations in a profile.
        atoms: what it runs, in order.
    """

    def __init__(self, name: str, atoms: Sequence[Atom], is_head: bool = False) -> None:
        """Take consecutive atoms of a chain, the model's last activation if they are the head."""
        self.name, self.atoms, self._is_head = name, tuple(atoms), is_head

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers inside, nested models opened."""
        return [layer for atom in self.atoms for layer in atom.layers]

    @property
    def weight_layers(self) -> list[keras.layers.Layer]:
        """The layers that hold weights, normalisations not counted."""
        return [layer for atom in self.atoms for layer in atom.weight_layers]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """W_i: what an update of this block changes (nothing when its layers are frozen)."""
        # As Keras finds them in a model: a layer in a frozen wrapper may have been unfrozen.
        found = (v for layer in self.layers for v in layer.variables if v.trainable)
        return list({id(variable): variable for variable in found}.values())

    @property
    def layer_names(self) -> str:
        """The names of its layers, for messages."""
        return ", ".join(layer.name for layer in self.layers)

    @property
    def state_variables(self) -> list[keras.Variable]:
        """What a forward pass changes: moving statistics and the states of seed generators."""
        found = (v for layer in self.layers for v in layer.non_trainable_variables)
        return list({id(variable): variable for variable in found}.values())

    @property
    def seed_variables(self) -> list[keras.Variable]:
        """The states of seed generators, as those of dropout layers."""
        weights = {id(v) for layer in self.layers for v in layer.weights}
        return [v for v in self.state_variables if id(v) not in weights]

    @cached_property
    def runs_only_keras(self) -> bool:
        """Whether no code runs in it but Keras's and this package's."""
        return all(is_keras_only(op) for atom in self.atoms for op in atom.operations)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of a_i with its batch axis."""
        return tuple(self.atoms[-1].after.shape)

    @property
    def width(self) -> int:
        """n_i, the number of units of a_i in one example.

        Raises:
            UnsupportedError: the shape is not fixed, so that no matrix fits it.
        """
        if None in self.output_shape[1:]:
            raise UnsupportedError(
                f"{self.name} ends in shape {self.output_shape}: random feedback needs a fixed "
                "shape; give the model's Input its full shape."
            )
        return math.prod(self.output_shape[1:])

    def bytes(self, batch_size: int, tiled: Sequence[keras.layers.Layer] = ()) -> BlockBytes:
        """What a run of the block takes, from shapes, for graph execution.

        Args:
            batch_size: examples in a batch.
            tiled: dense layers whose kernels are updated in row tiles.
        """
        operations = (operation for atom in self.atoms for operation in atom.operations)
        parts = [part for operation in operations for part in opened(operation)]
        layers = [layer_bytes(part, batch_size) for part in parts]
        in_tiles = {id(layer) for layer in tiled}
        for number, part in enumerate(parts):
            if id(part) in in_tiles:
                layers[number] = replace(layers[number], weight_bytes=tiled_bytes(part))
        before = self.atoms[0].before
        input_bytes = tensor_bytes((batch_size, *before.shape[1:]), before.dtype)
        kept = sum(layer.kept_bytes for layer in layers)
        # Of branches, what one made waits for the other: at most all of it.
        branched = any(len(atom.operations) > 1 for atom in self.atoms)
        forward_peak = forward_peak_bytes(layers, input_bytes)
        return BlockBytes(
            kept=kept,
            output=tensor_bytes((batch_size, *self.output_shape[1:]), self.atoms[-1].after.dtype),
            forward_peak=input_bytes + kept if branched else forward_peak,
            # Nothing else reads the weights of a block updated apart: they change in place.
            update_peak=backward_peak_bytes(layers, weight_copies=1),
            backward_peak=backward_peak_bytes(layers, 1, input_bytes),
        )

    def operations_count(self, batch_size: int) -> int:
        """Multiplications and additions of one run, roughly: what its time is in proportion to."""
        count = 0
        for layer in self.layers:
            outputs = keras.tree.flatten(layer.output) if layer._inbound_nodes else []
            positions = sum(math.prod(size or 1 for size in t.shape[1:-1]) for t in outputs)
            values = sum(math.prod(size or 1 for size in t.shape[1:]) for t in outputs)
            kernels = sum(math.prod(v.shape) for v in layer.trainable_variables if len(v.shape) > 1)
            count += values + 2 * kernels * max(1, positions)
        return batch_size * count

    @property
    def parameters(self) -> int:
        """Number of trainable and non-trainable values."""
        return sum(math.prod(v.shape) for layer in self.layers for v in layer.variables)

    def run(self, inputs: Tensor, phase: str, training: bool = True) -> Tensor:
        """a_i from a_{i-1}; updates BatchNormalization's statistics and advances seeds.

        Args:
            inputs: a_{i-1}, shape (batch, ...).
            phase: `forward` or `replay`: first component of the operations' names.
            training: as in Keras.
        """
        operations = [operation for atom in self.atoms for operation in atom.operations]
        with scope(phase, self.name), without_rematerialisation(operations):
            for atom in self.atoms:
                inputs = atom(inputs, training)
                # Keras's sigmoid and softmax have their output hold their input, for losses that
                # want logits: eagerly a second tensor for every one that is kept.
                if hasattr(inputs, "_keras_logits") and not self._is_head:
                    del inputs._keras_logits
        return inputs

    def hold_back(
        self, inputs: Tensor, earlier: Tensor
    ) -> tuple[Tensor, list[tuple[keras.Variable, Tensor]]]:
        """Make everything in a run wait for `earlier`, a scalar from `ordering.token`.

        A block starts when its input and its weights are there, and draws when its seeds are:
        held back are the seeds (all blocks would otherwise draw when the step starts), and the
        input or the weights, whichever is smaller, because under XLA waiting costs an addition an
        element.

        Returns:
            The input, and the values that are to stand for variables during the run.
        """
        weights = [weight for layer in self.layers for weight in layer.weights]
        weight_values = sum(math.prod(weight.shape) for weight in weights)
        # A gradient or a function of a layer's own reaches for the variables themselves.
        fewer = weight_values < math.prod(size or 1 for size in inputs.shape)
        with scope("replay", self.name):
            if fewer and self.runs_only_keras:
                return inputs, held_back_variables([*weights, *self.seed_variables], earlier)
            return after(inputs, earlier), held_back_variables(self.seed_variables, earlier)

    def run_with(
        self, inputs: Tensor, phase: str, values: Sequence[tuple[keras.Variable, Tensor]]
    ) -> Tensor:
        """`run` with `values` in the place of variables; what it changes is kept as in `run`."""
        if not values:
            return self.run(inputs, phase)
        # What Keras's own layers assign they do not read again.
        kind = keras.StatelessScope if self.runs_only_keras else CollectingScope
        with kind(state_mapping=values) as scope:
            given = {id(v): scope.get_current_value(v) for v, _ in values}
            outputs = self.run(inputs, phase)
        for variable in self.state_variables:
            value = scope.get_current_value(variable)
            if value is not None and value is not given.get(id(variable)):
                variable.assign(value)
        return outputs


def assigned(variables: Sequence[keras.Variable], state: keras.StatelessScope) -> list[str]:
    """The paths of those variables, none of them mapped, to which a pass gave another value."""
    return [v.path for v in variables if state.get_current_value(v) is not None]


def held_back_variables(
    variables: Sequence[keras.Variable], earlier: Tensor
) -> list[tuple[keras.Variable, Tensor]]:
    """Values that are to stand for the variables, not before `earlier`; none eagerly."""
    # Eagerly there is nothing to hold back, and a value would be a copy.
    if tf.executing_eagerly():
        return []
    return [(v, after(v.value, earlier)) for v in variables]
