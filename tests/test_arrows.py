"""Imports run one way: no circle between files, none between rooms."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "mem_dfa": "mem_dfa",
    "profiling": "mem_dfa.profiling",
    "experiments": "mem_dfa.experiments",
}


def modules() -> dict[str, Path]:
    found = {}
    for folder, name in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = [name, *file.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = file
    return found


MODULES = modules()


def imported(module: str) -> Iterator[str]:
    """What a file imports of the project, wherever in it, and whether for types alone or not."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph() -> dict[str, set[str]]:
    """The lazy top of the package, which names what others are, is nobody's import here."""
    return {
        module: {name for name in imported(module) if name in MODULES} - {module, "mem_dfa"}
        for module in MODULES
        if module not in ("mem_dfa", "mem_dfa.profiling")
    }


def room(module: str) -> str:
    """The folder that a file is in; files at the top of a package are by themselves."""
    return module.rpartition(".")[0] if MODULES[module].name != "__init__.py" else module


def test_no_circle_between_files() -> None:
    list(graphlib.TopologicalSorter(graph()).static_order())


@pytest.mark.parametrize("package", FOLDERS.values())
def test_no_circle_between_rooms(package: str) -> None:
    rooms: dict[str, set[str]] = {}
    for module, others in graph().items():
        own = room(module) if room(module) != package else module
        for other in others:
            its = room(other) if room(other) != package else other
            if own != its and all(name.startswith(package) for name in (own, its)):
                rooms.setdefault(own, set()).add(its)
    list(graphlib.TopologicalSorter(rooms).static_order())


def test_packages_stand_by_themselves() -> None:
    """The algorithms and the profiler know nothing of each other, and neither of the commands."""
    own = {"mem_dfa.profiling": "mem_dfa.profiling", "mem_dfa.experiments": ""}
    for module, others in graph().items():
        package = next((name for name in own if module.startswith(name)), "mem_dfa")
        if package == "mem_dfa.experiments":
            continue
        allowed = ("mem_dfa.profiling", "mem_dfa.units", "mem_dfa.extras")
        wrong = [
            other
            for other in others
            if (not other.startswith(allowed) if package == "mem_dfa.profiling"
                else other.startswith(tuple(own)))
        ]  # fmt: skip
        assert not wrong, f"{module} imports {wrong}"
