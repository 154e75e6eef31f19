"""Training algorithms for Keras models that save memory."""

from mem_dfa.algorithms import ALGORITHMS as ALGORITHMS
from mem_dfa.algorithms.base import Algorithm as Algorithm
from mem_dfa.algorithms.bp import BP as BP
from mem_dfa.algorithms.checkpoint import Checkpoint as Checkpoint
from mem_dfa.algorithms.checkpoint import CheckpointFA as CheckpointFA
from mem_dfa.algorithms.dfa import DFA as DFA
from mem_dfa.algorithms.fa import FA as FA
from mem_dfa.algorithms.mem_dfa import MemDFA as MemDFA
from mem_dfa.algorithms.microbatch import Microbatch as Microbatch
from mem_dfa.algorithms.revnet import RevNet as RevNet
from mem_dfa.chain import Chain as Chain
from mem_dfa.errors import UnsupportedError as UnsupportedError
from mem_dfa.models import MODELS as MODELS
