"""Nets unrolled in time: exact with checkpoints, truncated, and with predicted errors."""

from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mem_dfa import BP, CheckpointedBPTT, SyntheticBPTT, TruncatedBPTT, UnsupportedError
from mem_dfa.memory import revolve
from mem_dfa.recurrent.base import Recurrent
from mem_dfa.recurrent.unrolled import Unrolled
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, LOSS_FLOAT64, change, distance, recorded

L = keras.layers
ROWS, STEPS, CHUNK, SHARE, RATE = 4, 6, 2, 0.5, 0.5
PLANS: list[dict[str, Any]] = [
    {},
    {"segment": 1, "slots": 2},
    {"segment": 4},
    {"segment": 1, "plan": "internal", "slots": 2},
    {"segment": 1, "plan": "mixed", "slots": 5, "internal_slots": 3},
]


def network(*layers: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    made = layers or (L.SimpleRNN(5, return_sequences=True), L.Dense(3))
    return keras.Sequential([keras.Input((STEPS, 2)), *made])


def data(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, STEPS, 2)).astype(dtype)
    return x, generator.integers(3, size=(ROWS, STEPS))


def softmax(z: np.ndarray) -> np.ndarray:
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def chunk_gradients(
    weights: list[np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    first: np.ndarray,
    told: tuple[np.ndarray, np.ndarray],
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """∇W of a chunk's mean loss and ⟨g, s⟩ at its end, δ at its beginning, and s after.

    g = s·M + m for `told` (M, m).
    """
    kernel, recurrent, bias, out, out_bias = weights
    states, errors = [first], []
    for t in range(x.shape[1]):
        states.append(np.tanh(x[:, t] @ kernel + states[-1] @ recurrent + bias))
        errors.append((softmax(states[-1] @ out + out_bias) - np.eye(3)[y[:, t]]) / y.size)
    total = [np.zeros_like(weight) for weight in weights]
    delta = states[-1] @ told[0] + told[1]
    for t in reversed(range(x.shape[1])):
        delta = (delta + errors[t] @ out.T) * (1 - states[t + 1] ** 2)
        parts = (x[:, t].T @ delta, states[t].T @ delta, delta.sum(0))
        for position, part in enumerate((*parts, states[t + 1].T @ errors[t], errors[t].sum(0))):
            total[position] += part
        delta = delta @ recurrent.T
    return total, delta, states[-1]


def expected_of(kind: type[Recurrent], weights: list[np.ndarray], steps: int) -> list[np.ndarray]:
    """The weights after some steps of SGD, those of the predictor behind those of the net."""
    x, y = data("float64")
    weights = [*weights, np.zeros((5, 5)), np.zeros(5)]
    length = STEPS if kind is CheckpointedBPTT else CHUNK
    for _ in range(steps):
        state = np.zeros((ROWS, 5))
        for start in range(0, STEPS, length):
            share = SHARE if kind is SyntheticBPTT and start + length < STEPS else 0.0
            *net, matrix, offset = weights
            part = slice(start, start + length)
            scale = np.sqrt(ROWS * length)
            # δ̂(S) = s(S) / √(B·T)
            matrix_by, offset_by = matrix / scale, offset / scale
            told = (share * matrix_by, share * offset_by)
            total, delta, after = chunk_gradients(net, x[:, part], y[:, part], state, told)
            missed = state @ matrix_by + offset_by - delta
            missed *= 2 / ROWS / scale * (kind is SyntheticBPTT)
            total += [state.T @ missed, missed.sum(0)]
            weights = [w - RATE * g for w, g in zip(weights, total, strict=True)]
            state = after
    return weights if kind is SyntheticBPTT else weights[:5]


ARGUMENTS: dict[type[Recurrent], dict[str, Any]] = {
    CheckpointedBPTT: {"segment": 4},
    TruncatedBPTT: {"chunk": CHUNK},
    SyntheticBPTT: {"chunk": CHUNK, "share": SHARE},
}


@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.filterwarnings("ignore:SyntheticBPTT received SGD")
@pytest.mark.usefixtures("float64")
def test_three_steps_equal_numpy(kind: type[Recurrent]) -> None:
    trainer = kind(network(), **ARGUMENTS[kind])
    trainer.compile(keras.optimizers.SGD(RATE), LOSS_FLOAT64, jit_compile=False)
    weights = trainer.network.get_weights()
    for _ in range(3):
        trainer.train_on_batch(*data("float64"))
    got = [variable.numpy() for variable in trainer.trainable_variables]
    for one, other in zip(got, expected_of(kind, weights, 3), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def trained_with_dropout(kind: type, last: bool, **plan: Any) -> tuple[list[np.ndarray], dict]:
    keras.utils.set_random_seed(0)
    net = network(
        L.LSTM(4, return_sequences=True, dropout=0.3, recurrent_dropout=0.3),
        L.GRU(3, return_sequences=not last),
        L.Dense(3, kernel_regularizer="l2"),
    )
    trainer = kind(net, **plan)
    optimizer = keras.optimizers.SGD(0.5, 0.9, global_clipnorm=1.0)
    trainer.compile(optimizer, LOSS_FLOAT64, metrics=["accuracy"], run_eagerly=True)
    x, y = data("float64")
    for _ in range(2):
        logs = trainer.train_on_batch(x, y[:, 0] if last else y, return_dict=True)
    return net.get_weights(), logs


keras_step = cache(partial(trained_with_dropout, BP))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.usefixtures("float64")
def test_checkpoints_give_the_step_of_keras(last: bool, plan: dict[str, Any]) -> None:
    """Masks that are drawn once for a sequence are the same in every segment, in every run."""
    weights, logs = trained_with_dropout(CheckpointedBPTT, last, **plan)
    expected, expected_logs = keras_step(last)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    for name, value in expected_logs.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5)


@pytest.mark.parametrize("plan", PLANS)
def test_segments_run_as_often_as_the_plan_says(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: Counter[str] = Counter()
    original = Unrolled.run_drawing

    def counted(self: Unrolled, x: Any, *rest: Any, **named: Any) -> Any:
        runs[x.shape[1]] += 1
        return original(self, x, *rest, **named)

    monkeypatch.setattr(Unrolled, "run_drawing", counted)
    trainer = CheckpointedBPTT(network(), **plan)
    trainer.compile("sgd", LOSS, run_eagerly=True)
    trainer.train_on_batch(*data())
    actions = trainer.plan(STEPS)
    expected = sum(a.stop - a.start for a in actions if a.kind in ("advance", "record"))
    assert runs.total() == expected
    if plan.get("plan") == "internal":
        assert expected == revolve.cost("internal", STEPS, 2) > STEPS


@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.filterwarnings("ignore:SyntheticBPTT received SGD")
def test_executions_train_alike(kind: type[Recurrent]) -> None:
    def trained(execution: str) -> list[np.ndarray]:
        trainer = kind(network(), **ARGUMENTS[kind])
        trainer.compile(keras.optimizers.SGD(RATE), LOSS, **EXECUTIONS[execution])
        return change(trainer, 2, data=data())

    eager = trained("eager")
    for execution in ("graph", "xla"):
        assert distance(trained(execution), eager) < 1e-5


def test_gated_layers_train_alike_under_xla() -> None:
    x, y = data()

    def trained(execution: str) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        net = network(L.LSTM(5, return_sequences=True), L.GRU(4), L.Dense(3))
        trainer = CheckpointedBPTT(net, segment=2)
        trainer.compile(keras.optimizers.SGD(RATE), LOSS, **EXECUTIONS[execution])
        return change(trainer, 2, data=(x, y[:, 0]))

    assert distance(trained("xla"), trained("graph")) < 1e-5


def test_few_states_are_held_in_the_place_of_all_internals() -> None:
    def requested(kind: type, steps: int) -> int:
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((steps, 16)), L.LSTM(32), L.Dense(3)])
        trainer = kind(net)
        trainer.compile("sgd", LOSS, jit_compile=False)
        x = keras.ops.ones((16, steps, 16))
        steps_taken = recorded(trainer, x, keras.ops.zeros((16,), "int32"), 4)
        return min(one.step_requested_bytes for one in steps_taken)  # whatever else runs

    few, many = requested(CheckpointedBPTT, 64), requested(CheckpointedBPTT, 256)
    assert many <= 2.2 * few
    assert many <= 0.2 * requested(BP, 256)


def test_a_stream_goes_on_from_batch_to_batch() -> None:
    x, y = data()
    whole = TruncatedBPTT(network(), CHUNK, stream_rows=ROWS)
    halves = TruncatedBPTT(network(), CHUNK, stream_rows=ROWS)
    for trainer in (whole, halves):
        trainer.compile(keras.optimizers.SGD(RATE), LOSS, run_eagerly=True)
    whole.train_on_batch(x, y)
    for part in (slice(0, 4), slice(4, STEPS)):
        halves.train_on_batch(x[:, part], y[:, part])
    for one, other in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert whole.optimizer.iterations == STEPS // CHUNK
    assert np.any(halves._carried[0])
    halves.reset_states()
    assert not np.any(halves._carried[0])


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_training_goes_on_after_saving(kind: type[Recurrent], tmp_path: Path) -> None:
    streams = {} if kind is CheckpointedBPTT else {"stream_rows": ROWS}
    trainer = kind(network(), **ARGUMENTS[kind], **streams)
    trainer.compile(keras.optimizers.Adam(0.1), LOSS, run_eagerly=True)
    trainer.train_on_batch(*data())
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for one in (trainer, loaded):
        one.train_on_batch(*data())
    for ours, theirs in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def rnn(**how: Any) -> keras.layers.Layer:
    return L.SimpleRNN(4, return_sequences=True, **how)


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([L.Dense(3)], "no recurrent layer"),
        ([L.Masking(), rnn()], "makes a mask.*sample weights"),
        ([L.Bidirectional(rnn())], "from both ends"),
        ([rnn(go_backwards=True)], "goes backwards"),
        ([L.BatchNormalization(), rnn()], "each time step by itself.*Dense"),
        ([L.Conv1D(3, 3, padding="causal"), rnn()], "each time step by itself"),
        ([L.LSTM(4, activity_regularizer="l2")], "activity regulariser"),
        ([rnn(activation=lambda z: z)], "code of its own"),
        ([keras.Sequential([L.Dense(3)]), rnn()], "a model inside the model"),
    ],
)
def test_what_is_no_loop_through_time_is_refused(layers: list, says: str) -> None:
    with pytest.raises(UnsupportedError, match=f"CheckpointedBPTT.*{says}"):
        CheckpointedBPTT(network(*layers))


