"""The machine at hand in words."""

import os
import platform
from pathlib import Path

from mem_dfa.machine_memory import memory_limit_bytes
from mem_dfa.units import show_bytes


def description() -> str:
    """Its processor, cores that may be used, memory and system."""
    is_told = hasattr(os, "sched_getaffinity")  # not everywhere
    cores = len(os.sched_getaffinity(0)) if is_told else os.cpu_count()
    parts = (_processor(), f"{cores} cores", show_bytes(memory_limit_bytes()), platform.system())
    return ", ".join((*parts, f"Python {platform.python_version()}"))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
