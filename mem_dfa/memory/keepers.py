"""How outputs of blocks are kept until the backward pass: as they are, elsewhere, in fewer bits.

In fewer bits, as in ActNN (Chen et al., 2021, arXiv 2104.14129): groups of 256 values, of each the
least value l and a step d in bfloat16, and for each value x a code from 0 to 2^bits − 1,

    c = ⌊(x − l)/d + u⌋,  u ~ U(0, 1),  x̂ = l + d·c,  E[x̂] = x
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.step_seeds import StepSeeds
from mem_dfa.sketches.packed import packed, unpacked

Tensor: TypeAlias = tf.Tensor
GiveBack: TypeAlias = Callable[[Tensor | None], Tensor]
"""What gives a tensor back, not before a token of `ordering`."""
GROUP = 256
BITS = (16, 8, 2)
_PARTS = 8  # of a tensor, whose codes are made one after another, because of what that takes
_TINY = float(np.finfo(np.float32).tiny)
_AHEAD = 2  # copies between a host and a device that may be under way
_ROUNDING = 2.0**-7  # more than the relative error of bfloat16


def keeper_of(trainer: Any, bits: int, seeds: Sequence[int]) -> Keeper:
    """What keeps in so many bits, one of `BITS`; the other arguments are those of `Codes`."""
    return HalfPrecision() if bits == 16 else Codes(trainer, bits, seeds)


def kept_bytes(bits: int, values: int) -> int:
    """What is held of so many values: in 16 bits two bytes each, else whole groups and 4 bytes."""
    return 2 * values if bits == 16 else math.ceil(values / GROUP) * (GROUP * bits // 8 + 4)


class Keeper(ABC):
    """Keeps tensors, and gives them back."""

    def step(self) -> AbstractContextManager[Any]:
        """A context around what is kept and given back in one step."""
        return contextlib.nullcontext()

    @abstractmethod
    def keep(self, number: int, tensor: Tensor) -> tuple[GiveBack, Tensor]:
        """Keep a tensor.

        Args:
            number: of what is kept, from 0 on.
            tensor: shape (batch, ...).

        Returns:
            What gives it back, or what is nearest to it, as often as it is asked; and the tensor
            itself for those who need it now, and not before it is kept: otherwise they would run
            on and hold theirs beside it.
        """


class AsItIs(Keeper):
    """Keeps the tensor itself."""

    def keep(self, number: int, tensor: Tensor) -> tuple[GiveBack, Tensor]:
        """The tensor is there."""
        return lambda earlier: tensor, tensor


class InHostMemory(Keeper):
    """Keeps tensors on a host, and fetches each while the two before it are still in use.

    A tensor has left its device, and is back there, as soon as what is here says so. Neither copy
    keeps blocks waiting, unless two more are under way: so many are held on the device besides.
    """

    def __init__(self, host: str, device: str) -> None:
        """Prepare to keep.

        Args:
            host: the device in whose memory tensors are kept.
            device: the one that they are of.
        """
        self._host, self._device = host, device
        self._copied: list[Tensor] = []  # tokens of copies to the host
        self._asked: list[Tensor | None] = []  # what those waited for that are fetched already

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Copies of one step wait for no other's."""
        self._copied.clear()
        self._asked.clear()
        yield

    def keep(self, number: int, tensor: Tensor) -> tuple[GiveBack, Tensor]:
        """Copy to the host, one tensor after another; back when the third before is asked for."""
        # Without an order of its own a copy that is copied back would be left out.
        held = _moved(tensor, self._host, self._copied[-1] if self._copied else None)
        self._copied.append(token([held]))

        def give_back(earlier: Tensor | None) -> Tensor:
            self._asked.append(earlier)
            fetched = _moved(held, self._host, self._asked[max(0, len(self._asked) - 1 - _AHEAD)])
            return _moved(fetched, self._device)

        is_free = len(self._copied) <= _AHEAD
        return give_back, tensor if is_free else after(tensor, self._copied[-1 - _AHEAD])


def _moved(tensor: Tensor, device: str, earlier: Tensor | None = None) -> Tensor:
    with tf.device(device):
        return tf.identity(after(tensor, earlier))


