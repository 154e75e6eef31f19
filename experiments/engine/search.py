"""Which size to try next, on the way to the largest that trains. Knows of rows only.

Whatever was tried before, in this run or an earlier one, is in the rows, and nothing else decides:
so a search that was interrupted goes on as if it had not been.
"""

from collections.abc import Mapping
from typing import Any

Rows = Mapping[int, Mapping[str, Any]]

GROWTH = 16  # how far beyond what is known a size is tried, in times the largest known one
FINENESS = 16  # the first steps around a guess are that part of it


def bracket(rows: Rows, maximum: int) -> tuple[int, int]:
    """The largest size known to train and the smallest known not to.

    Near a limit success need not be monotonic: a size that trains above one that does not is not
    counted.

    Args:
        rows: what was tried, by size.
        maximum: no larger size is asked for.

    Returns:
        The two sizes. The first is 0 where none is known to train, the second ``maximum`` + 1 where
        none is known not to.
    """
    high = min((size for size, row in rows.items() if not _trains(row)), default=maximum + 1)
    high = min(high, maximum + 1)
    low = max((size for size, row in rows.items() if size < high and _trains(row)), default=0)
    return low, high


def next_size(rows: Rows, maximum: int, limit_bytes: int, repeats: int) -> int | None:
    """The size to try next; None when the answer is known.

    The answer is a pair of neighbours, of which the first trained in so many processes and the
    second did not; or the maximum; or that size 1 does not train.

    Args:
        rows: what was tried, by size.
        maximum: no larger size is asked for.
        limit_bytes: what the processes are limited to.
        repeats: in how many processes the answer has to train.
    """
    low, high = bracket(rows, maximum)
    if low == 0:
        return None if high == 1 else 1
    if high - low == 1:
        return low if rows[low]["repeats"] < repeats else None
    failures = sum(not _trains(row) for row in rows.values())
    if failures:
        # The guess was a good one, so steps down from it are small at first.
        step = max(1, high // FINENESS) * 2 ** min(failures - 1, FINENESS)
        size = max((low + high) // 2, high - step)
    else:
        # Where the line says that low is the one, so are steps up from it.
        near = sum(low // 2 < size <= low for size in rows)
        size = max(_expected(rows, limit_bytes), low + 2 ** (near - 1))
    return min(max(size, low + 1), high - 1)


def _trains(row: Mapping[str, Any]) -> bool:
    return row["status"] == "ok"


def _expected(rows: Rows, limit_bytes: int) -> int:
    """Where a line through the peaks of two sizes meets the limit."""
    large = max(rows)
    reach = GROWTH * large
    # Of neighbours the peaks differ by chance.
    small = max((size for size in rows if size <= large // 2), default=None)
    if small is None:
        return reach
    peaks = [rows[size]["process_peak_bytes"] for size in (small, large)]
    slope = (peaks[1] - peaks[0]) / (large - small)
    if slope <= 0:
        return reach
    return min(reach, large + int((limit_bytes - peaks[1]) / slope))
