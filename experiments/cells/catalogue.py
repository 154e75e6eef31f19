"""What may be named on the command line, found without importing TensorFlow."""

from mem_dfa import registry
from mem_dfa.data import prepared
from mem_dfa.registry import AlgorithmEntry, Look

# Names of optimizers and the learning rate that each has by default.
OPTIMIZERS = {"sgd": 0.01, "momentum": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}
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
EXECUTIONS = ("graph", "eager", "xla")
DATASETS = ("auto", "cifar10", "mnist", "synthetic")
DEVICES = ("auto", "cpu", "gpu")


def dataset(asked: str, model: str, data_dir: str | None) -> str:
    """The data set that "auto" stands for: the model's own where it is prepared."""
    own = registry.MODELS[model].dataset
    if asked != "auto":
        return asked
    return own if prepared.find(own, data_dir) else "synthetic"
