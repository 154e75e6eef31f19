"""Feedback matrices B_i, of shape (C, n_i): what is held of them between two uses.

- stored: every matrix, 4·C·Σn_i bytes.
- regenerated: none; a matrix is drawn again whenever it is needed.
- shared: one matrix, 4·C·max n_i bytes, of which block i takes the first n_i columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from mem_dfa import registry
from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Distribution, Initializer, for_matrix, seeded
from mem_dfa.graph.once import constant, once
from mem_dfa.graph.ordering import after, token

TILE_BYTES = 2**24
"""Of a wider matrix so many bytes are drawn at a time."""

ENTRY_BYTES = 4
"""Matrices are drawn in float32."""

Seed = Sequence[int]


def tile_widths(rows: int, columns: int) -> list[int]:
    """How many columns each tile of a matrix has; a tile is drawn from a seed of its own."""
    widest = max(1, TILE_BYTES // (ENTRY_BYTES * rows))
    whole, rest = divmod(columns, widest)
    return [widest] * whole + [rest] * bool(rest)


class Matrices(ABC):
    """The feedback matrices of a trainer's blocks."""

    def __init__(
        self,
        initializer: str | Initializer,
        classes: int,
        widths: dict[str, int],
        seeds: dict[str, Seed],
        add_weight: Callable[..., keras.Variable],
    ) -> None:
        """Make what is held.

        Args:
            initializer: a name in `feedback.INITIALIZERS`, or a Keras initializer.
            classes: C, the number of logits.
            widths: n_i of each block that is sent an error.
            seeds: two whole numbers from 0 to 2^31 - 2 for each of these blocks, and maybe others.
            add_weight: the trainer's, so that what is held is saved with it.

        Raises:
            UnsupportedError: this kind needs a named distribution.
        """
        self.initializer, self.classes = initializer, classes
        self.widths, self.seeds = widths, seeds
        self._refuse_unsupported()
        self.held = self._hold(add_weight)

    @classmethod
    @abstractmethod
    def bytes_of(cls, classes: int, widths: Sequence[int]) -> int:
        """Bytes held, or made at one time, for blocks of these widths."""

    @abstractmethod
    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, keras.Variable]:
        """The matrices that stay."""

    @abstractmethod
    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """What there is of each block's B_i between two uses; taken after `earlier`, a token."""

    @abstractmethod
    def made(self, source: tf.Tensor, width: int, error: tf.Tensor) -> tf.Tensor:
        """B_i of that width, n_i, from its source; not before `error` where it has to be made."""

    def matrix(self, block: Block, error: tf.Tensor, source: tf.Tensor | None = None) -> tf.Tensor:
        """B_i, shape (C, n_i); for the arguments see `project`."""
        if source is None:
            (source,) = self.sources([block.name])
        return self.made(source, block.width, error)

    def project(self, block: Block, error: tf.Tensor, source: tf.Tensor | None = None) -> tf.Tensor:
        """e·B_i, shape (batch, n_i).

        Args:
            block: which; with a source, any one of its width.
            error: e, shape (batch, C).
            source: where it was taken before.
        """
        return error @ tf.cast(self.matrix(block, error, source), error.dtype)

    def _refuse_unsupported(self) -> None:
        if isinstance(self.initializer, keras.initializers.Initializer):
            raise UnsupportedError(
                f"feedback={type(self).__name__.lower()!r} received the initializer "
                f"{type(self.initializer).__name__}, which has neither a seed to draw from again "
                "nor a scale of each block: use one by name, such as 'uniform', or "
                "feedback='stored'."
            )

    def _distribution(self, width: int) -> Distribution:
        return for_matrix(self.initializer, self.classes, width)

    def _drawn(self, distribution: Distribution, width: int, seed: tf.Tensor | Seed) -> tf.Tensor:
        """A whole matrix, tile by tile."""
        tiles = [
            distribution.matrix(_tile_seed(seed, number), self.classes, columns)
            for number, columns in enumerate(tile_widths(self.classes, width))
        ]
        return _side_by_side(tiles)


class Stored(Matrices):
    """Every matrix is a variable."""

    @classmethod
    def bytes_of(cls, classes: int, widths: Sequence[int]) -> int:
        """Of all matrices."""
        return ENTRY_BYTES * classes * sum(widths)

    def _refuse_unsupported(self) -> None:
        """Keras initializers are welcome."""

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, keras.Variable]:
        return {
            block: add_weight(
                shape=(self.classes, width),
                initializer=self._variable_initializer(block, width),
                trainable=False,
                name=f"feedback_{block}",
            )
            for block, width in self.widths.items()
        }

    def _variable_initializer(self, block: str, width: int) -> Callable[..., tf.Tensor]:
        seed = self.seeds[block]
        if isinstance(self.initializer, keras.initializers.Initializer):
            return seeded(self.initializer, int(seed[0]))
        return lambda _, dtype: tf.cast(self._drawn(self._distribution(width), width, seed), dtype)

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The variables' values, which are there at any time."""
        return [tf.convert_to_tensor(self.held[block].value) for block in blocks]

    def made(self, source: tf.Tensor, width: int, error: tf.Tensor) -> tf.Tensor:
        """As it is."""
        return source


