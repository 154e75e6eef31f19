"""The code of a page of documentation, and a process that runs the code of many pages.

``python tests/documented.py FOLDER...`` runs `program.py` of each folder in that folder, and then
what `test_*.py` lie in it.
"""

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

PROGRAM = "program.py"


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    title: str
    """The file that it is, if it says so."""
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and token.map:
            language, _, rest = token.info.partition(" ")
            title = rest.removeprefix('title="').removesuffix('"')
            yield Block(language, title, token.content, token.map[0] + 1)


def inline_code(page: Path) -> Iterator[str]:
    """What stands between backticks in a page's text."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        yield from (child.content for child in token.children or [] if child.type == "code_inline")


def lay(page: Path, folder: Path) -> bool:
    """Write a page's Python into a folder, a line where it is in the page; False if it has none."""
    program = ""
    folder.mkdir()
    for block in blocks(page):
        if block.language != "python":
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        else:
            program += "\n" * (block.line - program.count("\n")) + block.text
    (folder / PROGRAM).write_text(program, encoding="utf-8")
    return bool(program) or any(folder.glob("test_*.py"))


def _run(folder: Path) -> bool:
    gc.collect()
    gc.freeze()  # a recording would search what earlier pages left
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    source = (folder / PROGRAM).read_text(encoding="utf-8")
    try:
        exec(compile(source, f"{folder.name}.md", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        return False
    finally:
        sys.path.remove(str(folder))
    tests = sorted(map(str, folder.glob("test_*.py")))
    how = ["-q", "--import-mode=importlib", "--update-memory-baseline"]  # there is none yet
    return not tests or pytest.main([*how, *tests]) == 0


if __name__ == "__main__":
    wrong = [folder for folder in sys.argv[1:] if not _run(Path(folder))]
    if wrong:
        sys.exit(f"failed: {' '.join(wrong)}")
