"""The page, as text and in a browser without a network."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import TraceError
from mem_dfa.profiling.render.page import page
from mem_dfa.profiling.render.page_pictures import TENSORS

from tests.browser import OVERFLOW, opened_in, smallest_text
from tests.profiling.drawn import FORWARD, long, small

IDLE = "window.Bokeh?.documents[0]?.is_idle"
HOSTILE = "<img src=x onerror=alert(1)>"


def words_of(html: str) -> str:
    """What the page says around its pictures."""
    return html[html.index("<h1>") : html.index("</main>")]


def test_one_run_is_summed_up() -> None:
    timeline = small("bp")
    timeline.allocator_peak_bytes, timeline.predicted_peak_bytes = 1792, 2048
    words = words_of(page(timeline))
    for text in ("<h1>Memory of bp</h1>", "1,792 B", "512 B", "1,280 B", "2,048 B", "256 B"):
        assert text in words
    assert 'role="tab' not in words
    assert "complete: each operation has its full path" in words


def test_what_titles_have_in_common_is_said_once() -> None:
    words = words_of(page([small("bp conv20 graph"), small("mem_dfa conv20 graph")]))
    assert "<h1>Memory of conv20 graph: bp, mem_dfa</h1>" in words
    assert re.findall(r'role="tab".*>(.*)</a>', words) == ["side by side", "bp", "mem_dfa"]
    words = words_of(page([small("conv20"), small("bp conv20")]))
    assert re.findall(r'role="tab".*>(.*)</a>', words) == ["side by side", "conv20", "bp conv20"]


def test_names_are_text_and_never_markup() -> None:
    timeline = small(HOSTILE, layer_op=f"forward/{HOSTILE}/MatMul")
    html = page([timeline, small("</script><script>alert(1)</script>")])
    assert HOSTILE not in html
    assert "</script><script>alert(1)" not in html


def test_an_inexact_timeline_is_refused(tmp_path: Path) -> None:
    inexact = small()
    inexact.fault = "256 bytes apart"
    with pytest.raises(TraceError, match="256 bytes apart"):
        small().to_html(tmp_path / "page.html", inexact)
    assert not list(tmp_path.iterdir())


def test_no_runs_no_page() -> None:
    with pytest.raises(ValueError, match="at least one"):
        page([])


def test_a_long_recording_makes_no_long_page() -> None:
    html = page(long(20_000))
    assert len(html) < 4_000_000
    assert "The 400 largest of" in html
    assert "leave out what is too short" in html


@pytest.fixture(scope="module", name="file")
def file_of_two_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of two runs, the first with a hostile name in it."""
    first = small("first", scale=4096, layer_op=f"forward/block_001/{HOSTILE}/MatMul")
    path = tmp_path_factory.mktemp("page") / "page.html"
    return first.to_html(path, small("second", scale=2048)).as_uri()


@pytest.fixture(scope="module", name="window")
def wide_window(browser: Any, file: str) -> Iterator[Any]:
    with opened_in(browser, file, 1400, 1000) as opened:
        opened.wait_for_function(IDLE)
        yield opened


@pytest.fixture(name="opened")
def opened_page(window: Any) -> Any:
    """The page with the tab of its first run."""
    window.get_by_role("tab", name="first").click()
    return window


PHASES, AREAS = (f"[data-root-id]:not(.alone *) .bk-Figure >> nth={number}" for number in (0, 1))
SHAPES = ".alone .bk-Figure"
AXES = """() => [...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type == "Range1d").map(range => [range.start, range.end])"""


def shown_of(opened: Any) -> list[str]:
    """The runs that are shown."""
    return opened.locator("h2:visible").all_inner_texts()


