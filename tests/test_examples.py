"""What three kinds of users type first, each in a folder of its own: docs/examples."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "docs/examples"


def done(user: str, folder: Path) -> str:
    """What the commands of a user say, in a copy of the user's folder, at 80 columns."""
    shutil.copytree(EXAMPLES / user, folder, dirs_exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "commands.sh"]
    environment = {**os.environ, "PATH": path, "COLUMNS": "80"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_a_researchers_net_is_measured_drawn_fitted_and_gated(tmp_path: Path) -> None:
    said = done("researcher", tmp_path)
    assert "│ mem_dfa   │ 8      │" in said
    assert (tmp_path / "depth.png").stat().st_size > 10_000
    assert "largest batch that trains in 30 MiB" in said
    assert len(list(tmp_path.glob("memory-baselines/*.json"))) == 1


@pytest.mark.slow
def test_an_unchanged_script_says_what_takes_its_memory(tmp_path: Path) -> None:
    said = done("keras_user", tmp_path)
    assert "│ corners " in said
    assert "│ activation " in said
    assert "│ mem_dfa " in said
    assert (tmp_path / "recorded/train-step-3.html").exists()


@pytest.mark.slow
def test_a_repositorys_gate_fails_when_a_layer_is_doubled_and_names_it(tmp_path: Path) -> None:
    said = done("maintainer", tmp_path)
    assert "fit net.py:build batch 32 compiled: kept bytes 4.0 MiB -> 6.0 MiB (+50.0 %" in said
    moved = said[said.index("kept bytes") :].splitlines()
    assert moved[4].split("│")[1].strip() == "corners"
