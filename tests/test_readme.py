"""The README's lists are the registry's."""

from pathlib import Path

import pytest
from mem_dfa.experiments.report import readme

from mem_dfa import registry

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_tables_are_the_registry() -> None:
    assert readme.with_tables(README) == README, "make readme writes them anew"
    with pytest.raises(ValueError, match="no lines <!-- algorithms -->"):
        readme.with_tables("nothing")


def test_kinds_of_feedback_are_named() -> None:
    kinds = {**registry.FEEDBACK_INITIALIZERS, **registry.FEEDBACK_KINDS}
    assert all(f"`{name}`" in README for name in kinds)
    for name, entry in registry.FEEDBACK_INITIALIZERS.items():
        assert any(
            f"| `{name}`" in line and entry.description in line for line in README.split("\n")
        )
