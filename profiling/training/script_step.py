"""One step of whatever `fit` a script calls: recorded, saved at once, or why it was not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mem_dfa.profiling.errors import MeterError, TraceError

if TYPE_CHECKING:
    from mem_dfa.profiling.facade import Timeline
    from mem_dfa.profiling.training.step_callback import StepCallback


@dataclass(frozen=True)
class RecordedStep:
    """A step of a script's `fit`.

    Attributes:
        timeline: of it.
        path: of the file that holds the timeline.
        model: that was trained.
        batch_size: examples in the step's batch; None where Keras did not count them.
    """

    timeline: Timeline
    path: Path
    model: Any
    batch_size: int | None


class ScriptStep:
    """Waits for one step of all that a script trains, and keeps it.

    The model is held from then on, until the script has ended.

    Attributes:
        recorded: the step; None before it was.
    """

    def __init__(self, script: str, step: int, path: Path) -> None:
        """Say what to record.

        Args:
            script: its name.
            step: counted from 1 over the whole run.
            path: of the file for its timeline.
        """
        self.recorded: RecordedStep | None = None
        self._script, self._step, self._path = script, step, path
        self._fits = 0
        self._faults: list[str] = []
        self._callback: StepCallback | None = None

    def callback_for(self, model: Any) -> StepCallback | None:
        """What records in a model's `fit`; None where nothing is left to record, or cannot be."""
        import keras

        self._fits += 1
        if self.recorded is not None:
            return None
        if keras.backend.backend() != "tensorflow":
            self._tell(
                f"Keras runs on {keras.backend.backend()!r}, and the memory of TensorFlow alone is "
                "recorded; set KERAS_BACKEND=tensorflow."
            )
            return None
        if self._callback is None:
            from mem_dfa.profiling.training.step_callback import StepCallback

            try:
                self._callback = StepCallback(self._script, self._step, self._keep, self._tell)
            except MeterError as error:  # the script can do without being measured
                self._tell(str(error))
        return self._callback

    def why_not(self, failed: bool) -> str:
        """Why no step was recorded, in a sentence.

        Args:
            failed: the script did, and has said why.
        """
        if self._faults:
            return self._faults[-1]
        if failed:
            return f"{self._script} ended before step {self._step} of its fit was done."
        if not self._fits:
            return (
                f"{self._script} never called fit of a Keras 3 model; around one step of a loop of "
                "its own, put 'with mem_dfa.profiling.trace(model) as timeline:'."
            )
        steps = 0 if self._callback is None else self._callback.steps
        if not steps:
            return f"{self._script} finished no step of fit."
        return (
            f"{self._script} took {steps} step{'s'[: steps > 1]} of fit, fewer than --step "
            f"{self._step}; give --step 1{f' to {steps}' if steps > 1 else ''}."
        )

    def _keep(self, timeline: Timeline, model: Any, batch_size: int | None) -> None:
        try:
            timeline.save(self._path)
        except TraceError as error:
            self._tell(str(error))
            return
        self.recorded = RecordedStep(timeline, self._path, model, batch_size)
        print(
            f"\nrecorded: {timeline.title}; the summary follows when the script ends, or Ctrl-C "
            "ends it",
            file=sys.stderr,
        )

    def _tell(self, fault: str) -> None:
        self._faults.append(fault)
