"""A budget is kept with what the optimizer and the loss take, or refused."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BPFused, Checkpoint, MemDFA, Microbatch, UnsupportedError
from mem_dfa.memory.checkpoint_plan import PREDICTION_MARGIN
from mem_dfa.optimizer.step import BLOCKWISE
from tests.mem_dfa.comparison import LOSS, recorded

layers, optimizers = keras.layers, keras.optimizers
BATCH = 16
OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    **{kind.__name__: kind for kind in BLOCKWISE},
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "decay": lambda: optimizers.SGD(0.01, weight_decay=1e-3),
    "clipped": lambda: optimizers.Adam(clipnorm=1.0, amsgrad=True),
    "centred": lambda: optimizers.RMSprop(momentum=0.9, centered=True),
}
BLOCKWISE_NAMES = tuple(OPTIMIZERS)
OPTIMIZERS |= {  # these need all gradients at once
    "norm of all": lambda: optimizers.Adam(global_clipnorm=1.0),
    "Nadam": optimizers.Nadam,
    "averaged": lambda: optimizers.Adam(use_ema=True),
    "accumulated": lambda: optimizers.Adam(gradient_accumulation_steps=2),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
}


def wide() -> keras.Sequential:
    """Kernels that are larger than what is kept."""
    keras.utils.set_random_seed(0)
    body = [layers.Dense(256, "relu") for _ in range(4)]
    return keras.Sequential([keras.Input((256,)), *body, layers.Dense(4)])


def images() -> keras.Sequential:
    """An output of all pixels, which is larger than what is kept."""
    keras.utils.set_random_seed(0)
    body = [layers.Conv2D(count, 3, padding="same", activation="relu") for count in (3, 3)]
    last = layers.Conv2D(24, 3, padding="same")
    return keras.Sequential([keras.Input((16, 16, 3)), *body, last])


def step_bytes(
    trainer: keras.Model, y: tf.Tensor, optimizer: keras.optimizers.Optimizer, loss: object = LOSS
) -> int:
    trainer.compile(optimizer, loss, jit_compile=False)
    shape = (BATCH, *trainer.network.input_shape[1:])
    x = tf.random.stateless_normal(shape, (0, 0))
    # Which of two branches runs first is not the plan's.
    return min(one.step_requested_bytes for one in recorded(trainer, x, y, 3))


def least_budget(trainer: keras.Model, optimizer: keras.optimizers.Optimizer, loss: object) -> int:
    trainer.compile(optimizer, loss, jit_compile=False)
    return int(trainer.predict_step_bytes(BATCH) * (1 + PREDICTION_MARGIN)) + 1


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.filterwarnings("ignore:.*needs every gradient at once")
def test_budgets_are_kept_with_each_optimizer(name: str) -> None:
    budget = least_budget(Checkpoint(wide()), OPTIMIZERS[name](), LOSS)
    trainer = Checkpoint(wide(), budget=budget, batch_size=BATCH)
    measured = step_bytes(trainer, tf.zeros((BATCH,), tf.int32), OPTIMIZERS[name]())
    # Of what needs all gradients no more is known than that they are there.
    assert (0.4 if name in BLOCKWISE_NAMES else 0.1) * budget < measured <= budget


@pytest.mark.parametrize("name", ["SGD", "momentum", "Adam", "Lion", "Ftrl", "norm of all"])
@pytest.mark.parametrize("make", [BPFused, MemDFA, lambda net: Microbatch(net, slices=4)])
@pytest.mark.filterwarnings("ignore:.*(needs every gradient at once|saves nothing)")
def test_predictions_know_the_optimizer(make: Callable, name: str) -> None:
    trainer = make(wide())
    measured = step_bytes(trainer, tf.zeros((BATCH,), tf.int32), OPTIMIZERS[name]())
    expected = trainer.predict_step_bytes(BATCH)
    assert 0.4 * expected < measured <= (1 + PREDICTION_MARGIN) * expected


@pytest.mark.parametrize(
    "loss",
    ["mse", "mae", "huber", keras.losses.BinaryCrossentropy(from_logits=True)],
    ids=["mse", "mae", "huber", "binary"],
)
@pytest.mark.parametrize("plan", ["sqrt", "rotor"])
def test_budgets_are_kept_with_what_a_loss_takes(loss: object, plan: str) -> None:
    plain = least_budget(Checkpoint(images()), optimizers.SGD(0.01), LOSS)
    budget = least_budget(Checkpoint(images()), optimizers.SGD(0.01), loss)
    assert budget > plain
    trainer = Checkpoint(images(), budget=budget, batch_size=BATCH, plan=plan)
    y = tf.random.stateless_uniform((BATCH, 16, 16, 24), (0, 0))
    assert 0.4 * budget < step_bytes(trainer, y, optimizers.SGD(0.01), loss) <= budget


def test_the_least_that_is_said_at_compile_knows_the_optimizer() -> None:
    budget = least_budget(Checkpoint(wide()), optimizers.SGD(0.01), LOSS)
    trainer = Checkpoint(wide(), budget=budget, batch_size=BATCH)
    least = least_budget(Checkpoint(wide()), optimizers.Adam(), LOSS)
    with pytest.raises(
        UnsupportedError, match=f"{budget} bytes: no plan .* least .* {least} bytes"
    ):
        trainer.compile(optimizers.Adam(), LOSS)


@pytest.mark.parametrize("make", [Checkpoint, Microbatch, MemDFA])
@pytest.mark.filterwarnings("ignore:.*saves nothing")
def test_a_batch_that_is_larger_than_planned_is_refused(make: type) -> None:
    trainer = make(wide(), budget="64 MiB", batch_size=BATCH)
    trainer.compile(optimizers.SGD(0.01), LOSS)
    x, y = np.zeros((2 * BATCH + 3, 256), "float32"), np.zeros(2 * BATCH + 3, "int32")
    with pytest.raises(UnsupportedError, match="batches of 16, and a batch of 32: give batch_size"):
        trainer.fit(x, y, batch_size=2 * BATCH, verbose=0)
    trainer.fit(x, y, batch_size=BATCH, verbose=0)
    trainer.train_on_batch(x[:3], y[:3])


@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}])
def test_budgets_are_said_to_be_for_graphs(how: dict[str, bool]) -> None:
    trainer = Checkpoint(wide(), budget="64 MiB", batch_size=BATCH)
    with pytest.warns(UserWarning, match="Checkpoint received budget='64 MiB' and .* graph"):
        trainer.compile(optimizers.SGD(0.01), LOSS, **how)


@pytest.mark.parametrize("batch_size", [0, -4, 2.5, "16", True])
@pytest.mark.parametrize("make", [Checkpoint, Microbatch, MemDFA])
def test_what_is_no_batch_size_is_refused(make: type, batch_size: object) -> None:
    says = f"{make.__name__} received batch_size={batch_size!r}: give a whole number"
    with pytest.raises(UnsupportedError, match=says):
        make(wide(), budget="64 MiB", batch_size=batch_size)


@pytest.mark.parametrize(
    "given", [{"every": True}, {"blocks": 3}, {"blocks": "block_001"}, {"plan": ["sqrt"]}]
)
def test_what_is_no_plan_is_refused_by_name(given: dict[str, object]) -> None:
    (name,) = given
    with pytest.raises(UnsupportedError, match=f"received {name}="):
        Checkpoint(wide(), **given)
