"""Which code is at hand."""

import contextlib
import hashlib
import importlib.metadata
from pathlib import Path

PACKAGES = ("mem_dfa", "mem_dfa.experiments", "mem_dfa.profiling")


def fingerprint() -> str:
    """What the code of these packages and the versions of TensorFlow and Keras come to."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(importlib.import_module(package).__path__[0])
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder.parent).as_posix().encode())
            digest.update(file.read_bytes())
    for name in ("tensorflow", "keras"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # named otherwise there
            digest.update(importlib.metadata.version(name).encode())
    return digest.hexdigest()
