"""Limits on the device memory that a test may take, as a pytest plugin.

    @pytest.mark.limit_device_memory("120 MiB")
    def test_step(): ...

The limit is on what the test itself takes: the allocator's peak while its body runs (not its
fixtures) above what was alive when the body began. At the limit it passes, one byte above it fails
and shows the largest tensors that it held at the peak.

`limit_device_memory(limit, *, device=...)` takes a size such as "120 MiB" or a whole number of
bytes, and "CPU:0" or "GPU:0"; without a device the first GPU, if there is one. In place of a limit,
or beside it, `baseline=True` compares what the body's operations ask for, up and down, with a file
in the folder memory-baselines beside the test's; `tolerance` is 10 % if not given, and
`pytest --update-memory-baseline` writes what moved. The body is
recorded, so it cannot record itself, unless it uses the fixture `device_memory`: that reads the
allocator inside any test, and `device_memory.trace(model)` records a timeline that knows a model.

The CPU's allocator counts only if TF_CPU_ALLOCATOR_USE_BFC=1 is set before TensorFlow's first
operation, and that changes the allocator of the whole process. So the plugin sets it, where it is
not set at all, as soon as pytest meets a Python file that mentions the mark or the fixture, which
is before it imports any test module of that folder; other test suites are left alone. "0" is
respected: tests with a limit on the CPU then fail and say why. Where TensorFlow ran before, in a
conftest.py or another folder, they fail and say so too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling.allocator import ENVIRONMENT_VARIABLE
from mem_dfa.profiling.baseline import WHOLE_TOLERANCE_PERCENT
from mem_dfa.profiling.errors import MeterError, TraceError
from mem_dfa.profiling.training import pytest_baseline
from mem_dfa.profiling.training.pytest_limit import DeviceMemory, report

from mem_dfa.units import parse_bytes, parse_percent

MARK = "limit_device_memory"
FIXTURE = "device_memory"


@dataclass(frozen=True, slots=True)
class _Limit:
    limit_bytes: int | None
    device: str | None
    baseline: bool
    tolerance_percent: float


_LIMIT = pytest.StashKey[_Limit]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what writes baselines."""
    text = f"write what tests marked with {MARK}(baseline=True) take now, where it moved"
    parser.getgroup("device memory").addoption(
        pytest_baseline.OPTION, action="store_true", help=text
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(limit, *, device, baseline, tolerance): fails a test whose body takes more device "
        'memory; limit is "120 MiB" or a whole number of bytes, device "CPU:0" or "GPU:0"; '
        'baseline=True compares with a committed file, up and down, tolerance is "1 %".',
    )


def pytest_collect_file(file_path: Path) -> None:
    """Let the CPU's allocator count, if this file's tests need it."""
    if ENVIRONMENT_VARIABLE in os.environ or file_path.suffix != ".py":
        return
    with contextlib.suppress(OSError):  # whoever collects it says what is wrong
        # The fixture's name is the end of the mark's.
        if FIXTURE.encode() in file_path.read_bytes():
            os.environ[ENVIRONMENT_VARIABLE] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Read the mark before any fixture is made."""
    mark = item.get_closest_marker(MARK)
    if mark is not None:
        item.stash[_LIMIT] = _limit_of(mark)


@pytest.fixture
def device_memory(request: pytest.FixtureRequest) -> DeviceMemory:
    """The device's memory inside a test: current and peak bytes, and timelines."""
    limit = request.node.stash.get(_LIMIT, None)
    return _memory(limit)


# Innermost, so that nothing of other plugins is measured.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Measure the body of a test that has a limit, or the fixture."""
    limit = item.stash.get(_LIMIT, None)
    memory = getattr(item, "funcargs", {}).get(FIXTURE)
    if limit is None and memory is None:
        return (yield)
    records_itself = memory is not None
    memory = memory or _memory(limit)
    # What earlier tests left behind would make room for this one.
    gc.collect()
    with ExitStack() as recording:
        if not records_itself:
            _record(recording, memory, item.name)
        memory.begin()
        result = yield
        taken_bytes = memory.peak_bytes() - memory.resident_bytes
        # Where nothing was allocated there is no timeline, and nothing to explain.
        with suppress(TraceError):
            recording.close()
    if limit is not None:
        _judge(item, limit, memory, taken_bytes, whole_body=not records_itself)
    return result


def _judge(
    item: pytest.Item, limit: _Limit, memory: DeviceMemory, taken_bytes: int, *, whole_body: bool
) -> None:
    if limit.limit_bytes is not None and taken_bytes > limit.limit_bytes:
        text = report(memory, limit.limit_bytes, taken_bytes, whole_body=whole_body)
        pytest.fail(text, pytrace=False)
    if limit.baseline:
        _compare(item, limit, memory)


def _compare(item: pytest.Item, limit: _Limit, memory: DeviceMemory) -> None:
    updates = item.config.getoption(pytest_baseline.OPTION)
    if updates and hasattr(item.config, "workerinput"):  # one of the processes of pytest-xdist
        text = "writes files that several processes share; give it without -n."
        pytest.fail(f"{pytest_baseline.OPTION} {text}", pytrace=False)
    test, timeline = item.nodeid.partition("::")[2], memory.greatest_timeline
    wrong = pytest_baseline.judge(
        test, item.path, timeline, limit.tolerance_percent, updates=updates
    )
    if wrong:
        pytest.fail(wrong, pytrace=False)


def _record(recording: ExitStack, memory: DeviceMemory, title: str) -> None:
    try:
        recording.enter_context(memory.trace(title=title))
        return
    except TraceError as error:
        reason = f"This test cannot be recorded: {error}"
    # Outside the handler, otherwise pytest shows both errors.
    pytest.fail(reason, pytrace=False)


def _memory(limit: _Limit | None) -> DeviceMemory:
    try:
        return DeviceMemory(None if limit is None else limit.device)
    except MeterError as error:
        reason = f"The memory of this test cannot be measured: {error}"
    pytest.fail(reason, pytrace=False)


def _limit_of(mark: pytest.Mark) -> _Limit:
    with suppress(TypeError, ValueError):
        return _read(*mark.args, **mark.kwargs)
    received = [*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())]
    pytest.fail(
        f"Received @pytest.mark.{MARK}({', '.join(received)}); give one limit, a size such as "
        '"120 MiB" (units B, KiB, MiB, GiB, TiB) or a whole number of bytes from 0 on, or '
        'baseline=True with tolerance="1 %", and where needed device="CPU:0" or "GPU:0".',
        pytrace=False,
    )


def _read(
    limit: str | int | None = None,
    *,
    device: str | None = None,
    baseline: bool = False,
    tolerance: str | None = None,
) -> _Limit:
    if type(baseline) is not bool or ((limit is None or tolerance is not None) and not baseline):
        raise ValueError
    if isinstance(limit, str):
        limit = parse_bytes(limit)
    elif limit is not None and (type(limit) is not int or limit < 0):
        raise ValueError
    if device is not None and not re.fullmatch(r"(CPU|GPU):\d+", device):
        raise ValueError
    percent = WHOLE_TOLERANCE_PERCENT if tolerance is None else parse_percent(tolerance)
    return _Limit(limit, device, baseline, percent)
