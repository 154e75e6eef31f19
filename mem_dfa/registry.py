"""Algorithms, models and kinds of feedback as data: what there is, without TensorFlow and Keras.

Whatever lists them reads it here: the command line, tables, figures, documentation and tests. What
an entry stands for is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Entry:
    """Something that has a name and can be imported."""

    place: str
    """Where it is: "module:Name"."""
    description: str
    """What it is, in a few words for a table."""

    def load(self) -> Any:
        """The class or function itself."""
        module, name = self.place.split(":")
        return getattr(importlib.import_module(module), name)


class Loaded(Mapping[str, Any]):
    """What entries stand for, by name, each imported when it is first asked for."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Of these entries, in their order."""
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        """The class or function of that name."""
        return self._entries[name].load()

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)


@dataclass(frozen=True)
class Option:
    """An argument that some algorithms take and others do not."""

    name: str
    """As in Python; on the command line with dashes."""
    kind: Literal["count", "count from 0", "size", "fraction", "name", "groups", "hidden layers"]
    """A whole number from 1 or 0, a size such as "64 MiB", a number from 0 to below 1, one of
    `choices`, what makes groups of blocks (a number, a size, "sqrt" or names), or 0 to 3 layers."""
    help: str
    default: str
    """What holds where it is not given, in words."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """How an algorithm is drawn, in every figure.

    Colours are those of Okabe and Ito, without the yellow that is too light for a line, and more
    that stay apart from them for every kind of colour blindness. No figure has room for a colour
    for every algorithm: those of one kind of signal differ in colour, any others in colour or
    marker. Of two algorithms whose numbers are nearly equal, one has a wide line and the other a
    narrow one on top of it, so that both can be seen.
    """

    colour: str
    marker: str
    """In matplotlib's notation."""
    width: float
    """Of its line, in points; wider ones lie below."""


OWN_LOOK = Look("#4D4D4D", "*", 1.4)
"""Of a class of the user's own."""


