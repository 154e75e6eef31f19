"""The page, as text and in a browser without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import TraceError
from mem_dfa.profiling.render.page import page

from tests.profiling.drawn import FORWARD, long, small

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
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
    assert "complete: each operation has its full path" in words


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


@pytest.fixture(scope="module", name="browser")
def headless_browser() -> Iterator[Any]:
    """Chromium, which opens nothing but files."""
    if BROWSER is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=BROWSER,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module", name="opened")
def opened_page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of two runs, the first with a hostile name; nothing may go wrong while it is open."""
    first = small("first", scale=4096, layer_op=f"forward/block_001/{HOSTILE}/MatMul")
    folder = tmp_path_factory.mktemp("page")
    address = first.to_html(folder / "page.html", small("second", scale=2048)).as_uri()
    requests: list[str] = []
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=True)
    opened = context.new_page()
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    opened.goto(address)
    opened.wait_for_function("window.Bokeh?.documents[0]?.is_idle")
    yield opened
    context.close()
    assert wrong == []
    assert requests == [address]


# Which picture: each run has its phases, its areas and its shapes.
PHASES, AREAS, SHAPES, OTHER_SHAPES = 0, 1, 2, 5
AXES = """() => [...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type == "Range1d").map(range => [range.start, range.end])"""


def point_at(opened: Any, picture: int, across: float, up: float) -> None:
    """Move the mouse into a picture, as shares of its width and of its height from below."""
    figure = opened.locator(".bk-Figure").nth(picture)
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    opened.mouse.move(box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"])


def rows_of(opened: Any, table: int) -> list[list[str]]:
    """What a table shows of its first rows."""
    rows = opened.locator(".bk-DataTable").nth(table).locator(".slick-row")
    rows.first.wait_for()
    return [row.locator(".slick-cell").all_inner_texts() for row in rows.all()]


def test_hovering_a_tensor_tells_what_it_is(opened: Any) -> None:
    point_at(opened, SHAPES, 0.27, 0.65)
    tooltip = opened.locator(".bk-Tooltip").filter(has_text=FORWARD)
    for text in ("block_001", "activation", "4.0 MiB (4,194,304 B)", "0.001 ms – 0.002 ms"):
        tooltip.get_by_text(text, exact=True).first.wait_for(timeout=5000)


def test_a_name_with_markup_is_shown_as_it_is(opened: Any) -> None:
    assert opened.locator("img").count() == 0
    point_at(opened, SHAPES, 0.27, 0.4)
    name = f"forward/block_001/{HOSTILE}/MatMul"
    opened.locator(".bk-Tooltip").get_by_text(name, exact=True).wait_for(timeout=5000)
    assert name in [row[0] for row in rows_of(opened, 0)]
    assert opened.locator("img").count() == 0


def test_hovering_the_phases_tells_from_when_to_when(opened: Any) -> None:
    point_at(opened, PHASES, 0.25, 0.5)
    tooltip = opened.locator(".bk-Tooltip").filter(has_text="forward")
    tooltip.get_by_text("0.003 ms", exact=True).wait_for(timeout=5000)


def test_the_table_has_what_is_alive_at_the_peak_and_can_be_sorted(opened: Any) -> None:
    rows = rows_of(opened, 0)
    assert [row[7] for row in rows] == ["4,194,304", "2,097,152", "1,048,576"]
    assert [row[8:] for row in rows] == [
        ["0.001", "0.002"],
        ["before", "after"],
        ["0.000", "0.004"],
    ]
    header = opened.locator(".bk-DataTable").first.locator(".slick-header-column")
    header.filter(has_text="bytes").click()
    assert [row[7] for row in rows_of(opened, 0)] == ["1,048,576", "2,097,152", "4,194,304"]


def test_runs_differ_by_layer_and_category(opened: Any) -> None:
    assert opened.get_by_text("second beside first").count() == 1
    assert rows_of(opened, 2)[0] == [
        "dense",
        "activation",
        "5,242,880",
        "2,621,440",
        "-2,621,440",
    ]


@pytest.mark.parametrize("picture", [AREAS, SHAPES, OTHER_SHAPES])
def test_the_wheel_zooms_every_picture_and_reset_comes_back(opened: Any, picture: int) -> None:
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
    opened.locator(".bk-tool-icon-reset").first.click()
    opened.wait_for_function(f"before => JSON.stringify(({AXES})()) == before", arg=as_text)
