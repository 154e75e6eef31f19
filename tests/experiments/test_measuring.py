"""What a row says beside what the allocator does."""

import keras
import pytest
from mem_dfa.experiments.measure.measuring import whole_update_bytes

from mem_dfa import ALGORITHMS, MemDFA

KERNEL_BYTES = 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("optimizer", "compiled_by_xla", "in_tiles"),
    [
        ("adam", False, True),
        ("adafactor", False, False),
        ("nadam", False, False),
        ("adam", True, False),
    ],
)
@pytest.mark.filterwarnings("ignore:Nadam as configured")
def test_what_is_updated_whole_is_told(
    optimizer: str, compiled_by_xla: bool, in_tiles: bool
) -> None:
    wide, narrow = keras.layers.Dense(1024), keras.layers.Dense(3)
    trainer = MemDFA(keras.Sequential([keras.Input((1024,)), wide, narrow]))
    trainer.compile(optimizer, "mse", jit_compile=compiled_by_xla)
    assert trainer.tiled_layers() == ([wide] if in_tiles else [])
    assert whole_update_bytes(trainer) == (0 if in_tiles else KERNEL_BYTES)
    assert whole_update_bytes(ALGORITHMS["bp"](trainer.network)) == KERNEL_BYTES
