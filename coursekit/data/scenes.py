"""Cut-out objects, and scenes composed of them with exact boxes, masks and captions.

The objects are photographs and drawings with transparency. `compose` scales, mirrors and overlays
them on a background, so that everything about a scene is known to the pixel: what stands where,
what hides what, and which sentences are true of it. The scenes serve detection, segmentation,
captioning and, with `coursekit.data.questions`, visual question answering.
"""

from __future__ import annotations

import csv
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, find
from coursekit.data.drawing import image_sheet

CLASSES = (
    *("bird", "fish", "cat", "cow", "rabbit", "insect", "flower", "tree", "apple", "berry"),
    *("vegetable", "car", "truck", "boat", "train", "ball", "hat", "sign", "house", "planet"),
)
# Words for several classes at once.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "animal": CLASSES[:6],
    "plant": CLASSES[6:8],
    "vehicle": CLASSES[11:15],
}
COLORS = (
    *("black", "white", "gray", "brown", "red", "orange"),
    *("yellow", "green", "blue", "purple", "pink"),
)
COLOR_SHARE = 0.6  # of an object's pixels that must have a color for it to be the object's color
SIDES = {"small": (0.22, 0.30), "large": (0.44, 0.58)}  # longer side as a share of the scene's
RELATIONS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
MARGIN = 0.08  # share of the scene's side by which centers must differ for a relation to hold
OPAQUE = 128  # alpha of 255 from which a pixel belongs to an object
LEAST_PIXELS = 16  # of an object's mask
NEVER_MIRRORED = ("sign",)  # for their letters
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
POSITIONS_TRIED, SCENES_TRIED = 12, 200


@dataclass(frozen=True)
class Objects:
    """Cut-out objects.

    Attributes:
        images: One uint8 tensor of shape (4, height, width) an object: red, green, blue, alpha;
            the longer side is at most 96 pixels.
        captions: The publisher's English caption of each.
        categories: Name of each object's category.
        labels: int64 of shape (n,), index of the category in `classes`.
        names: Path of each object in the package; unique.
        families: Objects of one family are variants of one thing; no family is in two splits.
        colors: One of `COLORS` where most of the object has it, else None; see `color_name`.
        classes: Name of each label.
    """

    images: list[UInt8[Tensor, "4 height width"]]
    captions: list[str]
    categories: list[str]
    labels: Int[Tensor, " n"]
    names: list[str]
    families: list[str]
    colors: list[str | None]
    classes: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Objects({len(self)} cut-outs, {len(set(self.categories))} categories)"

    def choose(self, categories: Sequence[str]) -> Objects:
        """Keep the objects of some categories; labels and `classes` stay as they are.

        Args:
            categories: Names of `classes`.

        Returns:
            The objects in the same order.

        Raises:
            ValueError: A name is not one of `classes`.
        """
        if unknown := [name for name in categories if name not in self.classes]:
            raise ValueError(
                f"categories must be among {', '.join(self.classes)}, got {unknown[0]!r}"
            )
        kept = [i for i, name in enumerate(self.categories) if name in categories]
        lists: dict[str, Any] = {
            field: [getattr(self, field)[i] for i in kept]
            for field in ("images", "captions", "categories", "names", "families", "colors")
        }
        return replace(self, labels=self.labels[kept], **lists)


