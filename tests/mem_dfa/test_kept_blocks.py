"""MEM-DFA within a budget: plans against every plan there is, the step, and the bytes it takes."""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import DFA, MemDFA, UnsupportedError
from mem_dfa.memory.budget import PREDICTION_MARGIN
from mem_dfa.memory.kept_blocks import Part, cheapest, least_peak
from mem_dfa.memory.partial_plan import BlockCost
from tests.mem_dfa.comparison import EXECUTIONS, batch, change, compiled, distance, recorded

layers = keras.layers


def random_blocks(count: int, seed: int) -> list[BlockCost]:
    draw = random.Random(seed).randint
    costs, inputs = [], 0
    for _ in range(count):
        output, replay = draw(1, 30), inputs + draw(1, 40)
        kept = output + draw(0, 1) * draw(1, 20)
        forward, update = inputs + output + draw(0, 9), kept + draw(1, 30)
        is_sliced = bool(draw(0, 1))
        least = replay if is_sliced else forward + draw(1, 30)
        costs.append(
            BlockCost(
                kept,
                inputs,
                output,
                forward,
                forward - draw(0, 20) // 2 if is_sliced else forward,
                update,
                replay_peak=least,
                start_peak=least + draw(0, 5),
                is_sliced=is_sliced,
                operations=draw(1, 20),
            )
        )
        inputs = output
    return costs


def every_plan(count: int) -> Iterator[tuple[Part, ...]]:
    """All ways to keep some blocks and recompute the others."""
    for recomputed in itertools.product((False, True), repeat=count):
        grouped = itertools.groupby(range(count), key=lambda number: recomputed[number])
        blocks = [(again, list(numbers)) for again, numbers in grouped]
        choices = [(False, True) if again else (False,) for again, _ in blocks]
        for sliced in itertools.product(*choices):
            yield tuple(
                Part(numbers[0], numbers[-1] + 1, again, in_slices)
                for (again, numbers), in_slices in zip(blocks, sliced, strict=True)
            )


def peak_of(costs: Sequence[BlockCost], parts: Sequence[Part]) -> int:
    """Bytes of a step's three phases, one block after another; `held` says what is there."""
    held: dict[str, int] = {}
    peaks = []
    for part in parts:
        for number in range(part.start, part.stop):
            cost = costs[number]
            follows_run = number == part.start > 0 and not part.recomputed
            if follows_run:  # a part before a kept one is a run
                run = parts[parts.index(part) - 1]
                copies = 2 if run.sliced and costs[number - 1].is_sliced else 1
                peaks.append(sum(held.values()) + copies * cost.input)
                held[f"input of {number}"] = cost.input
            beside = sum(held.values())
            starts = part.recomputed and number == part.start
            own = cost.slices_peak if part.sliced and cost.is_sliced else cost.forward_peak
            if part.recomputed:
                peaks.append(beside + own - (cost.input if starts else 0))
            else:
                peaks.append(beside + max(cost.kept, cost.forward_peak - cost.input))
                held[f"kept of {number}"] = cost.kept
    runs = [part for part in parts if part.recomputed]
    starts = {run.start - 1: costs[run.start].input for run in runs if run.start}
    for part in reversed(parts):
        for number in reversed(range(part.start, part.stop)):
            if part.recomputed:
                continue
            cost = costs[number]
            del held[f"kept of {number}"]
            beside = sum(size for position, size in starts.items() if position > number)
            if number in starts and cost.kept > cost.output:
                beside += cost.output
            peaks.append(sum(held.values()) + cost.update_peak + beside)
            held.pop(f"input of {number}", None)
    for run in reversed(runs):
        beside = sum(size for position, size in starts.items() if position < run.start - 1)
        peaks.append(beside + costs[run.start].start_peak)
        peaks += [beside + cost.replay_peak for cost in costs[run.start + 1 : run.stop]]
    return max(peaks)


def price_of(costs: Sequence[BlockCost], parts: Sequence[Part]) -> tuple[int, int]:
    """Operations that run again, and those of them in slices in the first pass."""
    runs = [(sum(c.operations for c in costs[p.start : p.stop]), p) for p in parts if p.recomputed]
    return sum(count for count, _ in runs), sum(count for count, run in runs if run.sliced)


@pytest.mark.parametrize("count", range(1, 7))
def test_no_plan_is_better_than_the_one_found(count: int) -> None:
    for seed in range(5):
        costs = random_blocks(count, 100 * count + seed)
        plans = [
            (peak_of(costs, parts), price_of(costs, parts), parts) for parts in every_plan(count)
        ]
        least = min(peak for peak, _, _ in plans)
        assert least_peak(costs) == least
        for limit in range(least - 1, max(peak for peak, _, _ in plans) + 2, 7):
            found = cheapest(costs, limit)
            fitting = [price for peak, price, _ in plans if peak <= limit]
            assert (found is None) == (not fitting)
            if found is not None:
                parts, peak = found
                assert price_of(costs, parts) == min(fitting)
                assert peak == peak_of(costs, parts) <= limit
                assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]
                assert (parts[0].start, parts[-1].stop) == (0, count)


