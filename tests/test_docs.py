"""What README and documentation show runs, and what is generated for them can be."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import commands
import insertions
import pytest
import reference
import yaml
from mem_dfa.experiments.__main__ import COMMANDS
from mem_dfa.experiments.checks import gate_file
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.report import facts
from mem_dfa.profiling import __main__ as profile

from tests import documented

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALLED = {"mem-dfa": 1, "python -m experiments.": 1, "python -m profiling": 2}
OTHERS = ("git clone", "git add", "dask ", "python -m pytest test_")
"""Commands that are no part of the project, or that the page's own blocks answer."""


def told(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix().replace("/", "-")


def lines(page: Path) -> Iterator[str]:
    """The command lines that a page shows, in blocks and in its text."""
    for block in documented.blocks(page):
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from (part.strip() for part in line.split("&&"))
    for code in documented.inline_code(page):
        if re.match(r"(mem-dfa|python -m experiments\.)\S* .*--", code):
            yield code


@pytest.mark.slow
def test_python_of_every_page_runs(tmp_path: Path) -> None:
    """In one process, which is where a page's time goes."""
    folders = [tmp_path / told(page) for page in PAGES]
    laid = [
        folder for page, folder in zip(PAGES, folders, strict=True) if documented.lay(page, folder)
    ]
    assert len(laid) >= 10
    done = subprocess.run(
        [sys.executable, documented.__file__, *map(str, laid)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=told)
def test_commands_of_a_page_can_be_parsed(
    page: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Beside the files that the page shows, and the results."""
    documented.lay(page, folder := tmp_path / "page")
    (folder / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for line in lines(page):
        words = shlex.split(line, comments=True)
        if not words or line.startswith(OTHERS) or words[0] == "cd":
            continue
        if words[0] == "make":
            assert re.search(rf"^\.PHONY:.* {words[1]}\b", (ROOT / "Makefile").read_text(), re.M)
        elif words[:2] == ["pip", "install"]:
            extras = re.fullmatch(r"(?:\.|mem-dfa)\[(\w+)\]", words[2])
            assert extras and extras[1] in setup()["options.extras_require"]
        else:
            parse(words)
    assert "Traceback" not in capsys.readouterr().err


def parse(words: list[str]) -> None:
    """By the command's own parser; what costs little also runs."""
    if words[0] == "mem-dfa":
        name, *rest = words[1:]
    else:
        assert words[:2] == ["python", "-m"], f"nobody knows how to test {shlex.join(words)}"
        name, rest = words[2].removeprefix("experiments."), words[3:]
        name = "profile" if name == "profiling" else name
    assert name in COMMANDS, f"there is no {name}"
    rest = [found for word in rest for found in sorted(map(str, Path().glob(word))) or [word]]
    options = commands.parser_of(name).parse_args(rest)
    if "algo" in options:
        assert arguments.cells(options)
    if name == "profile" and rest[0] == "show" and all(Path(word).exists() for word in rest[1:]):
        assert profile.main(rest) == 0


@pytest.mark.parametrize("page", PAGES, ids=told)
def test_blocks_are_of_known_languages(page: Path, tmp_path: Path) -> None:
    for block in documented.blocks(page):
        known = ("python", "bash", "yaml", "toml", "text")
        assert block.language in known, f"line {block.line}"
        if block.language == "toml":
            (tmp_path / "memory-gate.toml").write_text(block.text)
            assert gate_file.read(tmp_path / "memory-gate.toml").cells
        if block.language == "yaml":
            assert yaml.safe_load(block.text)


def test_what_pages_ask_for_is_there() -> None:
    known = insertions.texts(str(ROOT / "results"))
    for page in PAGES:
        asked = set(re.findall(r"\{\{ (\w+) \}\}", page.read_text(encoding="utf-8")))
        assert asked <= set(known), page


@pytest.mark.parametrize("model", ["mlp", "mnist_conv"])
def test_accuracies_that_captions_call_equal(model: str) -> None:
    found = facts.accuracies(ROOT / "results", model)
    assert found["dfa"] == found["mem_dfa"] != []


def test_the_reference_has_all_that_there_is() -> None:
    pages = reference.pages()
    for name in COMMANDS:
        assert re.search(rf"^## {name}\b", pages["commands"], re.M)
        assert f"| `{name}` |" in pages["exit-status"]
    assert "usage: mem-dfa profile show" in pages["commands"]
    assert "| `peak_bytes` | whole number from 0 |" in pages["columns"]


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser
