"""Predictions as a table for a terminal of 80 columns."""

import functools
from collections.abc import Sequence

from mem_dfa.experiments.measure.predicting import Prediction
from mem_dfa.profiling.render.summary import mebibytes, table_of
from mem_dfa.profiling.timeline.data import TimelineData
from rich.table import Table


def table(
    predictions: Sequence[Prediction], batch_size: int, recorded: TimelineData, feedback_bytes: int
) -> Table:
    """One line for each algorithm, below what was recorded.

    Args:
        predictions: of all algorithms.
        batch_size: of the recorded step.
        recorded: that step.
        feedback_bytes: in what is resident there, of a model that an algorithm trains already.
    """
    resident_bytes = recorded.resident_bytes - feedback_bytes
    made = table_of(
        f"What a step at batches of {batch_size} would take", "algorithm", "peak MiB", "step MiB"
    )
    made.add_column("", overflow="fold")
    peaks = [resident_bytes + one.feedback_bytes + (one.step_bytes or 0) for one in predictions]
    shown = functools.partial(mebibytes, total=max(recorded.peak_bytes, *peaks))
    made.add_row("as recorded", shown(recorded.peak_bytes), shown(recorded.step_bytes))
    made.add_section()
    before = ""
    for one, peak_bytes in zip(predictions, peaks, strict=True):
        if one.step_bytes is None:
            said = "as above" if one.reason == before else one.reason
            made.add_row(one.algorithm, "-", "-", said)
        else:
            made.add_row(one.algorithm, shown(peak_bytes), shown(one.step_bytes))
        before = one.reason
    made.caption = (
        "predicted from shapes, in graph execution, without the allocator's rounding; "
        "peak: with what is resident, feedback matrices included"
    )
    return made
