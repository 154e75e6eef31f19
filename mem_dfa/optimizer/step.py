"""One optimizer step, taken block by block where that is the same as taking it at once."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.factored_gradient import TiledGradient, present_tensors
from mem_dfa.graph.ordering import token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.optimizer.small_variables import Together
from mem_dfa.optimizer.wide_kernel import can_tile, update_in_tiles
from mem_dfa.optimizers.adam_8bit import Adam8Bit
from mem_dfa.optimizers.low_rank_adam import LowRankAdam
from mem_dfa.shapes.layer_bytes import tensor_bytes, variable_bytes

# Elementwise in the variables (Lamb, Adafactor, Muon: one variable at a time). Nadam is not: each
# call multiplies its momentum product; nor is any optimizer this list does not know. With each,
# how many tensors as large as the weights its step has alive at one time, as measured: the gradient
# and what it computes from that.
BLOCKWISE: Mapping[type, int] = {
    keras.optimizers.SGD: 2,  # with momentum, decay or clipping; else 1
    keras.optimizers.Adam: 3,
    keras.optimizers.AdamW: 3,
    keras.optimizers.RMSprop: 6,
    keras.optimizers.Adagrad: 3,
    keras.optimizers.Adadelta: 5,
    keras.optimizers.Adamax: 4,
    keras.optimizers.Lion: 6,
    keras.optimizers.Ftrl: 5,
    keras.optimizers.Lamb: 4,
    keras.optimizers.Adafactor: 3,
    keras.optimizers.Muon: 6,
    Adam8Bit: 13,  # of up to 256 KiB; of more it is less, see `adam_8bit.PART`
    LowRankAdam: 4,
}
_COPIES_OF_OTHERS = 6  # as of RMSprop

# What small blocks' gradients may take together before they are applied.
TOGETHER_BYTES = 2**16


def is_blockwise(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Whether applying the gradients of one block after another equals applying them at once."""
    return (
        optimizer is not None
        and type(optimizer) in BLOCKWISE
        and not optimizer.global_clipnorm
        and not optimizer.use_ema
        and not optimizer.gradient_accumulation_steps
    )