def point_at(opened: Any, picture: str, across: float, up: float) -> None:
    """Move the mouse into a picture, as shares of its width and of its height from below."""
    figure = opened.locator("section:visible").first.locator(picture)
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    opened.mouse.move(box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"])


def rows_of(opened: Any, table: int) -> list[list[str]]:
    """What a table shows."""
    rows = opened.locator(".searched:visible").nth(table).locator("tbody tr:visible")
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def test_hovering_a_tensor_tells_what_it_is(opened: Any) -> None:
    point_at(opened, SHAPES, 0.27, 0.65)
    tooltip = opened.locator(".bk-Tooltip").filter(has_text=FORWARD)
    for text in ("block_001", "activation", "4.0 MiB (4,194,304 B)", "0.001 ms – 0.002 ms"):
        tooltip.get_by_text(text, exact=True).first.wait_for(timeout=5000)


def test_hovering_the_areas_tells_what_is_alive_then(opened: Any) -> None:
    point_at(opened, AREAS, 0.27, 0.65)
    tooltip = opened.locator(".bk-Tooltip").filter(has_text="of all")
    for text in ("activation", "5.00 MiB", "7.00 MiB", "0.001 ms"):
        tooltip.get_by_text(text, exact=True).first.wait_for(timeout=5000)


def test_a_name_with_markup_is_shown_as_it_is(opened: Any) -> None:
    assert opened.locator("img").count() == 0
    point_at(opened, SHAPES, 0.27, 0.4)
    name = f"forward/block_001/{HOSTILE}/MatMul"
    opened.locator(".bk-Tooltip").get_by_text(name, exact=True).wait_for(timeout=5000)
    (cell,) = opened.get_by_title(name).locator("visible=true").all()
    assert cell.inner_text().split("\n") == ["MatMul", f"forward/block_001/{HOSTILE}/MatMul"]
    assert opened.locator("img").count() == 0


def test_hovering_the_phases_tells_from_when_to_when(opened: Any) -> None:
    point_at(opened, PHASES, 0.25, 0.5)
    tooltip = opened.locator(".bk-Tooltip").filter(has_text="forward")
    tooltip.get_by_text("0.003 ms", exact=True).wait_for(timeout=5000)


def test_the_table_has_what_is_alive_at_the_peak_and_can_be_sorted(opened: Any) -> None:
    rows = rows_of(opened, 0)
    assert [row[2] for row in rows] == ["4.00", "2.00", "1.00"]
    assert [row[8:] for row in rows] == [
        ["0.001", "0.002"],
        ["before", "after"],
        ["0.000", "0.004"],
    ]
    assert opened.get_by_title("4,194,304 B").locator("visible=true").count() == 1
    for head, expected in {
        "MiB": ["1.00", "2.00", "4.00"],
        "from (ms)": ["4.00", "1.00", "2.00"],
        "operation": ["1.00", "4.00", "2.00"],
        "MiB ": ["4.00", "2.00", "1.00"],
    }.items():
        opened.locator(".searched:visible button").get_by_text(head.strip(), exact=True).click()
        assert [row[2] for row in rows_of(opened, 0)] == expected, head


def test_runs_differ_by_layer_and_category(opened: Any) -> None:
    opened.get_by_role("tab", name="second").click()
    opened.get_by_text("second beside first").wait_for()
    assert rows_of(opened, 1)[0] == ["dense", "activation", "5.00", "2.50", "-2.50"]


def test_the_search_filters_tables_and_marks_tensors(opened: Any) -> None:
    marked = f"() => models().find(model => model.name === '{TENSORS}').selected.indices"
    field = opened.get_by_label("Search by layer")
    field.fill("DENSE")
    assert [row[1] for row in rows_of(opened, 0)] == ["dense"]
    assert opened.locator("output:visible").all_inner_texts() == ["1 of 3 rows"]
    layers = opened.evaluate(f"models().find(model => model.name === '{TENSORS}').data.layer")
    expected = [place for place, layer in enumerate(layers) if layer == "dense"]
    assert opened.evaluate(marked) == expected != []
    field.fill("no such layer")
    assert rows_of(opened, 0) == []
    field.fill("")
    assert len(rows_of(opened, 0)) == 3
    assert opened.evaluate(marked) == []


def test_tabs_are_chosen_by_mouse_keys_and_address(opened: Any) -> None:
    assert shown_of(opened) == ["first"]
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("location.hash === '#run-2'")
    assert opened.get_by_role("tab", selected=True).inner_text() == "second"
    assert shown_of(opened) == ["second"]
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("location.hash === '#together'")
    assert shown_of(opened) == ["first", "second"]
    assert opened.locator(".searched:visible").count() == 0
    opened.go_back()
    assert shown_of(opened) == ["second"]


@pytest.mark.parametrize("width", [1400, 390])
def test_no_width_is_too_narrow(opened: Any, width: int) -> None:
    size = opened.viewport_size
    opened.set_viewport_size({"width": width, "height": 900})
    for tab in ("side by side", "first", "second"):
        opened.get_by_role("tab", name=tab).click()
        opened.wait_for_function(f"{OVERFLOW} <= 0", timeout=5000)
        boxes = [one.bounding_box() for one in opened.locator(".bk-Figure:visible").all()]
        assert len(boxes) == (4 if tab == "side by side" else 3)
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert smallest_text(opened) >= 12
    opened.set_viewport_size(size)


def test_on_a_phone_a_finger_moves_the_page_and_not_the_picture(browser: Any, file: str) -> None:
    phone = {"has_touch": True, "is_mobile": True}
    with opened_in(browser, f"{file}#run-2", 390, 844, **phone) as opened:
        opened.wait_for_function(IDLE)
        assert shown_of(opened) == ["second"]
        touch = "getComputedStyle(one).touchAction"
        for events in opened.locator(".bk-events:visible").all():
            opened.wait_for_function(f"one => {touch} === 'auto'", arg=events.element_handle())
        picture = opened.locator("section:visible").locator(SHAPES)
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        opened.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.79 * box["height"])
        tooltip = opened.locator(".bk-Tooltip").filter(has_text="lifetime")
        tooltip.get_by_text("before – after").wait_for(timeout=5000)
        assert opened.evaluate(OVERFLOW) <= 0


@pytest.mark.parametrize(
    ("tab", "picture"), [("first", AREAS), ("first", SHAPES), ("second", SHAPES)]
)
def test_the_wheel_zooms_every_picture_and_reset_comes_back(
    opened: Any, tab: str, picture: str
) -> None:
    opened.get_by_role("tab", name=tab).click()
    before, as_text = opened.evaluate(f"[({AXES})(), JSON.stringify(({AXES})())]")
    point_at(opened, picture, 0.5, 0.5)
    opened.mouse.wheel(0, -100)
    opened.wait_for_function(f"before => JSON.stringify(({AXES})()) != before", arg=as_text)
    zoomed = opened.evaluate(AXES)
    narrower = [new[1] - new[0] < old[1] - old[0] for new, old in zip(zoomed, before, strict=True)]
    # The strips of phases have heights of their own.
    assert narrower.count(True) == 2
    # What comes while the wheel still counts as turning is undone with it.
    opened.wait_for_timeout(500)
    opened.locator(".bk-tool-icon-reset:visible").first.click()
    opened.wait_for_function(f"before => JSON.stringify(({AXES})()) == before", arg=as_text)
