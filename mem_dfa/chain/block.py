"""One block of a chain: run it, and run it again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.atom import Atom, is_linear
from mem_dfa.chain.block_bytes import Sized
from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.chain.rematerialised import without_rematerialisation
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after
from mem_dfa.graph.profile_scope import scope
from mem_dfa.shapes.layer_bytes import follows_shapes

Tensor: TypeAlias = tf.Tensor


class Block(Sized):
    """Consecutive atoms a_i = f_i(a_{i-1}; W_i) that are trained together.

    Attributes:
        name: `block_004`; names the block's operations in a profile.
        atoms: what it runs, in order.
        output: a_i, for a batch of any number of examples; None for a block of no chain.
    """

    def __init__(self, name: str, atoms: Sequence[Atom], is_head: bool = False) -> None:
        """Take consecutive atoms of a chain, the model's last activation if they are the head."""
        super().__init__(atoms)
        self.name, self._is_head = name, is_head
        self.output: keras.KerasTensor = None

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Consecutive blocks as one, inside which the gradient is BP's; one stays what it is."""
        first, last = blocks[0], blocks[-1]
        if first is last:
            return first
        block = cls(name_of_run(blocks), [atom for each in blocks for atom in each.atoms])
        block.output = last.output
        block.plan_for_same(first)
        return block

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers inside, nested models opened."""
        return [layer for atom in self.atoms for layer in atom.layers]

    @property
    def weight_layers(self) -> list[keras.layers.Layer]:
        """The layers that hold weights, normalisations not counted."""
        return [layer for atom in self.atoms for layer in atom.weight_layers]

    @property
    def operations(self) -> list[keras.Operation]:
        """What its atoms run, in order, nested models as they are."""
        return [operation for atom in self.atoms for operation in atom.operations]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of its layers, in their order."""
        return [variable for layer in self.layers for variable in layer.variables]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """W_i: what an update of this block changes (nothing when its layers are frozen)."""
        # As Keras finds them in a model: a layer in a frozen wrapper may have been unfrozen.
        found = (variable for variable in self.variables if variable.trainable)
        return list({id(variable): variable for variable in found}.values())

    @property
    def layer_names(self) -> str:
        """The names of its layers, for messages."""
        return ", ".join(layer.name for layer in self.layers)

    @property
    def any_layer(self) -> str:
        """One of its layers, for messages where nobody knows which."""
        return f"A layer of {self.name} ({self.layer_names})"

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
        return all(map(is_keras_only, self.operations))

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of a_i with its batch axis."""
        return tuple(self.output.shape)

    @property
    def width(self) -> int:
        """n_i, the number of units of a_i in one example.

        Raises:
            UnsupportedError: the shape is not fixed, so that no matrix fits it.
        """
        sizes = [size for size in self.output_shape[1:] if size is not None]
        if len(sizes) < len(self.output_shape) - 1:
            raise UnsupportedError(
                f"{self.name} ends in shape {self.output_shape}: its error signal needs a fixed "
                "shape; give the model's Input its full shape, or train with 'checkpoint'."
            )
        return math.prod(sizes)

    @property
    def parameters(self) -> int:
        """Number of trainable and non-trainable values."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    def run(self, inputs: Tensor, phase: str, training: bool = True) -> Tensor:
        """a_i from a_{i-1}; updates BatchNormalization's statistics and advances seeds.

        Args:
            inputs: a_{i-1}, shape (batch, ...).
            phase: `forward` or `replay`: first component of the operations' names.
            training: as in Keras.
        """
        with scope(phase, self.name), without_rematerialisation(self.operations):
            for atom in self.atoms:
                inputs = atom(inputs, training)
                # Keras's sigmoid and softmax have their output hold their input, for losses that
                # want logits: eagerly a second tensor for every one that is kept.
                if hasattr(inputs, "_keras_logits") and not self._is_head:
                    del inputs._keras_logits
        return inputs

    @property
    def _starts_with_weights(self) -> bool:
        """Whether nothing to speak of happens to the input before weights are there."""
        first = self.atoms[0]
        nodes = getattr(first, "nodes", ())  # of half a reversible layer there are none
        readers = [n.operation for n in nodes if any(t is first.before for t in n.input_tensors)]
        return all(is_linear(reader) and follows_shapes(reader) for reader in readers)

    def hold_back(
        self, inputs: Tensor, phase: str, earlier: Tensor | None
    ) -> tuple[Tensor, list[tuple[keras.Variable, Tensor]]]:
        """Make everything in a run wait for `earlier`, a scalar from `token`; None for nothing.

        A block starts when its input and its weights are there, and draws when its seeds are:
        held back are the seeds (all blocks would otherwise draw when the step starts), and the
        input or the weights, whichever is smaller, because under XLA waiting costs an addition an
        element.

        Args:
            inputs: a_{i-1}, shape (batch, ...).
            phase: see `run`.
            earlier: the token.

        Returns:
            The input, and the values that are to stand for variables during the run.
        """
        if earlier is None:
            return inputs, []
        weights = [weight for layer in self.layers for weight in layer.weights]
        weight_values = sum(math.prod(weight.shape) for weight in weights)
        fewer = weight_values < math.prod(size or 1 for size in inputs.shape)
        with scope(phase, self.name):
            # A gradient or a function of a layer's own reaches for the variables themselves.
            if fewer and self.runs_only_keras and self._starts_with_weights:
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


def name_of_run(blocks: Sequence[Block]) -> str:
    """The name of consecutive blocks together, such as `block_003_to_005`."""
    first, _, _ = blocks[0].name.partition("_to_")
    return f"{first}_to_{blocks[-1].name.rpartition('_')[2]}"


def held_back_variables(
    variables: Iterable[keras.Variable], earlier: Tensor | None
) -> list[tuple[keras.Variable, Tensor]]:
    """Values that are to stand for the variables, not before `earlier`; none eagerly."""
    # Eagerly there is nothing to hold back, and a value would be a copy.
    if earlier is None or tf.executing_eagerly():
        return []
    return [(v, after(v.value, earlier)) for v in variables]
