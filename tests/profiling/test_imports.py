"""What is imported, and when: a process that goes from the cheapest step to the dearest."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.profiling.drawn import small

SOURCE = """
import io, json, sys
from contextlib import redirect_stdout

HEAVY = {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "bokeh", "rich"}
seen = {}

def look(name):
    seen[name] = sorted(HEAVY & set(sys.modules))

from mem_dfa import profiling
import mem_dfa.profiling.pytest_plugin
look("import")
profiling.Allocator, profiling.MeterError, profiling.read_events, profiling.record
look("without tables")
from mem_dfa.profiling import doctor
from mem_dfa.profiling.__main__ import main
for command in (doctor.main, main):
    with redirect_stdout(io.StringIO()) as printed:
        try:
            command(["--help"])
        except SystemExit as end:
            assert end.code == 0
assert "show" in printed.getvalue()
look("help")
for absent in ("pandas", "matplotlib", "bokeh", "rich"):
    sys.modules[absent] = None
try:
    profiling.Timeline
except ModuleNotFoundError as error:
    seen["absent"] = error.name
for absent in ("pandas", "matplotlib", "bokeh", "rich"):
    del sys.modules[absent]
with redirect_stdout(io.StringIO()):
    assert main(["show", sys.argv[1]]) == 0
look("show")
print(json.dumps(seen))
"""


def test_nothing_is_imported_before_it_is_needed(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    saved = small().save(tmp_path / "a.timeline.json.gz")
    assert json.loads(run_python(SOURCE, str(saved))) == {
        "import": [],
        "without tables": [],
        "help": [],
        "absent": "pandas",
        "show": ["numpy", "pandas", "rich"],
    }
