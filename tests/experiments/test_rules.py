"""Every rule of learning is told by seeds that had no say in its rate, at the rate that learned."""

import csv
import dataclasses
from pathlib import Path

import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.claims import FAIL, PASS, cells_of, judge
from mem_dfa.experiments.checks.quantities import Claim
from mem_dfa.experiments.paper import plan, rules
from mem_dfa.experiments.paper.plan import How
from mem_dfa.experiments.paper.settings import SEARCH_SEED
from mem_dfa.experiments.pictures import canvas, rules_plots
from mem_dfa.experiments.report import rules_table
from mem_dfa.experiments.store.results import ResultsError

from tests.experiments.drawn import lines, texts
from tests.experiments.made import trained

HIGH, LOW = rules.RATES
DEEP = max(rules.TABLED)
PLANNED = rules.planned()


def of(name: str, *, layers: int = DEEP, seed: int = SEARCH_SEED, rate: float = HIGH) -> Cell:
    """A planned cell."""
    asked = (name, layers, seed, rate)
    return next(c for c in PLANNED if (c.name, c.layers, c.seed, c.learning_rate) == asked)


def record(folder: Path, cell: Cell, training: float | None, test: float = 0.5) -> None:
    epochs = [
        {"epoch": number, "train_accuracy": training, "test_accuracy": test}
        for number in range(1, cell.epochs + 1)
    ]
    trained(folder, cell, epochs)


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """Of dfa the low rate learned better, though it tested worse; of fa one rate is not tried."""
    record(tmp_path, of("dfa"), 0.8, 0.99)
    record(tmp_path, of("dfa", rate=LOW), 0.9, 0.1)
    record(tmp_path, of("fa"), 0.7)
    for seed, test in enumerate((0.80, 0.84, 0.91)):
        record(tmp_path, of("dfa", seed=seed, rate=LOW), 0.9, test)
        record(tmp_path, of("dfa", seed=seed), 0.99, 0.99)
    record(tmp_path, of("fa", seed=0), 0.7, 0.6)
    return tmp_path


def test_training_images_of_another_seed_choose_the_rate(searched: Path) -> None:
    best = rules.best_rates(searched, PLANNED)
    assert {best[rules.setting(of(name))] for name in ("dfa",)} == {LOW}
    found = rules.accuracies(searched, PLANNED)
    assert found == {"dfa": {DEEP: [80, 84, 91]}, "fa": {DEEP: [60]}}


def test_a_rate_that_diverged_is_not_taken(tmp_path: Path) -> None:
    record(tmp_path, of("fa"), None)
    record(tmp_path, of("fa", rate=LOW), 0.1)
    assert rules.best_rates(tmp_path, PLANNED) == {rules.setting(of("fa")): LOW}


def test_what_the_search_passed_over_is_not_missing(searched: Path) -> None:
    """But for the rate that others computed with, and where the search is not at its end."""
    assert rules.passed_over(searched, PLANNED) == set()
    shallow = min(set(rules.DEPTHS) - set(rules.TABLED))
    for rate, training in ((HIGH, 0.8), (LOW, 0.9)):
        record(searched, of("bp", layers=shallow, rate=rate), training)
    unneeded = {of("bp", layers=shallow, seed=0, rate=HIGH)}
    assert rules.passed_over(searched, PLANNED) == unneeded
    lacking = plan.missing({How(1): list(PLANNED)}, str(searched))[How(1)]
    assert set(PLANNED) - set(lacking) >= unneeded
    assert of("bp", layers=shallow, seed=0, rate=LOW) in lacking


def test_plans_leave_out_groups_that_a_net_has_not_got() -> None:
    for layers, most in ((1, 2), (2, 2), (3, 4)):
        counts = [
            dict(cell.options)["groups"]
            for own in rules.cells_of(layers, HIGH, 0).values()
            for cell in own
            if cell.algorithm == "bdfa"
        ]
        assert max(counts) == most
    assert len({cell.key() for cell in PLANNED}) == len(PLANNED)
    assert {cell.seed for cell in PLANNED if cell.layers == DEEP} == {SEARCH_SEED, *rules.SEEDS}
    assert "bp" not in {cell.algorithm for cell in rules.aligned()}


def test_references_are_of_rules_and_say_their_source() -> None:
    names = {name for own in rules.FAMILIES.values() for name in own}
    assert {layers for _, layers in rules.references()} == set(rules.TABLED)
    assert {name for name, _ in rules.references()} <= names
    with rules._REFERENCES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["source"] for row in rows)
    rates = {float(row["learning_rate"]) for row in rows if row["model"] == rules.MODEL}
    assert rates == set(rules.RATES)


