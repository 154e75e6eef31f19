"""What is installed: one name, the files beside the code, the script, and what each part needs."""

import ast
import configparser
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from mem_dfa.experiments import __main__ as script

import mem_dfa
from mem_dfa import extras, registry
from mem_dfa.data import prepared

ROOT = Path(__file__).parents[1]
CALL = "import sys; sys.argv[0] = 'mem-dfa'; from mem_dfa.experiments.__main__ import main; "
SCRIPT = [sys.executable, "-c", CALL + "sys.exit(main())"]


def run(*command: str, cwd: Path = ROOT, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a command that finds modules in ``path`` first."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what setup.py installs in `lib`, and what it says of it."""
    folder = tmp_path_factory.mktemp("built")
    words = ("-q", "egg_info", "--egg-base", str(folder), "build", "--build-base", str(folder))
    done = run(sys.executable, "setup.py", *words)
    assert done.returncode == 0, done.stderr
    return folder


def test_one_name_is_installed_with_the_files_beside_the_code(built: Path) -> None:
    assert [path.name for path in (built / "lib").iterdir()] == ["mem_dfa"]
    installed = {path.relative_to(built / "lib/mem_dfa") for path in built.glob("lib/mem_dfa/**/*")}
    for folder, inside in (("mem_dfa", "."), ("profiling", "profiling"), ("experiments",) * 2):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                assert inside / file.relative_to(ROOT / folder) in installed
    entries = (built / "mem_dfa.egg-info/entry_points.txt").read_text()
    assert "mem-dfa = mem_dfa.experiments.__main__:main" in entries
    plugin = "mem_dfa.profiling.pytest_plugin"
    assert f"{plugin} = {plugin}" in entries


@pytest.mark.slow
def test_it_runs_where_the_user_has_folders_of_these_names(built: Path, tmp_path: Path) -> None:
    for name in ("experiments", "profiling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the user''s {name}')")
    words = ("--algo", "bp", "--model", "mlp", "--dataset", "synthetic", "--steps", "2")
    done = run(*SCRIPT, "run", *words, cwd=tmp_path, path=built / "lib")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("one row per cell: results/measurements.csv\n")
    assert (tmp_path / "results/measurements.csv").exists()


def test_what_is_said_of_it_has_no_links_into_the_repository(built: Path) -> None:
    header, readme = (built / "mem_dfa.egg-info/PKG-INFO").read_text().split("\n\n", 1)
    assert "Description-Content-Type: text/markdown" in header
    tokens = [token for line in MarkdownIt().parse(readme) for token in line.children or []]
    places = [str(token.attrGet("href") or token.attrGet("src") or "http") for token in tokens]
    assert [place for place in places if not place.startswith("http")] == []


def test_the_version_is_that_of_the_last_changes() -> None:
    changed = re.search(r"^## \[?(\d[\d.]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changed
    assert changed[1] == setup()["metadata"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", mem_dfa.__version__)


def test_the_script_lists_its_commands_without_loading_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in ([], ["--help"]):
        assert script.main(words) == 0
        listed = capsys.readouterr().out
        assert re.findall(r"^  (\w+) +\w.*$", listed, re.MULTILINE) == list(script.COMMANDS)
    assert script.main(["rum", "--model", "mlp"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"error: there is no command 'rum'.*\n", said.err)


def test_a_command_says_how_it_was_called() -> None:
    """And imports no TensorFlow for that."""
    code = (
        "for name in sys.argv[1:]:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "print('tensorflow' in sys.modules)"
    )
    done = run(sys.executable, "-c", f"{CALL}\n{code}", *script.COMMANDS)
    usages = re.findall(r"^usage: (mem-dfa \w+)", done.stdout, re.MULTILINE)
    assert usages == [f"mem-dfa {name}" for name in script.COMMANDS]
    assert done.stdout.splitlines()[-1] == "False"


def test_ctrl_c_while_the_script_imports(tmp_path: Path) -> None:
    (tmp_path / "filelock.py").write_text(f"import os; os.kill(os.getpid(), {signal.SIGINT:d})")
    done = run(*SCRIPT, "run", path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ([*SCRIPT, "run"], "experiments"),
        ([*SCRIPT, "profile", "show", __file__], "profiling"),
        ([sys.executable, "-m", "experiments", "figures"], "experiments"),
        ([sys.executable, "-m", "experiments.run"], "experiments"),
    ],
)
def test_a_missing_extra_is_named(command: list[str], extra: str, tmp_path: Path) -> None:
    name = "pandas" if extra == "profiling" else "filelock"
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('gone', name='{name}')")
    done = run(*command, path=tmp_path)
    said = f"error: {name} is not installed, which mem_dfa.{extra} needs: "
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{said}pip install 'mem-dfa[{extra}]'\n"


def test_what_does_not_come_with_this_is_not_explained() -> None:
    for name in ("a_module_of_the_user", "pytest_html", "", None):
        assert extras.missing(ModuleNotFoundError(name=name)) == ""
    assert "protobuf" in extras.missing(ModuleNotFoundError(name="google.protobuf"))


def test_data_that_nothing_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepared.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(prepared.DataMissingError) as raised:
        prepared.prepare("mnist", tmp_path)
    for part in ("tensorflow-datasets is not installed", "'mem-dfa[experiments]'", "synthetic"):
        assert part in str(raised.value)


def test_training_needs_no_extra() -> None:
    """Keras itself brings rich; TensorFlow has protobuf."""
    extra = declared("experiments", "profiling", "test", "distributed") - declared()
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(sys.argv[1:])\n"
        "import keras, mem_dfa, numpy as np\n"
        "network = mem_dfa.MODELS['mlp'](input_shape=(4, 4, 1), classes=3)\n"
        "trainer = mem_dfa.MemDFA(network)\n"
        "loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
        "trainer.compile('adam', loss)\n"
        "trainer.fit(np.ones((2, 4, 4, 1)), np.ones(2), verbose=0)\n"
        "print(len([*mem_dfa.ALGORITHMS.values(), *mem_dfa.MODELS.values()]))"
    )
    done = run(sys.executable, "-c", code, *(extra - {"rich", "google"}))
    assert done.stdout == f"{len(registry.ALGORITHMS) + len(registry.MODELS)}\n", done.stderr


def setup() -> configparser.ConfigParser:
    """What setup.cfg says."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def declared(*names: str) -> set[str]:
    """Modules that come with these extras, and with none."""
    sections = setup()
    lines = sections["options"]["install_requires"].splitlines()
    lines += [line for name in names for line in sections["options.extras_require"][name].split()]
    distributions = {re.split(r"[^\w-]", line)[0] for line in lines} - {"", "mem-dfa"}
    called = {"protobuf": "google"}
    return {called.get(name, name.replace("-", "_")) for name in distributions}


def imported(file: Path) -> Iterator[tuple[str, bool]]:
    """Third-party modules that a file imports, and whether it does as it is imported itself."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            if top not in {*sys.stdlib_module_names, "mem_dfa"}:
                yield top, node in tree.body


PARTS = {
    "mem_dfa": (declared(), declared("experiments")),
    "profiling": (declared("profiling"), declared("profiling", "test")),
    "experiments": (
        declared("profiling", "experiments"),
        declared("profiling", "experiments", "distributed"),
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_imported_is_declared(part: str) -> None:
    at_once, later = PARTS[part]
    for file in (ROOT / part).rglob("*.py"):
        is_plugin = file.name == "pytest_plugin.py"  # only pytest imports it
        for module, is_at_once in imported(file):
            allowed = at_once if is_at_once and not is_plugin else later
            assert module in allowed, f"{file} imports {module}"
