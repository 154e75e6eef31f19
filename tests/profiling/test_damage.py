"""Damaged recordings: each is refused in one sentence that names the field, or harmless."""

import gzip
import io
import json
import os
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import Timeline, TraceError
from mem_dfa.profiling.__main__ import main
from mem_dfa.profiling.timeline.lifetimes import fill
from mem_dfa.profiling.timeline.storage import MOST_BYTES

from mem_dfa import profiling
from tests.profiling.drawn import small
from tests.profiling.events import events_of

HOSTILE = [
    *(None, True, "", "x", "0", "\ud800", "\x00", "<b>", "x" * 100_000, "deallocation"),
    *(-1, 0, 1, 1000, 2**53 + 1, 2**64, -(2**63) - 1, 10**400),
    *(0.0, -1.5, float("nan"), float("-inf")),
    *([], {}, [None], {"a": 1}, [[[[[1]]]]]),
]
# Nothing else in a recording says what these are.
FREE = {"title", "device", "fault", "allocator_peak_bytes", "predicted_peak_bytes"}
FREE |= {f"operations.{column}" for column in ("start_ns", "end_ns", "name", "thread")}
Written = Callable[[Any], str]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the file of a small timeline holds."""
    timeline = small()
    timeline.allocator_peak_bytes = timeline.peak_bytes
    timeline.predicted_peak_bytes = 1500
    path = timeline.save(tmp_path_factory.mktemp("whole") / "w.timeline.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A function that writes JSON, or text instead, as a recording's file and returns its path."""

    def write(content: Any) -> str:
        path = tmp_path / "d.timeline.json.gz"
        text = content if isinstance(content, str) else json.dumps(content)
        path.unlink(missing_ok=True)  # file systems wait for the disk where one is written over
        path.write_bytes(gzip.compress(text.encode(), 1))
        return str(path)

    return write


def _damages(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every hostile value in the place of every field, and in that of one of its rows."""
    for name, value in content.items():
        yield from ((name, {**content, name: hostile}) for hostile in HOSTILE)
        yield name, {key: content[key] for key in content if key != name}
        for column, values in value.items() if isinstance(value, dict) else ():
            field = f"{name}.{column}"
            others = {key: value[key] for key in value if key != column}
            middle = len(values) // 2
            rows = [[*values[:middle], hostile, *values[middle + 1 :]] for hostile in HOSTILE]
            columns = [*HOSTILE, *rows, values[::-1], values[:-1], values * 2, values[1:] * 2]
            yield from ((field, {**content, name: {**others, column: d}}) for d in columns)
            yield field, {**content, name: others}


def _run(*arguments: str) -> tuple[int, str]:
    """The status, and what was written to standard error."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        return main(arguments), errors.getvalue()


def _refusal(path: str) -> str:
    """What `show` says of a file that it refuses, without the file's name."""
    status, message = _run("show", path)
    assert status == 2
    return _one_sentence(message, path)


def _one_sentence(message: str, path: str) -> str:
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert len(message) < 600
    return message.replace(path, "FILE")


def test_every_field_damaged_in_every_way(
    content: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    harmless = {}
    for count, (field, damaged) in enumerate(_damages(content)):  # noqa: B007
        path = written(damaged)
        try:
            Timeline.load(path)
        except TraceError as error:
            name = field.rsplit(".", 1)[-1]
            sentence = _one_sentence(f"error: {error}\n", path)
            assert re.search(rf"\b{name}\b|FILE is JSON but no timeline", sentence), field
        else:
            assert field in FREE or damaged == content
            assert _run("show", path)[0] == 0
            if damaged != content:
                harmless[field] = damaged
    assert count > 2000
    # Whatever is shown can be drawn and written, too; a page takes longest.
    for number, (field, damaged) in enumerate(harmless.items()):
        path, kinds = written(damaged), ["csv", "perfetto", *["html"] * (number % 4 == 0)]
        status, message = _run("show", path, *[f"--{kind}={tmp_path / kind}" for kind in kinds])
        assert status == (2 if field == "fault" else 0), message
        assert _run("diff", path, path)[0] == 0


def test_no_writer_takes_a_damaged_file(
    content: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    path = written({**content, "resident_bytes": {}})
    words = "resident_bytes is {}; allowed is a whole number from 0 to"
    for option in ("--html", "--png", "--csv", "--perfetto"):
        status, message = _run("show", path, option, str(tmp_path / "out.png"))
        assert status == 2
        assert words in message
    assert words in _run("diff", path, path)[1]
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(TraceError, match=r"resident_bytes is \{\}"):
        Timeline.load(path)


def test_false_peaks(content: dict[str, Any], written: Written) -> None:
    """An exact recording's peak is the allocator's own, and its running bytes are their sums."""
    ten = {**content, "allocator_peak_bytes": 17920}
    assert "allocator_peak_bytes is 17920; the greatest of" in _refusal(written(ten))
    assert "events.running_bytes is 1792" in _refusal(written(ten))
    ten["events"] = {**content["events"]}
    ten["events"]["running_bytes"] = [768, 17920, 768, 1280, 1024, 1280, 768, 512]
    assert "events.running_bytes[1] is 17920; allowed is" in _refusal(written(ten))
    # One that is not exact says so itself.
    assert _run("show", written({**ten, "fault": "something is missing"}))[0] == 0


def test_bomb(tmp_path: Path) -> None:
    """Four megabytes that unpack to four gigabytes."""
    path = tmp_path / "bomb.timeline.json.gz"
    path.write_bytes(gzip.compress(b" " * 2**20) * 4096)
    tracemalloc.start()
    try:
        message = _refusal(str(path))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.search(r"FILE has 4\.\d MiB and unpacks to more than 128\.0 MiB", message)
    assert most_bytes < 1.1 * MOST_BYTES


@pytest.mark.parametrize("inner", ["[" * 10**6 + "]" * 10**6, '{"a":' * 10**6, "[" + "[]," * 10**6])
def test_too_many_lists(inner: str, content: dict[str, Any], written: Written) -> None:
    """Deep ones exhaust the stack, and many of them memory."""
    text = json.dumps({**content, "title": "here"}).replace('"here"', inner)
    assert "FILE is damaged: it holds more than 100 lists and objects" in _refusal(written(text))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: f"[{text}]", "is JSON but no timeline"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "has format version 2, this"),
        (lambda text: text.replace('"version": 1', '"version": [[]]'), "has format version [[]]"),
        (lambda text: '{"title": 0, ' + text[1:], "is damaged: 'title' is there twice"),
        (lambda text: text.replace('"kind"', '"time_ns"'), "is damaged: 'time_ns' is there twice"),
        (lambda text: text.replace("512", "9" * 5000), "is damaged or no timeline"),
        (lambda text: text[:-5], "is damaged or no timeline"),
        (lambda text: "", "is damaged or no timeline"),
    ],
)
def test_json_that_is_no_timeline(
    damage: Callable[[str], str], words: str, content: dict[str, Any], written: Written
) -> None:
    assert words in _refusal(written(damage(json.dumps(content))))


