"""The command line: every number of a timeline, every mistake in one sentence."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mem_dfa.profiling.__main__ import main
from mem_dfa.profiling.timeline.lifetimes import fill

from mem_dfa import profiling
from tests.profiling.drawn import FORWARD, small
from tests.profiling.events import events_of

REPLAYED = "replay/block_002/dense_2/MatMul"


@pytest.fixture
def saved(tmp_path: Path) -> str:
    timeline = small("before", scale=1024)
    timeline.predicted_peak_bytes = 3 * 2**19
    return str(timeline.save(tmp_path / "before.timeline.json.gz"))


@pytest.fixture
def changed(tmp_path: Path) -> str:
    return str(small("after", scale=2048).save(tmp_path / "after.timeline.json.gz"))


def rows(text: str) -> list[list[str]]:
    """The cells of each table row."""
    return [
        [cell.strip() for cell in line.strip("│┃ \n").split("│")]
        for line in text.replace("┃", "│").splitlines()
        if line.startswith("│")
    ]


def test_show_prints_every_number(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", saved]) == 0
    text = capsys.readouterr().out
    found = rows(text)
    assert text.startswith("before, on CPU:0")
    assert ["peak", "1.75"] in found
    assert ["resident: alive before the step", "0.50"] in found
    assert ["step: peak - resident", "1.25"] in found
    assert ["predicted peak", "1.50"] in found
    # Nobody knows it, so there is no line of it.
    assert "allocator's own" not in text
    # By layer, by phase, by category.
    assert ["dense", "1.25", "71%"] in found
    assert ["forward", "1.25", "71%"] in found
    assert ["activation", "1.25", "71%"] in found
    assert "The largest of 3 tensors alive at the peak" in text
    assert ["1.00", "-", "dense", "activation", FORWARD] in found


@pytest.mark.parametrize("command", ["show", "diff"])
def test_tables_fit_80_columns(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "forward/block_001/" + "long_layer_" * 20 + "1/MatMul"
    paths = [
        str(small("long title " * 20, scale=scale, layer_op=name).save(tmp_path / str(scale)))
        for scale in (2**20, 2**30)
    ]
    assert main([command, *paths]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    # Nothing is cut.
    assert "…" not in printed
    assert "long_layer_" * 19 in "".join(cells[0] for cells in rows(printed))


def test_ctrl_c(
    saved: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: str) -> profiling.Timeline:
        raise KeyboardInterrupt

    monkeypatch.setattr("mem_dfa.profiling.facade.open_timeline", interrupt)
    assert main(["show", saved]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "forward/[red]x[/red]/:smile:/MatMul"
    path = small("[bold]title[/bold]", layer_op=name).save(tmp_path / "t.timeline.json.gz")
    assert main(["show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "[bold]title[/bold]" in text
    assert name in "".join(cells[-1] for cells in rows(text))


def test_inexact_timeline_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timeline = small()
    timeline.fault = "256 bytes are missing."
    path = str(timeline.save(tmp_path / "t.timeline.json.gz"))
    assert main(["show", path]) == 0
    assert "Not exact: 256 bytes are missing." in capsys.readouterr().out
    assert main(["diff", path, path]) == 0
    assert "is not exact: 256 bytes are missing." in capsys.readouterr().err
    assert main(["show", path, "--csv", str(tmp_path / "out.csv")]) == 2
    assert not (tmp_path / "out.csv").exists()


def test_show_writes_what_it_is_asked_for(
    saved: str, changed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"--html": "o.html", "--png": "o.svg", "--csv": "o.csv", "--perfetto": "o.json"}
    options = [text for option, name in names.items() for text in (option, str(tmp_path / name))]
    assert main(["show", saved, *options]) == 0
    printed = capsys.readouterr().out
    assert all(f"written: {tmp_path / name}" in printed for name in names.values())
    assert (tmp_path / "o.csv").read_text().count("\n") == 9  # eight events and their heading
    assert json.loads((tmp_path / "o.json").read_text())
    assert "before" in (tmp_path / "o.html").read_text()
    # Several files are a comparison.
    assert main(["show", saved, changed, *options[:4]]) == 0
    for name in ("o.html", "o.svg"):
        text = (tmp_path / name).read_text()
        assert "before" in text
        assert "after" in text


@pytest.mark.parametrize("option", ["--html", "--png", "--csv", "--perfetto"])
def test_no_recording_is_written_over(
    option: str, saved: str, changed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when an option that takes a name is taken for one that takes none."""
    before = Path(saved).read_bytes()
    assert main(["show", option, saved, changed]) == 2
    assert f"error: {option} {saved} names a recording" in capsys.readouterr().err
    other = Path(saved).rename(tmp_path / "recorded")
    link = tmp_path / "link"
    link.symlink_to(other)
    assert main(["show", str(other), option, str(link)]) == 2
    assert f"would write over what is read from {other}" in capsys.readouterr().err
    assert other.read_bytes() == before


