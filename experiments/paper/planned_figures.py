"""The figures and tables of the reproduction, and the commands that make the data behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from mem_dfa.experiments.checks.claims_table import PARTS

# All that train any net; revnet trains reversible nets alone.
_ALL = "bp,fa,dfa,mem_dfa,checkpoint,checkpoint_fa,microbatch"
_FOUR = "bp,fa,dfa,mem_dfa"
# Where a search takes long: mem_dfa's updates are dfa's, up to rounding.
_THREE = "bp,fa,dfa"
_SEEDS = "0,1,2"
_TIMED_STEPS = 25
# Sweeps that show how memory grows, or no memory at all, need no median of processes.
_ONCE = "--repeats 1"
SEARCH_SEED = 10
"""Of the search for learning rates, with none of the seeds that accuracies are told of."""
_RATES = ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03")
_INITIALIZERS = ("he_normal", "xavier_uniform")


class Kind(Enum):
    """What a figure shows; how is in `pictures.drawings`."""

    AGAINST_TIME = auto()
    AGAINST_LAYERS = auto()
    AGAINST_BATCH_SIZE = auto()
    AGAINST_DEPTH = auto()
    PARETO = auto()
    TAKING_TURNS = auto()
    ACCURACY = auto()
    SEARCH = auto()


@dataclass(frozen=True)
class PlannedFigure:
    """A figure: what it shows, and from which commands' results."""

    name: str
    title: str
    kind: Kind
    commands: tuple[str, ...]
    """Lines as in `paper.commands`, in the order in which they are to run."""
    quick: tuple[str, ...] = ()
    """The same in small, with one process a cell; without any the figure is not made quickly."""


def _options_of_algorithms(net: str) -> tuple[str, ...]:
    """Each option of an algorithm by itself, on one net."""
    choices = {
        "checkpoint": ("--every 2", "--every 10", '--budget "80 MiB"', '--budget "120 MiB"'),
        "microbatch": ("--slices 2", "--slices 4", "--slices 16"),
        "mem_dfa": ("--slices 1", "--slices 8"),
        "dfa,mem_dfa": ("--feedback regenerated", "--feedback shared"),
    }
    return tuple(
        f"sweep --algo {algorithms} {net} {option}"
        for algorithms, options in choices.items()
        for option in options
    )


_NETS = {
    "mlp": "--model mlp --dataset mnist --optimizer adam",
    "mnist_conv": "--model mnist_conv --dataset mnist --optimizer adam",
    # Plain SGD, as in the reference code: with Adam, at the rates that were tried, random feedback
    # diverges on liao_cifar.
    "liao_cifar": "--model liao_cifar --dataset cifar10 --optimizer sgd",
    "vgg16": "--model vgg16 --dataset cifar10 --optimizer sgd",
}
"""What is trained to tell accuracies, and on what."""


