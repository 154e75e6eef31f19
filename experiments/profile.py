"""Memory of a script of one's own, and recorded timelines: `profiling`, with predictions.

``python -m experiments.profile run train.py``

`run` says besides what each algorithm is predicted to take for the recorded model and batch. For
all else, and for the exit status, see `profiling`.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mem_dfa.profiling import __main__ as profiling

if TYPE_CHECKING:
    from mem_dfa.profiling.training.script_step import RecordedStep
    from rich.console import RenderableType


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return profiling.main(argv, foretell=_foretell)


def _foretell(step: "RecordedStep") -> Iterable["RenderableType"]:
    from mem_dfa.experiments.measure import predicting
    from mem_dfa.experiments.report import prediction_table
    from mem_dfa.experiments.terminal import screen

    if step.batch_size is None:
        return ["No predictions: the train step did not count the examples of its batch."]
    with screen.progress("predicting", quiet=True) as report:
        predictions = predicting.predictions(step.model, step.batch_size, report)
    feedback_bytes = predicting.feedback_bytes(step.model)
    return [prediction_table.table(predictions, step.batch_size, step.timeline, feedback_bytes)]


if __name__ == "__main__":
    sys.exit(main())
