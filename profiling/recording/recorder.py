"""Recording a step with TensorFlow's profiler."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mem_dfa.profiling.errors import TraceError


@contextlib.contextmanager
def record(directory: str | Path) -> Iterator[None]:
    """Record what runs inside the `with` block, allocations included, into `directory`.

    The recording is written when the block ends, also by an error; `find_trace` finds it.

    Args:
        directory: where to write; made if missing. One recording each.

    Raises:
        TraceError: the directory cannot be made, another recording is running, or this one cannot
            be written.
    """
    import tensorflow as tf

    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TraceError(
            f"Cannot record into {directory} ({error.strerror}); name a directory to write to."
        ) from error
    # The most detailed level: TensorFlow 2.21 records the allocator's events at every one, but
    # promises that nowhere. The other tracers only cost time.
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=3, python_tracer_level=0, device_tracer_level=0
    )
    try:
        tf.profiler.experimental.start(str(directory), options)
    except tf.errors.AlreadyExistsError as error:
        raise TraceError(
            "Another TensorFlow profiler recording is running; stop it before starting this one."
        ) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(TraceError):  # what went wrong inside says more
            _stop(directory)
        raise
    _stop(directory)


def _stop(directory: str | Path) -> None:
    import tensorflow as tf

    try:
        tf.profiler.experimental.stop()
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise TraceError(
            f"Cannot write the recording into {directory} ({type(error).__name__}: {error}); make "
            "room, or name another directory."
        ) from error


def find_trace(directory: str | Path) -> Path:
    """The one XPlane file below `directory`.

    Raises:
        TraceError: there is none, or there are several.
    """
    found = sorted(Path(directory).rglob("*.xplane.pb"))
    if len(found) != 1:
        names = "".join(f" {path.relative_to(directory)}" for path in found)
        raise TraceError(
            f"Found {len(found)} recordings (*.xplane.pb) below {directory}, expected one;"
            f" record each into a directory of its own.{names}"
        )
    return found[0]
