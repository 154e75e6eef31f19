"""The words in which timelines say where bytes belong."""

PHASES = ("forward", "replay", "backward", "update")
# The phase of what was alive before the recording, and of what no rule places.
RESIDENT = "resident"
OTHER = "other"

PARAMETER, OPTIMIZER_STATE, FEEDBACK = "parameter", "optimizer state", "feedback"
INPUT, ACTIVATION, GRADIENT, TEMPORARY = "input", "activation", "gradient", "temporary"
# What TensorFlow itself keeps for a traced function, see `timeline.zeros`.
CONSTANT = "constant"
CATEGORIES = (
    PARAMETER,
    OPTIMIZER_STATE,
    FEEDBACK,
    INPUT,
    CONSTANT,
    RESIDENT,
    ACTIVATION,
    GRADIENT,
    TEMPORARY,
)
# How much is known of where bytes belong.
ATTRIBUTIONS = {
    "graph": "complete: each operation has its full path",
    "eager with layers": "eager: layers and phases from spans, operations by type",
    "eager": "eager: only the type of each operation is known",
    "xla": "XLA: one buffer holds every tensor, so nothing is known of its parts",
}
