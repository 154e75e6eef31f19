"""Direct feedback alignment whose error signals are a whole number of times as large.

    δ_i = g·e·B_i

The gain g is an option.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.dfa import DFA
from mem_dfa.chain.block import Block
from mem_dfa.feedback.output_feedback import OutputFeedback


class Gained(OutputFeedback):
    """Output feedback times a gain."""

    gain = 1

    def project(self, block: Block, error: tf.Tensor, *rest: Any) -> tf.Tensor:
        """As of `OutputFeedback`."""
        return self.gain * super().project(block, error, *rest)


@keras.saving.register_keras_serializable("mem_dfa")
class GainedDFA(DFA):
    """`DFA` with a gain."""

    def __init__(self, network: keras.Model, gain: int | None = None, **details: Any) -> None:
        """As of `DFA`; ``gain`` is 2 where nothing is said."""
        super().__init__(network, **details)
        self.signal.__class__ = Gained
        self.signal.gain = self.gain = gain or 2

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "gain": self.gain}
