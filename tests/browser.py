"""Pages in a browser without a network."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
_FONT_SIZES = """[...document.querySelectorAll("body *")]
    .map(one => parseFloat(getComputedStyle(one).fontSize))"""


def chromium() -> Iterator[Any]:
    """Chromium, which opens nothing but files; skips the test where there is none."""
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


@contextlib.contextmanager
def opened_in(browser: Any, address: str, width: int, height: int, **how: Any) -> Iterator[Any]:
    """A page in a window of its own; nothing may go wrong while it is open."""
    requests: list[str] = []
    wrong: list[str] = []
    size = {"width": width, "height": height}
    context = browser.new_context(offline=True, viewport=size, **how)
    opened = context.new_page()
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    opened.goto(address)
    yield opened
    context.close()
    assert wrong == []
    elsewhere = [request for request in requests if not request.startswith("data:")]
    assert {request.partition("#")[0] for request in elsewhere} == {address.partition("#")[0]}


def smallest_text(opened: Any) -> float:
    """The least size of a font on a page, in pixels."""
    return min(opened.evaluate(_FONT_SIZES))
