"""What cannot be done as it was asked for, in one sentence each."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from mem_dfa.data import batches

OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


class RefusedError(ValueError):
    """What the user asked for cannot be done: one sentence."""


def one_line(error: BaseException) -> str:
    """What went wrong, on one line and no longer than a screen can show."""
    # TensorFlow and Keras put the places in the code around it.
    around = r'\s*(File "|Detected at|Graph execution error|\[\[|\[Op:|Hint:)'
    lines = [line for line in str(error).splitlines() if not re.match(around, line)]
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(" ".join(lines).split()))
    text = re.sub(r"^(Exception encountered when calling \S+ |{{.*?}} )", "", text)
    text = text.split(" Arguments received by ")[0] or type(error).__name__
    return text if len(text) <= 400 else f"{text[:400]}..."


@contextlib.contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Refuses with a sentence and what went wrong in the block, unless that is lack of memory.

    What is refused in the block already keeps its own sentence.
    """
    try:
        yield
    except (*OUT_OF_MEMORY, batches.DataMissingError, RefusedError):
        raise
    except Exception as error:  # what is the user's own may fail in any way
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise RefusedError(f"{sentence}: {kind}{one_line(error)}") from error
