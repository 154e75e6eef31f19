"""Ctrl-C, as a process gets it: at once, without a traceback, at any moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SAID = "interrupted: every cell measured so far is in the results\n"
COMMAND = [sys.executable, "-m", "experiments.run", "--algo", "bp", "--model", "mlp"]


def test_while_libraries_are_imported(tmp_path: Path) -> None:
    """There an exception can be lost in a callback, and the command goes on."""
    (tmp_path / "filelock.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
    )
    done = subprocess.run(
        [*COMMAND, "--out", str(tmp_path / "results")],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_while_a_cell_is_measured(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--dataset", "synthetic", "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process:
        assert any(line.startswith("1/1 bp mlp") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == SAID
        assert process.wait(timeout=60) == 130


def test_an_import_by_another_program_changes_nothing() -> None:
    code = "import signal, experiments.run; print(signal.getsignal(signal.SIGINT).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "default_int_handler\n"
