"""Offloading (vDNN: Rhu et al., 2016, arXiv 1602.08124): BP's own gradient, from host memory.

    forward:   copy every a_i to the host, while the next blocks run
    backward:  for i = n … 1:  fetch a_{i-3}, run block i again from a_{i-1},
               δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free it

On the device are never more than the outputs that are on their way and what one block takes.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.errors import UnsupportedError
from mem_dfa.memory import checkpoint_plan
from mem_dfa.memory.keepers import InHostMemory
from mem_dfa.memory.segments import block_costs
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.backward_sweep import BackwardSweep


@keras.saving.register_keras_serializable("mem_dfa")
class Offload(Blockwise):
    """Backpropagation that keeps each block's input in host memory."""

    def __init__(self, network: keras.Model, host: str = "CPU:0", **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model on another device; nested ones are
                opened.
            host: the device whose memory blocks' inputs are kept in.
            **details: `seed` and `name`, as in `Algorithm`.

        Raises:
            UnsupportedError: the network cannot be cut, or computes on the host itself.
        """
        super().__init__(network, **details)
        self.host = host
        self.supports_jit = False
        self._actions = checkpoint_plan.every_block(
            block_costs(self.chain.blocks, NOMINAL_BATCH)
        ).actions
        self._keeper = InHostMemory(host, self._device_beside(host))

    def _device_beside(self, host: str) -> str:
        """The device that computes, which is not the host."""
        name, known = type(self).__name__, _device_names()
        device = _short(self.network.variables[0].value.device)
        if host not in known:
            raise UnsupportedError(
                f"{name} received host={host!r}: give one of this machine's devices, "
                f"{', '.join(known)}."
            )
        if host == device:
            raise UnsupportedError(
                f"{name} received host={host!r}, which computes, too: what it keeps would stay in "
                "the same memory; train on a GPU, or use 'checkpoint' or 'compressed'."
            )
        return device

    def _host_bytes(self, batch_size: int) -> int:
        """The inputs of all blocks but the first and the last.

        The first reads the batch, and the last has its gradient at once.
        """
        self.chain.require_known_bytes(batch_size)
        return sum(block.bytes(batch_size).output for block in self.chain.blocks[:-2])

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As in Keras, whose "auto" does not choose XLA here.

        Raises:
            UnsupportedError: jit_compile=True; and as for any algorithm.
        """
        # Keras itself would warn, and train without.
        if kwargs.get("jit_compile") is True:
            raise UnsupportedError(
                f"{type(self).__name__} received jit_compile=True: XLA compiles a step for one "
                "device, which keeps everything; leave it out, or use 'checkpoint'."
            )
        super().compile(*args, **kwargs)

    def schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """Forward with copies to the host, then block by block backward."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return BackwardSweep(*given, actions=self._actions, keeper=self._keeper)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "host": self.host}


def _device_names() -> list[str]:
    return [_short(device.name) for device in tf.config.list_logical_devices()]


def _short(device: str) -> str:
    """Such as "CPU:0"."""
    spec = tf.DeviceSpec.from_string(device)
    return f"{spec.device_type}:{spec.device_index}"
