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


def package_of(module: str) -> str:
    return next(name for name in reversed(FOLDERS.values()) if f"{module}.".startswith(f"{name}."))


def room(module: str) -> str:
    """The folder that a file is in; files at the top of a package are by themselves."""
    folder = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return module if folder == package_of(module) else folder


def test_no_circle_between_files() -> None:
    list(graphlib.TopologicalSorter(graph()).static_order())


@pytest.mark.parametrize("package", FOLDERS.values())
def test_no_circle_between_rooms(package: str) -> None:
    rooms: dict[str, set[str]] = {}
    for module, others in graph().items():
        its = {room(other) for other in others if package_of(other) == package}
        if package_of(module) == package:
            rooms.setdefault(room(module), set()).update(its - {room(module)})
    list(graphlib.TopologicalSorter(rooms).static_order())


def test_packages_stand_by_themselves() -> None:
    """The algorithms and the profiler know nothing of each other, and neither of the commands."""
    for module, others in graph().items():
        package, shared = package_of(module), ("mem_dfa.units", "mem_dfa.extras")
        known = [other for other in others if package_of(other) != package and other not in shared]
        assert package == "mem_dfa.experiments" or not known, f"{module} imports {known}"