def test_files_that_are_none(content: dict[str, Any], tmp_path: Path) -> None:
    whole = json.dumps(content)
    path, loop = tmp_path / "d.timeline.json.gz", tmp_path / "loop.timeline.json.gz"
    for encoding in ("utf-16", "utf-32"):
        path.write_bytes(gzip.compress(whole.encode(encoding)))
        assert "is damaged or no timeline" in _refusal(str(path))
    path.write_bytes(gzip.compress(whole.replace("small", "é").encode("latin-1")))
    assert "is damaged or no timeline" in _refusal(str(path))
    packed = gzip.compress(whole.encode())
    for length in range(0, len(packed), 37):
        path.write_bytes(packed[:length])
        assert f"({length} bytes) is damaged or no timeline" in _refusal(str(path))
    os.mkfifo(pipe := tmp_path / "pipe")
    assert "FILE, a pipe; write it to a file" in _refusal(str(pipe))
    loop.symlink_to(loop)
    assert "Too many levels of symbolic links" in _refusal(str(loop))
    for suffix in (".timeline.json.gz", ".xplane.pb"):
        assert "Cannot read FILE (" in _refusal("n" * 300 + suffix)


def test_nothing_is_saved_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.timeline.json.gz"
    with pytest.raises(TraceError, match=r"Cannot write .*: title is 'xxx.* at most 10000 charac"):
        small("x" * 10_001).save(path)
    monkeypatch.setattr("mem_dfa.profiling.timeline.storage.MOST_BYTES", 1000)
    with pytest.raises(TraceError, match=r"it would unpack to 2\.\d KiB, and no more than 1000 B"):
        small().save(path)
    assert not path.exists()


def test_recordings_of_the_results_are_whole() -> None:
    paths = sorted(Path(profiling.__file__).parents[1].glob("results/timelines/*.timeline.json.gz"))
    assert paths
    for path in paths:
        timeline = Timeline.load(path)
        assert timeline.peak_bytes == timeline.allocator_peak_bytes


def test_recordings_that_miss_events_are_read(tmp_path: Path) -> None:
    """Whatever is missing, what is written can be read, and says that it is not exact."""
    path = tmp_path / "t.timeline.json.gz"
    changes = [(1, 256), (2, 1024), (1, -256), (1, 300), (3, 0), (2, -1024), (3, 512), (1, -300)]
    events = events_of(*changes, before_bytes=512)
    for chosen in range(1, 2 ** len(events), 7):
        kept = [event for number, event in enumerate(events) if chosen >> number & 1]
        timeline = fill(Timeline("missing"), kept)
        timeline.save(path)
        loaded = Timeline.load(path)
        assert loaded.fault == timeline.fault
        assert loaded.by("block").equals(timeline.by("block"))
        path.unlink()
