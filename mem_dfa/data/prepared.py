"""Which data sets there are, where they lie prepared, and how to prepare them.

This file and what it imports answer without TensorFlow, so a command line may ask it at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mem_dfa import extras

JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
REACHABLE_TIMEOUT_S = 10


class DataMissingError(ValueError):
    """A data set asked for by name is not there and could not be prepared."""


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is read."""

    title: str
    input_shape: tuple[int, int, int]
    classes: int
    source: str = ""
    """One file of the original data; empty where nothing is downloaded."""
    images_of: str = ""
    """The data set whose images it shows; empty for its own."""
    is_augmented: bool = False
    """Whether training images are cropped and flipped, anew in every epoch."""


_CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
DATASETS = {
    "mnist": Dataset(
        "MNIST",
        (28, 28, 1),
        10,
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    ),
    "cifar10": Dataset(
        "CIFAR-10",
        (32, 32, 3),
        10,
        _CIFAR10,
    ),
    "cifar10_augmented": Dataset(
        "CIFAR-10", (32, 32, 3), 10, _CIFAR10, images_of="cifar10", is_augmented=True
    ),
    "synthetic": Dataset("synthetic batches", (32, 32, 3), 10),
}


def directory(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of prepared data: ``data_dir``, else $TFDS_DATA_DIR, else the library's own."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    with contextlib.suppress(RuntimeError):  # nobody has that name, or no home
        return Path(chosen).expanduser()
    return Path(chosen)


def stored_as(name: str) -> str:
    """The name of the data set whose files are read."""
    return (name in DATASETS and DATASETS[name].images_of) or name


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """The newest prepared version of data set ``name``, or None. Reads names of files only."""
    pattern = re.compile(r"\d+\.\d+\.\d+")  # an interrupted preparation has another name
    prepared: list[Path] = []
    with contextlib.suppress(OSError):  # a name too long for a folder
        prepared = [
            path.parent
            for path in directory(data_dir).glob(f"{stored_as(name)}/*/dataset_info.json")
            if pattern.fullmatch(path.parent.name)
        ]
    return max(prepared, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def training_images(name: str, data_dir: str | os.PathLike[str] | None = None) -> int | None:
    """How many a prepared data set has; None for one that is not prepared, or has no end."""
    version = find(name, data_dir)
    if version is None:
        return None
    splits = json.loads((version / "dataset_info.json").read_text(encoding="utf-8"))["splits"]
    training = next(split for split in splits if split["name"] == "train")
    return sum(map(int, training["shardLengths"]))


def label(name: str, data_dir: str | os.PathLike[str] | None = None) -> str:
    """What an accuracy on this data set is to be called, e.g. "CIFAR-10 (JPEG re-encoded)"."""
    if name not in DATASETS:  # data of the user's own
        return name
    title = DATASETS[name].title
    version = find(name, data_dir)
    return f"{title} (JPEG re-encoded)" if version and _holds_jpeg(version) else title


def _holds_jpeg(version: Path) -> bool:
    """Whether the first training image is a JPEG; the published data sets are lossless PNG."""
    shard = next(iter(sorted(version.glob("*-train.tfrecord-*"))), None)
    if shard is None:
        return False
    with shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")  # a TFRecord: length, checksum, record
        record = file.read(min(length, 1 << 20) + 4)
    return PNG_SIGNATURE not in record and JPEG_SIGNATURE in record


def how_to_get(name: str, data_dir: str | os.PathLike[str] | None = None) -> str:
    """How to prepare real data, as the end of a sentence."""
    return (
        f"prepare it with `tfds build {stored_as(name)} --data_dir {directory(data_dir)}` "
        f"or set TFDS_DATA_DIR (or --data-dir) to where it is prepared"
    )


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of ``name``, which is downloaded first where it is missing.

    The download happens in a hidden folder beside its target, so a failure leaves nothing behind.

    Raises:
        DataMissingError: it is missing and cannot be downloaded, or nothing here reads it.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        told = extras.missing(ModuleNotFoundError(name="tensorflow_datasets"))
        raise DataMissingError(f"{told}; or use --dataset synthetic")
    version = find(name, data_dir)
    if version is not None:
        return version
    target = directory(data_dir)
    try:
        _check_reachable(DATASETS[name].source)
        return _download(stored_as(name), target)
    except Exception as error:  # whatever tfds, the network or the disk raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataMissingError(
            f"data set '{name}' is not in {target} and its download failed ({reason}): "
            f"{how_to_get(name, data_dir)}, or use --dataset synthetic"
        ) from error


def _check_reachable(url: str) -> None:
    """Fails within seconds without a network, where tfds would try again for minutes."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=REACHABLE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # an answer, though not the wished one: the download itself will tell
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"{request.host} cannot be reached: {reason}") from error


def _download(name: str, target: Path) -> Path:
    import tensorflow_datasets as tfds

    existing = next(path for path in (target, *target.absolute().parents) if path.exists())
    # On the file system of the target, so that the finished data set is renamed, not copied.
    with tempfile.TemporaryDirectory(prefix=".preparing-", dir=existing) as temporary:
        tfds.load(name, data_dir=temporary, download=True)
        version = find(name, temporary)
        if version is None:
            raise OSError(f"nothing was prepared in {temporary}")
        (target / name).mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(version, target / name / version.name))
