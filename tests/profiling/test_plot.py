"""The figure: what it says and the colours it says it in."""

import csv
import itertools
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mem_dfa.profiling import Timeline, TraceError
from mem_dfa.profiling.render.palette import CATEGORY_COLOURS, PHASE_COLOURS
from mem_dfa.profiling.render.plot import plot, save
from mem_dfa.profiling.timeline.lifetimes import fill
from mem_dfa.profiling.words import CATEGORIES, PHASES

from tests.perception import distance
from tests.profiling.drawn import small
from tests.profiling.events import events_of


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_every_category_and_phase_has_a_colour() -> None:
    assert set(CATEGORY_COLOURS) == set(CATEGORIES)
    assert tuple(PHASE_COLOURS) == PHASES


@pytest.mark.parametrize("colours", [CATEGORY_COLOURS, PHASE_COLOURS], ids=["category", "phase"])
def test_colours_stay_apart(colours: dict[str, str]) -> None:
    for one, other in itertools.combinations(colours.values(), 2):
        # A distance of about 2 is just noticed, of 10 at a glance.
        assert distance(one, other) > 15


def test_a_panel_for_each_run_on_the_same_axes() -> None:
    figure = plot([small("bp"), small("fa"), small("dfa"), small("mem_dfa", scale=2)])
    panels = figure.axes
    assert len(panels) == 4
    assert {axes.get_ylim() for axes in panels} == {panels[0].get_ylim()}
    assert {axes.get_xlim() for axes in panels} == {(0, 0.007)}
    assert panels[0].get_ylim()[0] == 0
    assert [axes.get_title("left") for axes in panels] == ["bp", "fa", "dfa", "mem_dfa"]
    assert panels[3].get_title("right") == "peak 3.5 KiB (200 % of bp)"


def test_the_peak_is_marked_with_what_is_behind_it() -> None:
    figure = plot(small())
    assert figure.axes[0].get_title("right") == "peak 1.8 KiB"
    assert "1 × activation 1.0 KiB\n1 × resident 512 B\n1 × activation 256 B" in texts(figure)
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert mark.get_xydata().tolist() == [[0.001, 1792 / 2**20]]


def test_the_list_at_the_peak_hides_no_curve() -> None:
    """Where all of a step is high, there is room beside it."""
    events = events_of((1, 256, "Cast"), (1, -256), before_bytes=2**20)
    run = fill(Timeline("level"), events)
    figure = plot(run)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    (listed,) = [text for text in axes.texts if text.get_text().startswith("alive at")]
    box = listed.get_bbox_patch().get_window_extent()
    end, _ = axes.transData.transform((run.duration_ns / 1e6, 0))
    assert end < box.x0
    assert box.x1 < axes.bbox.x1


def test_words_are_those_of_categories_and_phases() -> None:
    labels = [text.get_text() for legend in plot(small()).legends for text in legend.get_texts()]
    categories = ["resident", "activation", "gradient", "temporary"]
    assert labels == ["forward", "backward", "update", *categories]


def test_xla_says_that_one_buffer_hides_the_rest() -> None:
    events = events_of((1, 512, "__inference_one_step_on_data_2069"), (1, -512))
    assert "XLA: one buffer holds every tensor" in texts(plot(fill(Timeline(), events)))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_file_is_of_the_kind_its_name_says(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"memory.{kind}"
    small().plot(path)
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"end in .png, .pdf or .svg"):
        small().plot(tmp_path / "memory.gif")
    (tmp_path / "memory.csv").mkdir()
    with pytest.raises(TraceError, match=r"Cannot write .*memory\.csv"):
        small().to_csv(tmp_path / "memory.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["memory.csv"]


def test_nothing_inexact_is_drawn(tmp_path: Path) -> None:
    inexact = small()
    inexact.fault = "256 bytes apart"
    for draw in (plot, lambda run: plot([small(), run]), lambda run: run.to_csv(tmp_path / "x")):
        with pytest.raises(TraceError, match="256 bytes apart"):
            draw(inexact)


def test_a_step_in_which_nothing_was_alive() -> None:
    figure = plot(small(scale=0))
    assert figure.axes[0].get_title("right") == "peak 0 B"


def test_no_runs_no_figure() -> None:
    with pytest.raises(ValueError, match="at least one"):
        plot([])


def test_saving_a_figure_gives_its_path(tmp_path: Path) -> None:
    assert save(plot(small()), tmp_path / "memory.png") == tmp_path / "memory.png"


def test_csv_has_a_row_for_each_event_in_whole_numbers(tmp_path: Path) -> None:
    timeline = small()
    with timeline.to_csv(tmp_path / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["running_bytes"]) for row in rows] == timeline.events["running_bytes"].tolist()
    assert [int(row["time_ns"]) for row in rows] == list(range(0, 8000, 1000))
    assert rows[1]["category"] == "activation"
