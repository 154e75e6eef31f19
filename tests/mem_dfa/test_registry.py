"""The registry says what there is."""

import inspect
import subprocess
import sys

import keras
import pytest

import mem_dfa
from mem_dfa import registry
from mem_dfa.data import prepared
from mem_dfa.feedback import distributions, matrices
from tests.mem_dfa.table import TABLE


@pytest.mark.parametrize("name", registry.ALGORITHMS)
def test_an_algorithm_takes_the_options_of_its_entry_and_no_other(name: str) -> None:
    kind = mem_dfa.ALGORITHMS[name]
    assert issubclass(kind, mem_dfa.Algorithm)
    taken = {
        argument
        for base in kind.__mro__
        if "__init__" in vars(base) and base.__module__.startswith("mem_dfa.")
        for argument in inspect.signature(base.__init__).parameters
    }
    own = {option.name for option in registry.ALGORITHMS[name].options}
    assert own == taken & {option.name for option in registry.OPTIONS}


def test_every_algorithm_has_a_row_in_the_table_of_the_common_tests() -> None:
    assert list(TABLE) == list(registry.ALGORITHMS)


def test_models_and_feedback_can_be_loaded() -> None:
    assert all(callable(build) for build in mem_dfa.MODELS.values())
    assert all(issubclass(kind, matrices.Matrices) for kind in matrices.KINDS.values())
    assert all(make(10, 20).scale > 0 for make in distributions.INITIALIZERS.values())
    assert {entry.dataset for entry in registry.MODELS.values()} <= set(prepared.DATASETS)


def test_names_of_the_package_are_those_of_the_registry() -> None:
    assert {kind.__name__ for kind in mem_dfa.ALGORITHMS.values()} <= set(mem_dfa.__all__)
    assert all(getattr(mem_dfa, name) is not None for name in mem_dfa.__all__)
    with pytest.raises(AttributeError, match="no attribute 'NoSuch'"):
        mem_dfa.NoSuch  # noqa: B018


@pytest.mark.slow
def test_keras_knows_the_classes_when_it_is_imported_first() -> None:
    """And the package alone imports neither Keras nor TensorFlow."""
    code = """
import sys
import mem_dfa
assert not {"keras", "tensorflow"} & set(sys.modules)
import keras
mem_dfa.MemDFA
for name in ("MemDFA", "RevNet", "ReversibleBlock"):
    assert keras.saving.get_registered_object(f"mem_dfa>{name}"), name
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_keras_knows_this_package(tmp_path) -> None:  # noqa: ANN001
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    mem_dfa.BP(network).save(tmp_path / "trainer.keras")
    assert type(keras.models.load_model(tmp_path / "trainer.keras")) is mem_dfa.BP
