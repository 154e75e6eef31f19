"""Data are found, normalised, labelled and missed as documented."""

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mem_dfa.data import batches, prepared

real = pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR does not say where real data are"
)


def prepared_in(folder: Path, name: str, version: str, image: bytes = b"") -> None:
    """What tells that a data set is there, without any data but the first image."""
    target = folder / name / version
    target.mkdir(parents=True)
    (target / "dataset_info.json").write_text(json.dumps({"name": name}))
    record = len(image).to_bytes(8, "little") + b"\0\0\0\0" + image
    (target / f"{name}-train.tfrecord-00000-of-00001").write_bytes(record)


def test_find_takes_the_newest_whole_version(tmp_path: Path) -> None:
    """10 is newer than 9, and an interrupted preparation is none."""
    for version in ("3.9.0", "3.10.0", "4.0.0.incompleteABC"):
        prepared_in(tmp_path, "mnist", version)
    assert prepared.find("mnist", tmp_path).name == "3.10.0"
    assert prepared.find("cifar10", tmp_path) is None


def test_directory_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes first, then the variable, then the library's own folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert prepared.directory() == tmp_path
    assert prepared.directory("/elsewhere").as_posix() == "/elsewhere"
    assert prepared.directory("~nobody has this name/x").parts[0] == "~nobody has this name"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert prepared.directory().name == "tensorflow_datasets"


@pytest.mark.parametrize(
    ("signature", "label"),
    [
        (prepared.JPEG_SIGNATURE, "CIFAR-10 (JPEG re-encoded)"),
        (prepared.PNG_SIGNATURE, "CIFAR-10"),
        (prepared.PNG_SIGNATURE + prepared.JPEG_SIGNATURE, "CIFAR-10"),
    ],
)
def test_label_tells_a_jpeg_copy(signature: bytes, label: str, tmp_path: Path) -> None:
    """It is told from the first image, wherever that lies in its record."""
    prepared_in(tmp_path, "cifar10", "3.0.2", b"\n\x07example" + signature + b"...")
    assert prepared.label("cifar10", tmp_path) == label


