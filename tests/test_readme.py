"""The README is short, and what it says of algorithms and results is theirs."""

import re
import shutil
from pathlib import Path

import pytest
from mem_dfa.experiments.report import facts, readme

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "results"
LONGEST = 130
FIRST_SCREEN = 25


def test_it_is_short_and_begins_with_two_commands() -> None:
    lines = README.splitlines()
    assert len(lines) <= LONGEST
    first = "\n".join(lines[:FIRST_SCREEN])
    assert re.search(r"^git clone .*\nmake run", first, re.M)


def test_tables_are_the_registry_and_the_results() -> None:
    assert readme.with_tables(README, RESULTS) == README, "make readme writes them anew"
    with pytest.raises(ValueError, match="no lines <!-- algorithms -->"):
        readme.with_tables("nothing", RESULTS)


def test_another_result_is_another_number(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "tables", tmp_path / "tables")
    shutil.copy(RESULTS / "measurements.csv", tmp_path)
    file = tmp_path / "tables/claims_feedback.csv"
    title = '"conv20 mem_dfa, 20 layers: step bytes, batch 128",MiB,28'
    text = file.read_text(encoding="utf-8")
    assert title in text
    file.write_text(re.sub(re.escape(title) + ",[^,]*", title + ",99.94", text), encoding="utf-8")
    assert facts.texts(tmp_path)["mem_dfa_step"] == "99.9 MiB"
    changed = readme.with_tables(README, tmp_path)
    assert "**99.9 MiB** `mem_dfa`" in changed
    assert changed != README


def test_its_own_sentences_tell_no_results() -> None:
    """They would be true until something is measured again."""
    own = re.sub(r"<!-- (\w+) -->.*<!-- end of \1 -->", "", README, flags=re.S)
    own = re.sub(r"```.*?```|`[^`]*`", "", own, flags=re.S)
    assert re.findall(r"\d[\d.]* ?(?:MiB|GiB|%|times|ms|s)\b", own) == []


def test_what_it_points_to_is_there() -> None:
    for place in re.findall(r"\]\((?!https?://)([^)#]+)", README):
        assert (ROOT / place).exists(), place
