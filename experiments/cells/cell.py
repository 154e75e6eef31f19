"""One cell of a measurement, as plain data that travels between processes."""

from dataclasses import dataclass

from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS

from mem_dfa import registry
from mem_dfa.data import prepared

WARM_UP_STEPS = 2
MEASURED_STEPS = 5
REPEATS = 3  # odd, so that the median is one of the measured values


@dataclass(frozen=True)
class Cell:
    """algorithm x model x layers x batch x execution, and what else decides the result."""

    algorithm: str
    model: str
    layers: int | None
    """How many weight layers before the classifier; None for all that the model has."""
    batch_size: int
    execution: str
    dataset: str
    """A data set's name, no longer "auto"."""
    data_dir: str | None
    device: str
    """"auto", "cpu" or "gpu"; a TensorFlow name such as "CPU:0" once it was looked for."""
    optimizer: str
    learning_rate: float
    seed: int
    steps: int = MEASURED_STEPS
    epochs: int = 0
    """How long to train and test; 0 measures memory only."""
    every: int | None = None
    """Of checkpointing: a checkpoint every so many blocks."""
    budget: str | None = None
    """Of checkpointing and microbatches: step bytes to stay within, such as "64 MiB"."""
    slices: int | None = None
    """Of microbatches and mem_dfa: into how many parts a batch is cut."""
    feedback: str | None = None
    """Of random feedback: what is held of its matrices."""
    feedback_initializer: str | None = None
    """Of random feedback: the distribution that its matrices are drawn from."""
    classes: int = 10
    """How many classes the images are of."""
    trace_file: str | None = None
    """Where the timeline of one step is kept; None for nowhere."""
    training_file: str | None = None
    """Where it is kept how far a training is, until its end is kept; None for nowhere."""

    @property
    def title(self) -> str:
        """The cell in a few words."""
        depth = "" if self.layers is None else f" {self.layers} layers"
        own = "".join(f" {name} {value}" for name, value in self.options.items())
        return f"{self.algorithm}{own} {self.model}{depth} batch {self.batch_size} {self.execution}"

    @property
    def options(self) -> dict[str, int | str]:
        """The algorithm's own options, those that were given."""
        values = {name: getattr(self, name) for name in ALGORITHM_OPTIONS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one image; synthetic images look like those that the model is made for."""
        synthetic = self.dataset == "synthetic"
        name = registry.MODELS[self.model].dataset if synthetic else self.dataset
        return prepared.DATASETS[name].input_shape