def _search(
    model: str,
    epochs: int,
    algorithms: str,
    rates: Sequence[str],
    feedback: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """Learning rates for `algorithms`, then those of each other distribution of the feedback."""
    rest = f"{_NETS[model]} --epochs {epochs} {_ONCE} --seed {SEARCH_SEED}"
    random = ",".join(name for name in algorithms.split(",") if name != "bp")
    tried = [(algorithms, rate, "") for rate in rates] + [
        (random, rate, f" --feedback-initializer {initializer}")
        for initializer, own in feedback.items()
        for rate in own
    ]
    return tuple(f"sweep --algo {a} --learning-rate {rate}{own} {rest}" for a, rate, own in tried)


def _training(model: str, epochs: int, seeds: str) -> tuple[str, ...]:
    """For each algorithm, with the settings chosen for it: what times its step, and what trains."""
    settings = {
        algorithm: f"sweep --algo {algorithm} {_NETS[model]} {chosen}"
        for algorithm, chosen in CHOSEN[model].items()
    }
    return (
        *(f"{own} --steps {_TIMED_STEPS}" for own in settings.values()),
        *(f"{own} --epochs {epochs} --seed {seeds} {_ONCE}" for own in settings.values()),
    )


CHOSEN: dict[str, dict[str, str]] = {
    "mlp": {
        "bp": "--learning-rate 0.001",
        "fa": "--learning-rate 0.001 --feedback-initializer xavier_uniform",
        "dfa": "--learning-rate 0.001 --feedback-initializer he_normal",
        "mem_dfa": "--learning-rate 0.001 --feedback-initializer he_normal",
    },
    "mnist_conv": {
        "bp": "--learning-rate 0.0003",
        "fa": "--learning-rate 0.0003 --feedback-initializer he_normal",
        "dfa": "--learning-rate 0.0003",
        "mem_dfa": "--learning-rate 0.0003",
    },
    "liao_cifar": {
        "bp": "--learning-rate 0.1",
        "fa": "--learning-rate 0.03",
        "dfa": "--learning-rate 0.01",
        "mem_dfa": "--learning-rate 0.01",
    },
    "vgg16": {
        "bp": "--learning-rate 0.03",
        "fa": "--learning-rate 0.03",
        "dfa": "--learning-rate 0.001",
        "mem_dfa": "--learning-rate 0.001",
    },
}
"""What the searches among the figures below say to take for each model and algorithm."""
_CONV20, _CONV4 = "--model conv20 --layers 20", "--model conv20 --layers 4 --batch-size 16"

FIGURES = (
    PlannedFigure(
        "timelines_conv20",
        "conv20, 20 layers, batch 128",
        Kind.AGAINST_TIME,
        (f"run --algo {_FOUR},checkpoint,microbatch {_CONV20} --optimizer momentum --trace",),
        (f"run --algo {_FOUR} {_CONV4} --steps 1 --trace",),
    ),
    PlannedFigure(
        "timelines_revnet38",
        "RevNet-38, batch 100",
        Kind.AGAINST_TIME,
        ("run --algo bp,checkpoint,revnet --model revnet38 --optimizer momentum --trace",),
    ),
    PlannedFigure(
        "timelines_vgg16",
        "VGG-16, batch 64: BP and MEM-DFA",
        Kind.AGAINST_TIME,
        ("run --algo bp,mem_dfa --model vgg16 --trace",),
        ("run --algo bp,mem_dfa --model vgg16 --layers 4 --batch-size 8 --steps 1 --trace",),
    ),
    PlannedFigure(
        "timelines_vgg16_all",
        "VGG-16, batch 64: all algorithms",
        Kind.AGAINST_TIME,
        (f"run --algo {_ALL} --model vgg16 --trace",),
    ),
    PlannedFigure(
        "layers_conv20",
        "conv20: memory against layers",
        Kind.AGAINST_LAYERS,
        (f"sweep --algo {_ALL} --model conv20 --layers 1-20 {_ONCE}",),
        (f"sweep --algo {_FOUR} --model conv20 --layers 1,2,4 --batch-size 16 --repeats 1",),
    ),
    PlannedFigure(
        "layers_vgg16",
        "VGG-16: memory against layers",
        Kind.AGAINST_LAYERS,
        (f"sweep --algo {_ALL} --model vgg16 --layers 1-15 {_ONCE}",),
        (f"sweep --algo {_FOUR} --model vgg16 --layers 1,4 --batch-size 8 --repeats 1",),
    ),
    PlannedFigure(
        "batch_conv20",
        "conv20, 20 layers: memory against batch size",
        Kind.AGAINST_BATCH_SIZE,
        (f"sweep --algo {_ALL} {_CONV20} --batch-size 8,16,32,64,128,256 {_ONCE}",),
        (f"sweep --algo {_FOUR} --model conv20 --layers 4 --batch-size 4,8,16 --repeats 1",),
    ),
    PlannedFigure(
        "batch_vgg16",
        "VGG-16: memory against batch size",
        Kind.AGAINST_BATCH_SIZE,
        (f"sweep --algo {_ALL} --model vgg16 --layers 15 --batch-size 8,16,32,64,128 {_ONCE}",),
    ),
    PlannedFigure(
        "pareto_conv20",
        "conv20, 20 layers, batch 128: peak against step time",
        Kind.PARETO,
        (f"sweep --algo {_ALL} {_CONV20}", *_options_of_algorithms(_CONV20)),
        (
            f"sweep --algo {_FOUR} {_CONV4} --repeats 1",
            f"sweep --algo checkpoint,microbatch {_CONV4} --repeats 1",
        ),
    ),
    PlannedFigure(
        "pareto_vgg16",
        "VGG-16, batch 64: peak against step time",
        Kind.PARETO,
        (f"sweep --algo {_ALL} --model vgg16 --layers 15",),
    ),
    PlannedFigure(
        "pareto_residual",
        "ResNet-32 and RevNet-38, batch 100: peak against step time",
        Kind.PARETO,
        (
            "sweep --algo bp,mem_dfa,checkpoint --model resnet32 --optimizer momentum",
            "sweep --algo bp,revnet,checkpoint --model revnet38 --optimizer momentum",
        ),
    ),
    PlannedFigure(
        "bench_conv20",
        "Beside Keras and TensorFlow",
        Kind.TAKING_TURNS,
        ("bench --model conv20 --layers 20",),
        (f"bench {_CONV4}",),
    ),
    PlannedFigure(
        "depth",
        "Memory against depth",
        Kind.AGAINST_DEPTH,
        ("depth",),
        ("depth --algo bp,mem_dfa --layers 1,3,10 --execution graph",),
    ),
    PlannedFigure(
        "search_mlp",
        "mlp on MNIST: settings tried",
        Kind.SEARCH,
        _search("mlp", 2, _FOUR, _RATES, dict.fromkeys(_INITIALIZERS, _RATES[2:])),
    ),
    PlannedFigure(
        "search_mnist_conv",
        "mnist_conv on MNIST: settings tried",
        Kind.SEARCH,
        # Three epochs: what one had chosen fell in the tenth.
        _search("mnist_conv", 3, _THREE, _RATES[1:4], dict.fromkeys(_INITIALIZERS, _RATES[1:3])),
    ),
    PlannedFigure(
        "search_liao_cifar",
        "liao_cifar on CIFAR-10: settings tried",
        Kind.SEARCH,
        (
            *_search(
                # Three epochs: what learned well in the first one diverged in the second.
                *("liao_cifar", 3, _THREE, ("0.003", "0.01", "0.03", "0.1")),
                {"xavier_uniform": ("0.003", "0.01")},
            ),
            # At 0.1 bp is best, and random feedback has diverged.
            *_search("liao_cifar", 3, "bp", ("0.3",), {}),
        ),
    ),
    PlannedFigure(
        "search_vgg16",
        "VGG-16 on CIFAR-10: settings tried",
        Kind.SEARCH,
        (
            *_search("vgg16", 1, _THREE, ("0.003", "0.01"), {}),
            # At 0.01 these two are best, and dfa has diverged, at 0.003 in the fourth epoch.
            *_search("vgg16", 1, "bp,fa", ("0.03",), {}),
            *_search("vgg16", 1, "dfa", ("0.001",), {}),
        ),
    ),
    PlannedFigure(
        "accuracy_mlp",
        "mlp on MNIST: test accuracy",
        Kind.ACCURACY,
        _training("mlp", 40, _SEEDS),
    ),
    PlannedFigure(
        "accuracy_mnist_conv",
        "mnist_conv on MNIST: test accuracy",
        Kind.ACCURACY,
        _training("mnist_conv", 20, _SEEDS),
    ),
    PlannedFigure(
        "accuracy_liao_cifar",
        "liao_cifar on CIFAR-10: test accuracy",
        Kind.ACCURACY,
        _training("liao_cifar", 10, _SEEDS),
    ),
    PlannedFigure(
        "accuracy_vgg16",
        "VGG-16 on CIFAR-10: test accuracy",
        Kind.ACCURACY,
        # What an hour holds on 2 cores, of dfa nine: compared are equal numbers.
        _training("vgg16", 6, "0"),
    ),
)
CLAIMS = tuple(f"claims --part {part}" for part in PARTS)
"""End with status 1 where a claim does not hold."""
TABLES = (f"fit --memory 1GiB --model vgg16 --algo {_ALL}", *CLAIMS)
"""Commands whose tables no figure shows."""


def lines_of(figure: PlannedFigure, quick: bool) -> tuple[str, ...]:
    """The commands of a figure, or its quick ones."""
    return figure.quick if quick else figure.commands


def lines_beside(line: str) -> list[str]:
    """The other lines of the figures that a line is for."""
    figures = [own for f in FIGURES for own in (f.commands, f.quick) if line in own]
    return [other for own in figures for other in own if other != line]


def all_lines(quick: bool) -> list[str]:
    """Every command of the reproduction, each once, in the order in which they are to run."""
    lines = [line for figure in FIGURES for line in lines_of(figure, quick)]
    return list(dict.fromkeys([*lines, *(() if quick else TABLES)]))
