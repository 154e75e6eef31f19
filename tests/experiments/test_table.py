"""A row is appended whole or not at all, whatever happens then."""

import contextlib
import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import sweep
from mem_dfa.experiments.store import files, results
from mem_dfa.experiments.store.table import Table

from tests.experiments.meter import SMALL, Meter, good, read
from tests.experiments.test_results import row

STEPS = ["replace", "fsync", "open", "unlink", "fchmod"]


def numbers(folder: Path) -> list[int]:
    return [known["seed"] for known in results.read(folder)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {f".{results.FILE_NAME}.lock"}


@pytest.fixture(params=signal.valid_signals() & set(files.ENDING))
def ending(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that raises KeyboardInterrupt, as in a command."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("known", [0, 2])
def test_a_signal_at_every_step_loses_no_row(
    step: str, known: int, is_before: bool, ending: signal.Signals, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Neither those that are there nor the one that is being written; and the signal is heard."""
    for number in range(known):
        results.append(tmp_path, [row(number)])
    works, calls = getattr(os, step), 0

    def disturbed(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if is_before:
            signal.raise_signal(ending)
        try:
            return works(*given, **options)
        finally:
            if not is_before:
                signal.raise_signal(ending)

    is_heard = False
    with monkeypatch.context() as patch:
        patch.setattr(os, step, disturbed)
        try:
            with files.undisturbed():  # as in `trainings.keep`
                results.append(tmp_path, [row(known)])
        except KeyboardInterrupt:
            is_heard = True
    assert is_heard == (calls > 0)
    assert numbers(tmp_path) == list(range(known + 1))
    assert names(tmp_path) == {results.FILE_NAME}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("known", [0, 2])
def test_an_error_at_every_step_leaves_whole_rows(
    step: str, known: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any kind, also where nothing keeps an interrupt waiting."""
    for number in range(known):
        results.append(tmp_path, [row(number)])
    works = getattr(os, step)
    for is_before in (True, False):

        def broken(*given: Any, is_before: bool = is_before, **options: Any) -> Any:
            if not is_before:
                works(*given, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, step, broken)
            with contextlib.suppress(KeyboardInterrupt):
                results.append(tmp_path, [row(known)])
        assert numbers(tmp_path)[:known] == list(range(known))
        results.append(tmp_path, [row(known)])
        assert set(numbers(tmp_path)) == set(range(known + 1))


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The lock in another's hands; gives what lets it go."""
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.1)
    with (tmp_path / f".{results.FILE_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(lock, fcntl.LOCK_UN)


def test_a_lock_held_for_long_costs_no_row(
    held: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timer = threading.Timer(0.5, held)
    timer.start()
    results.append(tmp_path, [row(1)])
    timer.join()
    assert numbers(tmp_path) == [1]
    assert "another run has had" in capsys.readouterr().err


def test_a_run_that_is_ended_as_it_waits_keeps_its_row(
    held: Callable[[], None], tmp_path: Path
) -> None:
    timers = [
        threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)),
        threading.Timer(0.5, held),
    ]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        results.append(tmp_path, [row(1)])
    assert numbers(tmp_path) == [1]
    assert names(tmp_path) == {results.FILE_NAME}


def test_a_row_costs_the_same_in_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there are not parsed to append others."""
    parsed: list[int] = []
    parse = Table._row

    def counted(table: Table, line: Sequence[str]) -> dict[str, Any]:
        parsed.append(1)
        return parse(table, line)

    results.append(tmp_path, [row(n) for n in range(300)])
    monkeypatch.setattr(Table, "_row", counted)
    results.append(tmp_path, [row(300), row(301)])
    assert len(parsed) == 2


def test_rows_are_read_again_where_the_file_is_another(tmp_path: Path) -> None:
    assert numbers(tmp_path) == []
    path = results.append(tmp_path, [row(n) for n in range(5)])
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    assert numbers(tmp_path) == [0, 1]
    path.unlink()
    assert numbers(tmp_path) == []
    results.append(tmp_path, [row(7)])
    assert numbers(tmp_path) == [7]


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_the_users(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        path = results.append(tmp_path, [row(1)])
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.chmod(0o640)
        results.append(tmp_path, [row(2)])
        files.replace(path, path.read_bytes())
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path = tmp_path / results.FILE_NAME
    path.symlink_to(tmp_path / "there" / "kept.csv")
    for number in (1, 2):
        results.check_writable(tmp_path)
        results.append(tmp_path, [row(number)])
    files.replace(path, path.read_bytes())
    assert path.is_symlink()
    assert numbers(tmp_path) == [1, 2]


@pytest.mark.parametrize("name", ["{}", ".{}.lock"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name.format(results.FILE_NAME))
    for call in (results.check_writable, lambda out: results.append(out, [row(1)])):
        with pytest.raises(results.ResultsError, match="is no file"):
            call(tmp_path)


def test_a_pipe_in_the_place_of_a_sweeps_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / files.SWEEP_LOCK)
    with pytest.raises(results.ResultsError, match="is no file"):
        files.Holds(str(tmp_path))


def test_a_file_that_is_removed_while_a_sweep_runs(meter: Meter, tmp_path: Path) -> None:
    """What is not in it any more is measured by the next one."""
    line = [*SMALL, "--out", str(tmp_path)]
    assert sweep.main([*line, "--layers", "1"]) == 0

    def remove(cell: Any) -> dict[str, Any]:
        (tmp_path / results.FILE_NAME).unlink()
        return good(cell)

    meter.acts[2] = remove
    assert sweep.main(line) == 0
    assert len(read(tmp_path)) == 2
    assert sweep.main(line) == 0
    assert len(read(tmp_path)) == 4
