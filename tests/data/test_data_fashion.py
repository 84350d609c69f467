"""The clothes: contents, splits, the full set and its archives, and the script."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from coursekit.data import CATALOG, FullDataUnavailable, images, load
from coursekit.data.download import DownloadError
from coursekit.data.sources import fashion as source

PER_CLASS = {"train": 1100, "validation": 100, "test": 400}


@pytest.mark.parametrize("split", PER_CLASS)
def test_split_is_balanced_and_has_the_stated_types_and_range(split):
    data = load("fashion", split)
    assert torch.bincount(data.labels).tolist() == [PER_CLASS[split]] * 10
    assert data.images.shape == (10 * PER_CLASS[split], 28, 28)
    assert data.images.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.images.min() == 0
    assert data.images.max() == 1


def test_classes_are_named_as_torchvision_names_them():
    names = [name.lower() for name in FashionMNIST.classes]
    assert [name.lower() for name in load("fashion").classes] == names


def test_no_image_occurs_twice_so_that_none_is_in_two_splits():
    pixels = load("fashion").images.flatten(1).numpy()
    assert len(np.unique(pixels, axis=0)) == 16_000


def test_order_is_shuffled():
    for chunk in load("fashion", "train").labels.split(1000):
        assert torch.bincount(chunk, minlength=10).min() > 60


@pytest.mark.slow
def test_nearest_training_image_has_the_right_class_as_often_as_the_card_says():
    train = torch.cat(
        [load("fashion", split).images.flatten(1) for split in ("train", "validation")]
    )
    labels = torch.cat([load("fashion", split).labels for split in ("train", "validation")])
    test = load("fashion", "test")
    nearest = torch.cat(
        [torch.cdist(part, train).argmin(1) for part in test.images.flatten(1).split(500)]
    )
    assert (labels[nearest] == test.labels).float().mean() == pytest.approx(0.817, abs=0.002)


def idx(array):
    """Bytes of an IDX file."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def archives():
    """Files of a set of 60,000 + 10,000 images whose first pixel counts from 0 (100) to 9 (109)."""
    files = {}
    for prefix, count, base in (("train", 60_000, 0), ("t10k", 10_000, 100)):
        pixels = np.zeros((count, 28, 28), np.uint8)
        pixels[:, 0, 0] = np.arange(count) % 10 + base
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx(pixels)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx(np.arange(count) % 10)
    return {name: gzip.compress(content, 1) for name, content in files.items()}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A mirror that serves the archives after one that is down; the list of requests."""
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    files, asked = archives(), []
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(FashionMNIST, "mirrors", ["https://down.example/", "https://up.example/"])
    monkeypatch.setattr(FashionMNIST, "resources", list(md5.items()))

    def fetch(url, path, *, sha256=None, md5=None, title=""):
        asked.append(url)
        if url.startswith("https://down.example/"):
            raise DownloadError(f"{url} could not be fetched (refused)\nmore")
        path.write_bytes(files[url.rpartition("/")[2]])
        return path

    monkeypatch.setattr(images, "fetch", fetch)
    return asked


def test_full_set_is_fetched_once_from_the_mirror_that_answers(served):
    assert len(load("fashion", "train", full=True)) == 55_000
    assert len(served) == 8, "each of four archives from two mirrors"
    assert len(load("fashion", "validation", full=True)) == 5_000
    test = load("fashion", "test", full=True)
    assert len(test) == 10_000
    assert test.images[3, 0, 0] == pytest.approx(103 / 255)
    assert test.labels[3] == 3
    assert len(load("fashion", full=True)) == 70_000
    assert len(served) == 8


def test_a_half_extracted_file_is_extracted_anew(served, tmp_path):
    load("fashion", "test", full=True)
    raw = tmp_path / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    raw.write_bytes(raw.read_bytes()[:1000])
    assert len(load("fashion", "test", full=True)) == 10_000


def test_full_set_that_no_mirror_has_is_refused_in_one_line(served, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", ["https://down.example/"])
    says = r'FashionMNIST could not .*\(refused\).*16,000 images that are here: load\("fashion"\)$'
    with pytest.raises(FullDataUnavailable, match=says):
        load("fashion", full=True)


def small(seed, count):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(
        count, dtype=np.uint8
    ) % 10


def test_script_leaves_out_an_image_that_stands_in_both_files():
    train, test = small(0, 200), small(1, 100)
    test[0][[0, 10, 20]] = train[0][[0, 10, 20]]
    arrays = source.arrange(
        {"train": train, "test": test}, {"train": 10, "validation": 2, "test": 5}
    )
    assert [(arrays["split"] == k).sum() for k in range(3)] == [100, 20, 50]
    leaked = {image.tobytes() for image in test[0][[0, 10, 20]]}
    assert not leaked & {image.tobytes() for image in arrays["images"]}
    chosen = {image.tobytes(): label for image, label in zip(*train, strict=True)}
    first = sorted(hashlib.sha256(image).digest() for image, label in chosen.items() if label == 3)
    kept = [image.tobytes() for image in arrays["images"][arrays["split"] == 0]]
    kept = sorted(hashlib.sha256(image).digest() for image in kept if chosen[image] == 3)
    assert kept == first[:10], "the smallest hashes of a class that has no twins"


def test_script_says_which_class_has_too_few_images():
    with pytest.raises(ValueError, match="class 0 of train has only 10 different images"):
        source.arrange(
            {"train": small(0, 100), "test": small(1, 100)},
            {"train": 10, "validation": 1, "test": 5},
        )


@pytest.mark.slow
def test_script_rebuilds_the_embedded_file(source_folder, tmp_path):
    built: Path = source.build(source_folder("dataset-fashion-mnist"), tmp_path)
    embedded = CATALOG["fashion"].folder / "fashion.npz"
    with np.load(built) as a, np.load(embedded) as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[name], b[name]) for name in a)
    if zlib.ZLIB_RUNTIME_VERSION == "1.2.13":
        assert built.read_bytes() == embedded.read_bytes()
