"""The CSV holds whole rows whatever happens to whoever writes it."""

import csv
import multiprocessing
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.table import FREE_BYTES

from mem_dfa import registry
from tests.experiments import made


def row(number: int) -> dict[str, object]:
    """A row whose text needs quoting."""
    unknown = {"status": "killed", "peak_bytes": None, "error": 'a, "b"'}
    return made.row("bp", seed=number, step_bytes=2**40 + number, **unknown)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows on disk."""
    with (folder / results.FILE_NAME).open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def append_for_ever(folder: Path, first: int) -> None:
    """Appends until it is killed."""
    for number in range(first, first + 100_000):
        results.append(folder, [row(number)])


def append_some(folder: Path, first: int) -> None:
    """Appends five rows, one after another."""
    for number in range(first, first + 5):
        results.append(folder, [row(number)])


def test_rows_are_appended(tmp_path: Path) -> None:
    """Earlier bytes stay, integers stay integers, what is unknown stays empty."""
    path = results.append(tmp_path / "new" / "folder", [row(1)])
    before = path.read_bytes()
    results.append(path.parent, [row(2), row(3)])
    assert path.read_bytes().startswith(before)
    rows = read_rows(path.parent)
    assert [int(entry["step_bytes"]) for entry in rows] == [2**40 + n for n in (1, 2, 3)]
    assert rows[0]["error"] == 'a, "b"'
    assert rows[0]["peak_bytes"] == ""
    assert list(rows[0])[:11] == [
        *("algorithm", "model", "layers", "batch_size", "execution", "device", "status"),
        *("peak_bytes", "resident_bytes", "step_bytes", "step_time_s"),
    ]


def test_whatever_a_value_holds_the_rows_can_be_read(tmp_path: Path) -> None:
    """As an argument does that comes from a script with Windows's ends of lines."""
    values = {"error": "one\rtwo", "trace_file": '"out",\n it', "status": "é,", "keras": "3\r"}
    for _ in range(2):
        results.append(tmp_path, [row(1) | values])
    rows = results.read(tmp_path)
    assert [known["error"] for known in rows] == ["one two"] * 2
    assert {(known["trace_file"], known["status"], known["keras"]) for known in rows} == {
        ('"out",\n it', "é,", "3 ")
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("options", "budget=1\tMiB"), ("algorithm", "x" * 301), ("layers", "much")],
)
def test_what_nobody_could_read_again_is_not_written(
    column: str, value: str, tmp_path: Path
) -> None:
    path = results.append(tmp_path, [row(1)])
    before = path.read_bytes()
    with pytest.raises(results.ResultsError, match=f"takes no such row .{column} is"):
        results.append(tmp_path, [row(2), row(3) | {column: value}])
    assert path.read_bytes() == before


def test_an_option_that_is_added_leaves_earlier_rows_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It adds no column: rows with it stand below those that know nothing of it."""
    file = Path(__file__).parents[2] / "results" / results.FILE_NAME
    shutil.copy(file, tmp_path)
    before = results.read(tmp_path)
    assert len(before) > 700
    assert any(known["options"] for known in before)
    rank = registry.Option("rank", "count", "of feedback", "full")
    monkeypatch.setattr(registry, "OPTIONS", (*registry.OPTIONS, rank))
    cell = Cell("dfa", "mlp", options={"rank": 3, "feedback": "stored"})
    results.append(tmp_path, [made.row("dfa", model="mlp", options=cell.row()["options"])])
    *earlier, added = results.read(tmp_path)
    assert len(earlier) == len(before)
    assert earlier == before
    assert Cell.of(added).options == (("feedback", "stored"), ("rank", 3))


def test_killed_writer_leaves_whole_rows(tmp_path: Path) -> None:
    """Killed again and again at odd moments, the file is whole and can be appended to."""
    context = multiprocessing.get_context("spawn")
    known = 0
    for attempt in range(3):
        process = context.Process(target=append_for_ever, args=(tmp_path, 1000 * attempt))
        process.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            written = tmp_path / results.FILE_NAME
            if written.exists() and len(read_rows(tmp_path)) > known + 3 + attempt:
                break
            time.sleep(0.003)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        rows = read_rows(tmp_path)
        assert len(rows) > known
        assert all(entry["algorithm"] == "bp" for entry in rows)
        assert results.read(tmp_path)
        known = len(rows)
    results.append(tmp_path, [row(1)])
    assert len(read_rows(tmp_path)) == known + 1


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    """Each of four writers finds all its rows."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_some, args=(tmp_path, 5 * n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(int(entry["seed"]) for entry in read_rows(tmp_path)) == list(range(20))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name,value\na,1\n", "columns"),
        (b"\xff\xfe\x00\x01", "no table of measurements .*decode"),
        ((",".join(results.COLUMNS) + "\nbp,mlp").encode(), "not whole"),
    ],
)
def test_foreign_file_is_left_as_it_is(content: bytes, reason: str, tmp_path: Path) -> None:
    """It is refused before measuring and when appending, and not changed."""
    path = tmp_path / results.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(results.ResultsError, match=reason):
        results.check_writable(tmp_path)
    with pytest.raises(results.ResultsError, match=reason):
        results.append(tmp_path, [row(1)])
    assert path.read_bytes() == content


def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    """It is found out before anything is measured; a limit to files' sizes stands for it."""
    results.append(tmp_path, [row(1)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FREE_BYTES, before[1]))
        with pytest.raises(results.ResultsError, match="cannot be written"):
            results.check_writable(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    results.check_writable(tmp_path)


def test_failed_write_leaves_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full just then costs the new row only."""
    results.append(tmp_path, [row(1)])
    before = (tmp_path / results.FILE_NAME).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(results.ResultsError, match="No space left"):
        results.append(tmp_path, [row(2)])
    assert (tmp_path / results.FILE_NAME).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {
        results.FILE_NAME,
        f".{results.FILE_NAME}.lock",
    }


def test_cropped_images_look_like_those_they_were_cropped_from() -> None:
    cell = Cell("bp", "conv20", dataset="cifar10_augmented", device="CPU:0")
    rows = [made.row("bp", cell.depth, dataset=name) for name in ("mnist", "cifar10_augmented")]
    found = results.select(rows, [cell])
    assert found.rows == rows[1:]
    assert found.missing == []
