"""The allocator's own numbers, current and peak bytes, and the proof that they are alive.

On the CPU TensorFlow keeps full statistics only in its best-fit allocator (BFC), which it uses
when an environment variable says so before its first operation. Without it, the statistics are
missing or leave out every tensor below 262144 bytes, and no call says so. Hence the proof.
"""

import gc
import os
import time

from mem_dfa.profiling.errors import MeterError

from mem_dfa.units import ALLOCATION_UNIT_BYTES

ENVIRONMENT_VARIABLE = "TF_CPU_ALLOCATOR_USE_BFC"

# The smallest one is far below 262144 bytes, under which an incomplete meter sees nothing.
PROBE_BYTES = (1024, 100 * 1024, 10 * 1024 * 1024)
_PAUSES_S = (0.01, 0.03, 0.1)  # before what moved is looked at again

_REMEDY = (
    f"Start Python with {ENVIRONMENT_VARIABLE}=1 in its environment, "
    "or call profiling.enable() before the first TensorFlow operation."
)
_TOO_LATE = (
    f"{ENVIRONMENT_VARIABLE} was set too late, after TensorFlow's first operation. {_REMEDY}"
)


def enable() -> None:
    """Ask TensorFlow to count every CPU tensor.

    Call it before TensorFlow runs its first operation; it may follow the import of TensorFlow.
    Called later it has no effect, which `Allocator` detects.

    Raises:
        MeterError: `TF_CPU_ALLOCATOR_USE_BFC` is already set to something else than "1".
    """
    if os.environ.setdefault(ENVIRONMENT_VARIABLE, "1") != "1":
        raise MeterError(_wrong_variable())


class Allocator:
    """Current and peak bytes of one device, from TensorFlow's allocator (BFC).

    The numbers are allocated bytes: what operations asked for, rounded up to 256 bytes, and up to
    twice that where a free chunk was too small to be worth splitting.
    """

    def __init__(self, device: str = "CPU:0") -> None:
        """Prove that the meter of `device` counts small and large tensors, then reset its peak.

        Create it while nothing else allocates: a prefetching input pipeline moves the same numbers.

        Args:
            device: name of a TensorFlow device, such as "CPU:0" or "GPU:0".

        Raises:
            MeterError: no such device, or its statistics are missing or miss tensors. For the CPU
                also: `TF_CPU_ALLOCATOR_USE_BFC` is not "1", or was set too late.
        """
        self.device = device
        if self._is_cpu and os.environ.get(ENVIRONMENT_VARIABLE) != "1":
            raise MeterError(_wrong_variable())
        _check_device(device)
        # Garbage that goes away halfway through the proof would move the numbers.
        gc.collect()
        for requested_bytes in PROBE_BYTES:
            self._prove_when_still(requested_bytes)
        self.reset_peak()

    def current_bytes(self) -> int:
        """Bytes allocated now.

        Source: `tf.config.experimental.get_memory_info(device)["current"]`.

        Raises:
            MeterError: TensorFlow has no statistics for this device.
        """
        return self._memory_info()["current"]

    def peak_bytes(self) -> int:
        """Greatest number of bytes allocated at one time since the last `reset_peak`.

        Source: `tf.config.experimental.get_memory_info(device)["peak"]`.

        Raises:
            MeterError: TensorFlow has no statistics for this device.
        """
        return self._memory_info()["peak"]

    def reset_peak(self) -> None:
        """Set the peak to the bytes allocated now."""
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats(self.device)

    @property
    def _is_cpu(self) -> bool:
        return self.device.startswith("CPU:")

    def _memory_info(self) -> dict[str, int]:
        import tensorflow as tf

        try:
            return tf.config.experimental.get_memory_info(self.device)
        except ValueError as error:
            remedy = _TOO_LATE if self._is_cpu else "Unset TF_GPU_ALLOCATOR."
            raise MeterError(
                f"TensorFlow has no memory statistics for {self.device} ({error}). {remedy}"
            ) from error

    def _prove_when_still(self, requested_bytes: int) -> None:
        # Of a step that has returned, threads may still free what it held.
        for pause_s in _PAUSES_S:
            try:
                return self._prove(requested_bytes)
            except MeterError:
                time.sleep(pause_s)
        return self._prove(requested_bytes)

    def _prove(self, requested_bytes: int) -> None:
        """Allocate and free `requested_bytes` and see both numbers follow."""
        import tensorflow as tf

        before = self.current_bytes()
        self.reset_peak()
        with tf.device(self.device):
            # Always takes fresh memory: no constant that TensorFlow may hold in a cache. float32,
            # because this operation has no kernel for bytes on GPUs.
            probe = tf.raw_ops.Empty(shape=[requested_bytes // 4], dtype=tf.float32, init=False)
        during = self.current_bytes()
        peak_bytes = self.peak_bytes()
        del probe
        after = self.current_bytes()

        moved_bytes = during - before
        least_bytes = -(-requested_bytes // ALLOCATION_UNIT_BYTES) * ALLOCATION_UNIT_BYTES
        if moved_bytes == 0:
            remedy = f" {_TOO_LATE}" if self._is_cpu else ""
            raise MeterError(
                f"The memory statistics of {self.device} did not move when {requested_bytes} bytes "
                f"were allocated.{remedy}"
            )
        # A free chunk smaller than twice the request is handed out whole.
        if not least_bytes <= moved_bytes < 2 * least_bytes or moved_bytes % ALLOCATION_UNIT_BYTES:
            raise MeterError(
                f"The memory statistics of {self.device} moved by {moved_bytes} bytes when "
                f"{requested_bytes} were allocated; allowed are multiples of "
                f"{ALLOCATION_UNIT_BYTES} from {least_bytes} to below {2 * least_bytes}. "
                "Create the Allocator while nothing else allocates."
            )
        if peak_bytes < during:
            raise MeterError(
                f"The peak of {self.device} reads {peak_bytes} bytes while {during} are allocated; "
                "it must be at least that. Do not reset the statistics from another thread."
            )
        if after != before:
            raise MeterError(
                f"The memory statistics of {self.device} read {after} bytes after the probe of "
                f"{requested_bytes} bytes was freed, and {before} before it was allocated; they "
                "must be equal. Create the Allocator while nothing else allocates."
            )


def _wrong_variable() -> str:
    value = os.environ.get(ENVIRONMENT_VARIABLE)
    state = "is not set" if value is None else f"is {value!r}"
    return (
        f"{ENVIRONMENT_VARIABLE} {state}; it must be '1', otherwise TensorFlow leaves small "
        f"tensors out of its CPU memory statistics. {_REMEDY}"
    )


def _check_device(device: str) -> None:
    import tensorflow as tf

    found = [
        f"{logical.device_type}:{logical.name.rsplit(':', 1)[1]}"
        for logical in tf.config.list_logical_devices()
    ]
    if device not in found:
        raise MeterError(
            f"TensorFlow found no device {device!r}; it found {', '.join(found)}. "
            "Choose one of these, or install the driver and TensorFlow build of the missing device."
        )
