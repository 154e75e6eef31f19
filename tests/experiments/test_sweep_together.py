"""Sweeps: several in one folder, and what killed ones leave."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mem_dfa.experiments.store import files, results

from tests.experiments.meter import (
    SMALL,
    cells,
    good,
    read,
)

TWO_AT_ONCE = """
import sys, time
sys.path.insert(0, {folder!r})
import meter as stand_in
from mem_dfa.experiments import sweep
from mem_dfa.experiments.engine import processes
meter = stand_in.Meter()
def measure(cell, *rest):
    print(cell.algorithm, cell.layers, cell.seed, flush=True)
    time.sleep(0.02)
    return meter.measure(cell, *rest)
processes.survey, processes.measure = meter.survey, measure
sys.exit(sweep.main({line!r}))
"""


def test_two_sweeps_share_a_folder(tmp_path: Path) -> None:
    """Neither measures what the other does, and each tells of all cells in the end."""
    line = [*SMALL, "--seed", "0-9", "--out", str(tmp_path)]
    code = TWO_AT_ONCE.format(folder=str(Path(__file__).parent), line=line)
    sweeps = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=60)[0].splitlines() for one in sweeps]
    assert [one.returncode for one in sweeps] == [0, 0]
    own = [[line for line in lines if re.fullmatch(r"\w+ \d \d", line)] for lines in said]
    measured = [line for lines in own for line in lines]
    assert max(Counter(measured).values()) == 1
    assert len(measured) == len(read(tmp_path)) == 40
    assert all(lines[-2] == "40 cells: 40 ok" for lines in said)
    assert all(own), "both took part"


def test_a_killed_sweep_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import time; from mem_dfa.experiments.store import files\n"
        f"holds = files.Holds({str(tmp_path)!r})\n"
        "print(holds.take('a'), flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "True\n"
    with files.Holds(str(tmp_path)) as holds:
        assert not holds.take("a")
        assert holds.take("b")
        other.kill()
        other.wait()
        assert holds.take("a")
    other.stdout.close()


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    left = tmp_path / f".{results.FILE_NAME}.x1"
    left.write_text("half a ro")
    results.append(tmp_path, [good(cells()[0])])
    assert not left.exists()
    assert len(read(tmp_path)) == 1
