"""What the pictures of the page tell of the place under the pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import HoverTool
from mem_dfa.profiling.render.palette import QUIET

# Beside the pointer it has half of the window: there long names go on in the next line.
_BOX = "max-width: min(26rem, 40vw); font-size: 12px; overflow-wrap: anywhere; white-space: normal;"


def tooltip(texts: Mapping[str, str], renderers: Sequence[Any], **how: Any) -> HoverTool:
    """A line for each text, behind its name.

    Args:
        texts: what is told by its name; `@column` and `$name` stand for values, as in Bokeh, which
            shows markup in them as it is.
        renderers: what it tells of.
        how: what `HoverTool` takes besides.
    """
    lines = [
        f'<div><span style="color: {QUIET}">{name}</span> <span>{text}</span></div>'
        for name, text in texts.items()
    ]
    content = f'<div style="{_BOX}">{"".join(lines)}</div>'
    return HoverTool(tooltips=content, renderers=list(renderers), visible=False, **how)
