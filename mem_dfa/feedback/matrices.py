"""Feedback matrices B_i, of shape (C, n_i): what is held of them between two uses.

Each kind has a file of its own, see `registry.FEEDBACK_KINDS`. Whatever a kind holds, the entries
of its matrices have the standard deviation of `stored` ones; `sparse` ones have their paper's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import keras
import tensorflow as tf

from mem_dfa import registry
from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Distribution, Initializer, for_matrix
from mem_dfa.feedback.tiles import Seed
from mem_dfa.graph.ordering import after, token


@dataclass(frozen=True)
class KindArguments:
    """What single kinds are told; the default of each says nothing.

    Attributes:
        nonzeros: s, of each column of a sparse matrix.
        rank: r, of a matrix of low rank.
        feedback_decay: what share of learned matrices and of their blocks' kernels goes each step.
    """

    nonzeros: int | None = None
    rank: int | None = None
    feedback_decay: float = 0.0


NOTHING_SAID = KindArguments()


class Matrices(ABC):
    """The feedback matrices of a trainer's blocks.

    Attributes:
        blocks: those that are sent an error, by name.
        widths: n_i of each.
    """

    takes: frozenset[str] = frozenset()
    """Names of the `KindArguments` that mean something to this kind."""
    takes_keras_initializers = False

    def __init__(
        self,
        initializer: str | Initializer,
        classes: int,
        blocks: Sequence[Block],
        seeds: dict[str, Seed],
        add_weight: Callable[..., keras.Variable],
        arguments: KindArguments = NOTHING_SAID,
    ) -> None:
        """Make what is held.

        Args:
            initializer: a name in `feedback.INITIALIZERS`, or a Keras initializer.
            classes: C, the number of logits.
            blocks: that are sent an error, in order.
            seeds: two whole numbers from 0 to 2^31 - 2 for each of these blocks, and maybe others.
            add_weight: the trainer's, so that what is held is saved with it.
            arguments: of the kind.

        Raises:
            UnsupportedError: this kind needs a named distribution, or knows no such argument, or
                no such value of it.
        """
        self.initializer, self.classes, self.arguments = initializer, classes, arguments
        self.blocks, self.seeds = {block.name: block for block in blocks}, seeds
        self.widths = {block.name: block.width for block in blocks}
        self._refuse_unsupported()
        self.refuse_arguments(classes, arguments)
        self.held = self._hold(add_weight)

    @classmethod
    @abstractmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Bytes held, or made at one time, for these blocks."""

    @abstractmethod
    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        """What stays, by block; by another name what is all blocks'."""

    @abstractmethod
    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[Any]:
        """What there is of each block's B_i between two uses; taken after `earlier`, a token."""

    @abstractmethod
    def projected(self, source: Any, block: Block, error: tf.Tensor) -> tf.Tensor:
        """e·B_i, see `project`; what is made of B_i is not made before `error`."""

    def project(self, block: Block, error: tf.Tensor, source: Any = None) -> tf.Tensor:
        """e·B_i, shape (batch, n_i).

        Args:
            block: which; with a source, any one that is like it.
            error: e, shape (batch, C).
            source: where it was taken before.
        """
        if source is None:
            (source,) = self.sources([block.name])
        return self.projected(source, block, error)

    def matrix(self, block: Block, earlier: tf.Tensor) -> tf.Tensor:
        """B_i, shape (C, n_i), where it is needed itself; not before `earlier`, of whose dtype."""
        unit = after(tf.eye(self.classes, dtype=earlier.dtype), token([earlier]))
        return self.project(block, unit)

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """What of B_i is trained; of a block that is like others in a call, one like its own."""
        return ()

    @classmethod
    def kind(cls) -> str:
        """Its name in the registry."""
        return next(name for name, kind in KINDS.items() if kind is cls)

    def _refuse_unsupported(self) -> None:
        is_named = not isinstance(self.initializer, keras.initializers.Initializer)
        if not (is_named or self.takes_keras_initializers):
            raise UnsupportedError(
                f"feedback={self.kind()!r} received the initializer "
                f"{type(self.initializer).__name__}, which has neither a seed to draw from again "
                "nor a scale of each block: use one by name, such as 'uniform', or "
                "feedback='stored'."
            )

    @classmethod
    def refuse_arguments(cls, classes: int, arguments: KindArguments) -> None:
        """Raise UnsupportedError for arguments of other kinds, and for values that make no sense.

        Args:
            classes: C, the number of logits.
            arguments: as they were given.
        """
        for field in fields(arguments):
            value = getattr(arguments, field.name)
            if field.name not in cls.takes and value != field.default:
                takers = [name for name, kind in KINDS.items() if field.name in kind.takes]
                raise UnsupportedError(
                    f"feedback={cls.kind()!r} received {field.name}={value!r}, which it has no use "
                    f"for: leave it out, or use feedback={' or '.join(map(repr, takers))}."
                )

    def _distribution(self, width: int) -> Distribution:
        return for_matrix(self.initializer, self.classes, width)


KINDS: Mapping[str, type[Matrices]] = registry.Loaded(registry.FEEDBACK_KINDS)


def refuse_count(name: str, value: Any, classes: int, what: str) -> None:
    """Accept None and whole numbers from 1 to C.

    Args:
        name: of the argument.
        value: as it was given.
        classes: C, the number of logits.
        what: it counts.

    Raises:
        UnsupportedError: it is neither.
    """
    is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= classes
    if value is not None and not is_count:
        raise UnsupportedError(
            f"Received {name}={value!r}, {what}: give a whole number from 1 to the {classes} "
            "logits of the net."
        )
