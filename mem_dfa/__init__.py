"""Training algorithms for Keras models that save memory.

Names are imported when they are first used, so that the command line answers without TensorFlow.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import wrapt

from mem_dfa import registry
from mem_dfa.errors import UnsupportedError as UnsupportedError

if TYPE_CHECKING:
    from mem_dfa.algorithms.anchor_steps import AnchorSteps as AnchorSteps
    from mem_dfa.algorithms.arbp import ARBP as ARBP
    from mem_dfa.algorithms.asrbp import ASRBP as ASRBP
    from mem_dfa.algorithms.base import Algorithm as Algorithm
    from mem_dfa.algorithms.bdfa import BDFA as BDFA
    from mem_dfa.algorithms.bp import BP as BP
    from mem_dfa.algorithms.bp_fused import BPFused as BPFused
    from mem_dfa.algorithms.cdni import CDNI as CDNI
    from mem_dfa.algorithms.checkpoint import Checkpoint as Checkpoint
    from mem_dfa.algorithms.checkpoint import CheckpointFA as CheckpointFA
    from mem_dfa.algorithms.compressed import Compressed as Compressed
    from mem_dfa.algorithms.dfa import DFA as DFA
    from mem_dfa.algorithms.dni import DNI as DNI
    from mem_dfa.algorithms.drtp import DRTP as DRTP
    from mem_dfa.algorithms.fa import FA as FA
    from mem_dfa.algorithms.forward_forward import ForwardForward as ForwardForward
    from mem_dfa.algorithms.forward_gradient import ForwardGradient as ForwardGradient
    from mem_dfa.algorithms.lel import LEL as LEL
    from mem_dfa.algorithms.local_loss import LocalLoss as LocalLoss
    from mem_dfa.algorithms.mem_bdfa import MemBDFA as MemBDFA
    from mem_dfa.algorithms.mem_dfa import MemDFA as MemDFA
    from mem_dfa.algorithms.microbatch import Microbatch as Microbatch
    from mem_dfa.algorithms.offload import Offload as Offload
    from mem_dfa.algorithms.pepita import PEPITA as PEPITA
    from mem_dfa.algorithms.revnet import RevNet as RevNet
    from mem_dfa.algorithms.sign_symmetry import BRSF as BRSF
    from mem_dfa.algorithms.sign_symmetry import FRSF as FRSF
    from mem_dfa.algorithms.sign_symmetry import USF as USF
    from mem_dfa.algorithms.ssdfa import SSDFA as SSDFA
    from mem_dfa.algorithms.unlock import Unlock as Unlock
    from mem_dfa.algorithms.xconv import XConv as XConv
    from mem_dfa.alignment import Alignment as Alignment
    from mem_dfa.chain.chain import Chain as Chain
    from mem_dfa.recurrent.checkpointed import CheckpointedBPTT as CheckpointedBPTT
    from mem_dfa.recurrent.synthetic import SyntheticBPTT as SyntheticBPTT
    from mem_dfa.recurrent.truncated import TruncatedBPTT as TruncatedBPTT
    from mem_dfa.shapes.prediction import predict as predict

ALGORITHMS = registry.Loaded(registry.ALGORITHMS)
MODELS = registry.Loaded(registry.MODELS)

# Trainers of nets unrolled in time, which the registry's models and data are not.
_RECURRENT = {
    "CheckpointedBPTT": "mem_dfa.recurrent.checkpointed",
    "SyntheticBPTT": "mem_dfa.recurrent.synthetic",
    "TruncatedBPTT": "mem_dfa.recurrent.truncated",
}
_PLACES = {
    "Algorithm": "mem_dfa.algorithms.base",
    "Alignment": "mem_dfa.alignment",
    "Chain": "mem_dfa.chain.chain",
    "predict": "mem_dfa.shapes.prediction",
    **_RECURRENT,
    **{name: module for module, name in (e.place.split(":") for e in registry.ALGORITHMS.values())},
}
__all__ = sorted(["ALGORITHMS", "MODELS", "UnsupportedError", *_PLACES])


def __getattr__(name: str) -> object:
    """Only a name that is not imported yet comes here."""
    if name == "__version__":
        return import_module("importlib.metadata").version("mem-dfa")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


@wrapt.when_imported("keras")
def _known_to_keras(keras: ModuleType) -> None:
    """Saved trainers can be loaded as soon as Keras and this package are imported.

    The rooms import Keras before their files do, which would otherwise be asked for here before
    they are whole.
    """
    import_module("mem_dfa.layers")
    import_module("mem_dfa.optimizers")
    list(ALGORITHMS.values())
    for module in _RECURRENT.values():
        import_module(module)
