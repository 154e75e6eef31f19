"""Numbers for TensorBoard, written without the package `tensorboard`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mem_dfa.profiling.errors import TraceError


class Scalars:
    """A folder's file of scalars; made with the first numbers, so it may be asked for and unused.

    `tf.summary.scalar` needs the package `tensorboard` and rounds to single precision; this writes
    the same in double precision, which holds bytes exactly.
    """

    def __init__(self, directory: str | Path) -> None:
        """Name the folder that TensorBoard is given as `--logdir`."""
        self._directory = str(directory)
        self._writer: Any = None

    def check(self) -> None:
        """Make a local folder, before any number is there to be lost.

        Raises:
            TraceError: it cannot be made or written to.
        """
        if "://" in self._directory:  # what TensorFlow writes elsewhere
            return
        try:
            Path(self._directory).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise TraceError(
                f"Cannot write scalars into {self._directory} ({error.strerror}); name a folder to "
                "write to as log_dir."
            ) from error

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add one point to each number's curve; it is on disk when this returns.

        Raises:
            TraceError: it cannot be written.
        """
        import tensorflow as tf

        try:
            self._write(step, numbers)
        except (OSError, tf.errors.OpError) as error:
            raise TraceError(f"Cannot write scalars into {self._directory} ({error}).") from error

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        import tensorflow as tf
        from tensorflow.core.framework.summary_pb2 import DATA_CLASS_SCALAR

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._directory)
        metadata = tf.compat.v1.SummaryMetadata(data_class=DATA_CLASS_SCALAR)
        metadata.plugin_data.plugin_name = "scalars"
        with self._writer.as_default(step=step), tf.device("CPU:0"):
            for name, number in numbers.items():
                tf.summary.write(name, tf.constant(number, tf.float64), metadata=metadata)
        self._writer.flush()

    def close(self) -> None:
        """Close the file; the next numbers begin another.

        Raises:
            TraceError: what was not on disk yet cannot be written.
        """
        import tensorflow as tf

        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except (OSError, tf.errors.OpError) as error:
            raise TraceError(f"Cannot write scalars into {self._directory} ({error}).") from error
