"""What memory-gate.toml may say, and the sentence for what it may not."""

from pathlib import Path

import pytest
from mem_dfa.experiments import gate
from mem_dfa.experiments.checks import gate_file
from mem_dfa.experiments.engine import processes

NET = 'model = "net.py:build"'
CELLS = f'[[cells]]\n{NET}\nalgo = ["fit", "mem_dfa"]\nbatch_size = [16, 32]\n'


def read(folder: Path, text: str) -> gate_file.GateFile:
    path = folder / gate_file.NAME
    path.write_text(text)
    return gate_file.read(path)


def test_every_combination_is_a_cell(tmp_path: Path) -> None:
    found = read(tmp_path, CELLS)
    assert list(found.cells) == [
        "fit net.py:build batch 16 compiled",
        "mem_dfa net.py:build batch 16 graph",
        "fit net.py:build batch 32 compiled",
        "mem_dfa net.py:build batch 32 graph",
    ]
    assert {cell.steps for cell in found.cells.values()} == {gate_file.STEPS}
    assert found.baselines == Path("memory-baselines")


def test_only_the_peak_of_a_net_that_keras_differentiates_may_differ_by_more(
    tmp_path: Path,
) -> None:
    fit = "fit net.py:build batch 16 compiled"
    assert read(tmp_path, CELLS).tolerances[fit, "step"] == 10
    assert (fit, "kept") not in read(tmp_path, CELLS).tolerances


def test_the_nearest_tolerance_holds(tmp_path: Path) -> None:
    other = f'[[cells]]\n{NET}\nalgo = "fit"\nbatch_size = 1\ntolerance = "2.5%"\n'
    found = read(tmp_path, f'tolerance = "5 %"\n{CELLS}{other}').tolerances
    assert {found[name] for name in found if "batch 1 " in name[0]} == {2.5}
    assert {found[name] for name in found if "batch 1 " not in name[0]} == {5}
    none = read(tmp_path, f'tolerance = "5 %"\n{other}'.replace("2.5%", "0 %")).tolerances
    assert set(none.values()) == {0}, "to the byte"


def test_what_is_not_as_usual_is_part_of_the_name(tmp_path: Path) -> None:
    table = f'[[cells]]\n{NET}\nalgo = "bp"\noptimizer = "adam"\nseed = [0, 1]\n'
    assert list(read(tmp_path, table).cells) == [
        "bp net.py:build batch 32 graph optimizer adam",
        "bp net.py:build batch 32 graph optimizer adam seed 1",
    ]


RELATION = '[[relations]]\nclaim = "flat"\nquantity = "requested_spread"\nlimit = 3\n'
OF = f'cells = {{ {NET}, algo = "mem_dfa", batch_size = '
WRONG = {
    "": "names no cells",
    "[cells": "cannot be read",
    "cells = 3": "no list of tables",
    f"{CELLS}batchsize = 3": "[[cells]] 1: there is no key 'batchsize'; is 'batch_size' meant",
    "celles = []": "there is no key 'celles'; is 'cells' meant",
    f'[[cells]]\n{NET}\nalgo = "dpf"': "[[cells]] 1: algo: 'dpf' is not an algorithm",
    f"[[cells]]\n{NET}\nalgo = []": "algo is []; give",
    f"[[cells]]\n{NET}": "the following arguments are required: --algo",
    '[[cells]]\nmodel = "net"\nalgo = "bp"': "'net' is not a model",
    f'[[cells]]\n{NET}\nalgo = "bp"\nbatch_size = 0': "batch_size: '0' is no batch size",
    f'[[cells]]\n{NET}\nalgo = "bp"\nlayers = true': "layers is True; give",
    f"{CELLS}{CELLS}": "[[cells]] 2: fit net.py:build batch 16 compiled is in this file twice",
    f'{CELLS}tolerance = "one"': "[[cells]] 1: tolerance: Received the share 'one'",
    f"tolerance = 1\n{CELLS}": "tolerance: Received the share 1",
    f"baselines = 1\n{CELLS}": "baselines is 1",
    f"{CELLS}{RELATION}{OF}[16, 64] }}": "batch 64 graph is under no [[cells]]",
    f"{CELLS}{RELATION}{OF}16 }}": "requested_spread is of 2 cells; these are 1",
    f"{CELLS}{RELATION.replace('requested_spread', 'peak')}cells = {{}}": "quantity is 'peak'",
    f"{CELLS}{RELATION.replace('3', 'nan.')}{OF}[16, 32] }}": "cannot be read",
    f"{CELLS}{RELATION}cells = [3]": "cells is [3], where a table is meant",
    f"{CELLS}{RELATION}": "cells is None, where a table is meant",
    f"{CELLS}{RELATION.replace('limit = 3', 'limit = []')}{OF}[16, 32] }}": "limit, a number",
    f"{CELLS}{RELATION}limits = 3": "there is no key 'limits'; is 'limit' meant",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_makes_no_sense_gets_one_sentence(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is measured."""
    monkeypatch.setattr(processes, "check", lambda *_: pytest.fail("measured"))
    path = tmp_path / gate_file.NAME
    path.write_text(text)
    assert gate.main([str(path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert str(path) in said
    assert WRONG[text] in said
    assert path.read_text() == text


def test_without_a_file_it_says_how_to_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.main([str(tmp_path / "gate.toml")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "gate.toml does not exist; write one, which begins with [[cells]]" in said
