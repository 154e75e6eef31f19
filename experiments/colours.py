"""How an algorithm looks in every figure.

Colours are those of Okabe and Ito, without the yellow that is too light for a line, and three more
that stay apart from them for every kind of colour blindness. Markers say the same a second time.
Of two algorithms whose numbers are nearly equal, one has a wide line and the other a narrow one on
top of it, so that both can be seen.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How one algorithm is drawn."""

    colour: str
    marker: str
    """In matplotlib's notation."""
    width: float
    """Of its line, in points; wider ones lie below."""


LOOKS = {
    "bp": Look("#000000", "o", 1.6),
    "fa": Look("#E69F00", "s", 3.6),
    "dfa": Look("#56B4E9", "D", 3.6),
    "mem_dfa": Look("#D55E00", "o", 1.8),
    "checkpoint": Look("#009E73", "^", 1.6),
    "checkpoint_fa": Look("#603000", "v", 3.2),
    "revnet": Look("#CC79A7", "P", 2.0),
    "microbatch": Look("#0072B2", "X", 1.8),
    "remat_scope": Look("#6000B8", "<", 1.6),
    "recompute_grad": Look("#003030", ">", 2.4),
}
OWN = Look("#4D4D4D", "*", 1.4)
"""Of a class of the user's own."""


def look_of(algorithm: str) -> Look:
    """How an algorithm is drawn, everywhere the same."""
    return LOOKS.get(algorithm, OWN)
