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

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_PARTS = 6
_UNKNOWN = page_tables.Cell("unknown")


def page(timelines: TimelineData | Sequence[TimelineData]) -> str:
    """The page: for each run its areas, its tensors as shapes, what is alive at the peak.

    Several runs have common axes and a summary, a tab for all side by side, and one for each, with
    its differences from the first.

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
        roots[f"areas_{number}"] = page_pictures.areas(run, axes)
        roots[f"shapes_{number}"] = page_pictures.shapes(run, axes)
    for name, root in roots.items():
        root.name = name
    # Names of layers and operations are anybody's text: whatever is not marked safe is escaped.
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    common, names = _names([run.title for run in runs])
    title = f"Memory of {common}" + (f": {', '.join(names)}" if len(runs) > 1 else "")
    words = _words(runs, names)
    resources = Resources(mode="inline")
    return file_html(
        list(roots.values()), resources, title, template=template, template_variables=words
    )


def _names(titles: Sequence[str]) -> tuple[str, list[str]]:
    """What titles of several runs end with alike, and what each has before it."""
    words = [title.split() for title in titles]
    if len(words) == 1:
        return titles[0], list(titles)
    count = 0
    while count < min(map(len, words)) - 1 and len({line[-1 - count] for line in words}) == 1:
        count += 1
    common = " ".join(words[0][len(words[0]) - count :])
    return common or f"{len(titles)} runs", [" ".join(line[: len(line) - count]) for line in words]


def _words(runs: Sequence[TimelineData], names: Sequence[str]) -> dict[str, object]:
    """What the template says, and where it places the pictures."""
    summaries = [_summary(run, runs[0]) for run in runs]
    return {
        "ink": INK,
        "quiet": QUIET,
        "tensors": page_pictures.TENSORS,
        "categories": CATEGORY_COLOURS,
        "phases": PHASE_COLOURS,
        "summary": {head: [one[head] for one in summaries] for head in summaries[0]},
        "first": names[0],
        "runs": [
            {
                "name": name,
                "notes": _notes(run),
                "parts": "; ".join(peak_parts(run, _PARTS)),
                "areas": f"areas_{number}",
                "shapes": f"shapes_{number}",
                "table": page_tables.peak_table(run),
                "difference": page_tables.difference_table(runs[0], run, (names[0], name))
                if number
                else None,
            }
            for number, (run, name) in enumerate(zip(runs, names, strict=True))
        ],
    }


def _summary(run: TimelineData, first: TimelineData) -> dict[str, page_tables.Cell]:
    """What is known of a whole run, by its name."""
    predicted, peak = run.predicted_peak_bytes, run.peak_bytes
    share = f"{peak / first.peak_bytes:.1%}" if first.peak_bytes else "-"
    size, text = _size, page_tables.Cell
    return {
        "peak (MiB)": size(peak),
        "peak, of the first run's": text(share),
        "resident (MiB)": size(run.resident_bytes),
        "step: peak - resident (MiB)": size(run.step_bytes),
        "allocator's own peak (MiB)": size(run.allocator_peak_bytes),
        "predicted peak (MiB)": size(predicted),
        "predicted - peak (MiB)": size(None if predicted is None else predicted - peak),
        "events": text(f"{len(run.events):,}"),
        "device": text(run.device),
    }


def _size(count: int | None) -> page_tables.Cell:
    return _UNKNOWN if count is None else page_tables.size(count)


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
