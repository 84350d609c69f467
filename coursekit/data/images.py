"""Image sets: digits, clothes, faces; and the full sets for readers with internet."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import (
    SPLITS,
    DataFileError,
    Entry,
    FullDataUnavailable,
    cache_folder,
    find,
)
from coursekit.data.download import DownloadError, fetch
from coursekit.data.drawing import image_sheet
from coursekit.data.sources import content_share

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FACE_CLASSES = ("not a face", "face")
FACE_SPLITS = {"test": 20, "validation": 20, "train": 60}  # photos, of 100
ALIKE = 1e-3  # mean squared difference below which two crops are taken for the same
LFW_URL = "https://ndownloader.figshare.com/files/5976015"  # as scikit-learn's fetch_lfw_people
LFW_SHA256 = "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a"
LFW_BOX = (78, 70, 172, 195)  # left, top, right, bottom of the face in a photo of 250 x 250
LFW_SIZE = (47, 62)  # width, height


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        images: float32 of shape (n, height, width) in [0, 1].
        labels: int64 of shape (n,).
        classes: Name of each label.
    """

    images: Float[Tensor, "n height width"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"Images({len(self):,} images of {shape}, {len(self.classes):,} classes)"


def load(entry: Entry, split: str | None = None, full: bool = False) -> Images:
    """Load labelled images.

    Args:
        entry: An image set of the catalog.
        split: "train", "validation", "test", or None for all of them.
        full: Fetch the full set instead. For the digits MNIST: train 50,000, validation 10,000,
            test 10,000. For the clothes Fashion-MNIST: train 55,000, validation 5,000, test 10,000.
            For the faces Labeled Faces in the Wild, where the labels are the persons of the split,
            and every person stands in one split only.

    Returns:
        The images in a fixed order, the embedded ones shuffled.

    Raises:
        DataFileError: An embedded file cannot be read.
        FullDataUnavailable: `full` and the set can be neither found nor fetched.
    """
    if entry.name == "faces":
        return _full_faces(entry, split) if full else _faces(entry, split)
    classes = CLOTHES if entry.name == "fashion" else tuple("0123456789")
    if full:
        return _full_idx(entry, split, classes)
    images, labels, member = _read_npz(entry.folder / f"{entry.name}.npz")
    if split is not None:
        chosen = member == SPLITS.index(split)
        images, labels = images[chosen], labels[chosen]
    return _to_images(torch.from_numpy(images), torch.from_numpy(labels), classes)


def _to_images(pixels: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Images:
    """Scale bytes to [0, 1]."""
    return Images(pixels.float().div_(255), labels.long(), classes)


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read images, labels and splits."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["images"], archive["labels"], archive["split"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error


def _full_idx(entry: Entry, split: str | None, classes: tuple[str, ...]) -> Images:
    """Read MNIST or Fashion-MNIST; validation is the end of the official training images."""
    from torchvision import datasets

    dataset = {"digits": datasets.MNIST, "fashion": datasets.FashionMNIST}[entry.name]
    held_out = {"digits": 10_000, "fashion": 5_000}[entry.name]
    pixels, labels = read_torchvision(dataset, entry)
    middle = 60_000 - held_out
    ranges = {"train": (0, middle), "validation": (middle, 60_000), "test": (60_000, 70_000)}
    start, stop = ranges[split] if split is not None else (0, 70_000)
    return _to_images(pixels[start:stop], labels[start:stop], classes)


def read_torchvision(dataset: type[MNIST], entry: Entry) -> tuple[Tensor, Tensor]:
    """Read a set of torchvision's MNIST family, fetching its archives once.

    The archives come from the mirrors that torchvision names, and are compared with its checksums;
    an interrupted download is continued. What torchvision has extracted already is used as it is.

    Args:
        dataset: The class of torchvision.
        entry: The embedded extract, which the message names if there is no network.

    Returns:
        Bytes of shape (n, height, width) and labels of shape (n,), first those for training.

    Raises:
        FullDataUnavailable: The set is not here and cannot be fetched.
    """
    folder = cache_folder()
    raw = folder / dataset.__name__ / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / "coursekit.lock"):
            parts = _read_parts(dataset, folder)
            if parts is None:
                for name, md5 in dataset.resources:
                    _fetch_from(dataset.mirrors, name, raw / name, md5)
                    (raw / name).with_suffix("").unlink(missing_ok=True)  # half extracted, perhaps
                with contextlib.redirect_stdout(io.StringIO()):
                    dataset(str(folder), download=True)  # extracts the archives
                parts = _read_parts(dataset, folder)
    except (OSError, RuntimeError) as error:
        raise _unavailable(dataset.__name__, entry, error) from error
    if parts is None:
        raise _unavailable(dataset.__name__, entry, RuntimeError(f"{raw} cannot be read"))
    return torch.cat([part.data for part in parts]), torch.cat([part.targets for part in parts])


def _read_parts(dataset: type[MNIST], folder: Path) -> list[MNIST] | None:
    """Read what torchvision has extracted; None if that is missing or is not whole."""
    try:
        return [dataset(str(folder), train=train, download=False) for train in (True, False)]
    except (RuntimeError, ValueError, AssertionError):
        return None


def _fetch_from(mirrors: list[str], name: str, path: Path, md5: str) -> None:
    """Fetch an archive from the first mirror that has it."""
    for last, mirror in ((mirror == mirrors[-1], mirror) for mirror in mirrors):
        try:
            fetch(f"{mirror}{name}", path, md5=md5)
            return
        except DownloadError:
            if last:
                raise


def _unavailable(title: str, entry: Entry, error: Exception) -> FullDataUnavailable:
    """Say in one line why a full set cannot be had, and what to use instead."""
    reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
    return FullDataUnavailable(
        f"{title} could not be fetched into {cache_folder()} ({reason}); with no network use the "
        f'{entry.examples:,} images that are here: load("{entry.name}")'
    )


def _faces(entry: Entry, split: str | None) -> Images:
    """Read scikit-image's faces and backgrounds and split them by the photo."""
    path = entry.folder / next(iter(entry.files))
    try:
        crops = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall scikit-image") from error
    if crops.shape != (200, 25, 25):
        raise DataFileError(f"{path} must hold an array of shape (200, 25, 25), got {crops.shape}")
    splits, order = _split_photos(crops)
    chosen = [i for i in order if split in (None, splits[i % 100])]
    labels = torch.tensor([int(i < 100) for i in chosen])
    return Images(torch.from_numpy(crops[chosen]).float(), labels, FACE_CLASSES)


def _split_photos(crops: np.ndarray) -> tuple[list[str], list[int]]:
    """Choose the split of each of the 100 photos, and the order of their 200 crops.

    Face i and background 100 + i may come from one photo and stay together, and so do photos of
    which a crop is nearly the same. Groups are handed out in the order of their hashes.
    """
    flat = crops.reshape(200, -1)
    distance = np.stack([((flat - row) ** 2).mean(1) for row in flat])
    group = np.arange(100)
    for first, second in zip(*np.nonzero(distance < ALIKE), strict=True):
        group[group == group[second % 100]] = group[first % 100]
    keys = [hashlib.sha256(crop.tobytes()).digest() for crop in crops]
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    members.sort(key=lambda photos: min(keys[photo] for photo in photos))
    splits, room = [""] * 100, dict(FACE_SPLITS)
    for photos in members:
        name = next(name for name, free in room.items() if free >= len(photos))
        room[name] -= len(photos)
        for photo in photos:
            splits[photo] = name
    return splits, sorted(range(200), key=keys.__getitem__)


def _full_faces(entry: Entry, split: str | None) -> Images:
    """Fetch Labeled Faces in the Wild (funneled) once and read it."""
    folder = cache_folder() / "lfw"
    photos = folder / "lfw_funneled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "coursekit.lock"):
            if not photos.is_dir():
                archive = fetch(LFW_URL, folder / "lfw-funneled.tgz", sha256=LFW_SHA256)
                _extract(archive, photos)
    except (OSError, tarfile.TarError) as error:
        raise _unavailable("Labeled Faces in the Wild", entry, error) from error
    return read_people(photos, split)


def _extract(archive: Path, folder: Path) -> None:
    """Extract the folder of an archive that has the same name, or nothing of it."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive, "r:gz") as content:
        content.extractall(partial, filter="data")
    (partial / folder.name).rename(folder)
    shutil.rmtree(partial)


def person_split(name: str) -> str:
    """Choose the split of a person by the hash of the name.

    Args:
        name: Name of the person, which is that of a folder.

    Returns:
        "test" for a fifth of all names, "validation" for a tenth, "train" for the others.
    """
    share = content_share(name.encode())
    return "test" if share < 0.2 else "validation" if share < 0.3 else "train"


def read_people(folder: Path, split: str | None = None) -> Images:
    """Read faces in the layout of Labeled Faces in the Wild, ``NAME/NAME_0001.jpg``.

    Args:
        folder: The folder that holds one folder a person, with photos of 250 x 250 pixels.
        split: "train", "validation", "test", or None for all; every person stands in one of them.

    Returns:
        Gray images of 62 x 47 pixels, cut around the face as scikit-learn does, in the order of the
        names. The labels count the persons of this split.

    Raises:
        DataFileError: The folder holds no photo for the split, or a photo cannot be read.
    """
    from PIL import Image

    paths = [
        path
        for path in sorted(folder.glob("*/*.jpg"))
        if split is None or person_split(path.parent.name) == split
    ]
    if not paths:
        wanted = "photo" if split is None else f"photo for the split {split}"
        raise DataFileError(f"{folder} holds no {wanted}, as NAME/NAME_0001.jpg; fetch it again")
    names = sorted({path.parent.name for path in paths})
    number = {name: label for label, name in enumerate(names)}
    pixels = np.empty((len(paths), LFW_SIZE[1], LFW_SIZE[0]), np.uint8)
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as photo:
                if photo.size != (250, 250):
                    raise DataFileError(f"{path} must have 250 x 250 pixels, got {photo.size}")
                face = photo.convert("L").crop(LFW_BOX)
        except OSError as error:
            raise DataFileError(f"{path} cannot be read ({error}); delete {folder}") from error
        pixels[i] = np.asarray(face.resize(LFW_SIZE, Image.Resampling.BOX))
    labels = torch.tensor([number[path.parent.name] for path in paths])
    return _to_images(torch.from_numpy(pixels), labels, tuple(names))


def draw(name: str) -> Figure:
    """Draw rows of training images, one row a class.

    Args:
        name: An image set of the catalog.

    Returns:
        The figure.
    """
    columns = 20
    data = load(find(name), "train")
    rows = [list(data.images[data.labels == k][:columns]) for k in range(len(data.classes))]
    title = f"{name}: the first {columns} training images of each class"
    return image_sheet(rows, data.classes, title)
