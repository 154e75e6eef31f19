"""What tells the files of cells apart. No TensorFlow here."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mem_dfa.experiments.cells import catalogue

from mem_dfa import registry
from mem_dfa.data import prepared

LONGEST = 200  # characters; file systems take 255, with endings
CPU, GPU = "CPU:0", "GPU:0"
_DEVICES = {"auto": CPU, "cpu": CPU, "gpu": GPU}


def unusual(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row or a cell that are not the usual ones of its model and optimizer.

    Of data sets the model's own and synthetic ones look alike.
    """
    own = registry.MODELS[values["model"]].dataset
    usual = {
        "dataset": own,
        "learning_rate": catalogue.OPTIMIZERS[values["optimizer"]],
        "seed": 0,
        "classes": prepared.DATASETS[values["dataset"]].classes,
        "device": CPU,
    }
    given = {name: values[name] for name in usual}
    given["device"] = _DEVICES.get(given["device"], given["device"])
    if given["dataset"] == "synthetic":
        given["dataset"] = own
    return {name: value for name, value in given.items() if value not in (None, usual[name])}


def places(device: str) -> tuple[str, ...]:
    """The devices whose files will do for a cell, the first choice first."""
    return (CPU, GPU) if device == "auto" else (device,)


def shortened(text: str) -> str:
    """The name of a file for a text, of letters, digits and "_"; long ones are cut."""
    name = re.sub(r"\W+", "_", text)
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{name[: LONGEST - len(digest) - 1]}_{digest}"