@dataclass(frozen=True)
class AlgorithmEntry(Entry):
    """A training algorithm."""

    signal: str
    """Where the error signal of a block comes from."""
    keeps: str
    """What is kept of the forward pass."""
    look: Look = OWN_LOOK
    options: tuple[Option, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether its gradients are those of backpropagation."""
        return self.signal.startswith("exact")


@dataclass(frozen=True)
class ModelEntry(Entry):
    """A network, and what it is made for."""

    dataset: str
    batch_size: int
    layers: int
    """Of the whole model, as `layers` counts them when it is built."""


FEEDBACK_KINDS: Mapping[str, Entry] = {
    "stored": Entry("mem_dfa.feedback.stored:Stored", "every matrix is a variable"),
    "regenerated": Entry(
        "mem_dfa.feedback.regenerated:Regenerated",
        "drawn from its seed whenever it is needed",
    ),
    "shared": Entry(
        "mem_dfa.feedback.shared:Shared", "one matrix, of which each block takes a part"
    ),
    "sparse": Entry("mem_dfa.feedback.sparse:Sparse", "few non-zeros in each column"),
    "regenerated_sparse": Entry(
        "mem_dfa.feedback.regenerated_sparse:RegeneratedSparse",
        "as `sparse`, drawn from its seed whenever it is needed",
    ),
    "low_rank": Entry(
        "mem_dfa.feedback.low_rank:LowRank", "the product of two factors, one of them shared"
    ),
    "convolutional": Entry(
        "mem_dfa.feedback.convolutional:Convolutional",
        "a small kernel for each block that ends in an image",
    ),
    "learned": Entry("mem_dfa.feedback.learned:Learned", "every matrix is trained with its block"),
}

FEEDBACK_INITIALIZERS: Mapping[str, Entry] = {
    "uniform": Entry("mem_dfa.feedback.distributions:uniform", "U(±1/√n)"),
    "signs": Entry("mem_dfa.feedback.distributions:signs", "±1/√(3n)"),
    "he_normal": Entry("mem_dfa.feedback.distributions:he_normal", "N(0, 2/C)"),
    "xavier_uniform": Entry("mem_dfa.feedback.distributions:xavier_uniform", "U(±√(6/(C + n)))"),
    "kaiming_uniform": Entry("mem_dfa.feedback.distributions:kaiming_uniform", "U(±1/√C)"),
    "normal": Entry("mem_dfa.feedback.distributions:normal", "N(0, 1/(n·C))"),
}

WAYS_BACK: Mapping[str, Entry] = {
    "random": Entry("mem_dfa.feedback.kernels:KernelFeedback", "a fixed random kernel"),
    "usf": Entry("mem_dfa.feedback.sign_symmetry:UniformSigns", "signs of W times one number"),
    "brsf": Entry(
        "mem_dfa.feedback.sign_symmetry:RedrawnSigns", "signs of W times sizes drawn each step"
    ),
    "frsf": Entry("mem_dfa.feedback.sign_symmetry:FixedSigns", "signs of W times fixed sizes"),
    "learned": Entry(
        "mem_dfa.feedback.learned_kernels:LearnedKernels", "a random kernel, trained as W is"
    ),
}

LOCAL_LOSSES: Mapping[str, str] = {
    "prediction": "that of a linear classifier",
    "similarity": "of how alike outputs are, compared with labels",
    "both": "0.01 of the first and 0.99 of the second",
}

CHECKPOINT_PLANS: Mapping[str, str] = {
    "sqrt": "the least memory in which each block runs again once at most",
    "every": "every block's input, or of few blocks where a budget asks for it",
    "revolve": "few of many alike blocks' outputs; each block runs again as often as needed",
    "rotor": "what runs least again within a budget",
}

PROBES: Mapping[str, str] = {
    "independent": "the same for every channel, kept of each channel",
    "gaussian": "of all channels together",
    "orthogonal": "of all channels, most of which see one channel alone",
}

EVERY = Option("every", "count", "a checkpoint every so many blocks", "√n of them")
PLAN = Option(
    "plan",
    "name",
    "how often blocks run again: once at most, or for less memory",
    "sqrt",
    tuple(CHECKPOINT_PLANS),
)
BITS = Option("bits", "count", "of each value of a checkpoint: 16, 8 or 2", "8")
PROBE_COUNT = Option(
    "probes",
    "count from 0",
    "numbers kept of each example, or of its channels; 0 keeps all of it",
    "8",
)
PROBING = Option(
    "probing", "name", "what the probes of a convolution are", "independent", tuple(PROBES)
)
BUDGET = Option("budget", "size", "bytes that a step may ask for beside what is resident", "none")
SLICES = Option("slices", "count", "parts of a batch", "8; 4 where that lowers the peak")
FEEDBACK = Option(
    "feedback",
    "name",
    "what is held of the matrices",
    "stored; ssdfa's are sparse, asrbp's learned",
    tuple(FEEDBACK_KINDS),
)
FEEDBACK_INITIALIZER = Option(
    "feedback_initializer",
    "name",
    "what random weights are drawn from",
    "uniform; xavier_uniform for signs of W",
    tuple(FEEDBACK_INITIALIZERS),
)
NONZEROS = Option("nonzeros", "count", "non-zeros in each column of a sparse matrix", "1")
RANK = Option("rank", "count", "of matrices of low rank", "the root of the classes, rounded up")
WAY_BACK = Option(
    "way_back", "name", "what error signals pass layers by", "random", tuple(WAYS_BACK)
)
FEEDBACK_DECAY = Option(
    "feedback_decay", "fraction", "of W and learned feedback, lost in each step", "0"
)
GROUPS = Option(
    "groups",
    "groups",
    'blocks in a group, "sqrt" of them, a size to stay within, or names of first blocks',
    "sqrt",
)
ANCHOR = Option(
    "anchor", "count", "every so many batches an exact step", "none; 10 of anchor_steps"
)
LOCAL_LOSS = Option("local_loss", "name", "the loss of each block", "both", tuple(LOCAL_LOSSES))
PERTURBATION_GROUPS = Option(
    "perturbation_groups",
    "count",
    "groups of a block's units, of which each has a slope",
    "16, or the units there are",
)
PREDICTOR_LAYERS = Option(
    "predictor_layers", "hidden layers", "hidden layers of each predictor, 0 to 3", "0; 1 of unlock"
)
MATRICES = (FEEDBACK, FEEDBACK_INITIALIZER, NONZEROS, RANK)
OUTPUT_FEEDBACK = (*MATRICES, FEEDBACK_DECAY, ANCHOR)
OPTIONS = (
    EVERY,
    PLAN,
    BITS,
    PROBE_COUNT,
    PROBING,
    BUDGET,
    SLICES,
    GROUPS,
    LOCAL_LOSS,
    PERTURBATION_GROUPS,
    PREDICTOR_LAYERS,
    WAY_BACK,
    *OUTPUT_FEEDBACK,
)

ALGORITHMS: Mapping[str, AlgorithmEntry] = {
    "bp": AlgorithmEntry(
        "mem_dfa.algorithms.bp:BP",
        "backpropagation, Keras's own step",
        signal="exact",
        keeps="everything",
        look=Look("#000000", "o", 1.6),
    ),
    "bp_fused": AlgorithmEntry(
        "mem_dfa.algorithms.bp_fused:BPFused",
        "backpropagation that updates as it goes back",
        signal="exact",
        keeps="everything but gradients",
        look=Look("#009E73", "o", 2.4),
    ),
    "fa": AlgorithmEntry(
        "mem_dfa.algorithms.fa:FA",
        "feedback alignment",
        signal="passes each layer by a random kernel",
        keeps="everything",
        look=Look("#E69F00", "s", 3.6),
        options=(FEEDBACK_INITIALIZER, WAY_BACK, FEEDBACK_DECAY),
    ),
    "usf": AlgorithmEntry(
        "mem_dfa.algorithms.sign_symmetry:USF",
        "uniform sign-concordant feedback",
        signal="passes each layer by the signs of its kernel",
        keeps="everything",
        look=Look("#0072B2", "<", 2.8),
        options=(FEEDBACK_INITIALIZER,),
    ),
    "brsf": AlgorithmEntry(
        "mem_dfa.algorithms.sign_symmetry:BRSF",
        "batchwise random sign-concordant feedback",
        signal="as `usf`, times random sizes drawn each step",
        keeps="everything",
        look=Look("#CC79A7", ">", 2.2),
        options=(FEEDBACK_INITIALIZER,),
    ),
    "frsf": AlgorithmEntry(
        "mem_dfa.algorithms.sign_symmetry:FRSF",
        "fixed random sign-concordant feedback",
        signal="as `usf`, times fixed random sizes",
        keeps="everything",
        look=Look("#009E73", "p", 1.6),
        options=(FEEDBACK_INITIALIZER,),
    ),
    "arbp": AlgorithmEntry(
        "mem_dfa.algorithms.arbp:ARBP",
        "adaptive random backpropagation; with decay Kolen and Pollack's",
        signal="as `fa`, by kernels that are learned",
        keeps="everything",
        look=Look("#6000B8", "h", 2.4),
        options=(FEEDBACK_INITIALIZER, FEEDBACK_DECAY),
    ),
    "dfa": AlgorithmEntry(
        "mem_dfa.algorithms.dfa:DFA",
        "direct feedback alignment",
        signal="the output error, projected for each block by a random matrix",
        keeps="everything",
        look=Look("#56B4E9", "D", 3.6),
        options=OUTPUT_FEEDBACK,
    ),
    "ssdfa": AlgorithmEntry(
        "mem_dfa.algorithms.ssdfa:SSDFA",
        "sparse direct feedback alignment",
        signal="as `dfa`, each unit from few classes",
        keeps="everything",
        look=Look("#D55E00", "d", 1.6),
        options=OUTPUT_FEEDBACK,
    ),
    "asrbp": AlgorithmEntry(
        "mem_dfa.algorithms.asrbp:ASRBP",
        "direct feedback alignment with learned matrices",
        signal="as `dfa`, the matrices trained",
        keeps="everything",
        look=Look("#6000B8", "H", 1.6),
        options=OUTPUT_FEEDBACK,
    ),
    "mem_dfa": AlgorithmEntry(
        "mem_dfa.algorithms.mem_dfa:MemDFA",
        "direct feedback alignment in a second forward pass",
        signal="as `dfa`",
        keeps="nothing, or what a budget has room for",
        look=Look("#D55E00", "o", 1.8),
        options=(BUDGET, SLICES, *OUTPUT_FEEDBACK),
    ),
    "bdfa": AlgorithmEntry(
        "mem_dfa.algorithms.bdfa:BDFA",
        "blocked direct feedback alignment",
        signal="as `dfa` at the top of each group of blocks; exact inside",
        keeps="everything",
        look=Look("#CC79A7", "8", 3.2),
        options=(GROUPS, *OUTPUT_FEEDBACK),
    ),
    "mem_bdfa": AlgorithmEntry(
        "mem_dfa.algorithms.mem_bdfa:MemBDFA",
        "blocked direct feedback alignment in a second forward pass",
        signal="as `bdfa`",
        keeps="nothing, or what a budget has room for",
        look=Look("#0072B2", "p", 1.8),
        options=(GROUPS, BUDGET, SLICES, *OUTPUT_FEEDBACK),
    ),
    "drtp": AlgorithmEntry(
        "mem_dfa.algorithms.drtp:DRTP",
        "direct random target projection",
        signal="the targets, projected for each block by a random matrix",
        keeps="nothing; one pass",
        look=Look("#6000B8", "v", 2.0),
        options=MATRICES,
    ),
    "lel": AlgorithmEntry(
        "mem_dfa.algorithms.lel:LEL",
        "local errors of fixed random classifiers",
        signal="the error of the block's own random classifier",
        keeps="nothing; one pass",
        look=Look("#E69F00", "^", 2.0),
        options=MATRICES,
    ),
    "local_loss": AlgorithmEntry(
        "mem_dfa.algorithms.local_loss:LocalLoss",
        "local losses of trained heads",
        signal="the gradient of the block's own loss",
        keeps="nothing; one pass",
        look=Look("#009E73", "D", 2.0),
        options=(LOCAL_LOSS,),
    ),
    "forward_gradient": AlgorithmEntry(
        "mem_dfa.algorithms.forward_gradient:ForwardGradient",
        "forward gradients of local losses",
        signal="noise, times the slope of the block's own loss along it",
        keeps="nothing; one pass",
        look=Look("#CC79A7", "<", 2.0),
        options=(PERTURBATION_GROUPS,),
    ),
    "dni": AlgorithmEntry(
        "mem_dfa.algorithms.dni:DNI",
        "synthetic gradients",
        signal="a predictor's, trained on what the next block passes back",
        keeps="nothing; one pass",
        look=Look("#0072B2", "s", 2.0),
        options=(PREDICTOR_LAYERS,),
    ),
    "cdni": AlgorithmEntry(
        "mem_dfa.algorithms.cdni:CDNI",
        "synthetic gradients of predictors that see the label",
        signal="as `dni`, made of the label, too",
        keeps="nothing; one pass",
        look=Look("#D55E00", "P", 2.0),
        options=(PREDICTOR_LAYERS,),
    ),
    "unlock": AlgorithmEntry(
        "mem_dfa.algorithms.unlock:Unlock",
        "synthetic inputs and gradients",
        signal="as `dni`, of blocks that run on predicted inputs",
        keeps="nothing; one pass",
        look=Look("#009E73", "X", 2.0),
        options=(PREDICTOR_LAYERS,),
    ),
    "forward_forward": AlgorithmEntry(
        "mem_dfa.algorithms.forward_forward:ForwardForward",
        "Forward-Forward, with the last layer for a read-out",
        signal="whether the block's output is large for true labels, small for wrong ones",
        keeps="nothing; one pass",
        look=Look("#603000", "X", 2.0),
    ),
    "pepita": AlgorithmEntry(
        "mem_dfa.algorithms.pepita:PEPITA",
        "two forward passes, the second on inputs with the error added",
        signal="what adding the output error to the input changes",
        keeps="nothing; a second pass",
        look=Look("#009E73", "P", 2.0),
    ),
    "anchor_steps": AlgorithmEntry(
        "mem_dfa.algorithms.anchor_steps:AnchorSteps",
        "the exact steps of `anchor` alone, its control",
        signal="that of `bp`, on every 10th batch",
        keeps="checkpoints",
        look=Look("#009E73", "d", 1.6),
        options=(ANCHOR,),
    ),
    "checkpoint": AlgorithmEntry(
        "mem_dfa.algorithms.checkpoint:Checkpoint",
        "backpropagation by checkpoints",
        signal="exact",
        keeps="checkpoints; what lies between runs again",
        look=Look("#009E73", "^", 1.6),
        options=(EVERY, PLAN, BUDGET),
    ),
    "checkpoint_fa": AlgorithmEntry(
        "mem_dfa.algorithms.checkpoint:CheckpointFA",
        "feedback alignment by checkpoints",
        signal="as `fa`",
        keeps="checkpoints",
        look=Look("#603000", "v", 3.2),
        options=(EVERY, PLAN, BUDGET, FEEDBACK_INITIALIZER, WAY_BACK, FEEDBACK_DECAY),
    ),
    "compressed": AlgorithmEntry(
        "mem_dfa.algorithms.compressed:Compressed",
        "backpropagation from checkpoints of few bits",
        signal="nearly that of `bp`: blocks run again on rounded inputs",
        keeps="checkpoints",
        look=Look("#56B4E9", "v", 2.0),
        options=(BITS, EVERY, PLAN, BUDGET),
    ),
    "offload": AlgorithmEntry(
        "mem_dfa.algorithms.offload:Offload",
        "backpropagation from blocks' inputs in host memory",
        signal="exact",
        keeps="each block's input, in the memory of a GPU's host",
        look=Look("#0072B2", "v", 1.6),
    ),
    "xconv": AlgorithmEntry(
        "mem_dfa.algorithms.xconv:XConv",
        "convolutions' gradients from random probes",
        signal="that of `bp`; convolutions' weights get estimates",
        keeps="sketches of convolutions' inputs",
        look=Look("#D55E00", "*", 2.0),
        options=(PROBE_COUNT, PROBING),
    ),
    "revnet": AlgorithmEntry(
        "mem_dfa.algorithms.revnet:RevNet",
        "backpropagation through reversible blocks",
        signal="exact, up to the rounding of the inverse",
        keeps="what cannot be inverted",
        look=Look("#CC79A7", "P", 2.0),
    ),
    "microbatch": AlgorithmEntry(
        "mem_dfa.algorithms.microbatch:Microbatch",
        "backpropagation over slices of the batch",
        signal="exact where examples do not meet, which the first batch has to show",
        keeps="everything, of one slice of the batch",
        look=Look("#0072B2", "X", 1.8),
        options=(BUDGET, SLICES),
    ),
}

MODELS: Mapping[str, ModelEntry] = {
    "conv20": ModelEntry(
        "mem_dfa.models.conv20:conv20",
        "20 convolutions 5×5 to 16 channels with sigmoids; any depth",
        dataset="cifar10",
        batch_size=128,
        layers=20,
    ),
    "depth_net": ModelEntry(
        "mem_dfa.models.depth:depth_net",
        "100 convolutions 3×3 to 8 channels with ReLU; any depth",
        dataset="cifar10",
        batch_size=32,
        layers=100,
    ),
    "depth_mlp": ModelEntry(
        "mem_dfa.models.depth:depth_mlp",
        "3 dense layers of 256 units with ReLU; any depth",
        dataset="mnist",
        batch_size=200,
        layers=3,
    ),
    "depth_mlp_bn": ModelEntry(
        "mem_dfa.models.depth:depth_mlp_bn",
        "as `depth_mlp`, with BatchNormalization",
        dataset="mnist",
        batch_size=256,
        layers=3,
    ),
    "depth_mlp_frozen": ModelEntry(
        "mem_dfa.models.depth:depth_mlp_frozen",
        "as `depth_mlp_bn`, its hidden layers frozen: the floor of every rule",
        dataset="mnist",
        batch_size=256,
        layers=3,
    ),
    "depth_revnet": ModelEntry(
        "mem_dfa.models.depth:depth_revnet",
        "as many reversible blocks of 8 channels; any depth",
        dataset="cifar10",
        batch_size=32,
        layers=100,
    ),
    "vgg16": ModelEntry(
        "mem_dfa.models.vgg:vgg16",
        "VGG-16 for 32×32 images: 13 convolutions, two dense layers of 4096 units",
        dataset="cifar10",
        batch_size=64,
        layers=15,
    ),
    "mlp": ModelEntry(
        "mem_dfa.models.small:mlp",
        "dense 100 and 30, ReLU",
        dataset="mnist",
        batch_size=100,
        layers=2,
    ),
    "mnist_conv": ModelEntry(
        "mem_dfa.models.small:mnist_conv",
        "convolutions 5×5 to 20 and 50 channels with max pooling, dense 500; ReLU",
        dataset="mnist",
        batch_size=100,
        layers=3,
    ),
    "xconv_net": ModelEntry(
        "mem_dfa.models.small:xconv_net",
        "three convolutions 3×3 to 16, 32 and 32 channels with pooling; ReLU",
        dataset="mnist",
        batch_size=128,
        layers=3,
    ),
    "liao_cifar": ModelEntry(
        "mem_dfa.models.small:liao_cifar",
        "three convolutions 5×5 to 32, 64 and 64 channels with pooling, dense 128; ReLU",
        dataset="cifar10",
        batch_size=100,
        layers=4,
    ),
    "liao_cifar_bn": ModelEntry(
        "mem_dfa.models.small:liao_cifar_bn",
        "`liao_cifar` with BatchNormalization",
        dataset="cifar10",
        batch_size=100,
        layers=4,
    ),
    "vit": ModelEntry(
        "mem_dfa.models.vit:vit",
        "six blocks of a vision transformer on 4×4 patches in 64 channels",
        dataset="cifar10",
        batch_size=128,
        layers=6,
    ),
    **{
        name: ModelEntry(
            f"mem_dfa.models.residual:{name}",
            "residual units" if name.startswith("resnet") else "reversible residual units",
            dataset="cifar10",
            batch_size=100,
            layers=layers,
        )
        for name, layers in {
            "resnet32": 33,
            "resnet110": 111,
            "resnet164": 166,
            "revnet38": 35,
            "revnet110": 107,
            "revnet164": 157,
        }.items()
    },
}


def takers(option: Option) -> list[str]:
    """The algorithms that take an option; one of the user's own may take any."""
    return [name for name, entry in ALGORITHMS.items() if option in entry.options]
