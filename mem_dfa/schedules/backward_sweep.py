"""Backward sweep: forward keeping what a plan says, then blocks updated from the last to the first.

forward:   keep every a_i, or those that the plan says
backward:  for each block, last to first:  run it again from the a_j that is kept nearest before it,
           if its internals were not kept;  δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mem_dfa.chain.local_gradient import Recording
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.output_feedback import OutputFeedback
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.memory.actions import Action
from mem_dfa.memory.keepers import AsItIs, GiveBack, Keeper
from mem_dfa.memory.segments import Plan, Segment
from mem_dfa.schedules.schedule import Schedule, Targets


class BackwardSweep(Schedule):
    """Each block is run again as often as a plan says, and updated when its δ_i is there."""

    def __init__(
        self,
        *given: Any,
        actions: Sequence[Action] | None = None,
        keeper: Keeper | None = None,
        in_tiles: bool = False,
    ) -> None:
        """Prepare a step.

        Args:
            *given: as of any `Schedule`.
            actions: of the plan, in order; position i is a_i. None to keep everything.
            keeper: of the a_i from which blocks run again; None to keep them as they are.
            in_tiles: whether wide dense kernels are updated in tiles of rows.
        """
        super().__init__(*given)
        whole = Segment(0, len(self._blocks), recomputed=False)
        self._keeper, self._in_tiles = keeper or AsItIs(), in_tiles
        self._actions = actions or Plan((whole,), 0, 0).actions
        self._projection = self._signal if isinstance(self._signal, OutputFeedback) else None
        self._rehearsal = Rehearsal()
        self._states: dict[int, GiveBack] = {}
        self._fresh: tuple[int, tf.Tensor] | None = None  # the last state, as it was computed
        self._recordings: dict[int, Recording] = {}
        self._has_error = False  # whether all blocks have run
        self._error: tf.Tensor | None = None  # δ of the block that is next, or e
        self._done: tf.Tensor | None = None  # a token of the last update

    def run(self, inputs: tf.Tensor, targets: Targets) -> None:
        """Do what the plan says, and form e when the last block has run for the first time."""
        self._states[0] = lambda earlier: inputs
        with self._keeper.step():
            for number, action in enumerate(self._actions):
                self._do(number, action)
                if action.stop == len(self._blocks) and not self._has_error:
                    self._error = targets.error_of(self._state(action.stop))
                    self._fresh, self._has_error = None, True
                    del self._states[action.stop]
                    self._done = None if self._projection is None else token([self._error])

    def _do(self, number: int, action: Action) -> None:
        match action.kind:
            case "advance":
                self._keep(number, action.stop, self._run_again(action))
            case "record":
                self._fresh = action.stop, self._record(action.start)
                # Held with what else the block keeps.
                self._states[action.stop] = self._given(self._fresh[1])
            case "backward":
                self._fresh = None
                self._states.pop(action.stop, None)
                self._differentiate(action.start)
            case "forget":
                self._states.pop(action.start, None)

    def _keep(self, number: int, position: int, tensor: tf.Tensor) -> None:
        """A state; by the keeper, if more than the next action needs it."""
        give_back = self._given(tensor)
        for later in self._actions[number + 2 :]:
            if later.start == position and later.kind != "backward":
                if later.kind != "forget":
                    with scope(self._phase, self._blocks[position - 1].name):
                        give_back, tensor = self._keeper.keep(position, tensor)
                break
        self._states[position], self._fresh = give_back, (position, tensor)

    @staticmethod
    def _given(tensor: tf.Tensor) -> GiveBack:
        return lambda earlier: tensor

    def _state(self, position: int) -> tf.Tensor:
        """a_i; the last one as it was computed, whatever is kept of it."""
        if self._fresh and self._fresh[0] == position:
            return self._fresh[1]
        with scope(self._phase, self._blocks[position].name):
            return self._states[position](self._earlier)

    @property
    def _phase(self) -> str:
        return "replay" if self._has_error else "forward"

    @property
    def _earlier(self) -> tf.Tensor | None:
        """A token of what a second run waits for: the blocks after it are updated and freed."""
        if not self._has_error:
            return None
        return self._done if self._projection or self._error is None else token([self._error])

    def _run_again(self, action: Action) -> tf.Tensor:
        """The state to which the blocks lead from a state that is kept."""
        activation, earlier = self._state(action.start), self._earlier
        for block in self._blocks[action.start : action.stop]:
            if self._has_error:
                activation = self._rehearsal.repeat(block, activation, earlier)
            else:
                activation = self._rehearsal.run(block, activation, "forward")
        return activation

    def _record(self, position: int) -> tf.Tensor:
        """The output of a block that runs for its gradient."""
        block = self._blocks[position]
        passes_on = position > 0 and self._projection is None
        given = (block, self._state(position), self._phase, self._earlier, passes_on)
        tiled = self._update.tiled_layers(block) if self._in_tiles else ()
        recording = Recording(*given, tiled, self._rehearsal.seen_by(block))
        self._recordings[position] = recording
        return recording.outputs

    def _differentiate(self, position: int) -> None:
        recording = self._recordings.pop(position)
        if self._projection is not None:
            self._done = self._project(self._projection, recording, self._error, self._done)
        else:
            self._error, self._done = self._pass_on(recording, self._error)

    def _pass_on(
        self, recording: Recording, error: tf.Tensor | None
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """δ at a block's input, which is there when the block is updated, and a token of that.

        Where no gradient arrives there is no δ, as behind `keras.ops.stop_gradient`; the blocks
        have run, for their statistics and seeds.
        """
        block = recording.block
        if error is None:
            self._refuse_penalties(recording)
            return None, token([recording.outputs])
        outputs = recording.outputs if self._signal.learned(block) else None
        # δ_{i-1} = J_iᵀ δ_i
        gradients, error_before = recording.backward(error, self._scale_loss)
        if outputs is not None:
            gradients += self._signal.learn(block, outputs, error, gradients)
        # W_i ← W_i − η·G_iᵀ δ_i, when nothing needs the old W_i any more
        readers = [] if error_before is None else [error_before]
        done = self._update.apply(block.name, gradients, self._trained(block), readers)
        if error_before is not None and done is not None:
            # Otherwise the weights' gradient is formed, or applied, beside the next block's error
            # signal, and what both need is held at once.
            error_before = after(error_before, done)
        return error_before, done

    def _refuse_penalties(self, recording: Recording) -> None:
        if any(variable.regularizer is not None for variable in recording.variables):
            raise UnsupportedError(
                f"{self._owner}: no gradient reaches {recording.block.name} "
                f"({recording.block.layer_names}), which is regularised: freeze what lies before "
                "the stop, or train with 'bp'."
            )
