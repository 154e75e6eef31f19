"""Where each algorithm's error signal comes from: the registry's words, and its module's equation.

The equation and its source stand on top of an algorithm's file, which is read without running it.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mem_dfa import registry

HEADS = ["algorithm", "where δ_i comes from", "equations", "source"]


def rows() -> Iterator[Sequence[str]]:
    """A line of a table for each algorithm of the registry, in Markdown."""
    for name, entry in registry.ALGORITHMS.items():
        text = docstring(entry.place.partition(":")[0])
        equations = "<br>".join(equation.replace("|", r"\|") for equation in equations_of(text))
        yield [f"`{name}`", entry.signal, equations, source_of(text)]


def docstring(module: str) -> str:
    """Of a module, which is not imported."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    return ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""


def equations_of(text: str) -> list[str]:
    """The lines of the first indented paragraph of a docstring."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if all(line.startswith("    ") for line in lines):
            return [" ".join(line.split()) for line in lines]
    return []


def source_of(text: str) -> str:
    """What the first paragraph names in parentheses, its papers as links."""
    first = " ".join(text.split("\n\n")[0].split())
    named = re.search(r"\((.*\d.*?)\)", first)
    said = named[1] if named else "-"
    paper = r"arXiv (\d{4}\.\d{4,5})"
    return re.sub(paper, r"[arXiv \1](https://arxiv.org/abs/\1)", said)
