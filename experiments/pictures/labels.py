"""Names beside what they name, in place of a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_GAP_INCHES = 0.15  # from one name to the next
_SHARE = 0.74  # of a figure's height that its axes have
_LIGHTEST = 0.45  # of letters, where white is 1
_NEAR = 10  # points; beyond that a line leads to a name
_FARNESS = 2  # square pixels that a name may rather cover than be a point further away
_CROSSED = 5  # points beside an upright line that a name should not have
_SIDES = {"left": 0.0, "center": 0.5, "right": 1.0}
_AROUND = [(6, 7, "left"), (7, 0, "left"), (-7, 0, "right"), (0, 9, "center"), (0, -9, "center")]
_AROUND += [(6, -8, "left"), (-6, 8, "right"), (-6, -8, "right")]
_PLACES = [(x * far, y * far, side) for far in (1.0, 2.2, 3.6, 5.0) for x, y, side in _AROUND]
"""Where a name may stand around its point, the best place first: offset in points, alignment."""


@dataclass(frozen=True)
class Label:
    """A name, and the point that it belongs to."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: Sequence[Label]) -> None:
    """Puts a name beside the end of each line, moved apart where they would overlap.

    Scales are set already, and limits, or they are found by what is drawn.
    """
    if not ends:
        return
    axes.get_xlim(), axes.get_ylim()  # settles limits that are still to be found
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    placed = sorted(((to_axes((end.x, end.y)), end) for end in ends), key=lambda one: one[0][1])
    place = axes.get_subplotspec()
    rows = place.get_gridspec().nrows if place else 1
    gap = _GAP_INCHES / (_SHARE * cast(Figure, axes.get_figure()).get_figheight() / rows)
    heights = apart([float(point[1]) for point, _ in placed], gap)
    for (point, end), height in zip(placed, heights, strict=True):
        # Dotted, not to be taken for a line of data.
        line = {"linewidth": 0.7, "linestyle": ":", "relpos": (0, 0.5)}
        axes.annotate(
            end.text, tuple(point), xycoords="axes fraction", xytext=(1.04, height),
            textcoords="axes fraction", annotation_clip=False, **_look(end, line),
        )  # fmt: skip


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising heights, each at least a gap above the one before, and in all not higher."""
    steps = gap * np.arange(len(heights))
    up = np.maximum.accumulate(np.maximum(heights, 0) - steps) + steps
    return np.minimum(up, max(1.0, heights[-1]) - steps[::-1]).tolist()


def readable(colour: str) -> tuple[float, float, float]:
    """The colour, darker where small letters in it would be too pale on white."""
    red, green, blue = colors.to_rgb(colour)
    lightness = 0.3 * red + 0.6 * green + 0.1 * blue
    factor = min(1.0, _LIGHTEST / lightness) if lightness else 1.0
    return red * factor, green * factor, blue * factor


def label_points(
    axes: Axes,
    labels: Sequence[Label],
    ranges: Sequence[tuple[float, float]] = (),
    heights: Sequence[tuple[float, float]] = (),
) -> list[Text]:
    """Puts a name beside each point where it covers least of the other names, points and lines.

    There is a level line through each point where ``ranges`` tells where it begins and ends, and an
    upright one where ``heights`` does.
    """
    figure = cast(Figure, axes.get_figure())
    figure.draw_without_rendering()
    to_pixels, scale = axes.transData.transform, figure.dpi / 72
    points = [to_pixels((label.x, label.y)) for label in labels]
    taken = [Bbox([point - 4.5 * scale, point + 4.5 * scale]) for point in points]
    for label, ends in zip(labels, ranges, strict=bool(ranges)):
        (left, level), (right, _) = (to_pixels((x, label.y)) for x in ends)
        taken.append(Bbox([(left, level - 1), (right, level + 1)]))
    for label, ends in zip(labels, heights, strict=bool(heights)):
        (place, low), (_, high) = (to_pixels((label.x, y)) for y in ends)
        taken.append(Bbox([(place - _CROSSED * scale, low), (place + _CROSSED * scale, high)]))
    texts: list[Text] = []
    for label, (x, y) in zip(labels, points, strict=True):
        look = _look(label, {"linewidth": 0.5})
        text = axes.annotate(
            label.text, (label.x, label.y), xytext=(0, 0), textcoords="offset points", zorder=6,
            path_effects=[withStroke(linewidth=2, foreground="white")], **look,
        )  # fmt: skip
        width, height = letters_of(text).size
        costs = {}
        for right, up, side in _PLACES:
            left, below = x + right * scale - _SIDES[side] * width, y + up * scale - height / 2
            box = Bbox.from_bounds(left, below, width, height)
            outside = width * height - _covered(box, [axes.bbox])
            beyond = max(0.0, abs(right) - _NEAR, abs(up) - _NEAR)
            costs[right, up, side] = _covered(box, taken) + outside + _FARNESS * beyond
        right, up, side = min(costs, key=costs.__getitem__)
        text.set(position=(right, up), horizontalalignment=side)
        if text.arrow_patch and max(abs(right), abs(up)) <= _NEAR:
            text.arrow_patch.set_visible(False)
        taken.append(letters_of(text))
        texts.append(text)
    return texts


def _look(label: Label, line: dict[str, Any]) -> dict[str, Any]:
    arrow = {"arrowstyle": "-", "color": label.colour, **line}
    return {"va": "center", "fontsize": 8, "color": readable(label.colour), "arrowprops": arrow}


def letters_of(text: Text) -> Bbox:
    """Where the letters of a name are, in pixels, without the line that leads to them."""
    text.get_window_extent()  # moves it to its place
    return Text.get_window_extent(text)


def _covered(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Square pixels of a box that others have."""
    shared = (Bbox.intersection(box, other) for other in taken)
    return sum(both.width * both.height for both in shared if both is not None)