class Regenerated(Matrices):
    """A matrix is drawn from its seed whenever it is needed, and is the stored one to the bit.

    Two things keep a draw out of the memory. The seeds are a variable: what depends on constants
    alone TensorFlow computes once and keeps. And the seed waits for the error: otherwise every
    matrix would be drawn when the step starts.
    """

    @classmethod
    def bytes_of(cls, classes: int, widths: Sequence[int]) -> int:
        """Of the largest tile, which is drawn at one time."""
        tiles = [tile for width in widths for tile in tile_widths(classes, width)]
        return ENTRY_BYTES * classes * max(tiles, default=0)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, keras.Variable]:
        rows = [self.seeds[block] for block in self.widths]
        self._rows = {block: row for row, block in enumerate(self.widths)}
        # Saved with the trainer, as stored matrices are. Keras's own seeds are int64 as well: a
        # variable of int32 has no kernel on a GPU.
        self._seeds = add_weight(
            shape=(len(rows), 2),
            initializer=lambda shape, dtype: tf.reshape(tf.constant(rows, dtype), shape),
            dtype="int64",
            trainable=False,
            name="feedback_seeds",
        )
        return {}

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The seeds, taken apart together and not before `earlier`."""
        seeds = once(id(self._seeds), lambda: tf.convert_to_tensor(self._seeds.value))
        rows = tf.gather(seeds, constant([self._rows[block] for block in blocks], tf.int32))
        return tf.unstack(after(rows, earlier))

    def made(self, source: tf.Tensor, width: int, error: tf.Tensor) -> tf.Tensor:
        """The draw."""
        return self._drawn(self._distribution(width), width, after(source, token([error])))

    def project(self, block: Block, error: tf.Tensor, source: tf.Tensor | None = None) -> tf.Tensor:
        """One tile of the matrix at a time, each drawn after the one before it was used."""
        widths = tile_widths(self.classes, block.width)
        if len(widths) == 1:
            return super().project(block, error, source)
        if source is None:
            (source,) = self.sources([block.name])
        distribution, parts = self._distribution(block.width), [error]
        for number, width in enumerate(widths):
            seed = _tile_seed(after(source, token([parts[-1]])), number)
            tile = distribution.matrix(seed, self.classes, width)
            parts.append(error @ tf.cast(tile, error.dtype))
        return _side_by_side(parts[1:])


class Shared(Matrices):
    """One matrix of which block i takes the first n_i columns (LightOn's TinyDFA).

    It holds what a distribution draws before it is scaled, U[-1, 1), N(0, 1) or ±1. Each block
    multiplies by its own scale, so that its entries are distributed as `stored` ones are; those of
    the widest block are the same.
    """

    @classmethod
    def bytes_of(cls, classes: int, widths: Sequence[int]) -> int:
        """Of the one matrix."""
        return ENTRY_BYTES * classes * max(widths, default=0)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, keras.Variable]:
        if not self.widths:
            return {}
        widest = max(self.widths, key=self.widths.__getitem__)
        width, seed = self.widths[widest], self.seeds[widest]
        units = Distribution(self._distribution(width).draw, 1.0)
        matrix = add_weight(
            shape=(self.classes, width),
            initializer=lambda _, dtype: tf.cast(self._drawn(units, width, seed), dtype),
            trainable=False,
            name="feedback_shared",
        )
        return {"shared": matrix}

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The one matrix, for each."""
        return [tf.convert_to_tensor(self.held["shared"].value)] * len(blocks)

    def made(self, source: tf.Tensor, width: int, error: tf.Tensor) -> tf.Tensor:
        """The first columns, scaled; a copy, which starts after the error."""
        first = after(constant([0, 0], tf.int32), token([error]))
        columns = tf.slice(source, first, constant([self.classes, width], tf.int32))
        return columns * constant(self._distribution(width).scale, columns.dtype)


KINDS: Mapping[str, type[Matrices]] = registry.Loaded(registry.FEEDBACK_KINDS)


def _tile_seed(seed: tf.Tensor | Seed, number: int) -> tf.Tensor:
    return seed + constant([0, number], tf.int64) if number else seed


def _side_by_side(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
