"""Recordings begin, end and are found; see `test_counting` for what is in them."""

from pathlib import Path

import pytest
from mem_dfa.profiling import TraceError, find_trace, record


def test_missing_recording(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="Found 0 recordings"):
        find_trace(tmp_path)


def test_several_recordings_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "host.xplane.pb").touch()
    with pytest.raises(TraceError, match=r"Found 2 .* one/host.xplane.pb two/host.xplane.pb"):
        find_trace(tmp_path)
    assert find_trace(tmp_path / "two") == tmp_path / "two" / "host.xplane.pb"


def test_recording_stops_and_is_written_when_the_step_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record(tmp_path / "failed"):
        raise ZeroDivisionError
    assert find_trace(tmp_path / "failed").stat().st_size > 0
    # Only possible because the first one was stopped.
    with record(tmp_path / "next"):
        pass
    assert find_trace(tmp_path / "next").stat().st_size > 0


def test_second_recording_at_a_time_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(TraceError, match="Another TensorFlow profiler recording is running")
    with record(tmp_path / "outer"), refused, record(tmp_path / "inner"):
        pytest.fail("two recordings ran at once")
    assert find_trace(tmp_path / "outer").is_file()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TraceError, match=r"Cannot record into .*file"), record(tmp_path / "file"):
        pytest.fail("recorded into a file")
