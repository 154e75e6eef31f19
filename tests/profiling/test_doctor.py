"""The doctor: each line is really tried, and a line that fails is told, not hidden."""

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mem_dfa.profiling import ENVIRONMENT_VARIABLE, doctor, probes
from mem_dfa.profiling.doctor import SOURCES, Finding, Source

ALL = [source for sources in SOURCES.values() for source in sources]


def _name(source: Source) -> str:
    return source.probe.__name__


@pytest.mark.slow
def test_everything_is_tried_on_this_machine(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the caller has set is not what is tried.
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "0")
    assert doctor.main([]) == 0
    captured = capfd.readouterr()
    assert "trying every source of numbers" in captured.err
    rows = _rows(captured.out)
    assert list(rows) == ["".join(source.title.split()) for source in ALL]
    for source in (source for source in ALL if _name(source) not in ("gpus", "small_tensors")):
        works, saw = rows["".join(source.title.split())]
        assert works == "works", saw
        assert "todo:" not in saw
    works, saw = rows["CPUstatisticswithoutthatvariable"]
    assert "10tensorsof100.0KiB" in saw
    assert works == "works" or "todo:setTF_CPU_ALLOCATOR_USE_BFC=1" in saw


def _rows(text: str) -> dict[str, list[str]]:
    """The cells of each row by the first one, without spaces, because lines are broken anywhere."""
    assert all(len(line) <= 80 for line in text.splitlines())
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("│"):
            cells = ["".join(cell.split()) for cell in line.strip("│").split("│")]
            if cells[1]:
                rows.append(cells)
            else:
                rows[-1] = [before + more for before, more in zip(rows[-1], cells, strict=True)]
    return {name: cells for name, *cells in rows}


def test_exact_peaks_and_events_are_required() -> None:
    assert [_name(source) for source in ALL if source.required] == ["cpu_statistics", "events"]


@pytest.mark.parametrize(
    ("failing", "status"), [("gpus", 0), ("xla", 0), ("events", 1), ("cpu_statistics", 1)]
)
def test_exit_status_depends_on_the_cpu_alone(
    failing: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examine() -> Iterator[Finding]:
        # In the order in which they happen to end.
        for source in reversed(ALL):
            works = _name(source) != failing
            yield Finding(source, works, "fine" if works else "broken by the test")

    monkeypatch.setattr(doctor, "examine", examine)
    assert doctor.main([]) == status
    captured = capsys.readouterr()
    assert captured.out.count("broken by the test") == captured.out.count("does not") == 1


def test_probe_that_fails_says_why() -> None:
    def broken() -> str:
        raise probes.ProbeError("no such luck")

    expected = {"probe": "broken", "works": False, "saw": "no such luck"}
    assert probes.result(broken) == expected


def test_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    findings = list(doctor._examine_group("others"))
    assert [finding.source for finding in findings] == list(SOURCES["others"])
    assert {finding.works for finding in findings} == {False}
    assert {finding.saw for finding in findings} == {"its process ended with status 1: "}


def _probing(path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """The only process says at once that matplotlib works, and then does something else."""
    said = json.dumps({"probe": "matplotlib", "works": True, "saw": "a picture"})
    path.write_text(f"#!/bin/sh\necho '{said}'\n{then}\n")
    path.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(path))
    monkeypatch.setattr(doctor, "SOURCES", {"others": SOURCES["others"]})


def test_findings_come_as_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _probing(tmp_path / "python", monkeypatch, "exec sleep 60")
    monkeypatch.setattr(doctor, "_PATIENCE_S", 3)
    findings, began = doctor.examine(), time.monotonic()
    first = next(findings)
    assert (_name(first.source), first.works, first.saw) == ("matplotlib", True, "a picture")
    assert time.monotonic() - began < 3
    # Whoever hangs is ended, and what came before stays.
    assert {finding.saw for finding in findings} == {"it did not end within 3 seconds"}


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_progress_is_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _probing(tmp_path / "python", monkeypatch, "echo broken >&2; exit 3")
    doctor.main([])
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[1] == "1 of 3 tried: pictures without a display (matplotlib): works"
    assert lines[3].startswith("3 of 3 tried: ")
    assert lines[3].endswith(": does not work")
    # Where that cannot be written, the table is the same.
    monkeypatch.setattr("sys.stderr", _Full())
    doctor.main([])
    assert capsys.readouterr().out == captured.out
    saw = [cells[1] for cells in _rows(captured.out).values()]
    assert any("itsprocessendedwithstatus3:broken" in text for text in saw)
