"""The colours of categories and phases, the same in every picture.

Categories have the colours of Okabe and Ito, which stay apart for every kind of colour blindness,
and greys for what is only left over. Phases have one hue in four steps of lightness, and always a
strip of their own.
"""

from __future__ import annotations

from mem_dfa.profiling.words import (
    ACTIVATION,
    CATEGORIES,
    CONSTANT,
    FEEDBACK,
    GRADIENT,
    INPUT,
    OPTIMIZER_STATE,
    PARAMETER,
    PHASES,
    RESIDENT,
    TEMPORARY,
)

CATEGORY_COLOURS = {
    PARAMETER: "#0072B2",
    OPTIMIZER_STATE: "#CC79A7",
    FEEDBACK: "#009E73",
    INPUT: "#F0E442",
    CONSTANT: "#E69F00",
    RESIDENT: "#C8C8C8",
    ACTIVATION: "#56B4E9",
    GRADIENT: "#D55E00",
    TEMPORARY: "#595959",
}
PHASE_COLOURS = dict(zip(PHASES, ("#D8D3EC", "#A195CF", "#6A57A5", "#281A52"), strict=True))
# Text, the curve of the total and the mark of its peak; what is less than these.
INK, QUIET = "#222222", "#666666"

if set(CATEGORY_COLOURS) != set(CATEGORIES):
    raise AssertionError("every category needs a colour")
