"""Small variables updated in one call: the optimizer's own step, and nothing that stays."""

from collections import Counter
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import MemDFA
from mem_dfa.chain import repeated_blocks
from mem_dfa.optimizer.elementwise import SLOTS
from mem_dfa.optimizer.small_variables import Together
from tests.mem_dfa.comparison import LOSS

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True, loss_scale_factor=4.0),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, clipnorm=0.5),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.5, centered=True, clipvalue=0.3),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(0.1),
    "adamax": lambda: keras.optimizers.Adamax(
        keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    ),
    "lion": lambda: keras.optimizers.Lion(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
}
STEPS = 3


def variables() -> list[keras.Variable]:
    generator = np.random.default_rng(0)
    shapes = ((3, 4), (4,), (2, 2))
    return [keras.Variable(generator.normal(size=shape).astype("float32")) for shape in shapes]


def gradients(step: int) -> list[tf.Tensor]:
    generator = np.random.default_rng(step + 1)
    return [tf.constant(generator.normal(size=v.shape), tf.float32) for v in variables()]


def test_every_optimizer_with_slots_is_tested() -> None:
    assert {type(make()) for make in OPTIMIZERS.values()} == set(SLOTS)


@cache
def trained(name: str, together: bool, compiled: bool = False) -> list[np.ndarray]:
    """The variables and the optimizer's own after some steps."""
    optimizer, held = OPTIMIZERS[name](), variables()
    if optimizer.weight_decay:
        # The body for variables without decay is another one.
        optimizer.exclude_from_weight_decay(var_list=held[1:2])
    optimizer.build(held)

    @tf.function(autograph=False, jit_compile=compiled)
    def step(own: list[tf.Tensor]) -> None:
        if not together:
            optimizer.apply(own, held)
            return
        pairs = list(zip(own, held, strict=True))
        updater = Together(optimizer)
        assert updater.can_apply(pairs)
        for group in (pairs[:1], pairs[1:2], pairs[2:]):
            updater.apply(group)
        optimizer.iterations.assign_add(1)

    for number in range(STEPS):
        step(gradients(number))
    return [v.numpy() for v in [*held, *optimizer.variables]]


@pytest.mark.parametrize(
    ("name", "compiled"), [*((name, False) for name in OPTIMIZERS), ("sgd", True), ("adam", True)]
)
def test_it_is_the_step_that_keras_takes(name: str, compiled: bool) -> None:
    for ours, keras_own in zip(trained(name, True, compiled), trained(name, False), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("detail", [{"constraint": "non_neg"}, {"regularizer": "l2"}])
def test_what_the_call_would_leave_out_is_not_taken(detail: dict) -> None:
    layer = keras.layers.Dense(2, **{f"kernel_{key}": value for key, value in detail.items()})
    layer.build((None, 3))
    updater = Together(keras.optimizers.SGD())
    assert updater.can_apply([(None, layer.bias)])
    assert not updater.can_apply([(None, layer.kernel)])
    assert not Together(keras.optimizers.Lamb()).can_apply([(None, layer.bias)])


def traced(layers: int, optimizer: str) -> tf.Graph:
    """The step of a net of small layers."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Conv2D(4, 3, padding="same", activation="relu") for _ in range(layers)]
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), *hidden, keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    trainer = MemDFA(network, feedback="regenerated")
    trainer.compile(optimizer, LOSS, jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    step = tf.function(trainer.train_step, autograph=False)
    batch = tf.fill((8, 8, 8, 3), 0.5), tf.zeros((8,), tf.int32)
    return step.get_concrete_function(batch).graph


@pytest.mark.parametrize(("optimizer", "slots"), [("sgd", 0), ("adam", 2)])
def test_a_layer_more_is_a_seed_its_variables_and_few_calls(
    optimizer: str, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_blocks, "LEAST_ALIKE", 8)
    kinds = ("Const", "ReadVariableOp", "AssignVariableOp", "PartitionedCall")
    kinds += ("StatefulPartitionedCall", "Placeholder")
    few, many = (
        Counter(o.type for o in traced(layers, optimizer).get_operations()) for layers in (10, 30)
    )
    # Constants stay in memory between the steps.
    grown = [(many[kind] - few[kind]) / 20 for kind in kinds]
    assert grown[0] <= 1.1
    # Weights and slots are read in the calls; the graph only names them.
    assert grown[1] <= 0.1
    assert grown[2] == 0
    # One draws B_i, one runs and differentiates the block.
    assert grown[3] <= 1.1
    assert grown[4] <= 1.1
    assert grown[5] == 2 * (1 + slots)


@pytest.mark.parametrize("by", ["train_on_batch", "arrays", "dataset"])
def test_a_step_is_traced_once(by: str) -> None:
    """Slots and metrics made while a step is traced would have it traced again."""
    calls = []

    class Counting(MemDFA):
        def train_step(self, data):  # noqa: ANN001, ANN202
            calls.append(1)
            return super().train_step(data)

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    trainer = Counting(network)
    trainer.compile("adam", LOSS, metrics=["accuracy"], jit_compile=False)
    x, y = np.ones((4, 4), "float32"), np.zeros((4,), "int32")
    if by == "train_on_batch":
        logs = [trainer.train_on_batch(x, y, return_dict=True) for _ in range(2)][-1]
    elif by == "arrays":
        logs = trainer.fit(x, y, batch_size=2, epochs=2, verbose=0).history
    else:
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2, drop_remainder=True)
        logs = trainer.fit(data, epochs=2, verbose=0).history
    assert set(logs) == {"loss", "accuracy"}
    assert len(calls) == 1
