"""What a net makes an algorithm keep is said before a step runs, and before memory is taken."""

import warnings

import keras
import pytest

from mem_dfa import ALGORITHMS, DFA, MODELS, MemDFA, UnsupportedError
from mem_dfa.feedback import matrix_bytes
from mem_dfa.layers.reversible import ReversibleBlock
from tests.mem_dfa.comparison import LOSS
from tests.mem_dfa.table import ANY_BLOCKS, BLOCK_BY_BLOCK, TABLE

layers = keras.layers


def skipped(before: int, inside: int, reversible: bool = False) -> keras.Model:
    """Convolutions, then some that one skip spans."""
    x = inputs = keras.Input((8, 8, 4))
    if reversible:
        halves = [keras.Sequential([layers.Conv2D(2, 3, padding="same")]) for _ in range(2)]
        x = ReversibleBlock(*halves)(x)
    for number in range(before):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"before_{number}")(x)
    skip = x
    for number in range(inside):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"inside_{number}")(x)
    x = layers.Flatten()(layers.Concatenate()([skip, x]))
    return keras.Model(inputs, layers.Dense(3)(x))


def said(algorithm: str, net: keras.Model) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ALGORITHMS[algorithm](net).compile(keras.optimizers.SGD(0.1), LOSS)
    return [str(one.message) for one in found if "weight layers" in str(one.message)]


@pytest.mark.parametrize("algorithm", [name for name in BLOCK_BY_BLOCK if name in ANY_BLOCKS])
def test_one_block_that_holds_the_net_is_named_once(algorithm: str) -> None:
    reversible = TABLE[algorithm].needs_reversible
    (message,) = said(algorithm, skipped(1, 6, reversible))
    assert "('inside_0' to 'inside_5')" in message
    share = 73 if reversible else 89
    assert f"holds 6 of {8 + reversible} weight layers and {share}% of the bytes" in message
    assert message.startswith(type(ALGORITHMS[algorithm](skipped(1, 6, reversible))).__name__)
    assert not said(algorithm, skipped(5, 2, reversible))


def test_half_of_the_bytes_are_enough() -> None:
    x = inputs = keras.Input((16, 16, 4))
    wide = layers.Conv2D(32, 3, padding="same", name="wide")(x)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same", name="narrow")(wide)])
    x = layers.Flatten()(layers.MaxPooling2D(4)(x))
    for _ in range(4):
        x = layers.Dense(8)(x)
    (message,) = said("dfa", keras.Model(inputs, x))
    assert "('wide' to 'narrow') holds 2 of 6 weight layers and 100% of the bytes" in message


@pytest.mark.parametrize("name", ["resnet32", "mlp", "vgg16"])
def test_models_that_are_cut_well_say_nothing(name: str) -> None:
    assert not said("checkpoint", MODELS[name]())


def segmentation(size: int, biggest: int = 4) -> keras.Model:
    """As many logits as there are pixels and classes, which are two."""
    x = inputs = keras.Input((size, size, 3))
    for channels in (4, biggest):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@pytest.mark.parametrize("make", [DFA, MemDFA])
def test_feedback_that_no_memory_holds_is_refused_before_it_is_made(
    make: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_bytes, "memory_limit_bytes", lambda: 2**30)
    # 2·64² logits times 2·4·64² units.
    with pytest.raises(UnsupportedError, match=r"takes 1.1 GiB.*'regenerated' \(16.0 MiB\)") as e:
        make(segmentation(64, biggest=5))
    assert "8192 logits an example times 36864 units of 2 blocks" in str(e.value)
    # 2·1024² logits: so many matrices that drawing them is no way out, either.
    for kind in ("stored", "regenerated", "shared", "learned"):
        with pytest.raises(UnsupportedError, match=f"feedback='{kind}' takes .* TiB.*'sparse'"):
            make(segmentation(1024), feedback=kind)
    monkeypatch.setattr(matrix_bytes, "memory_limit_bytes", lambda: 2**20)
    for kind in matrix_bytes.KINDS:
        with pytest.raises(UnsupportedError, match=f"feedback='{kind}' takes .* or train with che"):
            make(segmentation(1024), feedback=kind)


def test_feedback_larger_than_bps_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=r"takes 4.0 MiB.*BP's whole step: .*'shared' \(2.0 MiB\)"):
        DFA(segmentation(16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DFA(segmentation(16), feedback="regenerated")
        DFA(MODELS["mlp"]())
        monkeypatch.setattr(matrix_bytes, "LARGE_BYTES", 1000)
        with pytest.raises(UserWarning, match=r"feedback='stored' takes 5.1 KiB"):
            DFA(MODELS["mlp"]())
    monkeypatch.setattr(matrix_bytes, "memory_limit_bytes", lambda: 5000)
    with pytest.raises(UnsupportedError, match=r"more than the 4.9 KiB of memory there are"):
        DFA(MODELS["mlp"]())
