"""The page holds every table and figure, and asks for nothing from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import figures
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.report import page, readme
from mem_dfa.experiments.store import fit_rows, results
from mem_dfa.experiments.store.table import Table

from tests.browser import OVERFLOW, opened_in, smallest_text
from tests.experiments.made import row, table

RESULTS = Path(__file__).parents[2] / "results"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained = {"model": "mlp", "epochs": 3, "batch_size": 100, "accuracy_label": "MNIST, test"}
    results.append(
        tmp_path,
        [
            row("bp", 20, error=HOSTILE),
            row("mem_dfa", 20, status="failed", peak_bytes=None, step_bytes=None, step_time_s=None),
            *(
                row("dfa", 2, **trained, dataset="mnist", seed=seed, accuracy=accuracy)
                for seed, accuracy in ((0, 0.97), (1, 0.98), (2, 0.99))
            ),
        ],
    )
    table(tmp_path / "tables" / "claims_exact.csv", {"claim": HOSTILE, "verdict": "holds"})
    (tmp_path / "tables" / "claims_exact.md").write_text("| claim |\n")
    answer = dict.fromkeys(fit_rows.ANSWERS.columns) | {
        **{"algorithm": "bp", "model": "mlp", "batch_size": 512, "size": 512, "over": "batch"},
        **{"memory_limit_bytes": 2**30, "process_peak_bytes": 2**29, "image_time_s": 0.01},
        **{"execution": "graph", "device": "CPU:0", "repeats": 3, "next_status": "out_of_memory"},
        "status": "ok",
    }
    more = {"algorithm": "dfa", "size": 1024, "batch_size": 1024}
    # What bp reaches with another memory or optimizer is no measure of it.
    others = [{"memory_limit_bytes": 2**31}, {"optimizer": "adam", "options": "slices=4"}]
    rows = [answer, answer | more, *(answer | more | other for other in others)]
    Table(tmp_path, fit_rows.ANSWERS).append(rows)
    return tmp_path


def written(folder: Path, *names: str) -> str:
    figures.main(["--from", str(folder), "--figure", ",".join(names)])
    return (folder / page.FILE_NAME).read_text()


def cells_of(text: str, section: str) -> list[list[str]]:
    """The table of a section, without its heads."""
    part = re.search(rf'<section id="{section}">(.*?)</section>', text, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    return [found for one in rows if (found := re.findall(r"<td[^>]*>(.*?)</td>", one))]


def test_every_table_is_there(folder: Path) -> None:
    text = written(folder, "depth")
    assert cells_of(text, "table_claims_exact") == [["&lt;img src=x onerror=alert(1)&gt;", "holds"]]
    fits = [(line[0], line[5], *line[8:13]) for line in cells_of(text, "table_fit")]
    assert fits == [
        ("1024.0", "512", "1.00x", "512.0", "10.00", "3", "out_of_memory"),
        ("1024.0", "1024", "2.00x", "512.0", "10.00", "3", "out_of_memory"),
        ("2048.0", "1024", "-", "512.0", "10.00", "3", "out_of_memory"),
        ("1024.0", "1024", "-", "512.0", "10.00", "3", "out_of_memory"),
    ]
    last = cells_of(text, "table_fit")[-1]
    assert (last[2], last[-2]) == ("dfa slices 4", "adam")
    (accuracy,) = cells_of(text, "accuracy")
    assert accuracy[:2] == ["dfa", "mlp"]
    assert accuracy[6:10] == ["0, 1, 2", "98.00%", "97.00%", "99.00%"]
    measured = {(line[0], line[1]): line for line in cells_of(text, "measurements")}
    assert measured["conv20", "bp"][11:14] == ["ok", "162.0", "160.0"]
    assert measured["conv20", "mem_dfa"][11:14] == ["failed", "-", "-"]


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    text = written(folder, "layers_conv20")
    assert HOSTILE not in text
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text)
    assert "<script" not in text


def test_contents_lead_to_every_part(folder: Path) -> None:
    text = written(folder, "layers_conv20")
    targets = re.findall(r'href="#([^"]+)"', text)
    assert {figure.name for figure in FIGURES} <= set(targets)
    assert {"machine", "table_claims_exact", "measurements"} <= set(targets)
    assert all(f'id="{target}"' in text for target in targets)


def test_figures_are_inside_and_missing_ones_name_their_command(folder: Path) -> None:
    text = written(folder, "layers_conv20", "depth")
    drawn = re.search(r'<section id="layers_conv20">(.*?)</section>', text, re.DOTALL)[1]
    assert re.search(r'src="data:image/(png|svg\+xml);base64,[A-Za-z0-9+/=]{1000,}"', drawn)
    missing = re.search(r'<section id="depth">(.*?)</section>', text, re.DOTALL)[1]
    assert "<img" not in missing
    command = "python -m experiments.reproduce --figure {} --out"
    assert command.format("depth") in missing
    assert command.format("layers_conv20") in drawn
    assert "cells are missing" in drawn


def test_figures_of_earlier_runs_stay_on_the_page(folder: Path) -> None:
    written(folder, "layers_conv20")
    text = written(folder, "depth")
    drawn = re.search(r'<section id="layers_conv20">(.*?)</section>', text, re.DOTALL)[1]
    assert "<img" in drawn


def test_versions_and_machine_are_there(folder: Path) -> None:
    assert "The processor was not recorded" in written(folder, "depth")
    results.append(folder, [row("fa", 20, machine="some processor, 2 cores")])
    text = written(folder, "depth")
    assert "Measured on some processor, 2 cores." in text
    assert all(f">{version}<" in text for version in ("2.21.0", "3.15.1", "3.11.7"))


def test_the_index_names_what_is_there(folder: Path) -> None:
    written(folder, "layers_conv20")
    text = (folder / "README.md").read_text()
    assert "| [measurements.csv](measurements.csv) | 5 | every measured cell" in text
    assert "[tables/claims_exact.csv](tables/claims_exact.csv) | 1 | claims: exact" in text
    assert "[layers_conv20](figures/layers_conv20.png)" in text
    assert "depth.png" not in text
    assert "promise" not in text  # the one that there is holds
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert all((folder / target).exists() for target in targets)


def test_the_index_says_which_promises_do_not_hold(folder: Path) -> None:
    unkept = {"claim": "mem_dfa: time", "unit": "ratio", "limit": 1.1, "measured": 1.25}
    table(folder / "tables" / "claims_local.csv", unkept | {"verdict": "does not hold"})
    written(folder, "layers_conv20")
    assert "| mem_dfa: time | 1.10 ratio | 1.25 |" in (folder / "README.md").read_text()


def test_a_table_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "one.csv").write_text(f"head\n{'x' * 200_000}\n")
    (tmp_path / "tables" / "two.csv").mkdir()
    (tmp_path / "tables" / "uneven.csv").write_text("one,two\n1\n1,2,3\n4,5\n")
    text = written(tmp_path, "layers_conv20")
    for name in ("one", "two"):
        assert re.search(rf'id="table_{name}".*?{name}\.csv cannot be read', text, re.DOTALL)
    assert cells_of(text, "table_uneven") == [["4", "5"]]


def test_a_damaged_table_of_measurements_is_said(tmp_path: Path) -> None:
    (tmp_path / results.FILE_NAME).write_text("nonsense\n")
    assert "no table of measurements" in written(tmp_path, "layers_conv20")


def test_marks_of_the_headlines_are_shown_and_names_are_text() -> None:
    text = f"**1,536** `mem_dfa` {HOSTILE}"
    assert page.marked(text) == (
        "<strong>1,536</strong> <code>mem_dfa</code> &lt;img src=x onerror=alert(1)&gt;"
    )


def test_headlines_that_are_not_measured_name_what_measures_them(folder: Path) -> None:
    part = written(folder, "depth").partition('id="headlines"')[2].partition("<h2")[0]
    assert "experiments.claims" in part
    assert "promises hold" not in part


@pytest.fixture(scope="module", name="report")
def report_of_the_results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of this repository's results and figures."""
    out = tmp_path_factory.mktemp("report")
    (out / "figures").symlink_to(RESULTS / "figures")
    return page.write(str(RESULTS), str(out), {}).as_uri()


