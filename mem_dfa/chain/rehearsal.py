"""The first run of blocks that are run again: what it moves, and what the second run is to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.atom import with_call
from mem_dfa.chain.block import Block, held_back_variables
from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.chain.outside import NOTHING_SEEN, OutsideScope, Seen
from mem_dfa.chain.refuse_unrepeatable import refuse_unrepeatable
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import token

Tensor: TypeAlias = tf.Tensor


class Rehearsal:
    """The first runs of one step.

    A block's own statistics and seeds stay as they are: the second run moves them. Whatever else a
    block assigns moves now, once, so that the next block finds it as in a single run; the second
    run sees what was there before.
    """

    def __init__(self) -> None:
        """Begin a step."""
        self._seen: dict[int, Seen] = {}

    def run(
        self, block: Block, inputs: Tensor, phase: str, parts: Sequence[keras.layers.Layer] = ()
    ) -> Tensor:
        """a_i as `block.run` computes it.

        Args:
            block: the block.
            inputs: a_{i-1}, shape (batch, ...).
            phase: see `Block.run`.
            parts: layers of the block that are run again each by itself.

        Raises:
            UnsupportedError: a layer does what a second run could not repeat.
        """
        refuse_unrepeatable(block)
        before = token([inputs])
        seeds = held_back_variables(block.seed_variables, before)
        with OutsideScope(block.variables, before, seeds) as scope, ExitStack() as stack:
            whole = scope.seen
            for part in parts:
                stack.enter_context(_noted(part, scope, self._seen))
            outputs = block.run(inputs, phase)
        whole.end()
        self._seen[id(block)] = whole
        _refuse(block, scope)
        for variable, value in scope.outside_updates:
            variable.assign(value)
        return outputs

    def repeat(self, block: Block, inputs: Tensor, earlier: Tensor | None) -> Tensor:
        """a_i once more, between the first and the last run: nothing moves.

        Args:
            block: that has run.
            inputs: a_{i-1}, shape (batch, ...).
            earlier: a scalar from `ordering.token` that has to be there before anything starts.
        """
        seen = self.seen_by(block)
        inputs, values = block.hold_back(inputs, "replay", earlier)
        values = [*values, *seen.values(earlier)]
        with CollectingScope(state_mapping=values), seen.draws():
            return block.run(inputs, "replay")

    def seen_by(self, block_or_part: Block | keras.layers.Layer) -> Seen:
        """What the first run of a block or part, if there was one, found outside."""
        return self._seen.get(id(block_or_part), NOTHING_SEEN)


def run_noted(layer: keras.layers.Layer, run: Callable[[], Tensor]) -> tuple[Tensor, Seen]:
    """What `run` returns, and what a second run of the layer is to find beside its weights.

    Unlike in a `Rehearsal`, everything that the layer assigns moves now.

    Raises:
        UnsupportedError: the layer does what a second run could not repeat.
    """
    weights = [variable for variable in layer.weights if variable.trainable]
    with OutsideScope(weights) as scope:
        outputs = run()
    scope.seen.end()
    _refuse_changes(f"Layer '{layer.name}' ({type(layer).__name__})", weights, scope)
    for loss in scope.losses:
        layer.add_loss(loss)
    for variable, value in scope.updates:
        variable.assign(value)
    return outputs, scope.seen


def _refuse(block: Block, scope: OutsideScope) -> None:
    if scope.losses:
        raise UnsupportedError(
            f"{block.any_layer} calls add_loss, whose gradient would have to pass through the "
            "blocks before it: put the term into the loss function, or train with 'bp'."
        )
    _refuse_changes(block.any_layer, block.trainable_variables, scope)


def _refuse_changes(where: str, weights: Sequence[keras.Variable], scope: OutsideScope) -> None:
    changed = scope.paths_assigned(weights)
    if changed:
        raise UnsupportedError(
            f"{where} changes its own weights in the forward pass ({', '.join(changed)}), which "
            "cannot be run twice: use another layer, or train with 'bp'."
        )
    if scope.unreachable:
        raise UnsupportedError(
            f"{where} assigns '{scope.unreachable[0].path}' inside a loop or a tf.function of its "
            "own, where a second run cannot restore it: draw or assign outside of it, or train "
            "with 'bp'."
        )


@contextmanager
def _noted(part: keras.layers.Layer, scope: OutsideScope, seen: dict[int, Seen]) -> Iterator[None]:
    """Within the context what `part` finds outside is noted for it alone."""
    original = part.call

    def call(*args: Any, **kwargs: Any) -> Any:
        around, scope.seen = scope.seen, Seen()
        outputs = original(*args, **kwargs)
        scope.seen.end()
        seen[id(part)], scope.seen = scope.seen, around
        return outputs

    with with_call(part, call):
        yield
