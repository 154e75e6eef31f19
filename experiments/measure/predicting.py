"""What each algorithm should take for a model that somebody trains. Imports TensorFlow."""

import gc
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from mem_dfa.experiments.cells.cell import Report
from mem_dfa.experiments.measure.building import one_line

import mem_dfa

REASON_WIDTH = 115  # three lines of a column in a table


@dataclass(frozen=True)
class Prediction:
    """Of one algorithm for one model and batch.

    Attributes:
        algorithm: its name in the registry.
        step_bytes: in graph execution, from shapes; None where nobody knows.
        feedback_bytes: random weights that stay alive between steps.
        reason: why `step_bytes` is None; otherwise "".
    """

    algorithm: str
    step_bytes: int | None
    feedback_bytes: int = 0
    reason: str = ""


def predictions(model: keras.Model, batch_size: int, report: Report) -> list[Prediction]:
    """One for each algorithm of the registry, none of which runs a step.

    Args:
        model: a compiled model, or an algorithm around one.
        batch_size: of the step.
        report: told of each algorithm.
    """
    found = []
    for number, name in enumerate(mem_dfa.ALGORITHMS):
        report(name, number / len(mem_dfa.ALGORITHMS))
        # What it says of this model is for those who train it so.
        with warnings.catch_warnings(), tf.device("CPU:0"):
            warnings.simplefilter("ignore")
            found.append(_prediction(name, model, batch_size))
        gc.collect()  # of feedback matrices there is one algorithm's at a time
    return found


def feedback_bytes(model: keras.Model) -> int:
    """Of a model that is an algorithm already; 0 of every other."""
    return model.feedback_bytes if isinstance(model, mem_dfa.Algorithm) else 0


def _prediction(name: str, model: Any, batch_size: int) -> Prediction:
    kind = mem_dfa.ALGORITHMS[name]
    network = model.network if isinstance(model, mem_dfa.Algorithm) else model
    try:
        trainer = kind(network)
        trainer.compile(optimizer=model.optimizer, loss=model.loss)
        step_bytes = trainer.predict_step_bytes(batch_size)
    except Exception as error:  # the model's own layers may fail in any way
        return Prediction(name, None, reason=_few_words(error, kind.__name__))
    if step_bytes is None:
        return Prediction(name, None, reason="its bytes are not known from shapes")
    return Prediction(name, step_bytes, trainer.feedback_bytes)


def _few_words(error: Exception, algorithm: str) -> str:
    """What is wrong, without what to do about it: that follows a semicolon, else a colon."""
    text = one_line(error).removeprefix(f"{algorithm} ")
    text = text.split("; " if "; " in text else ": ")[0]
    return textwrap.shorten(text, REASON_WIDTH, placeholder=" …")
