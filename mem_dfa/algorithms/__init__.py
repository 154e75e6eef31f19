"""The list of algorithms."""

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.algorithms.bp import BP
from mem_dfa.algorithms.checkpoint import Checkpoint, CheckpointFA
from mem_dfa.algorithms.dfa import DFA
from mem_dfa.algorithms.fa import FA
from mem_dfa.algorithms.mem_dfa import MemDFA
from mem_dfa.algorithms.microbatch import Microbatch
from mem_dfa.algorithms.revnet import RevNet

ALGORITHMS: dict[str, type[Algorithm]] = {
    "bp": BP,
    "fa": FA,
    "dfa": DFA,
    "mem_dfa": MemDFA,
    "checkpoint": Checkpoint,
    "checkpoint_fa": CheckpointFA,
    "revnet": RevNet,
    "microbatch": Microbatch,
}
