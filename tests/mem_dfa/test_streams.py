"""Streams of bits and characters: batches that go on where the ones before ended."""

import itertools

import numpy as np
import pytest

from mem_dfa import UnsupportedError
from mem_dfa.data import streams


def test_bits_are_asked_for_after_the_delay() -> None:
    batches = list(itertools.islice(streams.delayed_recall(3, 5, 8, seed=1), 4))
    x, y = (np.concatenate(parts, axis=1) for parts in zip(*batches, strict=True))
    assert x.shape == y.shape == (3, 20, 1)
    assert set(x.ravel()) == {-1, 1}
    np.testing.assert_array_equal(y[:, 8:], (x[:, :-8] + 1) / 2)
    assert not y[:, :8].any()


def test_each_row_reads_on_in_its_part_of_the_text() -> None:
    text = np.arange(26)
    batches = list(itertools.islice(streams.next_character(text, 2, 4), 4))
    np.testing.assert_array_equal(batches[0][0], [[0, 1, 2, 3], [12, 13, 14, 15]])
    np.testing.assert_array_equal(batches[1][0][:, 0], [4, 16])
    np.testing.assert_array_equal(batches[3][0], batches[0][0])
    for x, y in batches:
        np.testing.assert_array_equal(y, x + 1)
    with pytest.raises(UnsupportedError, match="text of 26 characters"):
        next(streams.next_character(text, 10, 4))


def test_python_brings_a_text() -> None:
    numbers, count = streams.python_help()
    assert len(numbers) > 100_000
    assert 50 < count < 500
    assert numbers.max() == count - 1