@dataclass(frozen=True)
class Scenes:
    """Composed scenes with exact labels; as ``scenes[i]``, a data set for torch.

    The k objects of a scene stand in the order in which they were laid down: the last is nearest
    and hidden by nothing. Boxes are x1, y1, x2, y2 in pixels; x2 and y2 are exclusive, so that
    x2 - x1 is the width. A pixel belongs to an object where the object's alpha is at least half.

    Attributes:
        images: float32 of shape (n, 3, size, size) in [0, 1].
        boxes: One float32 tensor of shape (k, 4) a scene: extent of what is visible.
        amodal_boxes: Likewise, extent as if nothing hid the object.
        masks: One bool tensor of shape (k, size, size) a scene: visible pixels.
        labels: One int64 tensor of shape (k,) a scene: indices of `classes`.
        depths: One int64 tensor of shape (k,) a scene: 0 is nearest.
        visible: One float32 tensor of shape (k,) a scene: share of each object not hidden.
        objects: One int64 tensor of shape (k,) a scene: indices of the `Objects` it was made of.
        mirrored: One bool tensor of shape (k,) a scene.
        sizes: "small" or "large", one an object.
        colors: Name of the color, or None, one an object.
        captions: Five true sentences a scene, for references.
        classes: Name of each label.
    """

    images: Float[Tensor, "n 3 size size"]
    boxes: list[Float[Tensor, "k 4"]]
    amodal_boxes: list[Float[Tensor, "k 4"]]
    masks: list[Bool[Tensor, "k size size"]]
    labels: list[Int[Tensor, " k"]]
    depths: list[Int[Tensor, " k"]]
    visible: list[Float[Tensor, " k"]]
    objects: list[Int[Tensor, " k"]]
    mirrored: list[Bool[Tensor, " k"]]
    sizes: list[tuple[str, ...]]
    colors: list[tuple[str | None, ...]]
    captions: list[tuple[str, ...]]
    classes: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size, count = self.images.shape[-1], sum(map(len, self.labels))
        return f"Scenes({len(self):,} scenes of {size} x {size} with {count:,} objects)"

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Give a scene as torchvision's detectors take it.

        Args:
            index: Number of the scene.

        Returns:
            The image, float32 of shape (3, size, size), and a dictionary: "boxes" of shape (k, 4),
            "labels" of shape (k,), counted from 1 because 0 is the detectors' background, and
            "masks", uint8 of shape (k, size, size).

        Raises:
            IndexError: There is no such scene.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        target = {
            "boxes": self.boxes[index],
            "labels": self.labels[index] + 1,
            "masks": self.masks[index].to(torch.uint8),
        }
        return self.images[index], target

    def categories(self, index: int) -> tuple[str, ...]:
        """Name the categories of a scene's objects.

        Args:
            index: Number of the scene.

        Returns:
            One name an object.
        """
        return tuple(self.classes[label] for label in self.labels[index].tolist())