def test_missing_data_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the folder, the reason and the way out; nothing is left behind."""

    def fail(*_: object, timeout: float) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(prepared.urllib.request, "urlopen", fail)
    target = tmp_path / "data"
    with pytest.raises(batches.DataMissingError) as raised:
        prepared.prepare("mnist", target)
    message = str(raised.value)
    for part in ("'mnist'", str(target), "no network here", "tfds build", "--dataset synthetic"):
        assert part in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that stops halfway is cleared away."""
    import tensorflow_datasets as tfds

    def stop(name: str, data_dir: str, download: bool) -> None:
        prepared_in(prepared.Path(data_dir), name, "3.0.1.incompleteXYZ")
        raise RuntimeError("connection lost")

    monkeypatch.setattr(prepared, "_check_reachable", lambda url: None)
    monkeypatch.setattr(tfds, "load", stop)
    with pytest.raises(batches.DataMissingError, match="connection lost"):
        prepared.prepare("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_finished_download_is_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It appears under its own name, whole."""
    import tensorflow_datasets as tfds

    monkeypatch.setattr(prepared, "_check_reachable", lambda url: None)
    monkeypatch.setattr(
        tfds,
        "load",
        lambda name, data_dir, download: prepared_in(prepared.Path(data_dir), name, "3.0.1"),
    )
    target = tmp_path / "data"
    assert prepared.prepare("mnist", target) == target / "mnist" / "3.0.1"
    assert (target / "mnist" / "3.0.1" / "dataset_info.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_synthetic_batches_are_seeded() -> None:
    """Equal seeds give equal batches, and the two splits differ."""
    images, labels = batches.batch("synthetic", 16, seed=3, input_shape=(28, 28, 1))
    again, _ = batches.batch("synthetic", 16, seed=3, input_shape=(28, 28, 1))
    other, _ = batches.batch("synthetic", 16, seed=4, input_shape=(28, 28, 1))
    assert images.shape == (16, 28, 28, 1)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1
    assert set(labels) <= set(range(10))
    assert np.array_equal(images, again)
    assert not np.array_equal(images, other)
    test_images, _ = next(
        iter(batches.load("synthetic", "test", 16, seed=3, input_shape=(28, 28, 1)))
    )
    assert not np.array_equal(images, test_images.numpy())


def test_synthetic_training_is_shuffled_anew_each_epoch() -> None:
    """The same images in another order."""
    train = batches.load("synthetic", "train", 4, seed=1, input_shape=(2, 2, 1))
    first, second = ([images.numpy() for images, _ in train] for _ in range(2))
    assert len(first) == batches.SYNTHETIC_TRAIN_BATCHES
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert np.isclose(np.sum(first), np.sum(second), atol=1e-4)


def test_training_images_are_cropped_and_flipped_anew_each_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (64, 8, 8, 3), np.uint8)
    known = tf.data.Dataset.from_tensor_slices((pixels, np.arange(64)))
    monkeypatch.setattr(batches, "_read", lambda *which: known)
    monkeypatch.setattr(batches, "pixel_statistics", lambda *which: (0.0, 255.0))

    def images(split: str, epochs: int, before: int = 0) -> list[dict[int, np.ndarray]]:
        data = batches.load("cifar10_augmented", split, 16, seed=1)
        for _ in range(before):
            iter(data)
        return [
            {
                int(label): np.rint(255 * image)
                for shown, labels in data
                for image, label in zip(shown.numpy(), labels.numpy(), strict=True)
            }
            for _ in range(epochs)
        ]

    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places: set[tuple[int, int, int]] = set()
    first, second = images("train", 2)
    for label, image in first.items():
        found = {
            (row, column, step)
            for row in range(5)
            for column in range(5)
            for step in (1, -1)
            if np.array_equal(padded[label, row : row + 8, column : column + 8][:, ::step], image)
        }
        assert len(found) == 1
        places |= found
    assert {row for row, _, _ in places} == {column for _, column, _ in places} == set(range(5))
    assert {step for _, _, step in places} == {1, -1}
    moved = sum(not np.array_equal(first[label], second[label]) for label in first)
    assert moved > 48
    (again,), (resumed,) = images("train", 1), images("train", 1, before=1)
    assert all(np.array_equal(again[label], first[label]) for label in first)
    assert all(np.array_equal(resumed[label], second[label]) for label in first)
    (tested,) = images("test", 1)
    assert all(np.array_equal(tested[label], pixels[label]) for label in tested)


def test_augmented_images_lie_where_the_others_lie(tmp_path: Path) -> None:
    prepared_in(tmp_path, "cifar10", "3.0.2", prepared.JPEG_SIGNATURE)
    assert prepared.find("cifar10_augmented", tmp_path) == tmp_path / "cifar10" / "3.0.2"
    assert prepared.label("cifar10_augmented", tmp_path) == "CIFAR-10 (JPEG re-encoded)"
    assert "tfds build cifar10 " in prepared.how_to_get("cifar10_augmented", tmp_path)


@real
@pytest.mark.parametrize(("name", "test_images"), [("mnist", 10_000), ("cifar10", 10_000)])
def test_real_data(
    name: str, test_images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All training pixels have mean 0 and range 1 after normalisation; the cache says the same."""
    if prepared.find(name) is None:
        pytest.skip(f"{name} is not prepared in {prepared.directory()}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = batches._read  # each image is decoded once
    monkeypatch.setattr(batches, "_read", functools.cache(lambda *which: own(*which).cache()))
    statistics = batches.pixel_statistics(name)
    assert batches.pixel_statistics(name) == statistics
    assert len(list(tmp_path.rglob("*.json"))) == 1
    total, count, lowest, highest = 0.0, 0, 1.0, -1.0
    for images, labels in batches.load(name, "train", 1000):
        pixels = images.numpy()
        total += pixels.sum(dtype=np.float64)
        count += pixels.size
        lowest, highest = min(lowest, pixels.min()), max(highest, pixels.max())
        assert labels.dtype == np.int32
    assert pixels.shape[1:] == batches.DATASETS[name].input_shape
    assert abs(total / count) < 1e-6
    assert highest - lowest == pytest.approx(1.0, abs=1e-6)
    assert sum(len(labels) for _, labels in batches.load(name, "test", 999)) == test_images


@real
def test_batch_larger_than_the_data_is_refused_for_training() -> None:
    """The sentence says how many there are."""
    if prepared.find("mnist") is None:
        pytest.skip(f"mnist is not prepared in {prepared.directory()}")
    with pytest.raises(ValueError, match="60000 training images"):
        batches.load("mnist", "train", 60_001)
