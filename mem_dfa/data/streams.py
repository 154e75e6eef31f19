"""Streams for recurrent nets, batch after batch: each row goes on where it ended before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mem_dfa.errors import UnsupportedError

Batch = tuple[np.ndarray, np.ndarray]


def delayed_recall(rows: int, steps: int, delay: int, seed: int = 0) -> Iterator[Batch]:
    """Random bits, of which the one `delay` steps ago is to be told; without an end.

    A net that tells nothing takes 1 bit a step. One that is trained on chunks shorter than the
    delay learns only as far as errors pass the borders between them.

    Args:
        rows: of a batch.
        steps: of a batch.
        delay: d.
        seed: of the bits.

    Yields:
        x, the bits as ±1, and y, those d steps ago as 0 or 1 (0 before the beginning), both of
        shape (rows, steps, 1) and float32.
    """
    generator = np.random.default_rng(seed)
    before = np.zeros((rows, delay), np.float32)
    while True:
        bits = generator.integers(2, size=(rows, steps)).astype(np.float32)
        whole = np.concatenate([before, bits], axis=1)
        before = whole[:, steps:]
        yield 2 * bits[..., None] - 1, whole[:, :steps, None]


def python_help() -> tuple[np.ndarray, int]:
    """The characters of Python's own help texts, about 460 thousand, as numbers.

    Returns:
        Numbers from 0 on, int32, and how many different ones there are.
    """
    # Ships with every Python; which text it is depends on its version.
    from pydoc_data.topics import topics

    text = "".join(topics[name] for name in sorted(topics))
    alphabet, numbers = np.unique(list(text), return_inverse=True)
    return numbers.astype(np.int32), len(alphabet)


def next_character(text: np.ndarray, rows: int, steps: int) -> Iterator[Batch]:
    """A text in `rows` parts that are read side by side, and again from the beginning.

    Args:
        text: numbers of characters.
        rows: of a batch.
        steps: of a batch.

    Yields:
        x and y, the characters and those one place after them, both of shape (rows, steps).

    Raises:
        UnsupportedError: the text is too short.
    """
    length = (len(text) - 1) // rows // steps * steps
    if length < 1:
        raise UnsupportedError(
            f"Received a text of {len(text)} characters for batches of {rows} x {steps}: give a "
            "longer one, or smaller batches."
        )
    inputs, targets = (text[i : i + rows * length].reshape(rows, length) for i in (0, 1))
    while True:
        for start in range(0, length, steps):
            part = slice(start, start + steps)
            yield inputs[:, part], targets[:, part]
