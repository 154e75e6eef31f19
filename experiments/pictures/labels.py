"""Names beside what they name, in place of a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

LABEL_HEIGHT_INCHES = 0.15  # from one label to the next, at FONT_SIZE
FONT_SIZE = 8
_LIGHTEST = 0.45  # of letters, where white is 1


@dataclass(frozen=True)
class Label:
    """A name, and the point that it belongs to."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: Sequence[Label], height_inches: float) -> None:
    """Puts a name beside the end of each line, moved apart where they would overlap.

    Args:
        axes: whose limits and scales are set already.
        ends: the last point of each line.
        height_inches: of the axes.
    """
    axes.get_xlim(), axes.get_ylim()  # settles limits that are still to be found
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [to_axes.transform((end.x, end.y)) for end in ends]
    placed = sorted(zip(points, ends, strict=True), key=lambda pair: pair[0][1])
    heights = [float(point[1]) for point, _ in placed]
    spread = apart(heights, LABEL_HEIGHT_INCHES / height_inches) if heights else []
    for (point, end), height in zip(placed, spread, strict=True):
        axes.annotate(
            end.text,
            tuple(point),
            xycoords="axes fraction",
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=FONT_SIZE,
            color=readable(end.colour),
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linewidth": 0.7,
                "linestyle": ":",  # not to be taken for a line of data
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising heights, each at least a gap above the one before, and in all not higher."""
    spread: list[float] = []
    for height in heights:
        spread.append(max(height, spread[-1] + gap if spread else 0.0))
    shift = max(0.0, spread[-1] - max(1.0, heights[-1]))
    ceiling = math.inf
    for number in range(len(spread) - 1, -1, -1):
        spread[number] = min(spread[number], ceiling, spread[-1] - shift)
        ceiling = spread[number] - gap
        shift = 0.0
    return spread


def readable(colour: str) -> tuple[float, float, float]:
    """The colour, darker where small letters in it would be too pale on white."""
    red, green, blue = colors.to_rgb(colour)
    lightness = 0.3 * red + 0.6 * green + 0.1 * blue
    factor = min(1.0, _LIGHTEST / lightness) if lightness else 1.0
    return red * factor, green * factor, blue * factor


# Where a name may stand around its point, the best place first: offset in points and alignment.
_PLACES = [
    (across * reach, up * reach, horizontal)
    for reach in (1.0, 2.2, 3.6, 5.0)
    for across, up, horizontal in (
        (6, 7, "left"),
        (7, 0, "left"),
        (-7, 0, "right"),
        (0, 9, "center"),
        (0, -9, "center"),
        (6, -8, "left"),
        (-6, 8, "right"),
        (-6, -8, "right"),
    )
]


_NEAR = 10  # points; beyond that a line leads to a name
_FARNESS = 2  # square pixels that a name may rather cover than be a point further away


def label_points(
    axes: Axes, labels: Sequence[Label], ranges: Sequence[tuple[float, float]] = ()
) -> list[Text]:
    """Puts a name beside each point where it covers least of the other names, points and lines.

    Args:
        axes: whose figure has its final size and layout.
        labels: one for each point.
        ranges: of x, of the level line through each point; without any there are no lines.
    """
    figure = axes.get_figure()
    figure.draw_without_rendering()
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    radius = 4.5 * figure.dpi / 72
    taken = [Bbox([point - radius, point + radius]) for point in points]
    for label, ends in zip(labels, ranges, strict=bool(ranges)):
        (left, level), (right, _) = (axes.transData.transform((x, label.y)) for x in ends)
        taken.append(Bbox([(left, level - 1), (right, level + 1)]))
    texts = []
    for label in labels:
        candidates = [_named(axes, label, *place) for place in _PLACES]
        boxes = [letters_of(text) for text in candidates]
        far = [_FARNESS * max(0.0, max(abs(x), abs(y)) - _NEAR) for x, y, _ in _PLACES]
        costs = [
            _covered(box, taken) + _outside(box, axes.bbox) + own
            for box, own in zip(boxes, far, strict=True)
        ]
        best = costs.index(min(costs))
        for number, text in enumerate(candidates):
            if number != best:
                text.remove()
        taken.append(boxes[best])
        texts.append(candidates[best])
    return texts


def letters_of(text: Text) -> Bbox:
    """Where the letters of a name are, in pixels, without the line that leads to them."""
    text.get_window_extent()  # moves it to its place
    return Text.get_window_extent(text)


def _named(axes: Axes, label: Label, right: float, up: float, horizontal: str) -> Text:
    far = max(abs(right), abs(up)) > _NEAR
    return axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=(right, up),
        textcoords="offset points",
        ha=horizontal,
        va="center",
        fontsize=FONT_SIZE,
        color=readable(label.colour),
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=6,
        arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.5} if far else None,
    )


def _covered(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Square pixels of a box that others have."""
    shared = (Bbox.intersection(box, other) for other in taken)
    return sum(both.width * both.height for both in shared if both is not None)


def _outside(box: Bbox, axes: Bbox) -> float:
    """Square pixels of a box that lie beyond the axes."""
    inside = Bbox.intersection(box, axes)
    return box.width * box.height - (inside.width * inside.height if inside is not None else 0)
