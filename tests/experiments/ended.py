"""Whether processes end."""

import time

import psutil


def has_ended(process: psutil.Process) -> bool:
    """Whether it ends soon; a zombie has, which nobody has asked yet how it ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False
