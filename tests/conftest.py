"""What every test needs: the allocator that counts, before TensorFlow runs its first operation."""

import gc
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True)
def _earlier_tests_are_not_searched_again() -> Iterator[None]:
    """Graphs that were traced stay in TensorFlow's caches: each recording searched all of them."""
    yield
    gc.collect()
    gc.freeze()
