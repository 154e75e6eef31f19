"""What a block takes for one batch, from shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras

from mem_dfa.chain.atom import Atom
from mem_dfa.shapes.layer_bytes import (
    LayerBytes,
    backward_peak_bytes,
    bytes_of_calls,
    forward_peak_bytes,
    spec_bytes,
)
from mem_dfa.shapes.layer_calls import Call, spec_of
from mem_dfa.shapes.row_tiles import tiled_bytes


@dataclass(frozen=True)
class BlockBytes:
    """What one block takes for one batch, from shapes.

    Attributes:
        kept: kept for its local gradient.
        output: of a_i.
        forward_peak: while it runs and nothing is kept, its input included.
        update_peak: while it is differentiated and updated, its own activations and error signals.
        replay_peak: the same where the next block needs its output.
        backward_peak: the same with the error signal at its input.
        passing_peak: the same with both.
        unknown: why these are estimates only; else empty.
    """

    kept: int
    output: int
    forward_peak: int
    update_peak: int
    replay_peak: int
    backward_peak: int
    passing_peak: int
    unknown: str = ""


# Where not even the nominal size tells anything, blocks count alike.
ALIKE = BlockBytes(
    kept=1,
    output=1,
    forward_peak=2,
    update_peak=2,
    replay_peak=2,
    backward_peak=3,
    passing_peak=3,
)


@dataclass(frozen=True)
class StepBytes:
    """What a step takes beside the blocks' own passes.

    Attributes:
        weight_copies: tensors as large as a block's weights while an optimizer changes these, the
            gradient among them.
        gradients: bytes of all blocks' gradients, where the optimizer needs them at once; else 0.
        loss: bytes that the loss and its gradient take beside the logits, from these; None for no
            more than the gradient.
    """

    weight_copies: int = 1
    gradients: int = 0
    loss: Callable[[keras.KerasTensor], int] | None = None


class Sized:
    """Consecutive atoms of which the bytes are told.

    Attributes:
        atoms: in the order in which they run.
        step: what a step takes besides.
    """

    step = StepBytes()

    def __init__(self, atoms: Sequence[Atom]) -> None:
        """Take consecutive atoms of a chain."""
        self.atoms = tuple(atoms)
        self.plan_for(None, "no batch is known")

    @property
    def is_group(self) -> bool:
        """Whether several of its atoms hold weights: blocks that were joined."""
        return sum(bool(atom.weight_layers) for atom in self.atoms) > 1

    def follow(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Shape and dtype of a_i where those of a_{i-1} are like `inputs`."""
        first, last = self.atoms[0].before, self.atoms[-1].after
        if None not in last.shape[1:] and inputs.shape[1:] == first.shape[1:]:
            return spec_of(last, inputs.shape[0])
        for atom in self.atoms:
            inputs = atom.calls(inputs)[1]
        return inputs

    def plan_for(self, example: keras.KerasTensor, unknown: str) -> None:
        """Tell bytes for inputs like `example`, a batch of one; None if nobody knows any.

        Args:
            example: a_{i-1} of one example.
            unknown: why bytes for it are estimates only; else empty.
        """
        self._example, self._unknown = example, unknown
        self._sizes: dict[int, tuple[list[tuple[Call, LayerBytes]], keras.KerasTensor]] = {}

    def plan_for_same(self, other: Sized) -> None:
        """Tell bytes for the inputs that another one is planned for."""
        self.plan_for(other._example, other._unknown)

    def _sizes_for(
        self, batch_size: int
    ) -> tuple[list[tuple[Call, LayerBytes]], keras.KerasTensor]:
        """The calls inside with what each holds, and a_i."""
        if batch_size not in self._sizes:
            inputs, calls = self._input_of(batch_size), []
            for atom in self.atoms:
                found, inputs = atom.calls(inputs)
                calls += found
            pairs = list(zip(calls, bytes_of_calls(calls), strict=True))
            self._sizes[batch_size] = pairs, inputs
        return self._sizes[batch_size]

    def _input_of(self, batch_size: int) -> keras.KerasTensor:
        return spec_of(self._example, batch_size * self._example.shape[0])

    def bytes(self, batch_size: int, tiled: Sequence[keras.layers.Layer] = ()) -> BlockBytes:
        """What a run of the block takes, from shapes, for graph execution.

        Args:
            batch_size: examples in a batch.
            tiled: dense layers whose kernels are updated in row tiles.
        """
        if self._example is None:
            return replace(ALIKE, unknown=self._unknown)
        in_tiles = {id(layer) for layer in tiled}
        calls, output = self._sizes_for(batch_size)
        layers, update, copies = [], 0, self.step.weight_copies
        for call, size in calls:
            if id(call.operation) in in_tiles:
                size = replace(size, weight_bytes=tiled_bytes(call.operation))
            update += size.weight_bytes * (1 if id(call.operation) in in_tiles else copies)
            layers.append(size)
        input_bytes = spec_bytes(self._input_of(batch_size))
        kept = sum(layer.kept_bytes for layer in layers)
        # Of branches, what one made waits for the other: at most all of it.
        branched = any(len(atom.operations) > 1 for atom in self.atoms)
        forward_peak = forward_peak_bytes(layers, input_bytes)
        is_single = sum(bool(layer.kept_bytes) for layer in layers) == 1
        output_bytes = spec_bytes(output)
        loss = kept + self.step.loss(output) if self.step.loss else 0

        def peak(error_before: int = 0, output_after: int = 0) -> int:
            # Nothing else reads the weights of a block updated apart: they change in place.
            differentiated = backward_peak_bytes(layers, 1, error_before, output_after)
            updated = error_before + output_after + update
            # What needs all gradients changes all weights at once: as measured of Nadam on a busy
            # machine, with less than twice as much besides.
            whole = self.step.gradients
            return max(whole + max(differentiated, updated), 3 * whole, loss)

        return BlockBytes(
            kept=kept,
            output=output_bytes,
            forward_peak=input_bytes + kept if branched else forward_peak,
            update_peak=peak(),
            # Pooling passes its error signal on before the next block needs its output.
            replay_peak=peak(output_after=output_bytes if self.is_group or is_single else 0),
            backward_peak=peak(input_bytes),
            passing_peak=peak(input_bytes, output_bytes),
            unknown=self._unknown or next((size.unknown for size in layers if size.unknown), ""),
        )

    def operations_count(self, batch_size: int) -> int:
        """Multiplications and additions of one run, roughly: what its time is in proportion to."""
        if self._example is None:
            return 1
        count = 0
        for call, _ in self._sizes_for(batch_size)[0]:
            shapes = [spec.shape[1:] for spec in call.outputs]
            values = sum(map(math.prod, shapes))
            positions = sum(math.prod(shape[:-1]) for shape in shapes)
            weights = getattr(call.operation, "trainable_variables", ())
            kernels = sum(math.prod(v.shape) for v in weights if len(v.shape) > 1)
            count += values + 2 * kernels * max(1, positions)
        return batch_size * count
