"""What a plan says to do with a chain's steps: run, keep, differentiate and free them, in order.

Step i leads from position i to position i + 1, by layers in depth or by segments in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: `advance`: run from the state at `start` to that at `stop`, and keep it;
            `record`: run step `start`, keep its internals and the state after it, at `stop`;
            `backward`: differentiate step `start`, and free its internals;
            `forget`: free the state at `start`.
        start: a position.
        stop: where it ends; `start` itself for `forget`.
    """

    kind: Literal["advance", "record", "backward", "forget"]
    start: int
    stop: int
