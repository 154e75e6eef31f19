"""The columns of every table under results/, from the schemas that check them."""

from collections.abc import Iterable

from insertions import table
from mem_dfa.experiments.report.tables import title_of
from mem_dfa.experiments.store import schemas
from mem_dfa.experiments.store.table import bounds_of

_SCHEMAS = (
    *(schemas.MEASUREMENTS, schemas.ANSWERS, schemas.TRIES, schemas.BENCH),
    *(schemas.EPOCHS, schemas.ALIGNMENTS, schemas.RECURRENT),
)
MEANINGS = {
    "algorithm": "its name, or `package.module:Class`",
    "model": "the network's name",
    "layers": "weight layers before the classifier",
    "batch_size": "examples in a batch",
    "execution": "`graph`, `eager` or `xla`",
    "device": "TensorFlow's name of it, such as CPU:0",
    "status": "`ok`, or why there is no number",
    "peak_bytes": "the allocator's maximum during the measured steps",
    "resident_bytes": "alive before the step",
    "step_bytes": "peak less resident",
    "step_time_s": "median time of a step",
    "step_requested_bytes": "step bytes without the allocator's rounding",
    "predicted_resident_bytes": "resident bytes from shapes alone",
    "predicted_step_bytes": "step bytes from shapes alone",
    "dataset": "where the batch is from",
    "classes": "number of classes",
    "optimizer": "its name",
    "learning_rate": "the optimizer's",
    "seed": "of weights, feedback and data",
    "steps": "measured steps",
    "epochs": "trained epochs, 0 for none",
    "options": "the algorithm's own",
    "repeats": "processes that the numbers are the median of",
    "parameter_bytes": "of the weights",
    "optimizer_bytes": "of the optimizer's slots",
    "feedback_bytes": "of the feedback that is held",
    "host_bytes": "kept in host memory, from shapes",
    "left_over_bytes": "alive after the steps and not before",
    "first_step_s": "time of the first step, with tracing",
    "variable_allocated_bytes": "of all variables, as the allocator rounds them",
    "whole_update_bytes": "of kernels whose gradient exists whole",
    "loss": "of the held batch, or of the test images after training",
    "accuracy": "the same",
    "accuracy_label": "which images these two are of",
    "trace_file": "the recorded timeline",
    "source": "what counted the bytes",
    "tensorflow": "its version",
    "keras": "its version",
    "python": "its version",
    "format_version": "of the table",
    "timestamp": "when it was written",
    "machine": "where it was measured",
    "cell_time_s": "how long the whole cell took",
    "error": "why there is no number, in a sentence",
    "memory_limit_bytes": "what a process may take",
    "over": "what was searched, `batch` or `layers`",
    "size": "the largest that trained",
    "image_time_s": "step time divided by the batch",
    "maximum": "no larger size was tried",
    "next_status": "what became of one more",
    "next_error": "why one more did not train",
    "process_peak_bytes": "the allocator's maximum of the whole process",
    "time_limit_s": "what a process may take",
    "process": "number of the process",
    "median_s": "median time of a step, taking turns",
    "min_s": "least",
    "max_s": "greatest",
    "ratio_to_bp": "median of the ratio to bp within a turn",
    "ratio_min": "least",
    "ratio_max": "greatest",
    "ratio_first_quartile": "a quarter of the turns lies below",
    "ratio_third_quartile": "a quarter of the turns lies above",
    "rounds": "turns",
    "epoch": "counted from 1",
    "train_time_s": "time of the epoch's training",
    "train_loss": "on the training images",
    "train_accuracy": "on the training images",
    "test_loss": "on the test images",
    "test_accuracy": "on the test images",
    "task": "what is to be told: `delay`, `text`; `unroll` trains nothing",
    "variant": "how the net is trained",
    "chunk": "time steps of an update",
    "share": "of the predicted error that is used, α",
    "updates": "optimizer steps",
    "last_bits": "a step, mean of the last 250 updates",
    "best_bits": "a step, least mean of 250 updates",
    "update_time_s": "time of an update",
    "after_epoch": "epochs trained until then, 0 before training",
    "block": "name of a block, or `network` for all",
    "block_layers": "the block's layers",
    "angle_degrees": "between the algorithm's update and BP's, on the held batch",
    **{
        f"{name}_{end}": f"{word} of the processes"
        for name in schemas.SPREAD_COLUMNS
        for end, word in (("min", "least"), ("max", "greatest"))
    },
}
"""What each column says. A table with a column that is not here cannot be documented."""


def page() -> Iterable[str]:
    """Markdown, in paragraphs."""
    yield "# Columns"
    yield (
        "Every table is a CSV file below `results/`, or what `--out` names. Rows are only added. "
        "Bytes are whole numbers, times are seconds."
    )
    for schema in _SCHEMAS:
        yield f"## {schema.name}"
        title = title_of(schema.name)
        yield f"{title[0].upper()}{title[1:]}. No row leaves empty: {_named(schema.always)}."
        rows = [
            [f"`{name}`", _holds(name), MEANINGS[name].replace("|", r"\|")]
            for name in schema.columns
        ]
        yield table(["column", "holds", "what"], rows)


def _holds(column: str) -> str:
    bounds = bounds_of(column)
    if bounds is None:
        return "options, `name=value`" if column == "options" else "text"
    least, most = bounds
    if isinstance(least, int):
        return f"whole number from {least}"
    if most == 1:
        return "0 to 1"
    return "number" if least < 0 else "number above 0" if least > 0 else "number from 0"


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
