"""What may be named on the command line, found without importing TensorFlow."""

import re

from mem_dfa import registry
from mem_dfa.data import prepared
from mem_dfa.registry import AlgorithmEntry, Look

# Names of optimizers and the learning rate that each has by default.
OPTIMIZERS = {
    "sgd": 0.01,
    "momentum": 0.01,
    "stepped_momentum": 0.1,
    "adam": 0.001,
    "adamw": 0.001,
    "rmsprop": 0.001,
    "adam_8bit": 0.001,
    "low_rank_adam": 0.001,
}
# What else saves memory in TensorFlow, to compare with.
PEERS = {
    "remat_scope": AlgorithmEntry(
        "mem_dfa.experiments.measure.peers:RematScope",
        'the network made again inside `keras.RematScope(mode="full")`',
        signal="exact",
        keeps="each layer's input",
        look=Look("#6000B8", "<", 1.6),
    ),
    "recompute_grad": AlgorithmEntry(
        "mem_dfa.experiments.measure.peers:RecomputeGrad",
        "`tf.recompute_grad` over about √n segments of consecutive layers; Sequential models only",
        signal="exact",
        keeps="the segments' inputs",
        look=Look("#003030", ">", 2.4),
    ),
}
AS_COMPILED = "fit"
"""In the place of an algorithm: Keras's own training, as the user's model was compiled."""
EXECUTIONS = ("graph", "eager", "xla")
DATASETS = ("auto", "cifar10", "cifar10_augmented", "mnist", "synthetic")
DEVICES = ("auto", "cpu", "gpu")


BATCH_SIZE = 32
"""Of a model of the user's own, where none is given."""
_OWN = re.compile(r"(?=.{3,300}$)([\w./~-]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*", re.ASCII)
OWN = "package.module:name or file.py:name"


def is_own(name: str) -> bool:
    """Whether a name stands for something of the user's own: ``module:name``, ``file.py:name``."""
    return _OWN.fullmatch(name) is not None


def is_own_model(name: str) -> bool:
    """Whether a name stands for a model of the user's own: as `is_own`, or ``file.keras``."""
    return is_own(name) or (name.endswith(".keras") and len(name) <= 300)


def dataset(asked: str, model: str, data_dir: str | None) -> str:
    """The data set that "auto" stands for: the model's own where it is prepared."""
    own = registry.MODELS[model].dataset if model in registry.MODELS else "synthetic"
    if asked != "auto":
        return asked
    return own if own != "synthetic" and prepared.find(own, data_dir) else "synthetic"
