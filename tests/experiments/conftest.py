"""What several tests of the command line need."""

import pytest

from experiments import processes
from tests.experiments.meter import Meter


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    meter = Meter()
    monkeypatch.setattr(processes, "survey", meter.survey)
    monkeypatch.setattr(processes, "measure", meter.measure)
    return meter
