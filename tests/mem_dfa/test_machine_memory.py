"""What control groups allow, as Linux tells it in files."""

from pathlib import Path

import psutil
import pytest

from mem_dfa import machine_memory

GIB, TOTAL, FREE = 2**30, 16 * 2**30, 10 * 2**30


class Memory:
    """The machine's, in the place of psutil's."""

    available = FREE


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where control groups are told of; the machine itself has 16 GiB, 10 of them free."""
    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(machine_memory, "machine_bytes", lambda: TOTAL)
    monkeypatch.setattr(machine_memory, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine_memory, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def make_group(folder: Path, limit: int | str, used: int, file_pages: int) -> None:
    """One of either version."""
    folder.mkdir(parents=True, exist_ok=True)
    is_first = "memory" in folder.parts
    names = ("limit_in_bytes", "usage_in_bytes") if is_first else ("max", "current")
    for name, value in zip(names, (limit, used), strict=True):
        (folder / f"memory.{name}").write_text(f"{value}\n")
    total = "total_" if is_first else ""
    (folder / "memory.stat").write_text(f"anon 3\n{total}inactive_file {file_pages}\n")


VERSIONS = [("0::/a/b", "groups", "max"), ("7:memory:/a/b", "groups/memory", 2**63 - 4096)]


@pytest.mark.parametrize(("own", "root", "unlimited"), VERSIONS)
@pytest.mark.parametrize("limited", ["", "a", "a/b"])
def test_the_least_of_a_group_and_those_that_hold_it(
    own: str, root: str, unlimited: int | str, limited: str, groups: Path
) -> None:
    (groups / "own").write_text(f"9:cpu:/\n{own}\n")
    for name in ("", "a", "a/b"):
        limit = 2 * GIB if name == limited else unlimited
        make_group(groups / root / name, limit, used=GIB, file_pages=GIB // 2)
    make_group(groups / root / "other", GIB // 4, used=0, file_pages=0)
    assert machine_memory.memory_limit_bytes() == 2 * GIB
    assert machine_memory.memory_available_bytes() == 2 * GIB - GIB // 2


def test_a_path_that_is_told_as_outside_of_a_container(groups: Path) -> None:
    (groups / "own").write_text("4:cpuset,memory:/docker/1234\n")
    make_group(groups / "groups/memory", 2 * GIB, used=3 * GIB, file_pages=0)
    assert machine_memory.memory_limit_bytes() == 2 * GIB
    assert machine_memory.memory_available_bytes() == 0


@pytest.mark.parametrize("told", [None, "", "0::/\n3:cpu:/a\n"])
def test_without_groups_it_is_the_machine(told: str | None, groups: Path) -> None:
    if told is not None:
        (groups / "own").write_text(told)
    assert machine_memory.memory_limit_bytes() == TOTAL
    assert machine_memory.memory_available_bytes() == FREE


def test_the_machines_memory_is_what_psutil_says() -> None:
    assert machine_memory.machine_bytes() == psutil.virtual_memory().total
