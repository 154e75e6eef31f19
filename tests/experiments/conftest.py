"""What several tests of the command line need."""

import signal
from collections.abc import Iterator

import pytest
from mem_dfa.experiments.engine import processes

from tests.experiments.meter import Meter


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and so would whatever these tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    meter = Meter()
    monkeypatch.setattr(processes, "survey", meter.survey)
    monkeypatch.setattr(processes, "measure", meter.measure)
    return meter
