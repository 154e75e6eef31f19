"""Bytes as people write them. Code and files hold whole bytes; this is for the edges."""

from __future__ import annotations

import math
import re

MEBIBYTE = 2**20
# TensorFlow's allocator hands out whole units of this many bytes.
ALLOCATION_UNIT_BYTES = 256
_FACTORS = {"B": 1, "KiB": 2**10, "MiB": MEBIBYTE, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_bytes(text: str) -> int:
    """Whole bytes from a size such as "120 MiB", "1.5GiB" or "2048 B".

    Raises:
        ValueError: no number with one of the units B, KiB, MiB, GiB, TiB, or an infinite one.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _FACTORS:
        raise ValueError(
            f"Received the size {text!r}; write a number and one of {', '.join(_FACTORS)}, "
            'such as "120 MiB".'
        )
    size = float(match[1]) * _FACTORS[match[2]]
    if math.isinf(size):
        raise ValueError(f"Received a size of {len(match[1])} digits; write a smaller one.")
    return round(size)


def show_bytes(size: int) -> str:
    """A size for reading, with one decimal: "24.0 MiB", "512 B", "-1.5 KiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if abs(size) >= _FACTORS[unit]:
            return f"{size / _FACTORS[unit]:.1f} {unit}"
    return f"{size} B"


def parse_percent(text: object) -> float:
    """The number of a share such as "1 %" or "0.5%".

    Raises:
        ValueError: no number of at most three digits with a percent sign.
    """
    match = isinstance(text, str) and re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*%\s*", text)
    if not match:
        raise ValueError(f'Received the share {text!r}; write one such as "1 %".')
    return float(match[1])
