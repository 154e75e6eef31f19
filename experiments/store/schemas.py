"""Which columns the tables have, and what of them no row leaves empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.cell import COLUMNS

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Schema:
    """What a table holds."""

    name: str  # of the file, with its ending
    columns: Sequence[str]  # in order; `table.typed` tells what they hold
    always: Sequence[str] = ()  # the columns that no row leaves empty
    if_good: Sequence[str] = ()  # those that no row with a good status leaves empty


def _cell(*others: str) -> str:
    """The columns that say which cell a row is about, without some."""
    return " ".join(name for name in COLUMNS if name not in others)


FORMAT_VERSION = 7  # of the measurements
SPREAD_COLUMNS = ("peak_bytes", "step_bytes", "step_time_s", "step_requested_bytes")
_SPREAD = " ".join(f"{name}_{end}" for name in SPREAD_COLUMNS for end in ("min", "max"))
_FIRST = COLUMNS.index("dataset")
MEASUREMENTS = Schema(
    "measurements.csv",
    f"{_cell(*COLUMNS[_FIRST:])} status peak_bytes resident_bytes step_bytes step_time_s "
    "step_requested_bytes predicted_resident_bytes predicted_step_bytes "
    f"{_cell(*COLUMNS[:_FIRST])} repeats {_SPREAD} parameter_bytes optimizer_bytes feedback_bytes "
    "host_bytes left_over_bytes first_step_s variable_allocated_bytes whole_update_bytes loss "
    "accuracy accuracy_label trace_file source tensorflow keras python format_version timestamp "
    "machine cell_time_s error".split(),
    ["algorithm", "model", "execution", "dataset", "optimizer", "status"],
    ["batch_size", "device", "tensorflow", "peak_bytes", "step_bytes", "step_time_s"],
)
EPOCHS = Schema(
    "tables/epochs.csv",
    f"{_cell('steps', 'epochs')} epoch train_time_s train_loss train_accuracy test_loss "
    "test_accuracy timestamp".split(),
    ["algorithm", "model", "epoch", "test_accuracy"],
)
ALIGNMENTS = Schema(
    "tables/alignments.csv",
    f"{_cell('steps', 'epochs')} after_epoch block block_layers angle_degrees timestamp".split(),
    ["algorithm", "model", "after_epoch", "block"],
)
"""One row per block, and one of the whole network, before training and after each epoch."""
TIMES = ["median_s", "min_s", "max_s", "ratio_to_bp", "ratio_min", "ratio_max"]
TIMES += ["ratio_first_quartile", "ratio_third_quartile"]
BENCH = Schema(
    "tables/bench.csv",
    f"{_cell('steps', 'epochs')} {' '.join(TIMES)} rounds step_bytes step_bytes_min "
    "step_bytes_max step_requested_bytes resident_bytes repeats tensorflow keras timestamp status "
    "error".split(),
    ["algorithm", "model", "batch_size", "device", "status", "rounds"],
    ("step_bytes", "tensorflow", *TIMES),
)
_FIT = f"{_cell('epochs')} memory_limit_bytes"
_TRIED = "peak_bytes process_peak_bytes resident_bytes step_bytes step_time_s first_step_s "
_TRIED += "time_limit_s tensorflow keras timestamp error"
TRIES = Schema(
    "tables/fit_tries.csv",
    f"{_FIT} process status {_TRIED}".split(),
    ["algorithm", "model", "batch_size", "status", "process"],
    ("step_time_s", "process_peak_bytes"),
)
"""One row per process."""
ANSWERS = Schema(
    "tables/fit.csv",
    f"{_FIT} over status size image_time_s repeats maximum next_status next_error {_TRIED}".split(),
    ["algorithm", "model", "batch_size", "status", "memory_limit_bytes", "over"],
    ["size", "image_time_s", "repeats", "process_peak_bytes"],
)
"""One row per search. ``next_status`` and ``next_error`` are of one more than ``size``."""
RECURRENT = Schema(
    "tables/recurrent.csv",
    [
        *("task", "variant", "seed", "chunk", "share", "updates", "last_bits", "best_bits"),
        *("step_requested_bytes", "update_time_s", "ratio_to_bp"),
        *("tensorflow", "keras", "timestamp"),
    ],
    ["task", "variant", "seed", "chunk", "updates", "step_requested_bytes", "update_time_s"],
)
"""One row per trained net."""