def test_no_result_is_written_over_another(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["show", saved, "--html", out, "--csv", out]) == 2
    assert "--csv" in capsys.readouterr().err
    assert not Path(out).exists()


def test_what_is_there_keeps_its_kind_and_mode(saved: str, tmp_path: Path) -> None:
    """A link stays one, and a device is written to."""
    private, link = tmp_path / "private.csv", tmp_path / "link.csv"
    private.touch(mode=0o600)
    link.symlink_to(private)
    assert main(["show", saved, "--csv", str(link)]) == 0
    assert link.is_symlink()
    assert private.read_text().count("\n") == 9
    assert private.stat().st_mode & 0o777 == 0o600
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["show", saved, "--csv", str(pipe)]) == 0
        assert pipe.is_fifo()
        assert os.read(reader, 7) == b"time_ns"
    finally:
        os.close(reader)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no /dev/stdout")
def test_standard_output_is_written_to(saved: str, tmp_path: Path) -> None:
    """A file that it is appended to keeps what it holds; and through a pipe."""
    command = [sys.executable, "-m", "profiling", "show", saved, "--csv", "/dev/stdout"]
    file = tmp_path / "all.csv"
    file.write_text("before\n")
    with file.open("a") as out:
        subprocess.run(command, stdout=out, check=True)
    piped = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert file.read_text() == f"before\n{piped}"
    assert "time_ns,kind," in piped
    assert "written: /dev/stdout" in piped