def update_copies(optimizer: keras.optimizers.Optimizer | None) -> int:
    """Tensors as large as the weights, at most, while an optimizer changes these.

    Its gradient is one of them, and the only one of plain SGD, which is what None stands for.
    """
    if optimizer is None:
        return 1
    if optimizer.use_ema:
        return _COPIES_OF_OTHERS
    names = ("momentum", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm")
    has_a_rate_alone = not any(getattr(optimizer, name, None) for name in names)
    if type(optimizer) is keras.optimizers.SGD and has_a_rate_alone:
        return 1
    return BLOCKWISE.get(type(optimizer), _COPIES_OF_OTHERS)


def tiled_layers(
    block: Block, optimizer: keras.optimizers.Optimizer | None
) -> list[keras.layers.Layer]:
    """The dense layers of `block` whose kernels are to be updated in row tiles, see `tiles`.

    Args:
        block: the block.
        optimizer: that takes the step, not compiled by XLA.
    """
    if not is_blockwise(optimizer):
        return []
    owners = Counter(id(weight) for layer in block.layers for weight in layer.weights)
    return [
        layer
        for layer in block.layers
        # A kernel that two layers share has a gradient from both.
        if can_tile(layer, optimizer) and owners[id(layer.kernel)] == 1
    ]


def warn_if_whole(optimizer: keras.optimizers.Optimizer, variables: Sequence) -> None:
    """Say what it costs in bytes that an optimizer needs every gradient at once."""
    if not is_blockwise(optimizer):
        price = variable_bytes(variables)
        warnings.warn(
            f"{type(optimizer).__name__} as configured needs every gradient at once: "
            f"{price} bytes of gradients are kept until the end of the step.",
            stacklevel=3,
        )


class Update:
    """The optimizer's step for one batch: `apply` once for each block, then `finish`."""

    def __init__(self, optimizer: keras.optimizers.Optimizer, compiled: bool = False) -> None:
        """Begin a step of a built optimizer.

        Args:
            optimizer: that takes the step.
            compiled: whether XLA compiles the step; it does not know the operation by which writing
                rows ends (`Rows.finish`).
        """
        self.optimizer, self._compiled = optimizer, compiled
        self._blockwise = is_blockwise(optimizer)
        self._gradients: list[tf.Tensor | None] = []
        self._variables: list[keras.Variable] = []
        self._together = Together(optimizer)
        self._collected: list[tuple[tf.Tensor, keras.Variable]] = []
        self._collected_name = ""

    def tiled_layers(self, block: Block) -> list[keras.layers.Layer]:
        """The layers of `block` for which `apply` takes a `TiledGradient`."""
        return [] if self._compiled else tiled_layers(block, self.optimizer)

    def collect(
        self,
        name: str,
        gradients: Sequence[tf.Tensor | None],
        variables: Sequence[keras.Variable],
    ) -> tf.Tensor | None:
        """Update `variables` of a small block, with those of the blocks after it in one call.

        What is held for that is `TOGETHER_BYTES` at most.

        Returns:
            A token (see `ordering`) of an update of several blocks, where this one's was the last
            that it waited for; whatever comes next would hold its new values beside its own.
        """
        self._collected += [
            (g, v) for g, v in zip(gradients, variables, strict=True) if g is not None
        ]
        self._collected_name = name
        if sum(tensor_bytes(v.shape, v.dtype) for _, v in self._collected) >= TOGETHER_BYTES:
            return self._apply_together()
        return None

    def _apply_together(self) -> tf.Tensor | None:
        pairs, self._collected = self._collected, []
        if not pairs:
            return None
        # The values of wide variables, and of their slots, change in place.
        small = sum(tensor_bytes(v.shape, v.dtype) for _, v in pairs) < 2 * TOGETHER_BYTES
        if small and self._blockwise and self._together.can_apply(pairs):
            with scope("update", self._collected_name):
                return self._together.apply(pairs)
        self._apply_whole(self._collected_name, pairs)
        return None

    def apply(
        self,
        name: str,
        gradients: Sequence[tf.Tensor | TiledGradient | None],
        variables: Sequence[keras.Variable],
        readers: Sequence[tf.Tensor] = (),
    ) -> tf.Tensor | None:
        """Update `variables` of the block called `name`.

        Args:
            name: of the block.
            gradients: one for each variable; None for one without. A `TiledGradient` for the
                kernels of `tiled_layers` alone.
            variables: what to change.
            readers: tensors made from the old values that have to be there first; otherwise
                TensorFlow writes the new values beside the old ones.

        Returns:
            A token (see `ordering`) that exists when the update is done, or, for an optimizer that
            needs all gradients, when this block's gradients are there; None without gradients.
        """
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        if not pairs:
            return None
        tiled = [(g, v) for g, v in pairs if isinstance(g, TiledGradient)]
        whole = [(g, v) for g, v in pairs if not isinstance(g, TiledGradient)]
        if not self._blockwise:
            self._apply_whole(name, whole)
            return token([g for g, _ in whole])
        there = [] if tf.executing_eagerly() else [*present_tensors(gradients), *readers]
        with scope("update", name), tf.control_dependencies(there):
            for gradient, kernel in tiled:
                update_in_tiles(self.optimizer, kernel, gradient)
        self._apply_whole(name, whole, there)
        with scope("update", name):
            return token([v.value for _, v in pairs])

    def _apply_whole(
        self,
        name: str,
        pairs: Sequence[tuple[tf.Tensor, keras.Variable]],
        there: Sequence[tf.Tensor] = (),
    ) -> None:
        """One call of the optimizer, or, where it needs all gradients, none yet."""
        gradients, variables = [g for g, _ in pairs], [v for _, v in pairs]
        if not self._blockwise:
            self._gradients += gradients
            self._variables += variables
            return
        if not pairs:
            return
        # Reading momentum or multiplying weights by their decay does not depend on the gradient
        # and would start with the step, for all blocks at once: hold it back.
        waited_for = [] if tf.executing_eagerly() else [*gradients, *there]
        with scope("update", name), tf.control_dependencies(waited_for):
            self.optimizer.apply(gradients, variables)
            # `apply` counts a step at every call: blocks of one batch are one step.
            self.optimizer.iterations.assign_sub(1)

    def finish(self) -> None:
        """Count the step; apply what was collected."""
        self._apply_together()
        if self._blockwise:
            self.optimizer.iterations.assign_add(1)
        elif self._gradients:
            with scope("update"):
                self.optimizer.apply(self._gradients, self._variables)