def test_states_that_the_model_keeps_or_hands_on_are_refused() -> None:
    x = keras.Input((STEPS, 2), batch_size=ROWS)
    with pytest.raises(UnsupportedError, match=r"is stateful.*stream_rows"):
        TruncatedBPTT(keras.Model(x, rnn(stateful=True)(x)), CHUNK)
    outputs, state = rnn(return_state=True)(x)
    with pytest.raises(UnsupportedError, match="takes or returns a state"):
        TruncatedBPTT(keras.Model(x, outputs), CHUNK)
    joined = L.Add()([rnn()(x), L.SimpleRNN(4)(x)])
    with pytest.raises(UnsupportedError, match="joins what has time steps"):
        TruncatedBPTT(keras.Model(x, joined), CHUNK)
    assert state is not None


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        (CheckpointedBPTT, {"segment": 0}, "segment=0.*at least 1"),
        (CheckpointedBPTT, {"slots": 0}, "slots=0.*at least 1"),
        (CheckpointedBPTT, {"plan": "revolve"}, "plan='revolve'.*hidden, internal, mixed"),
        (CheckpointedBPTT, {"plan": "mixed"}, "needs internal_slots"),
        (TruncatedBPTT, {"chunk": 0}, "chunk=0.*at least 1"),
        (SyntheticBPTT, {"chunk": 2, "share": 2.0}, "share=2.0.*0 to 1"),
        (SyntheticBPTT, {"chunk": 2, "predictor_layers": 4}, "predictor_layers=4.*0 to 3"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    kind: type[Recurrent], arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(UnsupportedError, match=says):
        kind(network(), **arguments)


def test_batches_that_do_not_fit_are_refused() -> None:
    x, y = data()
    trainer = TruncatedBPTT(network(), 4)
    trainer.compile("sgd", LOSS, run_eagerly=True)
    with pytest.raises(UnsupportedError, match=r"chunk=4.*whole chunks"):
        trainer.train_on_batch(x, y)
    with pytest.raises(UnsupportedError, match=r"labels of shape \(4,\).*one label for each"):
        trainer.train_on_batch(x, y[:, 0])
    with pytest.raises(UnsupportedError, match="after the last time step"):
        TruncatedBPTT(network(L.SimpleRNN(4)), CHUNK)
    with pytest.raises(UnsupportedError, match=r"reduction='sum'.*mean"):
        trainer.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.warns(UserWarning, match=r"received SGD.*use Adam"):
        SyntheticBPTT(network(), CHUNK).compile("sgd", LOSS)
