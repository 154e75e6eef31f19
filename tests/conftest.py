"""What every test needs: the allocator that counts, before TensorFlow runs its first operation."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import chromium

os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the same kernels on every processor
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


# Of a module: while one is open, its process can run no other loop of events.
@pytest.fixture(scope="module", name="browser")
def headless_browser() -> Iterator[Any]:
    yield from chromium()


@pytest.fixture(autouse=True)
def _earlier_tests_are_not_searched_again() -> None:
    """TensorFlow's caches keep traced graphs: a recording would search those of all earlier tests.

    Before a test, because after it what its fixtures gave is still held.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that is left for the end runs on while other processes have none."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
