"""Inputs of which a size is not fixed, and models inside others, called with sizes of their own."""

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest

from mem_dfa import BP, DFA, Chain, Checkpoint, MemDFA, UnsupportedError
from mem_dfa.chain.chain import NOMINAL_SIZE
from tests.mem_dfa.comparison import LOSS, distance

layers = keras.layers
SHAPES = {"image": [(12, 12, 3), (16, 12, 3), (20, 16, 3)], "text": [(9,), (14,), (20,)]}


def net(kind: str) -> keras.Model:
    """Three blocks of convolutions on images or texts of any size."""
    keras.utils.set_random_seed(0)
    if kind == "image":
        x = inputs = keras.Input((None, None, 3))
        for _ in range(3):
            x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, 4)(inputs)
    for _ in range(2):
        x = layers.Conv1D(4, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def trained(trainer: keras.Model, shapes: list[tuple[int, ...]], **how) -> list[np.ndarray]:  # noqa: ANN003
    """What a batch of each shape changes."""
    trainer.compile(keras.optimizers.SGD(0.1), LOSS, **{"jit_compile": False, **how})
    before = trainer.network.get_weights()
    for number, shape in enumerate(shapes):
        x = np.random.default_rng(number).uniform(0, 19, size=(6, *shape))
        x = x.astype("int32" if len(shape) == 1 else "float32") / (1 if len(shape) == 1 else 19)
        trainer.train_on_batch(x, np.arange(6) % 3)
    pairs = zip(trainer.network.get_weights(), before, strict=True)
    return [after - earlier for after, earlier in pairs]


@cache
def trained_by_bp(kind: str) -> list[np.ndarray]:
    return trained(BP(net(kind)), SHAPES[kind])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("plan", [{}, {"every": 1}, {"blocks": ["block_003"]}])
def test_checkpoints_train_inputs_of_any_size(kind: str, plan: dict) -> None:
    trainer = Checkpoint(net(kind), **plan)
    assert trainer.predict_step_bytes(6) is None
    assert distance(trained(trainer, SHAPES[kind]), trained_by_bp(kind)) < 1e-5


def test_a_budget_is_planned_for_the_batch_that_comes() -> None:
    """And again for the next; where Keras traces for any size, no budget can be kept."""
    trainer = Checkpoint(net("image"), budget="60 KiB", batch_size=6)
    trained(trainer, SHAPES["image"][:1])
    known = trainer.predict_step_bytes(6)
    assert known < 60 * 1024
    trainer.chain.see((6, 10, 10, 3))
    assert trainer.predict_step_bytes(6) < known
    with pytest.raises(UnsupportedError, match="the least that can be kept"):
        trained(Checkpoint(net("image"), budget="60 KiB"), [(24, 24, 3)])
    with pytest.raises(UnsupportedError, match=r"shape \(6, None, 12, 3\).*every="):
        trained(Checkpoint(net("image"), budget="60 KiB"), SHAPES["image"][:2])


def test_a_nominal_size_that_does_not_suit_the_net_is_no_obstacle() -> None:
    inputs = keras.Input((None, 4))
    flat = layers.Reshape((-1, 5, 4))(inputs)  # 224 is no multiple of five
    assert NOMINAL_SIZE % 5
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(flat))
    trainer = Checkpoint(keras.Model(inputs, layers.Dense(3)(pooled)))
    assert trainer.plan(6).segments
    trainer.compile("sgd", LOSS, jit_compile=False)
    trainer.train_on_batch(np.ones((6, 10, 4)), np.arange(6) % 3)
    assert trainer.predict_step_bytes(6) > 0


def base_inside(size: int | None) -> keras.Model:
    """A convolutional base, built for inputs of any size, inside a model with fixed ones."""
    keras.utils.set_random_seed(0)
    x = inside = keras.Input((size, size, 3))
    for strides in (1, 2):
        x = layers.Conv2D(4, 3, strides=strides, activation="relu")(x)
    base = keras.Model(inside, x, name="base")
    inputs = keras.Input((13, 13, 3))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(base(inputs))))


@pytest.mark.parametrize("make", [DFA, MemDFA, Checkpoint])
def test_a_base_without_sizes_has_those_of_its_call(make: Callable) -> None:
    chains = [Chain.from_model(base_inside(size)) for size in (None, 13)]
    widths = [[block.width for block in chain.blocks] for chain in chains]
    assert widths[0] == widths[1] == [11 * 11 * 4, 5 * 5 * 4, 3]
    assert "(None, 11, 11, 4)" in chains[0].summary()
    trainers = [make(base_inside(size)) for size in (None, 13)]
    bytes_of = [trainer.predict_step_bytes(6) for trainer in trainers]
    assert bytes_of[0] == bytes_of[1] > 0
    one, other = (trained(trainer, [(13, 13, 3)]) for trainer in trainers)
    assert distance(one, other) < 1e-6
    if make is Checkpoint:
        assert make(base_inside(None), budget="1 MiB", batch_size=6).plan(6).peak_bytes