def net(dtype: str = "float32", dropout: float = 0.4) -> keras.Model:
    """Normalisations, Dropout, pooling and a regulariser on 8×8×3, three classes; six blocks."""
    keras.utils.set_random_seed(3)
    kind = {"dtype": dtype}
    body = [layers.Conv2D(6, 3, padding="same", kernel_regularizer="l2", **kind)]
    for number in range(3):
        body += [layers.Conv2D(6 + number, 3, padding="same", activation="tanh", **kind)]
        body += [layers.BatchNormalization(**kind), layers.Dropout(dropout, seed=number, **kind)]
    body += [layers.MaxPooling2D(**kind), layers.Flatten(**kind)]
    body += [layers.Dense(9, "tanh", **kind), layers.Dense(3, **kind)]
    made = keras.Sequential([keras.Input((8, 8, 3), **kind), *body])
    made.dtype_policy = keras.DTypePolicy(dtype)
    return made


def within(network: keras.Model, share: float, **how) -> keras.Model:  # noqa: ANN003
    """A trainer whose budget lies between MEM-DFA's bytes, 0, and DFA's, 1, for 16 examples."""
    optimizer = how.pop("optimizer", None) or keras.optimizers.SGD(0.01, 0.9)
    probe = compiled(MemDFA(network), keras.optimizers.SGD())
    least, most = (one.predict_step_bytes(16) for one in (probe, DFA(network)))
    budget = int((least + share * (most - least)) * (1 + PREDICTION_MARGIN)) + 1
    return compiled(MemDFA(network, budget=budget, batch_size=16), optimizer, **how)


def kept_names(trainer: keras.Model) -> list[str]:
    """The blocks that the plan keeps."""
    blocks, parts = trainer.chain.blocks, trainer.plan(16).parts
    return [b.name for p in parts if not p.recomputed for b in blocks[p.start : p.stop]]


SHARES = (0.0, 0.35, 0.7, 1.0)


def changed_within(share: float, execution: str, dropout: float) -> list[np.ndarray]:
    return change(within(net(dropout=dropout), share, **EXECUTIONS[execution]), 2)


def test_whatever_is_kept_the_step_is_dfas() -> None:
    dfa = compiled(DFA(net()), keras.optimizers.SGD(0.01, 0.9), run_eagerly=True)
    expected = change(dfa, 2)
    assert all(np.any(weight != 0) for weight in expected)
    for share in SHARES:
        assert distance(changed_within(share, "eager", 0.4), expected) <= 1e-5
    assert distance(changed_within(0.35, "graph", 0.4), expected) <= 1e-5


def test_xla_takes_the_same_step() -> None:
    """Without dropout, for which XLA draws other numbers."""
    by_xla, eagerly = (changed_within(0.35, execution, 0.0) for execution in ("xla", "eager"))
    assert distance(by_xla, eagerly) <= 1e-5


@pytest.mark.usefixtures("float64")
def test_in_float64_with_adam_it_is_dfas_too() -> None:
    dfa = compiled(DFA(net("float64")), keras.optimizers.Adam(0.01), run_eagerly=True)
    how = {"optimizer": keras.optimizers.Adam(0.01), "run_eagerly": True}
    trainer = within(net("float64"), 0.5, **how)
    assert 0 < len(kept_names(trainer)) < len(trainer.chain.blocks)
    assert distance(*(change(one, 2, "float64") for one in (trainer, dfa))) <= 1e-7


def phases_of(trainer: keras.Model) -> dict[str, list[str]]:
    """The blocks that run in each phase of one step, in order."""
    seen: dict[str, list[str]] = {"forward": [], "replay": []}
    for block in trainer.chain.blocks:

        def spy(x, phase, training=True, run=block.run, name=block.name):  # noqa: ANN001, ANN202
            seen[phase].append(name)
            return run(x, phase, training)

        block.run = spy
    change(trainer, 1)
    return seen


@pytest.mark.parametrize("share", SHARES[::2])
def test_kept_blocks_run_once_and_the_others_twice(share: float) -> None:
    trainer = within(net(), share, run_eagerly=True)
    names, kept = [block.name for block in trainer.chain.blocks], kept_names(trainer)
    assert len(kept) == {0.0: 3, 0.7: 5}[share]
    seen = phases_of(trainer)
    assert seen["forward"] == names
    # Runs of blocks come last to first.
    runs = [names[p.start : p.stop] for p in trainer.plan(16).parts if p.recomputed]
    assert seen["replay"] == [name for run in reversed(runs) for name in run]
    assert set(seen["replay"]) == set(names) - set(kept)


def wide() -> keras.Model:
    """A dense layer whose kernel is updated in tiles, behind convolutions that take more."""
    keras.utils.set_random_seed(0)
    body = [layers.Conv2D(64, 3, padding="same", activation="relu") for _ in range(4)]
    tail = [layers.MaxPooling2D(4), layers.Flatten(), layers.Dense(1100, "relu"), layers.Dense(3)]
    return keras.Sequential([keras.Input((16, 16, 3)), *body, *tail])


