"""What a second run of a block can repeat: not what draws by a state of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import tensorflow as tf

from mem_dfa.errors import UnsupportedError

STATEFUL_DRAWS = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "RngReadAndSkip",  # how a tf.random.Generator comes to its next state
    "StatefulRandomBinomial",
    "TruncatedNormal",
)
CALLS = (
    "Case",
    "If",
    "PartitionedCall",
    "StatefulPartitionedCall",
    "StatelessCase",
    "StatelessIf",
    "StatelessWhile",
    "While",
)
"""Operations with functions inside."""


def refuse_unrepeatable_draws(phase: str) -> None:
    """Look for random operations that keep a state, in the step that is being traced.

    Those inside of functions, loops and branches too. Eagerly there is no graph to look at.

    Args:
        phase: that every operation of a pass has as the first part of its name.

    Raises:
        UnsupportedError: there is one.
    """
    if tf.executing_eagerly():
        return
    graph = tf.compat.v1.get_default_graph()
    seen: set[str] = set()
    for operation in graph.get_operations():
        is_of_interest = operation.type in STATEFUL_DRAWS or operation.type in CALLS
        if not (is_of_interest and operation.name.startswith(f"{phase}/")):
            continue
        found = next(_draws(graph, [operation.node_def], seen), None)
        if found is not None:
            raise UnsupportedError(
                f"Operation '{operation.name}' draws random numbers by tf.random ({found}), which "
                "a second run of the block cannot repeat: draw with keras.random and a "
                "keras.random.SeedGenerator, or train with 'bp' or 'dfa'."
            )


def _draws(graph: tf.Graph, nodes: Iterable[tf.compat.v1.NodeDef], seen: set[str]) -> Iterator[str]:
    """The types of drawing operations among these and in the functions that they call."""
    for node in nodes:
        if node.op in STATEFUL_DRAWS:
            yield node.op
        for value in node.attr.values() if node.op in CALLS else ():
            for called in (value.func, *value.list.func):
                if called.name and called.name not in seen:
                    seen.add(called.name)
                    function = graph._get_function(called.name)
                    if function is not None:
                        yield from _draws(graph, function.cached_definition.node_def, seen)
