"""One page that shows timelines, alone or side by side, in any browser and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bokeh.embed import file_html
from bokeh.models import LayoutDOM
from bokeh.resources import Resources
from jinja2 import Environment
from mem_dfa.profiling.render import page_pictures, page_tables
from mem_dfa.profiling.render.curves import COLUMNS, exact_runs, peak_parts
from mem_dfa.profiling.render.palette import CATEGORY_COLOURS, INK, PHASE_COLOURS, QUIET
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS

from mem_dfa.units import show_bytes

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_SUMMARY = (
    "peak",
    "of the first",
    "resident",
    "step (peak - resident)",
    "allocator's own peak",
    "predicted peak",
    "predicted - peak",
    "events",
    "device",
)
_PARTS = 6


def page(timelines: TimelineData | Sequence[TimelineData]) -> str:
    """The page: for each run its areas, its tensors as shapes, what is alive at the peak.

    Several runs have common axes, a summary, and their differences from the first.

    Args:
        timelines: recorded ones, at least one.

    Returns:
        HTML that needs nothing else.

    Raises:
        TraceError: one of them is not exact.
        ValueError: none is given.
    """
    runs = exact_runs(timelines)
    axes = page_pictures.common_axes(runs)
    roots: dict[str, LayoutDOM] = {}
    for number, run in enumerate(runs):
        roots[f"pictures_{number}"] = page_pictures.pictures(run, axes)
        roots[f"table_{number}"] = page_tables.peak_table(run)
        if number:
            roots[f"difference_{number}"] = page_tables.difference_table(runs[0], run)
    for name, root in roots.items():
        root.name = name
    # Names of layers and operations are anybody's text: whatever is not marked safe is escaped.
    template = Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    title = "Memory of " + ", ".join(dict.fromkeys(run.title for run in runs))
    return file_html(
        list(roots.values()),
        Resources(mode="inline"),
        title,
        template=template,
        template_variables=_words(runs),
    )


def _words(runs: Sequence[TimelineData]) -> dict[str, object]:
    """What the template says, and where it places the pictures and tables."""
    return {
        "ink": INK,
        "quiet": QUIET,
        "categories": CATEGORY_COLOURS,
        "phases": PHASE_COLOURS,
        "summary_names": _SUMMARY,
        "runs": [
            {
                "title": run.title,
                "summary": _summary(run, runs[0]),
                "notes": _notes(run),
                "parts": "; ".join(peak_parts(run, _PARTS)),
                "pictures": f"pictures_{number}",
                "table": f"table_{number}",
            }
            for number, run in enumerate(runs)
        ],
        "differences": [
            {
                "title": f"{run.title} beside {runs[0].title}",
                "notes": f"Alive at the peak of {runs[0].title} (bytes) and at that of "
                f"{run.title} (other bytes), by block and category, greatest change first.",
                "table": f"difference_{number}",
            }
            for number, run in enumerate(runs)
            if number
        ],
    }


def _summary(run: TimelineData, first: TimelineData) -> list[tuple[str, str]]:
    """For each of `_SUMMARY` a text, and the exact bytes where it is of bytes."""
    predicted, peak = run.predicted_peak_bytes, run.peak_bytes
    return [
        _size(peak),
        (f"{peak / first.peak_bytes:.1%}" if first.peak_bytes else "-", ""),
        _size(run.resident_bytes),
        _size(run.step_bytes),
        _size(run.allocator_peak_bytes),
        _size(predicted),
        _size(None if predicted is None else predicted - peak),
        (f"{len(run.events):,}", ""),
        (run.device, ""),
    ]


def _size(size: int | None) -> tuple[str, str]:
    return ("unknown", "") if size is None else (show_bytes(size), f"{size:,} B")


def _notes(run: TimelineData) -> str:
    """What is known of where bytes belong, and what the pictures leave out."""
    notes = f"Attribution – {ATTRIBUTIONS[run.attribution]}."
    count = int((run.tensors["allocated_bytes"] > 0).sum())
    if count > page_pictures.SHAPES:
        notes += (
            f" The {page_pictures.SHAPES} largest of {count:,} tensors have a shape of their own; "
            "the smaller are the grey band on top."
        )
    if len(run.events) >= 4 * COLUMNS:
        notes += " Areas and phases leave out what is too short to be seen without zooming."
    return notes
