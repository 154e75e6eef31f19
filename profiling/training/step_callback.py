"""The callback that records one step of a script, and leaves no other trace in its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mem_dfa.profiling.facade import Timeline
from mem_dfa.profiling.training.callback import MemoryCallback


class StepCallback(MemoryCallback):
    """Records one step over all fits that it is given to, and hands it on."""

    def __init__(
        self,
        script: str,
        step: int,
        keep: Callable[[Timeline, Any, int | None], None],
        tell: Callable[[str], None],
    ) -> None:
        """Prove the meter, while the script's own `fit` has not begun.

        Args:
            script: its name, for the timeline's title.
            step: counted from 1.
            keep: takes the timeline, the model and the examples of the batch.
            tell: takes a sentence on why there is no timeline.

        Raises:
            MeterError: the allocator's statistics are missing or do not tell the truth.
        """
        super().__init__(trace_steps=(step - 1,))
        self._script, self._hand_on, self._tell_of = script, keep, tell
        self._examples = 0
        self._allocator.reset_peak()

    @property
    def steps(self) -> int:
        """How many the script has taken."""
        return self._next_step

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the execution that begins, if it is the one, and count its examples."""
        super().on_train_batch_begin(batch, logs)
        if self._waiting is not None:
            self._examples = self._counted_examples()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave the script's logs as they are."""

    def _title(self, steps: range) -> str:
        first, last = steps[0] + 1, steps[-1] + 1
        return f"{self._script}, step {first}" + (f" to {last}" if last > first else "")

    def _keep(self, timeline: Timeline, asked: list[int]) -> None:
        examples = self._counted_examples() - self._examples
        batch_size = examples // self.model.steps_per_execution
        self._hand_on(timeline, self.model, batch_size or None)

    def _counted_examples(self) -> int:
        """Of this epoch so far: the weight of Keras's mean loss, which a train step moves."""
        tracker = getattr(self.model, "_loss_tracker", None)
        return 0 if tracker is None else int(tracker.count)

    def _tell(self, text: str) -> None:
        self._tell_of(text)