def load(entry: Entry, split: str | None = None, full: bool = False) -> Objects:
    """Load the cut-outs.

    Args:
        entry: The entry ``scenes``.
        split: "train", "validation", "test" or None for all; divided by family.
        full: The extract is all there is; the catalog refuses it.

    Returns:
        The objects in a fixed, shuffled order.

    Raises:
        DataFileError: A file cannot be read.
    """
    path = entry.folder / "objects.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels, sizes = archive["pixels"], archive["sizes"]
        with (entry.folder / "objects.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error
    ends = np.cumsum(sizes.prod(1))
    images = [
        torch.from_numpy(part.reshape(height, width, 4).transpose(2, 0, 1).copy())
        for part, (height, width) in zip(np.split(pixels, ends[:-1]), sizes, strict=True)
    ]
    kept = [i for i, row in enumerate(rows) if split in (None, row["split"])]
    return Objects(
        images=[images[i] for i in kept],
        captions=[rows[i]["caption"] for i in kept],
        categories=[rows[i]["category"] for i in kept],
        labels=torch.tensor([CLASSES.index(rows[i]["category"]) for i in kept]),
        names=[rows[i]["path"] for i in kept],
        families=[rows[i]["family"] for i in kept],
        colors=[color_name(images[i]) for i in kept],
    )


def color_name(image: UInt8[Tensor, "4 height width"]) -> str | None:
    """Name the color that most of a cut-out has.

    Every opaque pixel is named by its hue, saturation and value; a dark orange is brown, a pale red
    is pink. The bounds were set by looking at the objects of the training split.

    Args:
        image: uint8 of shape (4, height, width): red, green, blue, alpha.

    Returns:
        One of `COLORS`, or None if no color has more than `COLOR_SHARE` of the pixels.

    >>> color_name(torch.tensor([200, 20, 20, 255], dtype=torch.uint8).view(4, 1, 1))
    'red'
    """
    rgba = image.numpy().reshape(4, -1)
    red, green, blue = rgba[:3, rgba[3] >= OPAQUE].astype(int)
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = np.maximum(high - low, 1)
    hue = np.select(
        [high == low, high == red, high == green],
        [0 * red, 60 * (green - blue) / spread, 120 + 60 * (blue - red) / spread],
        240 + 60 * (red - green) / spread,
    )
    hue = hue % 360
    value, saturation = high / 255, (high - low) / np.maximum(high, 1)
    rosy = (hue < 22) | (hue >= 340)
    rules = {
        "black": value < 0.22,
        "white": (saturation < 0.14) & (value > 0.7),
        "gray": (saturation < 0.14) | ((saturation < 0.25) & (value < 0.35)),
        "brown": (hue >= 8) & (hue < 48) & ((value < 0.62) | ((saturation < 0.5) & (value < 0.8))),
        "pink": ((hue >= 295) & (hue < 345)) | (rosy & (saturation < 0.5) & (value > 0.7)),
        "red": (hue < 12) | (hue >= 345),
        "orange": hue < 42,
        "yellow": hue < 68,
        "green": hue < 170,
        "blue": hue < 258,
        "purple": hue < 295,
    }
    named = np.select(list(rules.values()), [COLORS.index(name) for name in rules], len(COLORS))
    counts = np.bincount(named, minlength=len(COLORS) + 1)[: len(COLORS)]
    best = int(counts.argmax())
    return COLORS[best] if counts[best] > COLOR_SHARE * len(red) else None


@dataclass(frozen=True)
class _Sprite:
    """An object at the size at which it is laid down."""

    color: np.ndarray  # float32 (height, width, 3) in 0..255, premultiplied by alpha
    through: np.ndarray  # float32 (height, width, 1): 1 - alpha
    mask: np.ndarray  # bool (height, width)
    box: tuple[int, int, int, int]  # of the mask
    area: int  # of the mask


@dataclass(frozen=True)
class _Placed:
    """An object at its place in a scene."""

    index: int
    size: str
    flipped: bool
    sprite: _Sprite
    x: int
    y: int

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.sprite.mask.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def compose(
    objects: Objects,
    examples: int,
    seed: int,
    size: int = 64,
    min_objects: int = 1,
    max_objects: int = 4,
    min_visible: float = 0.6,
    repeat: float = 0.35,
    mirror: bool = True,
    backgrounds: Sequence[Float[Tensor, "3 height width"]] | None = None,
) -> Scenes:
    """Compose scenes of cut-out objects, with boxes, masks, depth order and captions.

    A category is drawn evenly, then an object of it. Objects are small (longer side 22 to 30 % of
    the scene's) or large (44 to 58 %) with equal chance, stand wholly inside the scene and are laid
    one over the other; a scene in which one would be hidden beyond `min_visible` is drawn again.

    Args:
        objects: The cut-outs, of one split, so that no object of a test is seen in training.
        examples: Number of scenes.
        seed: Same seed, same bytes.
        size: Side of the scenes in pixels, 32 or more.
        min_objects: Least number of objects, 1 or more.
        max_objects: Largest number of objects, 10 or less.
        min_visible: Least share of an object's pixels that stays visible, in (0, 1].
        repeat: Chance that an object takes the category of one already there, so that there is
            something to count.
        mirror: Whether objects are mirrored with a chance of one half, but for signs.
        backgrounds: Images in [0, 1], each of shape (3, height, width) and no smaller than the
            scene, of which random crops are taken; None for gradients, textures and checks.

    Returns:
        The scenes.

    Raises:
        ValueError: An argument is out of its range, or so many objects do not fit.
    """
    _check(objects, examples, size, min_objects, max_objects, min_visible, repeat)
    pictures = None if backgrounds is None else _check_backgrounds(backgrounds, size)
    rng = np.random.default_rng(seed)
    sprites = _Sprites(objects)
    images = np.empty((examples, 3, size, size), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    for number in range(examples):
        for _ in range(SCENES_TRIED):
            count = int(rng.integers(min_objects, max_objects + 1))
            placed = _place(rng, sprites, count, size, min_visible, repeat, mirror)
            if placed is not None:
                break
        else:
            raise ValueError(
                f"max_objects={max_objects} do not fit {size} x {size} pixels with "
                f"min_visible={min_visible}: lower one of them"
            )
        canvas = _background(rng, size, pictures)
        for item in placed:
            region = canvas[item.window]
            region *= item.sprite.through
            region += item.sprite.color
        images[number] = np.rint(canvas).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
        rows.append(_describe(placed, size, objects))
    fields = {name: [row[name] for row in rows] for name in (rows[0] if rows else _FIELDS)}
    scaled = torch.from_numpy(images).float().div_(255)
    return Scenes(images=scaled, classes=objects.classes, **fields)


_FIELDS = (
    *("boxes", "amodal_boxes", "masks", "labels", "depths", "visible", "objects", "mirrored"),
    *("sizes", "colors", "captions"),
)


def _check(
    objects: Objects,
    examples: int,
    size: int,
    min_objects: int,
    max_objects: int,
    min_visible: float,
    repeat: float,
) -> None:
    if not len(objects):
        raise ValueError("objects must hold at least one cut-out, got none")
    if examples < 0:
        raise ValueError(f"examples must be 0 or more, got {examples}")
    if size < 32:
        raise ValueError(f"size must be 32 pixels or more, got {size}")
    if not 1 <= min_objects <= max_objects <= 10:
        raise ValueError(
            "min_objects and max_objects must satisfy 1 <= min_objects <= max_objects <= 10, got "
            f"{min_objects} and {max_objects}"
        )
    if not 0 < min_visible <= 1:
        raise ValueError(f"min_visible must be in (0, 1], got {min_visible}")
    if not 0 <= repeat <= 1:
        raise ValueError(f"repeat must be in [0, 1], got {repeat}")


def _check_backgrounds(backgrounds: Sequence[Tensor], size: int) -> list[np.ndarray]:
    for image in backgrounds:
        if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < size:
            raise ValueError(
                f"backgrounds must be of shape (3, {size} or more, {size} or more), got "
                f"{tuple(image.shape)}"
            )
        if not image.is_floating_point() or image.min() < 0 or image.max() > 1:
            raise ValueError("backgrounds must be floating-point images in [0, 1]")
    if not len(backgrounds):
        raise ValueError("backgrounds must hold at least one image, or be None, got none")
    return [image.float().mul(255).permute(1, 2, 0).numpy() for image in backgrounds]


class _Sprites:
    """Objects scaled on demand, and kept: scenes use the same few sizes again and again."""

    def __init__(self, objects: Objects):
        self.members = [
            np.flatnonzero((objects.labels == label).numpy()).tolist()
            for label in range(len(objects.classes))
        ]
        self.present = [label for label, members in enumerate(self.members) if members]
        self.labels: list[int] = objects.labels.tolist()
        self.fixed = [k for k, name in enumerate(objects.classes) if name in NEVER_MIRRORED]
        self._images = [
            Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).convert("RGBa")
            for image in objects.images
        ]
        self._made: dict[tuple[int, int, bool], _Sprite] = {}

    def get(self, index: int, side: int, flipped: bool) -> _Sprite:
        """Scale an object so that its longer side has `side` pixels."""
        key = (index, side, flipped)
        if key not in self._made:
            image = self._images[index]
            scale = side / max(image.size)
            width, height = (max(1, round(length * scale)) for length in image.size)
            pixels = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
            if flipped:
                pixels = pixels[:, ::-1]
            mask = np.ascontiguousarray(pixels[..., 3] >= OPAQUE)
            self._made[key] = _Sprite(
                color=pixels[..., :3].astype(np.float32),
                through=(255 - pixels[..., 3:].astype(np.float32)) / 255,
                mask=mask,
                box=_extent(mask),
                area=int(mask.sum()),
            )
        return self._made[key]


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Find the box of a mask: x1, y1, x2, y2 with exclusive ends; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _place(
    rng: np.random.Generator,
    sprites: _Sprites,
    count: int,
    size: int,
    min_visible: float,
    repeat: float,
    mirror: bool,
) -> list[_Placed] | None:
    """Lay objects down from back to front; None if one finds no place."""
    placed: list[_Placed] = []
    shown: list[np.ndarray] = []  # visible pixels of each, of the shape of the scene
    for _ in range(count):
        if placed and rng.random() < repeat:
            label = sprites.labels[placed[int(rng.integers(len(placed)))].index]
        else:
            label = sprites.present[int(rng.integers(len(sprites.present)))]
        members = sprites.members[label]
        index = members[int(rng.integers(len(members)))]
        name = "large" if rng.random() < 0.5 else "small"
        low, high = SIDES[name]
        side = int(rng.integers(round(low * size), round(high * size) + 1))
        flipped = bool(mirror and rng.random() < 0.5 and label not in sprites.fixed)
        sprite = sprites.get(index, side, flipped)
        if sprite.area < LEAST_PIXELS:
            return None
        height, width = sprite.mask.shape
        for _ in range(POSITIONS_TRIED):
            x = int(rng.integers(size - width + 1))
            y = int(rng.integers(size - height + 1))
            item = _Placed(index, name, flipped, sprite, x, y)
            hidden = [int((mask[item.window] & sprite.mask).sum()) for mask in shown]
            if all(
                int(mask.sum()) - loss >= min_visible * other.sprite.area
                for other, mask, loss in zip(placed, shown, hidden, strict=True)
            ):
                break
        else:
            return None
        for mask, loss in zip(shown, hidden, strict=True):
            if loss:
                mask[item.window] &= ~sprite.mask
        whole = np.zeros((size, size), dtype=bool)
        whole[item.window] = sprite.mask
        placed.append(item)
        shown.append(whole)
    return placed


def _background(
    rng: np.random.Generator, size: int, pictures: list[np.ndarray] | None
) -> np.ndarray:
    """Make a background: float32 of shape (size, size, 3) in [0, 255]."""
    if pictures is not None:
        picture = pictures[int(rng.integers(len(pictures)))]
        y = int(rng.integers(picture.shape[0] - size + 1))
        x = int(rng.integers(picture.shape[1] - size + 1))
        return picture[y : y + size, x : x + size].copy()
    kind = int(rng.integers(3))
    base = (rng.uniform(120, 210) + rng.uniform(-35, 35, 3)).astype(np.float32)
    if kind == 0:  # a gradient in a random direction
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.linspace(-1, 1, size, dtype=np.float32)
        along = np.float32(np.cos(angle)) * ramp + np.float32(np.sin(angle)) * ramp[:, None]
        step = rng.uniform(-30, 30, 3).astype(np.float32)
        return np.clip(base + along[..., None] * step, 0, 255)
    if kind == 1:  # clouds: coarse noise, enlarged smoothly
        cells = int(rng.integers(3, 10))
        noise = rng.uniform(-28, 28, (cells, cells, 3)) + base
        coarse = Image.fromarray(np.rint(noise).astype(np.uint8))
        return np.array(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    period = int(rng.integers(size // 16, size // 4))  # checks or stripes
    line = np.arange(size) // period % 2
    pattern = line[:, None] ^ line if rng.random() < 0.5 else np.broadcast_to(line, (size, size))
    other = np.clip(base + rng.uniform(-24, 24, 3), 0, 255).astype(np.float32)
    return np.where(pattern[..., None] == 0, base, other).astype(np.float32)


def _describe(placed: list[_Placed], size: int, objects: Objects) -> dict[str, Any]:
    """Work out all labels of a scene from what was laid down, back to front."""
    masks = np.zeros((len(placed), size, size), dtype=bool)
    for layer, item in enumerate(placed):
        window = (slice(None, layer), *item.window)
        masks[window] &= ~item.sprite.mask
        masks[(layer, *item.window)] = item.sprite.mask
    boxes = [_extent(mask) for mask in masks]
    amodal = [
        (item.x + x1, item.y + y1, item.x + x2, item.y + y2)
        for item in placed
        for x1, y1, x2, y2 in [item.sprite.box]
    ]
    areas = np.array([item.sprite.area for item in placed])
    indices = [item.index for item in placed]
    sizes = tuple(item.size for item in placed)
    colors = tuple(objects.colors[i] for i in indices)
    categories = [objects.categories[i] for i in indices]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "amodal_boxes": torch.tensor(amodal, dtype=torch.float32),
        "masks": torch.from_numpy(masks),
        "labels": objects.labels[indices],
        "depths": torch.arange(len(placed) - 1, -1, -1),
        "visible": torch.from_numpy((masks.sum((1, 2)) / areas).astype(np.float32)),
        "objects": torch.tensor(indices),
        "mirrored": torch.tensor([item.flipped for item in placed]),
        "sizes": sizes,
        "colors": colors,
        "captions": captions(categories, sizes, colors, [_center(box) for box in boxes], size),
    }


def _center(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def holds(
    relation: str, center: tuple[float, float], other: tuple[float, float], size: int
) -> bool:
    """Tell whether a relation holds between two objects.

    Args:
        relation: One of `RELATIONS`: "left", "right", "above" or "below".
        center: Center x, y of the one object's visible box, in pixels.
        other: Center of the object that it is related to.
        size: Side of the scene in pixels.

    Returns:
        Whether the first is to the left of the second (right, above, below) by more than `MARGIN`
        of the side. Only the one axis counts: what is far above may also be to the left.

    >>> holds("left", (10, 50), (40, 20), size=64), holds("left", (38, 50), (40, 20), size=64)
    (True, False)
    """
    axis = 0 if relation in ("left", "right") else 1
    difference = other[axis] - center[axis]
    return (difference if relation in ("left", "above") else -difference) > MARGIN * size


def plural(noun: str) -> str:
    """Give the plural of a category or group.

    Args:
        noun: One of `CLASSES` or `GROUPS`, or "object".

    Returns:
        The plural.

    >>> plural("berry"), plural("fish"), plural("cat")
    ('berries', 'fish', 'cats')
    """
    if noun == "fish":
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def _phrase(
    noun: str,
    members: Sequence[int],
    sizes: Sequence[str],
    colors: Sequence[str | None],
    full: bool,
) -> str:
    """Write a noun phrase for all objects of a category, with size and color if `full`."""
    words = []
    if full:
        if len({sizes[i] for i in members}) == 1:
            words.append(sizes[members[0]])
        shared = {colors[i] for i in members}
        color = next(iter(shared))
        if len(shared) == 1 and color is not None:
            words.append(color)
    words.append(noun if len(members) == 1 else plural(noun))
    if len(members) > 1:
        return " ".join([NUMBERS[len(members)], *words])
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def _listing(phrases: Sequence[str]) -> str:
    return (", ".join(phrases[:-1]) + " and " if len(phrases) > 1 else "") + phrases[-1]


def captions(
    categories: Sequence[str],
    sizes: Sequence[str],
    colors: Sequence[str | None],
    centers: Sequence[tuple[float, float]],
    size: int,
) -> tuple[str, ...]:
    """Write five true sentences about a scene.

    All objects of a category are one noun phrase, "two apples"; a size or color is said of several
    objects only if all have it. A relation is said of two categories only if it holds for every
    pair of their objects.

    Args:
        categories: Category of each object.
        sizes: "small" or "large", one an object.
        colors: Name of the color, or None, one an object.
        centers: Center x, y of each visible box in pixels.
        size: Side of the scene in pixels.

    Returns:
        Five different sentences in lower case without a full stop.

    >>> for text in captions(["cat", "apple", "apple"], ["large", "small", "small"],
    ...                      [None, "red", "red"], [(12, 30), (40, 30), (50, 9)], 64):
    ...     print(text)
    a cat to the left of two apples
    two apples to the right of a cat
    there is a large cat and two small red apples
    a picture of a cat and two apples
    a large cat is to the left of two small red apples
    """
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(categories):
        groups.setdefault(name, []).append(i)
    order = list(groups)
    found = _relation(groups, centers, size)
    if found is not None:
        first, _, second = found
        order = [first, second, *(name for name in order if name not in (first, second))]
    plain = [_phrase(name, groups[name], sizes, colors, False) for name in order]
    full = [_phrase(name, groups[name], sizes, colors, True) for name in order]
    there = "there is" if len(groups[order[0]]) == 1 else "there are"
    listed = (f"{there} {_listing(full)}", f"a picture of {_listing(plain)}")
    if found is None:
        return (
            _listing(plain),
            f"this image shows {_listing(plain[::-1])}",
            *listed,
            f"a scene with {_listing(full[::-1])}",
        )
    there_is = "is" if len(groups[order[0]]) == 1 else "are"
    rest = f", with {_listing(plain[2:])}" if len(plain) > 2 else ""
    rest_full = f", with {_listing(full[2:])}" if len(plain) > 2 else ""
    words, inverse = RELATIONS[found[1]], RELATIONS[OPPOSITE[found[1]]]
    return (
        f"{plain[0]} {words} {plain[1]}{rest}",
        f"{plain[1]} {inverse} {plain[0]}{rest}",
        *listed,
        f"{full[0]} {there_is} {words} {full[1]}{rest_full}",
    )


def _relation(
    groups: Mapping[str, list[int]], centers: Sequence[tuple[float, float]], size: int
) -> tuple[str, str, str] | None:
    """Find two categories and a relation that holds between all of their objects."""
    names = list(groups)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = centers[groups[first][0]], centers[groups[second][0]]
            sideways = abs(a[0] - b[0]) >= abs(a[1] - b[1])
            order = ("left", "right", "above", "below")
            for relation in order if sideways else (*order[2:], *order[:2]):
                if all(
                    holds(relation, centers[j], centers[k], size)
                    for j in groups[first]
                    for k in groups[second]
                ):
                    return first, relation, second
    return None


def draw(name: str) -> Figure:
    """Draw the cut-outs by category, or composed scenes.

    Args:
        name: "scenes" or "composed-scenes".

    Returns:
        The figure.
    """
    if name == "scenes":
        objects = load(find("scenes"))
        rows = [
            [
                image
                for image, kind in zip(objects.images, objects.categories, strict=True)
                if kind == c
            ]
            for c in CLASSES
        ]
        title = f"scenes: {len(objects)} cut-outs, up to 14 of each category"
        return image_sheet([row[:14] for row in rows], list(CLASSES), title)
    if name != "composed-scenes":
        raise ValueError(f"name must be scenes or composed-scenes, got {name!r}")
    scenes = compose(load(find("scenes"), "train"), examples=8, seed=5, size=96, min_objects=2)
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    for i, axis in enumerate(figure.subplots(2, 4).flat):
        draw_scene(axis, scenes, i)
        text = "\n".join(textwrap.fill(scenes.captions[i][k], 42) for k in (0, 2))
        axis.set_xlabel(text, fontsize=7.5)
    figure.suptitle("composed scenes: visible boxes (solid), amodal boxes (dotted), captions")
    return figure


def draw_scene(axis: Any, scenes: Scenes, index: int, boxes: bool = True) -> None:
    """Draw a scene with its boxes and categories.

    Args:
        axis: Axes of matplotlib.
        scenes: The scenes.
        index: Number of the scene.
        boxes: Whether boxes and categories are drawn.
    """
    size = scenes.images.shape[-1]
    axis.imshow(scenes.images[index].permute(1, 2, 0).numpy(), extent=(0, size, size, 0))
    axis.set_xticks([])
    axis.set_yticks([])
    if not boxes:
        return
    for k, name in enumerate(scenes.categories(index)):
        for box, style in ((scenes.amodal_boxes[index][k], ":"), (scenes.boxes[index][k], "-")):
            x1, y1, x2, y2 = box.tolist()
            edges = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="black", ls=style, lw=1.2)
            axis.add_patch(edges)
        plate = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        axis.text(x1 + 0.5, y1 + 0.5, name, va="top", fontsize=7, bbox=plate)
