"""Backward sweep in which reversible blocks rebuild their input from their output.

    forward:   through a run of reversible blocks nothing is kept but the run's output
    backward:  x₂ = y₂ − G(y₁);  γ = δ_{y₁} + (∂G/∂y₁)ᵀ δ_{y₂}
               x₁ = y₁ − F(x₂);  δ_{x₂} = δ_{y₂} + (∂F/∂x₂)ᵀ γ;  δ_{x₁} = γ

Blocks that are not reversible keep their input and run again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph.ordering import after, in_turn, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.layers.reversible import Pair, ReversibleBlock, join, split
from mem_dfa.memory.inverse import Half
from mem_dfa.schedules.schedule import Schedule, Targets


class Inverse(Schedule):
    """Each block not before the one after it is updated and freed; for the exact signal."""

    def __init__(self, *given: Any, check: Callable[[Pair, tf.Tensor], tf.Tensor]) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            check: measures how far a rebuilt input is from the true one, and stops beyond a bound.
        """
        super().__init__(*given)
        self._check, self._rehearsal = check, Rehearsal()
        self._done: list[tf.Tensor] = []  # a token of the last update

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Forward with the ordinary blocks' inputs kept, then invert or replay backward."""
        *body, last = self._blocks
        kept: list[tuple[Block, tf.Tensor | None]] = []
        activation = inputs
        for block in body:
            kept.append((block, None if is_reversible(block) else activation))
            halves = (block.layers[0].f, block.layers[0].g) if is_reversible(block) else ()
            activation = self._rehearsal.run(block, activation, "forward", halves)
        head = Recording(last, activation, "forward", differentiate_input=True)
        errors: tf.Tensor | Pair | None = self._differentiate(head, targets.error_of(head.outputs))
        state: tf.Tensor | Pair = activation
        del head, activation
        while kept:
            block, block_input = kept.pop()
            if errors is None:
                raise UnsupportedError(
                    f"{self._owner}: no gradient reaches {block.name} ({block.layer_names}), as "
                    "behind keras.ops.stop_gradient: train with 'checkpoint'."
                )
            if block_input is None:
                state, errors = self._invert(block, state, errors)
            else:
                errors = self._replay(block, block_input, state, errors, bool(kept))
                state = block_input
            del block_input
        if isinstance(state, tuple):
            self._check(state, inputs)

    def _earlier(self, errors: tf.Tensor | Pair) -> tf.Tensor:
        return token([*(errors if isinstance(errors, tuple) else (errors,)), *self._done])

    def _apply(
        self, recording: Recording, gradients: list[tf.Tensor | None], readers: list[tf.Tensor]
    ) -> None:
        done = self._update.apply(recording.block.name, gradients, recording.variables, readers)
        self._done = [] if done is None else [done]

    def _differentiate(self, recording: Recording, error: tf.Tensor) -> tf.Tensor | None:
        """δ at a recorded block's input, and its weights updated."""
        with in_turn():
            gradients, error = recording.backward(error, self._scale_loss)
        self._apply(recording, gradients, [] if error is None else [error])
        return error

    def _replay(
        self,
        block: Block,
        inputs: tf.Tensor,
        state: tf.Tensor | Pair,
        errors: tf.Tensor | Pair,
        has_predecessor: bool,
    ) -> tf.Tensor | None:
        """δ at an ordinary block's input, which was kept."""
        error = errors
        if isinstance(errors, tuple):
            # While halves are joined they are there twice: not beside the last update.
            with scope("backward", block.name):
                earlier = self._earlier(errors)
                error = join((after(errors[0], earlier), after(errors[1], earlier)))
        seen, earlier = self._rehearsal.seen_by(block), self._earlier(error)
        recording = Recording(block, inputs, "replay", earlier, has_predecessor, seen=seen)
        if isinstance(state, tuple):
            distance = self._check(state, recording.outputs)
            # The rebuilt state is freed before the block is differentiated.
            error = after(error, token([distance]))
        return self._differentiate(recording, error)

    def _invert(
        self, block: Block, state: tf.Tensor | Pair, errors: tf.Tensor | Pair
    ) -> tuple[Pair, Pair]:
        """(x₁, x₂) and their error signals from those at the block's output."""
        if not isinstance(state, tuple):
            # While a tensor is halved it is there twice: first the one, then the other, neither
            # beside the last update. The state is there since the forward pass.
            with scope("backward", block.name):
                errors = split(after(errors, self._earlier(errors)))
            with scope("replay", block.name):
                state = split(after(state, self._earlier(errors)))
        (y1, y2), (error_y1, error_y2) = state, errors
        layer = block.layers[0]
        # x₂ = y₂ − G(y₁),  γ = δ_{y₁} + (∂G/∂y₁)ᵀ δ_{y₂}
        seen_by_f, seen_by_g = map(self._rehearsal.seen_by, (layer.f, layer.g))
        g = Half(block.name, layer, layer.g, y1, y2, self._earlier(errors), seen_by_g)
        x2, error_x2, gamma, gradients = g.backward(error_y2, error_y1, self._scale_loss)
        self._apply(g.recording, gradients, [gamma])
        # x₁ = y₁ − F(x₂),  δ_{x₂} = δ_{y₂} + (∂F/∂x₂)ᵀ γ
        f = Half(block.name, layer, layer.f, x2, y1, self._earlier((gamma, x2)), seen_by_f)
        x1, error_x1, error_x2, gradients = f.backward(gamma, error_x2, self._scale_loss)
        self._apply(f.recording, gradients, [error_x2])
        return (x1, x2), (error_x1, error_x2)


def is_reversible(block: Block) -> bool:
    """Whether a block is a reversible layer alone."""
    return len(block.layers) == 1 and isinstance(block.layers[0], ReversibleBlock)
