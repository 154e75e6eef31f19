"""Algorithms broken in the ways that the gate must see; each in a process of its own."""

import sys
from typing import Any

import keras
import tensorflow as tf

import mem_dfa
from mem_dfa.graph.ordering import after, token
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.second_forward import SecondForward

KEPT = "block_003"
"""Whose activation stays alive."""


class Unordered(mem_dfa.MemDFA):
    """Without order between blocks: "run this not before that" returns its tensor as it is."""

    def update_blocks(self, *arguments: Any) -> tf.Tensor:
        for name, module in list(sys.modules.items()):
            if name.startswith("mem_dfa") and hasattr(module, "after"):
                module.after = lambda tensor, earlier: tensor
        return super().update_blocks(*arguments)


class KeepsOne(mem_dfa.MemDFA):
    """One block's activation is needed again when the last block is updated."""

    def update_blocks(self, *arguments: Any) -> tf.Tensor:
        outputs = super().update_blocks(*arguments)
        # A value that enters the arithmetic: what is only waited for need not be kept.
        late = tf.reduce_max(after(self._kept, self._done))
        return outputs + tf.cast(late > float("inf"), outputs.dtype)

    def schedule(self, update: Update, batch_size: int | None) -> SecondForward:
        schedule = super().schedule(update, batch_size)
        replay = schedule._replay

        def keeping(block: Any, *arguments: Any) -> tuple[list[tf.Tensor], tf.Tensor]:
            outputs, self._done = replay(block, *arguments)
            if block.name == KEPT:
                self._kept = outputs[0]
            return outputs, self._done

        schedule._replay = keeping
        return schedule


class StoresAgain(mem_dfa.MemDFA):
    """Holds its feedback matrices, whatever it was asked to do."""

    def __init__(self, network: keras.Model, feedback: str, **details: Any) -> None:
        super().__init__(network, feedback="stored", **details)


HELD_BYTES = 2**18


class HoldsMore(mem_dfa.BP):
    """Holds another tensor until the last weights are updated."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        held = tf.fill([HELD_BYTES // 4], tf.reduce_max(data[0]))
        logs = super().train_step(data)
        updated = token([self.trainable_variables[0].value])
        late = tf.reduce_max(after(held, updated)) > float("inf")
        return {**logs, "loss": logs["loss"] + tf.cast(late, logs["loss"].dtype)}