@pytest.fixture(name="opened")
def opened_report(browser: Any, report: str) -> Iterator[Any]:
    with opened_in(browser, report, 1400, 900) as opened:
        yield opened


def test_the_headlines_come_first_and_are_the_readmes(opened: Any) -> None:
    table = opened.locator("main > *").nth(1)
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tr:has(td)").all()]
    told = readme.headline_rows(RESULTS)
    assert rows == [[re.sub(r"[*`]", "", text) for text in line.values()] for line in told]
    assert opened.get_by_text(readme.promises(RESULTS)).is_visible()


def test_commands_are_folded_and_contents_open_what_is_folded(opened: Any) -> None:
    assert opened.locator("pre:visible").count() == 0
    folded = opened.locator("details:not([open]) > section:has(img)").first
    name = folded.get_attribute("id")
    opened.get_by_text("Every figure and table").click()
    opened.locator(f'nav a[href="#{name}"]').click()
    opened.locator(f"#{name} img").wait_for(timeout=5000)
    opened.get_by_text(f"figures/{name}.png").click()
    assert f"--figure {name}" in opened.locator("pre:visible").inner_text()


def test_it_is_of_a_height_that_can_be_read(opened: Any) -> None:
    assert opened.evaluate("document.documentElement.scrollHeight") < 10_000
    assert opened.locator("main > details[open] img").count() >= 5


@pytest.mark.parametrize("width", [1400, 390])
def test_no_width_is_too_narrow(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate(OVERFLOW) <= 0
    opened.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert opened.evaluate(OVERFLOW) <= 0
    assert smallest_text(opened) >= 12
