"""What a run of a block finds outside of the block's own variables, kept for its second run.

A layer may draw from Keras's global seed generator, from one at module level, from Python's or
NumPy's random numbers; it may move a metric, or any variable that it can reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras.src.backend.common.stateless_scope import get_stateless_scope

from mem_dfa.chain.collecting import CollectingScope
from mem_dfa.graph.ordering import after
from mem_dfa.random_state import is_same_state, random_state, restored_draws, set_random_state

Tensor: TypeAlias = tf.Tensor


class Seen:
    """What a run saw of the outside, where it first looked."""

    def __init__(self) -> None:
        """Begin, with Python's and NumPy's random numbers as they are."""
        self._values: dict[int, tuple[keras.Variable, Tensor]] = {}
        self._draws: Any = random_state()

    @property
    def variables(self) -> list[keras.Variable]:
        """Those that were read or assigned."""
        return [variable for variable, _ in self._values.values()]

    def note(self, variable: keras.Variable, value: Tensor) -> None:
        """`variable` has `value`, unless it was noted before."""
        self._values.setdefault(id(variable), (variable, value))

    def end(self) -> None:
        """Forget the random numbers' state if nothing was drawn."""
        if is_same_state(self._draws, random_state()):
            self._draws = None

    def values(self, earlier: Tensor | None) -> list[tuple[keras.Variable, Tensor]]:
        """The values that are to stand for variables in the second run, not before `earlier`."""
        return [(v, held_back(value, earlier)) for v, value in self._values.values()]

    @contextmanager
    def draws(self) -> Iterator[None]:
        """Within the context Python and NumPy draw what the run drew."""
        if self._draws is None:
            yield
            return
        with restored_draws():
            set_random_state(self._draws)
            yield


NOTHING_SEEN = Seen()
NOTHING_SEEN.end()


class OutsideScope(CollectingScope):
    """A StatelessScope that notes what a run reads and assigns beside the block's own variables."""

    def __init__(
        self,
        own: Sequence[keras.Variable],
        earlier: Tensor | None = None,
        state_mapping: Sequence[tuple[keras.Variable, Tensor]] = (),
    ) -> None:
        """Begin a run.

        Args:
            own: variables that are none of the outside.
            earlier: a scalar from `ordering.token`, before which nothing is drawn.
            state_mapping: as of `keras.StatelessScope`.
        """
        super().__init__(state_mapping=state_mapping, collect_losses=True)
        self._own, self._earlier = {id(variable) for variable in own}, earlier
        self._around = get_stateless_scope()
        # A loop inside a layer reads in a graph of its own, whose tensors are not known outside.
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self.seen = Seen()

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        """As Keras asks for it whenever a variable is read."""
        value = super().get_current_value(variable)
        if value is None and self._around is not None:
            value = self._around.get_current_value(variable)
        if id(variable) in self._own:
            return value
        if value is None:
            value = self._read(variable)
            self.state_mapping[id(variable)] = value
        self.seen.note(variable, value)
        return value

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        """As Keras calls it for every assignment."""
        self.get_current_value(update[0])
        super().add_update(update)

    def _as_read(self, variable: keras.Variable, value: Tensor) -> Tensor:
        # Of a block's first run no gradient is formed.
        return value if id(variable) in self._own else super()._as_read(variable, value)

    @property
    def outside_updates(self) -> list[tuple[keras.Variable, Tensor]]:
        """What was assigned beside the block's own variables, with the last values."""
        return [(v, value) for v, value in self.updates if id(v) not in self._own]

    @property
    def unreachable(self) -> list[keras.Variable]:
        """Variables that were assigned inside a loop or a function of a layer's own."""
        return [v for v, value in self.updates if getattr(value, "graph", None) is not self._graph]

    def _read(self, variable: keras.Variable) -> Tensor:
        with nullcontext() if self._graph is None else self._graph.as_default():
            if variable._value is None:  # made in this run, and filled when the scope ends
                return variable._initializer(variable.shape, dtype=variable.dtype)
            return held_back(variable._value.read_value(), self._earlier)


def held_back(value: Tensor, earlier: Tensor | None) -> Tensor:
    """A seed generator's state, which is of whole numbers, not before `earlier`.

    All blocks would otherwise draw when the step starts. What else there is may be large, and XLA
    would make a copy of it.
    """
    return after(value, earlier) if value.dtype.is_integer else value
