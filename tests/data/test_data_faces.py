"""The faces: contents and splits of the 200 crops; persons and splits of the full set."""

import importlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from coursekit.data import CATALOG, DataFileError, images, load
from coursekit.data.images import person_split, read_people

# The module, not the function of the same name that scikit-learn puts in its place.
lfw = importlib.import_module("sklearn.datasets._lfw")


@pytest.fixture(scope="module")
def crops():
    return np.load(CATALOG["faces"].folder / "data/lfw_subset.npy")


def test_classes_are_balanced_in_every_split():
    for split, size in {"train": 60, "validation": 20, "test": 20}.items():
        data = load("faces", split)
        assert torch.bincount(data.labels).tolist() == [size, size]
        assert data.images.shape == (2 * size, 25, 25)
        assert data.images.dtype == torch.float32
    assert load("faces").classes == ("not a face", "face")


def test_labels_are_those_of_the_package(crops):
    data = load("faces")
    faces = {crop.astype(np.float32).tobytes() for crop in crops[:100]}
    for image, label in zip(data.images, data.labels, strict=True):
        assert (image.numpy().tobytes() in faces) == bool(label)


def test_face_and_background_of_one_number_stand_in_one_split(crops):
    place = {}
    for split in ("train", "validation", "test"):
        place |= {image.numpy().tobytes(): split for image in load("faces", split).images}
    splits = [place[crop.astype(np.float32).tobytes()] for crop in crops]
    assert splits[:100] == splits[100:]


def test_crops_that_are_nearly_the_same_stand_in_one_split():
    parts = [load("faces", split).images.flatten(1) for split in ("train", "validation", "test")]
    for i, first in enumerate(parts):
        for second in parts[i + 1 :]:
            distance = (first[:, None] - second).square().mean(-1)
            assert distance.min() > images.ALIKE


def test_dark_corners_betray_backgrounds_as_the_card_says():
    data = load("faces")
    black = data.images[:, 0].amax(1) < 0.02
    assert black[data.labels == 0].sum() == 59
    assert black[data.labels == 1].sum() == 0
    guess = data.images[:, :3].mean((1, 2)) >= 0.1
    assert (guess == data.labels).float().mean() == pytest.approx(0.83)


def test_array_of_another_shape_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/lfw_subset.npy", np.zeros((2, 25, 25)))
    monkeypatch.setattr(images.Entry, "folder", tmp_path)
    with pytest.raises(DataFileError, match=r"shape \(200, 25, 25\), got \(2, 25, 25\)"):
        images.load(CATALOG["faces"])


def photo(shade):
    """Bytes of a JPEG whose face is of one shade on black."""
    pixels = np.zeros((250, 250, 3), np.uint8)
    pixels[70:195, 78:172] = shade
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def people(tmp_path):
    """A folder in the layout of Labeled Faces in the Wild: 30 persons with one to three photos."""
    folder = tmp_path / "lfw_funneled"
    for number in range(30):
        name = f"Person_{number:02d}"
        (folder / name).mkdir(parents=True)
        for take in range(1, number % 3 + 2):
            (folder / name / f"{name}_{take:04d}.jpg").write_bytes(photo(8 * number))
    (folder / "pairs_01.txt").write_text("not a photo")
    return folder


def test_every_person_stands_in_one_split_with_all_photos(people):
    parts = {split: read_people(people, split) for split in ("train", "validation", "test")}
    names = [name for part in parts.values() for name in part.classes]
    assert sorted(names) == [f"Person_{number:02d}" for number in range(30)]
    assert sum(map(len, parts.values())) == len(read_people(people)) == 60
    for part in parts.values():
        assert len(part) > 0
        assert part.images.shape[1:] == (62, 47)
        counts = torch.bincount(part.labels).tolist()
        assert counts == [int(name[-2:]) % 3 + 1 for name in part.classes]
        shades = torch.tensor([8 * int(name[-2:]) / 255 for name in part.classes])
        assert torch.allclose(part.images.mean((1, 2)), shades[part.labels], atol=0.02)


def test_persons_are_divided_in_the_stated_proportion():
    splits = [person_split(f"Name_{number}") for number in range(5000)]
    shares = {name: splits.count(name) / 5000 for name in set(splits)}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.02)


def test_archive_is_the_one_that_scikit_learn_fetches():
    assert lfw.FUNNELED_ARCHIVE.url == images.LFW_URL
    assert lfw.FUNNELED_ARCHIVE.checksum == images.LFW_SHA256


@pytest.fixture
def archive(people, tmp_path, monkeypatch):
    """Serve the folder as the archive; the list of requests."""
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path / "cache"))
    asked = []

    def fetch(url, path, *, sha256=None, md5=None, title=""):
        asked.append((url, sha256))
        with tarfile.open(path, "w:gz") as content:
            content.add(people, "lfw_funneled")
        return path

    monkeypatch.setattr(images, "fetch", fetch)
    return asked


def test_full_set_is_fetched_and_extracted_once(archive, tmp_path):
    partial = tmp_path / "cache" / "lfw" / "lfw_funneled.part"
    partial.mkdir(parents=True)  # what an interrupted extraction has left
    (partial / "junk").write_text("")
    first, second = load("faces", "test", full=True), load("faces", "test", full=True)
    assert archive == [(images.LFW_URL, images.LFW_SHA256)]
    assert torch.equal(first.images, second.images)
    assert not partial.exists()


def test_photo_of_another_size_is_named(people):
    path = people / "Person_00" / "Person_00_0001.jpg"
    Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(
        DataFileError, match=r"Person_00_0001\.jpg must have 250 x 250 .*\(10, 10\)"
    ):
        read_people(people)


def test_damaged_photo_is_named(people):
    (people / "Person_00" / "Person_00_0001.jpg").write_bytes(b"no picture")
    with pytest.raises(DataFileError, match=r"Person_00_0001\.jpg cannot be read"):
        read_people(people)


def test_folder_without_photos_is_named(tmp_path):
    with pytest.raises(DataFileError, match="holds no photo for the split test"):
        read_people(tmp_path, "test")
