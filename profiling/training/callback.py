"""`MemoryCallback`: the memory of people's own `fit`, in the logs, TensorBoard and timelines."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
from mem_dfa.profiling.allocator import Allocator
from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.facade import Timeline
from mem_dfa.profiling.timeline.storage import SUFFIX
from mem_dfa.profiling.tracing import default_device, trace
from mem_dfa.profiling.training.tensorboard import Scalars

from mem_dfa.units import MEBIBYTE

# The keys in the logs.
PEAK, RESIDENT, STEP = "peak_mib", "resident_mib", "step_mib"


class MemoryCallback(keras.callbacks.Callback):
    """Writes each epoch's memory into the logs, and records timelines of chosen steps.

        memory = profiling.MemoryCallback(trace_steps=(3,))
        model.fit(x, y, epochs=5, callbacks=[memory, keras.callbacks.CSVLogger("log.csv")])
        memory.timelines[3].live_at_peak()

    Three numbers in MiB come into each epoch's logs, where Keras's progress line, `History` and
    every callback later in the list, such as `CSVLogger`, find them. Times 2**20 they are whole
    bytes, exactly.

    - `resident_mib`: alive when the epoch begins, before its first batch is fetched: weights,
      optimizer state, metrics, and whatever else the program holds. What the first step makes for
      good is resident from the second epoch on.
    - `peak_mib`: the allocator's maximum from then until the epoch's last step is done.
      Validation after that step is not in it.
    - `step_mib`: peak - resident. That is of the chunks that the allocator hands out, which may
      be larger than what was asked for, and in the first epoch of what its first step makes for
      good too: optimizer slots, and the constants in `timeline.zeros`. What the operations of a
      step ask for is `step_requested_bytes` of its timeline.

    An input pipeline that prefetches or shuffles allocates from the same allocator in its own
    threads: its buffers are in the peak and in the timelines, and the numbers vary from run to
    run. To measure the step alone, train on one held batch, `Dataset.from_tensors(...).repeat()`.

    Timelines cost about a second each, for reading the recording, and show the whole execution
    that the step is in: one step, or `steps_per_execution` of them; as in Keras's own numbers, an
    epoch's last execution counts as a whole one. The very first step also traces functions, so its
    timeline shows more than a step.

    Attributes:
        timelines: recorded timelines by the step that was asked for.
    """

    def __init__(
        self,
        *,
        trace_steps: Iterable[int] = (),
        trace_dir: str | Path | None = None,
        log_dir: str | Path | None = None,
        device: str | None = None,
    ) -> None:
        """Say what to record.

        Args:
            trace_steps: steps to record, counted from 0 over all epochs and fits of this callback.
            trace_dir: folder for their timelines, saved as `step_000003.timeline.json.gz`.
            log_dir: folder for TensorBoard scalars, one per epoch and number, in MiB.
            device: "CPU:0" or "GPU:0"; the first GPU, if there is one, unless said otherwise.

        Raises:
            ValueError: a step that is no whole number from 0 on, or a folder for no timelines.
        """
        super().__init__()
        self.timelines: dict[int, Timeline] = {}
        self._pending = _checked_steps(trace_steps)
        if trace_dir is not None and not self._pending:
            raise ValueError(
                f"Received trace_dir={str(trace_dir)!r} without trace_steps, so nothing would be "
                "saved; name steps, such as trace_steps=(3,), or leave trace_dir out."
            )
        self._trace_dir = None if trace_dir is None else Path(trace_dir)
        self._scalars = None if log_dir is None else Scalars(log_dir)
        self._device = device
        self._first_step = 0  # of the epoch
        self._next_step = 0
        self._resident_bytes = self._peak_bytes = 0
        # The model's own train function while a recording one waits in its place, for these steps.
        self._replaced: Callable[..., Any] | None = None
        self._waiting: Callable[..., Any] | None = None
        self._waiting_model: Any = None
        self._asked: list[int] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Prove the meter, before anything is trained.

        Raises:
            MeterError: the allocator's statistics are missing or do not tell the truth.
            TraceError: the folder for timelines, or that for scalars, cannot be written to.
        """
        if self._waiting is not None:  # of a fit that failed before its step began
            self._pending.update(self._asked)
            self._stop_waiting()
        self._allocator.reset_peak()
        if self._trace_dir is not None:
            try:
                self._trace_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TraceError(
                    f"Cannot save timelines in {self._trace_dir} ({error.strerror}); name a folder "
                    "to write to as trace_dir."
                ) from error
        if self._scalars is not None:
            self._scalars.check()
        self._first_step = self._next_step

    @functools.cached_property
    def _allocator(self) -> Allocator:
        return Allocator(self._device or default_device())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin to measure the epoch."""
        self._first_step = self._next_step
        self._allocator.reset_peak()
        self._resident_bytes = self._peak_bytes = self._allocator.current_bytes()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the execution that begins, if a step was asked for that is in it."""
        if not self._pending:
            return
        first = self._first_step + batch
        steps = range(first, first + self.model.steps_per_execution)
        asked = [step for step in steps if step in self._pending]
        if asked:
            self._pending -= set(asked)
            self._record_next_execution(asked, self._title(steps))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the steps of the execution that ended, and its peak."""
        self._note_peak()
        self._next_step = self._first_step + batch + 1
        if self._waiting is not None:
            self._stop_waiting()
            self._tell(
                "no timeline: this training loop does not call model.train_function; use fit."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's numbers."""
        sizes = {
            PEAK: self._peak_bytes,
            RESIDENT: self._resident_bytes,
            STEP: self._peak_bytes - self._resident_bytes,
        }
        numbers = {name: size / MEBIBYTE for name, size in sizes.items()}
        if logs is not None:
            logs.update(numbers)
        if self._scalars is not None:
            try:
                self._scalars.write(epoch, {f"memory/{name}": n for name, n in numbers.items()})
            except TraceError as error:
                self._tell(f"the numbers of epoch {epoch} are not in TensorBoard: {error}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close TensorBoard's file."""
        if self._scalars is not None:
            try:
                self._scalars.close()
            except TraceError as error:
                self._tell(f"not all numbers are in TensorBoard: {error}")

    def _title(self, steps: range) -> str:
        """Of the timeline of one execution."""
        first, last = steps[0], steps[-1]
        return f"step {first}" if first == last else f"steps {first} to {last}"

    def _note_peak(self) -> None:
        self._peak_bytes = max(self._peak_bytes, self._allocator.peak_bytes())

    def _record_next_execution(self, asked: list[int], title: str) -> None:
        """Put a function that records in the place of the model's, for one call.

        A recording that began here and ended in `on_train_batch_end` would never end where the
        step fails, because Keras calls no callback then; and it would hold other callbacks' work.
        """
        self._replaced = train_function = self.model.train_function
        self._asked = asked

        def traced(batches: Any) -> Any:
            self._stop_waiting()
            self._note_peak()  # a recording resets the allocator's
            with ExitStack() as recording:
                timeline = self._begin(recording, title)
                try:
                    logs = train_function(batches)
                except BaseException:
                    # A failure, or the end of data of unknown size: the steps are still to come.
                    self._pending.update(asked)
                    raise
                self._note_peak()
                is_whole = timeline is not None and self._end(recording, title)
            self._allocator.reset_peak()
            if timeline is not None and is_whole:
                self._keep(timeline, asked)
            return logs

        self.model.train_function = self._waiting = traced
        self._waiting_model = self.model

    def _stop_waiting(self) -> None:
        model = self._waiting_model  # the callback may be in another one's `fit` by now
        if model.train_function is self._waiting:  # `compile` may have made another since
            model.train_function = self._replaced
        self._replaced = self._waiting = self._waiting_model = None

    def _begin(self, recording: ExitStack, title: str) -> Timeline | None:
        try:
            return recording.enter_context(
                trace(self.model, title=title, allocator=self._allocator)
            )
        except TraceError as error:
            self._tell(f"no timeline of {title}: {error}")
            return None

    def _end(self, recording: ExitStack, title: str) -> bool:
        try:
            recording.close()
        except TraceError as error:
            self._tell(f"no timeline of {title}: {error}")
            return False
        return True

    def _keep(self, timeline: Timeline, asked: list[int]) -> None:
        if timeline.fault:
            self._tell(f"the timeline of {timeline.title} is not exact: {timeline.fault}")
        for step in asked:
            self.timelines[step] = timeline
            if self._trace_dir is not None:
                try:
                    timeline.save(self._trace_dir / f"step_{step:06d}{SUFFIX}")
                except TraceError as error:
                    self._tell(f"the timeline of {timeline.title} is not saved: {error}")

    def _tell(self, text: str) -> None:
        """Say what is not recorded; the training goes on."""
        warnings.warn(f"MemoryCallback: {text}", stacklevel=2)


def _checked_steps(steps: Iterable[int]) -> set[int]:
    chosen = list(steps) if isinstance(steps, Iterable) else [steps]
    for step in chosen:
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise ValueError(
                f"Received trace_steps={steps!r}; give whole numbers from 0 on, such as (3, 100)."
            )
    return set(chosen)