def test_diff_sums_to_the_peaks(
    saved: str, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", saved, changed]) == 0
    text = capsys.readouterr().out
    assert "first:  before" in text
    assert "second: after" in text
    found = rows(text)
    assert ["dense", "activation", "1.25", "2.50", "+1.25"] in found
    assert found[-1] == ["peak", "", "1.75", "3.50", "+1.75"]
    assert main(["diff", changed, saved]) == 0
    assert rows(capsys.readouterr().out)[-1][-1] == "-1.75"


def test_diff_hides_what_is_small_and_says_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """100 MiB at the greater peak: a change of 1 MiB is shown, one of less is not."""
    almost = 1 - 2**-12  # as much as the allocator hands out
    sizes = {"same": (8, 8), "shown": (91, 90), "one": (0, 1), "two": (0, almost), "gone": (1, 0)}
    paths = []
    for number in (0, 1):
        events = [
            (place, round(pair[number] * 2**20), f"forward/{name}/{name}_1/MatMul")
            for place, (name, pair) in enumerate(sizes.items())
            if pair[number]
        ]
        timeline = fill(profiling.Timeline(f"run {number}"), events_of(*events))
        paths.append(str(timeline.save(tmp_path / str(number))))
    assert main(["diff", *paths]) == 0
    assert rows(capsys.readouterr().out) == [
        ["layer", "category", "first", "second", "difference"],
        ["gone", "activation", "1.0", "0.0", "-1.0"],
        ["shown", "activation", "91.0", "90.0", "-1.0"],
        ["one", "activation", "0.0", "1.0", "+1.0"],
        ["1 smaller", "", "0.0", "1.0", "+1.0"],
        ["1 unchanged", "", "8.0", "8.0", "0.0"],
        ["peak", "", "100.0", "100.0", "0.0"],
    ]


def test_diff_says_when_nothing_changed(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", saved, saved]) == 0
    assert capsys.readouterr().out == (
        "Nothing changed: the same bytes in every layer, 1.8 MiB at the peak.\n"
    )


def test_xplane_file_of_anybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    with profiling.record(tmp_path):
        held = tf.raw_ops.Empty(shape=[300 * 2**20], dtype=tf.uint8, init=False)
    del held
    path = str(profiling.find_trace(tmp_path))
    assert main(["show", path]) == 0
    found = rows(capsys.readouterr().out)
    (largest,) = [row for row in found if row[-1] == "Empty"]
    assert largest[:2] == ["300.0", "[314572800]"]


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _bad_files(folder: Path) -> dict[str, tuple[str, str]]:
    foreign = gzip.compress(b'{"a": 1}')
    whole = small().save(folder / "w.timeline.json.gz").read_bytes()
    content = json.loads(gzip.decompress(whole))
    less, other = (
        gzip.compress(json.dumps(content | change).encode())
        for change in ({"events": {}}, {"attribution": "another"})
    )
    return {
        "missing": (str(folder / "none.timeline.json.gz"), "No such file"),
        "directory": (str(folder), "Is a directory"),
        "empty": (_write(folder / "e.timeline.json.gz", b""), "(0 bytes) is damaged or no"),
        "cut": (_write(folder / "c.timeline.json.gz", whole[:-20]), "is damaged or no timeline"),
        "foreign": (_write(folder / "f.timeline.json.gz", foreign), "is JSON but no timeline"),
        "columns": (
            _write(folder / "l.timeline.json.gz", less),
            "is damaged: events.time_ns is missing",
        ),
        "attribution": (
            _write(folder / "o.timeline.json.gz", other),
            "attribution is 'another'; allowed is",
        ),
        "text": (_write(folder / "t.txt", b"hello"), "is damaged or no timeline"),
        "missing XPlane": (str(folder / "none.xplane.pb"), "Cannot read"),
        "empty XPlane": (_write(folder / "e.xplane.pb", b""), "is empty or no XPlane file"),
        "foreign XPlane": (_write(folder / "f.xplane.pb", b"hello"), "no XPlane file"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "directory",
        "empty",
        "cut",
        "foreign",
        "columns",
        "attribution",
        "text",
        "missing XPlane",
        "empty XPlane",
        "foreign XPlane",
    ],
)
@pytest.mark.parametrize("command", ["show", "diff"])
def test_file_that_cannot_be_read(
    command: str, kind: str, tmp_path: Path, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, sentence = _bad_files(tmp_path)[kind]
    assert main([command, saved, path]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert path in captured.err
    assert sentence in captured.err


@pytest.mark.parametrize("option", ["--html", "--png", "--csv", "--perfetto"])
def test_output_that_cannot_be_written(
    option: str, tmp_path: Path, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _write(tmp_path / "file", b"") + "/below.png"
    assert main(["show", saved, option, out]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: Cannot write {out} (")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "required: COMMAND"),
        (["show"], "required: FILE"),
        (["diff", "one"], "required: FILE"),
        (["draw", "one"], "invalid choice: 'draw'"),
        (["show", "a", "b", "--csv", "o.csv"], "--csv writes one timeline and received 2"),
        (["show", "a", "b", "--perfetto", "o"], "--perfetto writes one timeline and received 2"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert sentence in message
    assert message.count("\n") == 1


def test_picture_of_unknown_kind(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", saved, "--png", str(tmp_path / "o.bmp")]) == 2
    assert "let its name end in .png, .pdf or .svg" in capsys.readouterr().err