def test_a_panel_a_family_and_grey_lines_to_compare_with(searched: Path) -> None:
    for rate, training in ((HIGH, 0.9), (LOW, 0.8)):
        record(searched, of("bp", rate=rate), training)
    record(searched, of("bp", seed=0), 0.9, 0.97)
    drawn = rules_plots.against_depth(str(searched), "title", PLANNED)
    assert drawn.finding.startswith(f"At {DEEP} hidden layers dfa is best, 12.0 points behind bp")
    panels = drawn.figure.axes
    assert len(panels) == len(rules.FAMILIES) - 1
    place = rules.DEPTHS.index(DEEP)
    for axes in panels:
        assert lines(axes)["bp"] == [[place, 97]]
        assert lines(axes)["dfa"] == [[place, 85]]
    assert [sorted(set(lines(axes)) - {"bp", "dfa"}) for axes in panels] == [["fa"], *5 * [[]]]
    assert "means of 1 to 3 seeds" in texts(drawn.figure)
    assert "Not trained: anchor_steps anchor 10; arbp;" in texts(drawn.figure)
    trained_now = {of("dfa", seed=1, rate=LOW), of("bp", seed=0), of("fa")}
    assert not trained_now & set(drawn.missing)
    assert of("fa", rate=LOW) in drawn.missing


def test_options_of_one_algorithm_are_told_apart(tmp_path: Path) -> None:
    names = ("arbp", "arbp feedback_decay 0.001")
    for name in names:
        record(tmp_path, of(name), 0.9)
        record(tmp_path, of(name, seed=0), 0.9)
    drawn = rules_plots.against_depth(str(tmp_path), "title", PLANNED)
    drawn_lines = [line for line in drawn.figure.axes[0].lines if line.get_label() in names]
    assert len({line.get_linestyle() for line in drawn_lines}) == len(names)
    assert {line.get_color() for line in drawn_lines} == {canvas.look_of("arbp").colour}


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    drawn = rules_plots.against_depth(str(tmp_path), "title", PLANNED)
    assert drawn.figure is None
    assert set(drawn.missing) == set(PLANNED)


def test_small_errors_have_as_much_room_as_large_ones() -> None:
    places = rules_plots._up(100 - rules_plots.np.array([64, 8, 1]))
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert rules_plots._down(places) == pytest.approx([36, 92, 99])


def test_the_table_has_the_reference_beside_it(searched: Path) -> None:
    told = {line["rule"]: line for line in rules_table.lines(searched, DEEP)}
    assert list(told) == ["fa", "dfa"]
    assert list(told["dfa"].values()) == (
        ["dfa", f"{LOW:g}", "85.00", "80.00", "91.00", "3", "83.33", "+1.67"]
    )
    assert rules_table.lines(searched, min(rules.TABLED)) == []
    record(searched, of("arbp"), 0.9)
    record(searched, of("arbp", seed=0), 0.9, 0.7)
    (line,) = [one for one in rules_table.lines(searched, DEEP) if one["rule"] == "arbp"]
    assert [line["reference"], line["apart"]] == ["-", "-"]


def test_a_damaged_table_of_epochs_is_said(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "epochs.csv").write_text("nonsense\n")
    with pytest.raises(ResultsError):
        rules_table.lines(tmp_path, DEEP)


def judged(quantity: str, limit: float, text: str, **shares: float) -> str:
    """The verdict on accuracies by algorithm, to which a seed adds a hundredth of a point."""

    def row(cell: Cell, repeats: int) -> dict[str, float]:
        known = shares.get(cell.algorithm)
        return {} if known is None else {"accuracy": known + 0.0001 * cell.seed}

    claim = Claim("one", quantity, cells_of(text), limit, None, None, row)
    return judge(claim)["verdict"]


def test_claims_name_lists_and_options() -> None:
    found = cells_of("bdfa depth_mlp 3 groups=2,4 seed=0,1 dataset=mnist")
    assert [(cell.options, cell.seed) for cell in found] == [
        ((("groups", count),), seed) for count in (2, 4) for seed in (0, 1)
    ]
    planned = of("arbp feedback_decay 0.001", layers=3, seed=2)
    how = "epochs=3 dataset=mnist optimizer=adam learning_rate=0.001"
    (claimed,) = cells_of(f"arbp depth_mlp 3 feedback_decay=0.001 {how} seed=2")
    assert dataclasses.replace(claimed, device="auto") == planned


def test_an_order_holds_when_the_worst_is_above_the_best() -> None:
    text = "usf,bp,fa,dfa depth_mlp 3 seed=0,1"
    assert judged("accuracy_overlap 2", 0, text, usf=0.97, bp=0.96, fa=0.95, dfa=0.9) == PASS
    assert judged("accuracy_overlap 2", 0, text, usf=0.97, bp=0.94, fa=0.95, dfa=0.9) == FAIL
    assert judged("accuracy_overlap 2", 0, text, usf=0.97, bp=0.96, fa=0.95) == FAIL


def test_a_distance_is_that_of_the_mean_over_seeds() -> None:
    due = rules.references()["fa", 3] / 100
    text = "fa depth_mlp 3 seed=0,2"
    assert judged("accuracy_distance", 1.5, text, fa=due + 0.0148) == PASS
    assert judged("accuracy_distance", 1.5, text, fa=due - 0.0152) == FAIL
    assert judged("accuracy_distance", 1.5, text, fa=due + 0.0150) == FAIL
