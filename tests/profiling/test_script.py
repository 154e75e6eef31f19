"""A script runs as Python runs it: the same output, traceback, status, and nothing left behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mem_dfa.profiling.training.script import run_script

ENDINGS = {
    "end": "print('the end')",
    "status": "import sys; sys.exit(3)",
    "sentence": "import sys; sys.exit('a sentence')",
    "nothing": "import sys; sys.exit()",
    "error": "def fail():\n    1 / 0\ntry:\n    fail()\nexcept ZeroDivisionError:\n    fail()\n",
    "depth": "def deeper():\n    deeper()\ndeeper()\n",
    "syntax": "1 +",
    "hook": "import sys; sys.excepthook = lambda *e: print('hooked', e[0].__name__); 1 / 0",
    "redirected": "import io, sys; sys.stdout = io.StringIO(); print('lost')",
}


def without_depth(text: str) -> str:
    return re.sub(r"repeated \d+ more", "repeated", text)


@pytest.mark.parametrize("source", ENDINGS.values(), ids=ENDINGS)
def test_it_ends_as_python_ends_it(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(source)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    before = sys.argv, sys.path, sys.stdout, sys.excepthook, sys.modules["__main__"]
    status = run_script(str(script), [])
    assert (sys.argv, sys.path, sys.stdout, sys.excepthook, sys.modules["__main__"]) == before
    said = capsys.readouterr()
    assert (status, said.out) == (done.returncode, done.stdout)
    # How deep it came depends on how deep it began.
    assert without_depth(said.err) == without_depth(done.stderr)


def test_ctrl_c(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert run_script(str(script), []) == 130


def test_it_finds_what_python_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, folder and name; and each module is imported once."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/beside_it.py").write_text("print('imported', __name__)")
    (tmp_path / "code/script.py").write_text(
        "import beside_it, os, pickle, sys\n"
        "class Own: pass\n"
        "print(__name__, __file__, os.path.basename(sys.argv[0]), sys.argv[1:], sys.path[0])\n"
        "print(type(pickle.loads(pickle.dumps(Own()))) is Own)\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ("code/script.py", "--step", "5", "--", "x")
    command = [sys.executable, *words]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = "import sys; from mem_dfa.profiling.training.script import run_script; "
    code += "sys.exit(run_script(sys.argv[1], sys.argv[2:]))"
    command = [sys.executable, "-c", code, *words]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == expected
    assert expected.startswith("imported beside_it\n")


def test_only_log_lines_of_tensorflow_are_held_back(tmp_path: Path) -> None:
    """Whatever else it writes while it is imported is shown, and all that comes later."""
    lines = {
        "I0000 00:00:1795958206.596579   10723 port.cc:153] oneDNN custom operations are on.": 0,
        "WARNING: All log messages before absl::InitializeLog() is called are written": 0,
        "E0000 00:00:1795958334.221913   11614 cuda_platform.cc:52] failed call to cuInit": 0,
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild": 0,
        "UserWarning: somebody says something": 1,
        "Inexact": 1,
    }
    writes = "import os, sys\n" + "".join(
        f"os.write(2, {line.encode()!r} + b'\\n')\n" for line in lines
    )
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(writes)
    code = (
        "import sys\n"
        "from mem_dfa.profiling.training.quiet_import import quiet_tensorflow\n"
        "with quiet_tensorflow():\n"
        "    import tensorflow, tensorflow as again\n"
        "    print('I0000 00:00:0 after it', file=sys.stderr)\n"
        "assert tensorflow.__spec__.name == 'tensorflow'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    shown = [line for line, is_shown in lines.items() if is_shown]
    assert done.stderr.splitlines() == [*shown, "I0000 00:00:0 after it"]
    assert done.returncode == 0
