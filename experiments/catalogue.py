"""What may be named on the command line, found without importing TensorFlow.

`mem_dfa` imports TensorFlow as soon as it is imported, so its lists of algorithms and models are
read from its source, and its file about data sets is loaded outside its package.
"""

import ast
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class ModelDefaults:
    """What a model is trained on unless the command line says otherwise."""

    dataset: str
    batch_size: int


MODEL_DEFAULTS = {
    "conv20": ModelDefaults("cifar10", 128),
    "depth_net": ModelDefaults("cifar10", 32),
    "depth_revnet": ModelDefaults("cifar10", 32),
    "vgg16": ModelDefaults("cifar10", 64),
    "liao_cifar": ModelDefaults("cifar10", 100),
    "resnet32": ModelDefaults("cifar10", 100),
    "resnet110": ModelDefaults("cifar10", 100),
    "resnet164": ModelDefaults("cifar10", 100),
    "revnet38": ModelDefaults("cifar10", 100),
    "revnet110": ModelDefaults("cifar10", 100),
    "revnet164": ModelDefaults("cifar10", 100),
    "mlp": ModelDefaults("mnist", 100),
    "mnist_conv": ModelDefaults("mnist", 100),
}
WHOLE_DEPTHS = {
    "conv20": 20,
    "vgg16": 15,
    "liao_cifar": 4,
    "resnet32": 33,
    "revnet38": 35,
    "mlp": 2,
    "mnist_conv": 3,
}
"""Of a whole model, the layers that its row in the results says."""

OPTIMIZERS = {"sgd": 0.01, "momentum": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}
"""Names of optimizers and the learning rate that each has by default."""

ALGORITHM_OPTIONS = {
    "every": ("checkpoint", "checkpoint_fa"),
    "budget": ("checkpoint", "checkpoint_fa", "microbatch"),
    "slices": ("mem_dfa", "microbatch"),
    "feedback": ("dfa", "mem_dfa"),
    "feedback_initializer": ("fa", "dfa", "mem_dfa", "checkpoint_fa"),
}
"""Which algorithms take an option that not all have; one of the user's own may take any."""

PEERS = ("remat_scope", "recompute_grad")
"""What else saves memory in TensorFlow, to compare with; the keys of `experiments.peers.PEERS`."""

FEEDBACKS = ("stored", "regenerated", "shared")
FEEDBACK_INITIALIZERS = (
    "uniform",
    "signs",
    "he_normal",
    "xavier_uniform",
    "kaiming_uniform",
    "normal",
)
EXECUTIONS = ("graph", "eager", "xla")
DATASETS = ("auto", "cifar10", "mnist", "synthetic")
DEVICES = ("auto", "cpu", "gpu")


def algorithm_names() -> list[str]:
    """The keys of `mem_dfa.ALGORITHMS`."""
    return _keys("algorithms", "ALGORITHMS")


def model_names() -> list[str]:
    """The keys of `mem_dfa.MODELS`."""
    return _keys("models", "MODELS")


@cache
def datasets() -> ModuleType:
    """The module `mem_dfa.datasets`, by itself."""
    specification = importlib.util.spec_from_file_location(
        "experiments._datasets", _package_folder() / "datasets.py"
    )
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses looks up its own module
    specification.loader.exec_module(module)
    return module


def _package_folder() -> Path:
    return Path(importlib.util.find_spec("mem_dfa").submodule_search_locations[0])


@cache
def _keys(subpackage: str, variable: str) -> list[str]:
    """The keys of a dictionary that a subpackage writes out in its __init__ file."""
    tree = ast.parse((_package_folder() / subpackage / "__init__.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        named = any(isinstance(target, ast.Name) and target.id == variable for target in targets)
        if named and isinstance(statement.value, ast.Dict):
            return [ast.literal_eval(key) for key in statement.value.keys]
    raise LookupError(f"mem_dfa/{subpackage}/__init__.py has no dictionary {variable}")
