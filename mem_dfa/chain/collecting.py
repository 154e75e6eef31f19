"""What a pass over layers assigns, whichever variables they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class CollectingScope(keras.StatelessScope):
    """A StatelessScope that knows which variables were assigned in it, whoever owns them.

    A layer may assign variables that are not its own: the state of Keras's global seed generator,
    of one at module level, a metric's totals.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.StatelessScope`."""
        super().__init__(*args, **kwargs)
        self._assigned: dict[int, keras.Variable] = {}

    def add_update(self, update: tuple[keras.Variable, tf.Tensor]) -> None:
        """As Keras calls it for every assignment."""
        variable, value = update
        self._assigned[id(variable)] = variable
        super().add_update((variable, self._as_read(variable, value)))

    def _as_read(self, variable: keras.Variable, value: tf.Tensor) -> tf.Tensor:
        """What a variable gives after `value` was assigned, as without a scope: no gradient."""
        return tf.stop_gradient(value)

    @property
    def updates(self) -> list[tuple[keras.Variable, tf.Tensor]]:
        """The variables that were assigned, in order of their first time, with their last value."""
        return [(v, self.get_current_value(v)) for v in self._assigned.values()]

    def paths_assigned(self, variables: Sequence[keras.Variable]) -> list[str]:
        """The paths of those among `variables` that were assigned, in order of their first time."""
        among = {id(variable) for variable in variables}
        return [variable.path for key, variable in self._assigned.items() if key in among]