class HalfPrecision(Keeper):
    """Keeps bfloat16, rounded to the nearest."""

    def keep(self, number: int, tensor: Tensor) -> tuple[GiveBack, Tensor]:
        """Cast, and cast back when it is needed."""
        short, dtype = tf.cast(tensor, tf.bfloat16), tensor.dtype
        give_back = lambda earlier: tf.cast(after(short, earlier), dtype)  # noqa: E731
        return give_back, after(tensor, token([short]))


class Codes(Keeper):
    """Keeps codes of few bits, rounded at random, right on average."""

    def __init__(self, trainer: Any, bits: int, seeds: Sequence[int]) -> None:
        """Prepare to keep.

        Args:
            trainer: whose optimizer counts steps, and whose weights the seeds are.
            bits: of a code, 2 or 8.
            seeds: one for each tensor that is kept in a step.
        """
        self._trainer, self._bits, self._most = trainer, bits, 2**bits - 1
        self._seeds = StepSeeds(trainer, seeds)

    def step(self) -> AbstractContextManager[Any]:
        """Draws are of the step that the optimizer has counted to."""
        return self._seeds.of_step(self._trainer)

    def keep(self, number: int, tensor: Tensor) -> tuple[GiveBack, Tensor]:
        """Codes, and for each group where they begin and how far apart they are."""
        shape, known, dtype = tf.shape(tensor), tensor.shape, tensor.dtype
        is_whole, seed = _is_whole(tensor), self._seeds.seed(number, tensor)
        groups = _in_groups(tensor)
        rows, made, last = tf.shape(groups)[0], [], None
        for part in range(_PARTS):
            borders = [rows * place // _PARTS for place in (part, part + 1)]
            made.append(self._coded(groups[borders[0] : borders[1]], after(seed, last) + part))
            last = token(made[-1])
        least, apart, codes = (tf.concat(parts, 0) for parts in zip(*made, strict=True))

        def give_back(earlier: Tensor | None) -> Tensor:
            values = tf.cast(unpacked(after(codes, earlier), self._bits), tf.float32)
            values = values * tf.cast(apart, tf.float32) + tf.cast(least, tf.float32)
            if not is_whole:
                values = tf.reshape(values, [-1])[: tf.reduce_prod(shape)]
            restored = tf.cast(tf.reshape(values, shape), dtype)
            restored.set_shape(known)
            return restored

        return give_back, after(tensor, token([least, apart, codes]))

    def _coded(self, groups: Tensor, seed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l, d and c of groups, shape (groups, 256)."""
        least = tf.reduce_min(groups, axis=1, keepdims=True)
        most = tf.reduce_max(groups, axis=1, keepdims=True)
        # Rounded outwards, so that every value lies between the first code and the last.
        low = tf.cast(least - _ROUNDING * tf.abs(least), tf.bfloat16)
        reach = most - tf.cast(low, tf.float32)
        apart = tf.cast(reach * ((1 + _ROUNDING) / self._most), tf.bfloat16)
        step = tf.maximum(tf.cast(apart, tf.float32), _TINY)
        # c = ⌊(x − l)/d + u⌋
        codes = (groups - tf.cast(low, tf.float32)) / step
        codes += tf.random.stateless_uniform(tf.shape(groups), seed)
        codes = tf.cast(tf.clip_by_value(tf.floor(codes), 0, self._most), tf.uint8)
        return low, apart, packed(codes, self._bits)


def _is_whole(tensor: Tensor) -> bool:
    """Whether it is known to fill its last group, so that nothing has to be copied."""
    return (tensor.shape.num_elements() or 1) % GROUP == 0


def _in_groups(tensor: Tensor) -> Tensor:
    """All values in rows of 256, the last one filled up with copies of the last value."""
    flat = tf.cast(tf.reshape(tensor, [-1]), tf.float32)
    if not _is_whole(tensor):
        missing = -tf.size(flat) % GROUP
        flat = tf.concat([flat, tf.repeat(flat[-1:], missing)], 0)
    return tf.reshape(flat, [-1, GROUP])
