"""MNIST, CIFAR-10 and synthetic batches as ``tf.data``.

Real data come from ``tensorflow_datasets`` and are normalised as in the original MEM-DFA code:
(x - mean) / (max - min) over all training pixels, so values lie in [-1, 1].
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mem_dfa.data.prepared import DATASETS as DATASETS
from mem_dfa.data.prepared import DataMissingError as DataMissingError
from mem_dfa.data.prepared import find as find
from mem_dfa.data.prepared import label as label
from mem_dfa.data.prepared import prepare as prepare
from mem_dfa.data.prepared import stored_as as stored_as

if TYPE_CHECKING:
    import tensorflow as tf

SYNTHETIC_TRAIN_BATCHES = 10
SYNTHETIC_TEST_BATCHES = 2
_PADDING = 2  # pixels on each side of an image before it is cropped


def load(
    name: str,
    split: str,
    batch_size: int,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> tf.data.Dataset:
    """Batches of (float32 image, int32 label), the training split shuffled anew each epoch.

    Args:
        name: a key of `DATASETS`. Real data are downloaded where they are missing.
        split: "train" or "test". Training batches are all full; the last test batch may not be.
        batch_size: images in a batch.
        data_dir: where prepared data are, see `directory`.
        seed: of the shuffling and of synthetic batches.
        input_shape: of synthetic images; real ones have their own.
        classes: of synthetic images; 10 unless given.

    Raises:
        DataMissingError: the data set is missing and cannot be downloaded.
        ValueError: the data set has fewer images than one batch.
    """
    import tensorflow as tf

    if name == "synthetic":
        batches = SYNTHETIC_TRAIN_BATCHES if split == "train" else SYNTHETIC_TEST_BATCHES
        images, labels = _synthetic(batches * batch_size, split, seed, input_shape, classes)
        samples = tf.data.Dataset.from_tensor_slices((images, labels))
    else:
        samples = _read(name, split, data_dir)
    training = split == "train"
    if training and len(samples) < batch_size:
        raise ValueError(
            f"batch size {batch_size} is more than the {len(samples)} training images of "
            f"'{name}': take at most {len(samples)}"
        )
    if training:
        samples = samples.shuffle(len(samples), seed=seed)
    if name != "synthetic":
        samples = samples.map(_normaliser(name, data_dir), num_parallel_calls=tf.data.AUTOTUNE)
    if training and DATASETS[name].is_augmented:
        # A seed for each image, so that it does not matter which is ready first.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        samples = tf.data.Dataset.zip(samples, seeds)
        samples = samples.map(_cropped_and_flipped, num_parallel_calls=tf.data.AUTOTUNE)
    return samples.batch(batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE)


def batch(
    name: str,
    batch_size: int,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The first ``batch_size`` training images and labels, repeated where there are fewer.

    NumPy arrays, because the buffers of a ``tf.data`` pipeline would be counted by the allocator.
    Arguments and errors as for `load`.
    """
    if name == "synthetic":
        return _synthetic(batch_size, "train", seed, input_shape, classes)
    samples = _read(name, "train", data_dir).repeat().map(_normaliser(name, data_dir))
    images, labels = next(iter(samples.batch(batch_size).take(1)))
    return images.numpy().copy(), labels.numpy().copy()


def _read(name: str, split: str, data_dir: str | os.PathLike[str] | None) -> tf.data.Dataset:
    """(uint8 image, label) in the order on disk."""
    version = prepare(name, data_dir)
    import tensorflow_datasets as tfds

    # From the folder alone: asking for the data set by name would ask the network about it.
    builder = tfds.builder_from_directory(str(version))
    return builder.as_dataset(split=split, as_supervised=True, shuffle_files=False)


def _normaliser(name: str, data_dir: str | os.PathLike[str] | None) -> Callable[..., tuple]:
    import tensorflow as tf

    mean, pixel_range = pixel_statistics(name, data_dir)

    def normalise(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return (tf.cast(image, tf.float32) - mean) / pixel_range, tf.cast(label, tf.int32)

    return normalise


def _cropped_and_flipped(
    sample: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two zeros on every side, a part as large as before, and left for right half of the time.

    As the RevNet code augments CIFAR-10 (Gomez et al., arXiv 1707.04585); zero is the mean.
    """
    import tensorflow as tf

    image, label = sample
    padded = tf.pad(image, [[_PADDING, _PADDING], [_PADDING, _PADDING], [0, 0]])
    cropped = tf.image.stateless_random_crop(padded, tf.shape(image), seed)
    other = tf.random.experimental.stateless_fold_in(seed, 1)
    flipped = tf.image.stateless_random_flip_left_right(cropped, other)
    return tf.ensure_shape(flipped, image.shape), label


def pixel_statistics(
    name: str, data_dir: str | os.PathLike[str] | None = None
) -> tuple[float, float]:
    """(mean, max - min) over all training pixels, remembered in the user's cache folder.

    Reading every image takes seconds, and each measured cell is a fresh process.
    """
    version = prepare(name, data_dir).resolve()
    written = (version / "dataset_info.json").stat().st_mtime_ns
    key = hashlib.sha256(f"{version} {written}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mem_dfa"
    remembered = cache / f"{stored_as(name)}-{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        mean, pixel_range = json.loads(remembered.read_text())
        return float(mean), float(pixel_range)
    statistics = _compute_statistics(name, data_dir)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs only time
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as file:
            json.dump(statistics, file)
        os.replace(file.name, remembered)
    return statistics


def _compute_statistics(name: str, data_dir: str | os.PathLike[str] | None) -> tuple[float, float]:
    total, count, lowest, highest = 0, 0, 255, 0
    for images, _ in _read(name, "train", data_dir).batch(1000).as_numpy_iterator():
        total += int(images.sum(dtype=np.int64))  # integers: exact whatever the order
        count += images.size
        lowest, highest = min(lowest, int(images.min())), max(highest, int(images.max()))
    return total / count, float(highest - lowest)


def _synthetic(
    count: int,
    split: str,
    seed: int,
    input_shape: tuple[int, int, int] | None,
    classes: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images that are a pattern of their class plus as much noise: learnable, and seeded."""
    dataset = DATASETS["synthetic"]
    shape, classes = input_shape or dataset.input_shape, classes or dataset.classes
    patterns = np.random.default_rng(seed).uniform(-0.5, 0.5, (classes, *shape))
    generator = np.random.default_rng([seed, split == "train"])
    labels = generator.integers(classes, size=count, dtype=np.int32)
    noise = generator.uniform(-0.5, 0.5, (count, *shape))
    return (patterns[labels] + noise).astype(np.float32), labels
