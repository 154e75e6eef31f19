"""What a training needs to go on after an epoch, should it be ended. Imports TensorFlow.

Keras's BackupAndRestore keeps no history, and overwrites its file in place, so that a kill at that
moment can leave a file that cannot be read.
"""

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mem_dfa.experiments.engine import engines

Row = dict[str, Any]
_CODE = engines.fingerprint()  # as this process has it; it may be changed while it runs


def save(file: Path, trainer: keras.Model, rows: Sequence[Row]) -> None:
    """Keeps every variable and the finished epochs' ``rows``, whole or not at all.

    Where there is no room for that the training goes on without: its end tells what is wrong.
    """
    with contextlib.suppress(OSError, MemoryError):
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {str(number): v.numpy() for number, v in enumerate(_variables(trainer))}
        with tempfile.NamedTemporaryFile(
            dir=file.parent, prefix=f"{file.name}.", delete=False
        ) as new:
            try:
                np.savez(new, told=_told(rows), **arrays)
                new.flush()
                os.fsync(new.fileno())  # on some disks only this tells that there is no room
                os.replace(new.name, file)
            except BaseException:
                os.unlink(new.name)
                raise


def restore(file: Path, trainer: keras.Model) -> list[Row]:
    """Sets every variable as it was kept, and returns the finished epochs' rows.

    None of them where nothing is kept, or that of other code, versions or another net: then
    nothing is set.
    """
    if not trainer.optimizer.built:
        trainer.optimizer.build(trainer.trainable_variables)
    variables = _variables(trainer)
    try:
        with np.load(file, allow_pickle=False) as kept:
            rows = json.loads(str(kept["told"]))["rows"]
            fits = str(kept["told"]) == _told(rows) and len(kept.files) == 1 + len(variables)
            values = [kept[str(number)] for number in range(len(variables))] if fits else []
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return []
    if not fits or any(v.shape != a.shape for v, a in zip(variables, values, strict=True)):
        return []
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return rows


def _variables(trainer: keras.Model) -> list[keras.Variable]:
    """With the states of random generators, such as Dropout's; metrics begin anew every epoch."""
    return [*trainer.variables, *trainer.optimizer.variables]


def _told(rows: Sequence[Row]) -> str:
    """What is kept beside the variables."""
    versions = {"code": _CODE, "tensorflow": tf.__version__, "keras": keras.__version__}
    return json.dumps({**versions, "rows": list(rows)})