def residual() -> keras.Model:
    """Units with a branch, the last of them on fewer positions."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3))
    for _ in range(4):
        branch = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(12, 3, padding="same")(branch)
        x = layers.ReLU()(layers.Add()([x, layers.Conv2D(12, 1)(branch)]))
    x = layers.MaxPooling2D(4)(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def narrowing() -> keras.Model:
    """Sigmoids and pooling, so that the later half takes little."""
    keras.utils.set_random_seed(0)
    body = []
    for number, filters in enumerate((8, 8, 16, 16, 32)):
        body += [layers.Conv2D(filters, 3, padding="same", activation="sigmoid")]
        body += [layers.MaxPooling2D()] if number % 2 else []
    return keras.Sequential(
        [keras.Input((16, 16, 3)), *body, layers.GlobalAveragePooling2D(), layers.Dense(3)]
    )


@pytest.mark.parametrize("make", [narrowing, residual, wide])
def test_the_allocator_sees_the_budget_kept(make: Callable) -> None:
    trainer = within(make(), 0.5)
    x = np.random.default_rng(0).normal(size=(16, *trainer.network.input_shape[1:]))
    (timeline,) = recorded(trainer, tf.constant(x, tf.float32), tf.zeros((16,), tf.int32), 1)
    assert timeline.step_requested_bytes <= trainer.budget
    if make is narrowing:  # of branches and tiles the prediction is what they take at most
        predicted = trainer.predict_step_bytes(16)
        assert timeline.step_requested_bytes == pytest.approx(predicted, rel=0.05)
    # More than what recomputes everything, less than what keeps everything.
    assert 0 < len(kept_names(trainer)) < len(trainer.chain.blocks)


def test_a_budget_below_the_least_is_refused_with_the_least() -> None:
    with pytest.raises(UnsupportedError, match="Received a budget of 1024 bytes") as refusal:
        compiled(MemDFA(net(), budget=1024, batch_size=16), keras.optimizers.SGD())
    least = int(re.search(r"is (\d+) bytes", str(refusal.value))[1])
    own = MemDFA(net()).predict_step_bytes(16) * (1 + PREDICTION_MARGIN)
    # A block may be kept whose update, before any block runs again, takes no more.
    assert 0.9 * own < least <= own + 1
    accepted = compiled(MemDFA(net(), budget=least, batch_size=16), keras.optimizers.SGD())
    assert accepted.predict_step_bytes(16) <= least
    with pytest.raises(UnsupportedError, match=r"kept is \d+ bytes .0\.\d MiB."):
        compiled(MemDFA(net(), budget=least - 2, batch_size=16), keras.optimizers.SGD())


def test_budgets_that_are_no_size_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"budget='much'.*64 MiB"):
        MemDFA(net(), budget="much")
    with pytest.raises(UnsupportedError, match=r"budget=None.*64 MiB"):
        MemDFA(net()).plan(16)


def test_batches_of_no_fixed_size_need_one() -> None:
    data = tf.data.Dataset.from_tensor_slices(batch()).batch(12)  # 12 and 4
    trainer = compiled(MemDFA(net(), budget="1 MiB"), keras.optimizers.SGD(0.1))
    with pytest.raises(UnsupportedError, match=r"budget='1 MiB'.*batch_size=.*drop_remainder"):
        trainer.fit(data, verbose=0)
    weights = []
    budget = within(net(dropout=0.0), 0.35).budget
    for how in ({"budget": budget, "batch_size": 16}, {}):
        trainer = compiled(MemDFA(net(dropout=0.0), **how), keras.optimizers.SGD(0.1))
        trainer.fit(data, verbose=0)
        weights.append(trainer.network.get_weights())
    start = net().get_weights()
    assert distance(*([w - s for w, s in zip(one, start, strict=True)] for one in weights)) <= 1e-5


class Until(layers.Layer):
    """A loop of which nobody knows how often it runs."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda y: tf.reduce_max(y) > 1, lambda y: (y * 0.5,), [x])[0]


def test_what_nobody_knows_is_refused_by_name() -> None:
    network = keras.Sequential([keras.Input((4,)), Until(name="until"), layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=r"budget='1 MiB'.*'until'.*slices=.*experiments"):
        compiled(MemDFA(network, budget="1 MiB", batch_size=16), keras.optimizers.SGD())


def test_frozen_blocks_are_passed_through() -> None:
    changes = []
    for make in (DFA, within):
        network = net()
        for number in (1, 4):
            network.layers[number].trainable = False
        how = {"share": 0.5} if make is within else {}
        trainer = make(network, **how)
        compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=True)
        changes.append(change(trainer, 2))
    assert 0 < len(kept_names(trainer)) < len(trainer.chain.blocks)
    assert distance(*changes) <= 1e-5


def test_a_saved_trainer_keeps_its_budget_and_goes_on(tmp_path: Path) -> None:
    trainer = within(net(dropout=0.0), 0.5, run_eagerly=True)
    change(trainer, 1)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert (loaded.budget, loaded.batch_size) == (trainer.budget, 16)
    assert kept_names(loaded) == kept_names(trainer)
    loaded.run_eagerly = True
    assert distance(change(loaded, 1), change(trainer, 1)) <= 1e-6
