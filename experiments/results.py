"""The CSV of measurements: rows are appended whole or not at all."""

import contextlib
import csv
import errno
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import filelock
import pandas as pd

from experiments.catalogue import ALGORITHM_OPTIONS

FORMAT_VERSION = 5
FILE_NAME = "measurements.csv"
LOCK_TIMEOUT_S = 30
FREE_BYTES = 2**14  # what a row takes, and more
SPREAD_COLUMNS = ("peak_bytes", "step_bytes", "step_time_s", "step_requested_bytes")
COLUMNS = [
    *("algorithm", "model", "layers", "batch_size", "execution", "device", "status"),
    *("peak_bytes", "resident_bytes", "step_bytes", "step_time_s"),
    *("step_requested_bytes", "predicted_resident_bytes", "predicted_step_bytes"),
    *("dataset", "optimizer", "learning_rate", "seed", "steps", "epochs", "repeats"),
    *ALGORITHM_OPTIONS,
    *(f"{column}_{end}" for column in SPREAD_COLUMNS for end in ("min", "max")),
    *("parameter_bytes", "optimizer_bytes", "feedback_bytes", "left_over_bytes"),
    *("first_step_s", "classes", "variable_allocated_bytes", "whole_update_bytes"),
    *("loss", "accuracy", "accuracy_label", "trace_file", "source"),
    *("tensorflow", "keras", "python", "format_version", "timestamp", "error"),
]


class ResultsError(Exception):
    """Results cannot be written where they should be: one sentence for the user."""


def check_writable(out: str | os.PathLike[str]) -> None:
    """Makes sure, before anything is measured, that rows can be appended under ``out``.

    Raises:
        ResultsError: the folder cannot be made or written, or its CSV is not one of these.
    """
    folder = Path(out)
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        written = read(folder / FILE_NAME)
        with tempfile.TemporaryFile(dir=existing) as file:  # as large as the next one will be
            file.write(written.encode())
            file.write(bytes(FREE_BYTES))
    except OSError as error:
        raise _unwritable(out, error) from error


def append(out: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> Path:
    """Appends ``rows`` to the CSV under ``out`` and returns its path.

    The earlier bytes and the new rows go to a temporary file that takes the place of the old one,
    so whoever is killed at whatever moment leaves either the old file or the new one. A lock lets
    several runs write to one folder.

    Raises:
        ResultsError: it cannot be written, or what is there is not such a CSV.
    """
    path = Path(out) / FILE_NAME
    with locked(path):
        earlier = read(path)
        table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)  # keeps integers whole
        text = table.to_csv(index=False, header=not earlier, lineterminator="\n")
        # A carriage return is written without quotes, and nobody could read the file any more.
        replace(path, earlier + text.replace("\r", " "))
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Makes the folder of ``path`` and keeps other runs from writing the file meanwhile.

    Raises:
        ResultsError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        with filelock.FileLock(lock, timeout=LOCK_TIMEOUT_S):
            for left in path.parent.glob(f".{path.name}.*"):
                if left != lock:
                    left.unlink()  # of a run that was killed as it wrote
            yield
    except filelock.Timeout as error:
        raise ResultsError(
            f"{path} is being written by another run for over {LOCK_TIMEOUT_S} s; "
            "wait for it or give another --out"
        ) from error
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def read(path: Path) -> str:
    """The text of a CSV written by `append`; empty where there is none yet.

    Raises:
        ResultsError: the file was not written by this version of the format, or is damaged.
    """
    if not path.exists():
        return ""
    remedy = "it is left as it is: move it away or give another --out"
    try:
        text = path.read_bytes().decode()
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path} is no CSV ({error}); {remedy}") from error
    if not lines or lines[0] != COLUMNS:
        raise ResultsError(f"{path} does not have the columns of this version's results; {remedy}")
    whole = all(len(line) == len(COLUMNS) for line in lines) and text.endswith("\n")
    if not whole:
        raise ResultsError(f"{path} is damaged: a row is not whole; {remedy}")
    return text


def rows(out: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows under ``out``, oldest first, as they are written: what is unknown is "".

    Raises:
        ResultsError: what is there is not such a CSV, or cannot be read.
    """
    try:
        return list(csv.DictReader(io.StringIO(read(Path(out, FILE_NAME)))))
    except OSError as error:
        raise _unwritable(out, error) from error


def replace(path: Path, text: str) -> None:
    """Puts ``text`` in the place of the file at ``path``, whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", newline=""
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # a temporary file is the user's alone
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def write_table(
    out: str | os.PathLike[str],
    name: str,
    rows: Sequence[Mapping],
    shown: Sequence[Sequence[str]],
    heading: str = "",
) -> Path:
    """Writes ``rows`` as name.csv, and name.md with what is shown of them, each whole.

    Args:
        out: the folder.
        name: of both files.
        rows: all that is known.
        shown: the table's lines; the first one names its columns.
        heading: a line above the table.

    Returns:
        The Markdown file.

    Raises:
        ResultsError: they cannot be written.
    """
    lines = [shown[0], ["---"] * len(shown[0]), *shown[1:]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        csv_text = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
        replace(folder / f"{name}.csv", csv_text)
        replace(folder / f"{name}.md", f"{heading}\n\n{text}" if heading else text)
    except OSError as error:
        raise _unwritable(out, error) from error
    return folder / f"{name}.md"


def _unwritable(out: str | os.PathLike[str], error: OSError) -> ResultsError:
    reason = error.strerror or type(error).__name__
    space = "make room, or " if error.errno == errno.ENOSPC else ""
    return ResultsError(
        f"--out {str(out)!r} cannot be written ({reason}); {space}give a folder that can be written"
    )
