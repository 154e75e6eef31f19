"""Fresh processes: what TensorFlow's allocator counts is decided once in each."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mem_dfa import profiling


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """A function that runs source code in a fresh process and returns what it prints."""

    def run(source: str, *arguments: str, **environment: str) -> str:
        inherited = dict(os.environ)
        # The parent may have set it for itself.
        inherited.pop(profiling.ENVIRONMENT_VARIABLE, None)
        completed = subprocess.run(
            [sys.executable, "-c", source, *arguments],
            cwd=Path(profiling.__file__).parents[1],
            env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    return run
