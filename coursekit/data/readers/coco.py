"""The JSON annotations of COCO: instances (boxes and outlines of things) and captions.

One object with the lists ``images``, ``annotations`` and, for instances, ``categories``, tied
together by their ids. An outline is a list of polygons, or for a crowd a run-length encoding: the
lengths of alternating runs of 0 and 1, column by column, as numbers or packed into a string.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context" (2014), and
https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from jaxtyping import Bool

from coursekit.data.readers.files import ReadError, check_file_name, read_whole, shown

MAX_BYTES = 1 << 30
MAX_SIDE = 65_535
"""Pixels of the longest side of an image, as in JPEG."""
_MAX_ID = 1 << 63
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|NaN|-?Infinity|[0-9]{4301,}')
Path: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image.

    Attributes:
        id: Its number.
        file_name: Its file, which may stand in a folder below that of the images, never outside.
        width: Pixels across.
        height: Pixels down.
    """

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """A class of things.

    Attributes:
        id: Its number; those of COCO have gaps.
        name: Its name.
        supercategory: What it is a kind of; "" if the file does not say.
    """

    id: int
    name: str
    supercategory: str


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as the lengths of its runs.

    Attributes:
        height: Pixels down.
        width: Pixels across.
        counts: Lengths of alternating runs of 0 and 1, column by column; their sum is
            height · width.
    """

    height: int
    width: int
    counts: tuple[int, ...]

    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Draw the mask.

        Returns:
            bool of shape (height, width), true on the thing.

        >>> RunLengths(2, 3, (1, 3, 2)).mask().astype(int).tolist()
        [[0, 1, 0], [1, 1, 0]]
        """
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.width, self.height).T


Polygon: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CocoInstance:
    """One thing, or a crowd of one class.

    Attributes:
        id: Its number.
        image_id: Number of its image.
        category_id: Number of its category.
        box: Left, top, width, height in pixels; (0, 0) is the image's upper left corner. As in
            the file: it may leave the image by a fraction and have no area.
        area: Square pixels of the outline.
        crowd: Whether it is a crowd.
        outline: Polygons (x1, y1, x2, y2, …) in pixels, or the runs of a mask.
    """

    id: int
    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    outline: tuple[Polygon, ...] | RunLengths


@dataclass(frozen=True, slots=True)
class CocoCaption:
    """A sentence on an image.

    Attributes:
        id: Its number.
        image_id: Number of its image.
        caption: The sentence, as published.
    """

    id: int
    image_id: int
    caption: str


@dataclass(frozen=True)
class CocoInstances:
    """Things in images.

    Attributes:
        images: The images, in the order of the file.
        instances: The things in them.
        categories: Their classes.
    """

    images: tuple[CocoImage, ...]
    instances: tuple[CocoInstance, ...]
    categories: tuple[CocoCategory, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        counts = f"{len(self.instances):,} instances, {len(self.categories)} categories"
        return f"CocoInstances({len(self):,} images, {counts})"


@dataclass(frozen=True)
class CocoCaptions:
    """Sentences on images.

    Attributes:
        images: The images, in the order of the file.
        captions: The sentences, several an image.
    """

    images: tuple[CocoImage, ...]
    captions: tuple[CocoCaption, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"CocoCaptions({len(self):,} images, {len(self.captions):,} captions)"


def read_coco_instances(path: Path, max_bytes: int = MAX_BYTES) -> CocoInstances:
    """Read boxes and outlines.

    Args:
        path: A file such as ``instances_val2017.json``.
        max_bytes: The largest file to accept. While it is read, memory for some twenty times its
            size may be needed.

    Returns:
        Images, instances and categories; fields not listed in their classes are passed over.

    Raises:
        ReadError: The file is not such JSON: a key is missing or comes twice; a number is NaN,
            infinite or no number; an id comes twice or names nothing; the runs of a mask do not
            fill the image; a file name leads out of its folder. The message names the line, or the
            path of the value, such as ``$.annotations[3].bbox``.
    """
    file = _File(path, max_bytes)
    images = file.images()
    categories = tuple(
        CocoCategory(
            item.identity("id"),
            item.text("name"),
            item.text("supercategory") if "supercategory" in item.value else "",
        )
        for item in file.items("categories")
    )
    file.unique("categories", [category.id for category in categories])
    sizes = {image.id: (image.height, image.width) for image in images}
    known = {category.id for category in categories}
    instances = tuple(
        _instance(item, sizes, known) for item in file.items("annotations", may_be_empty=True)
    )
    file.unique("annotations", [instance.id for instance in instances])
    return CocoInstances(images, instances, categories)


def read_coco_captions(path: Path, max_bytes: int = MAX_BYTES) -> CocoCaptions:
    """Read captions.

    Args:
        path: A file such as ``captions_val2017.json``.
        max_bytes: The largest file to accept, as in `read_coco_instances`.

    Returns:
        Images and captions; fields not listed in their classes are passed over.

    Raises:
        ReadError: As in `read_coco_instances`.
    """
    file = _File(path, max_bytes)
    images = file.images()
    known = {image.id for image in images}
    captions = tuple(
        CocoCaption(item.identity("id"), item.reference("image_id", known), item.text("caption"))
        for item in file.items("annotations", may_be_empty=True)
    )
    file.unique("annotations", [caption.id for caption in captions])
    return CocoCaptions(images, captions)


class _Item:
    """An object of the file, which knows its path."""

    def __init__(self, path: Path, place: str, value: Any):
        self.path, self.place, self.value = path, place, value
        if not isinstance(value, dict):
            raise ReadError(path, place, f"{shown(value)}, expected an object")

    def get(self, key: str) -> Any:
        if key not in self.value:
            raise ReadError(self.path, self.place, f'no key "{key}", expected one')
        return self.value[key]

    def wrong(self, key: str, expected: str) -> ReadError:
        problem = f"{shown(self.value.get(key))}, expected {expected}"
        return ReadError(self.path, f"{self.place}.{key}", problem)

    def integer(self, key: str, least: int, most: int) -> int:
        value = self.get(key)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}")
        return value

    def identity(self, key: str) -> int:
        return self.integer(key, 0, _MAX_ID - 1)

    def reference(self, key: str, known: Any) -> int:
        value = self.identity(key)
        if value not in known:
            raise self.wrong(key, "an id that the file lists")
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.wrong(key, "a text without half of a surrogate pair") from None
        return value

    def numbers(self, value: Any, place: str, length: int | None = None) -> tuple[float, ...]:
        """Check a list of finite numbers."""
        if not isinstance(value, list) or (length is not None and len(value) != length):
            wanted = f"a list of {length} numbers" if length else "a list of numbers"
            raise ReadError(self.path, place, f"{shown(value)}, expected {wanted}")
        for index, number in enumerate(value):
            if not _is_number(number):
                problem = f"{shown(number)}, expected a number of at most 1e9"
                raise ReadError(self.path, f"{place}[{index}]", problem)
        return tuple(map(float, value))


def _is_number(value: Any) -> bool:
    """Tell a finite number from all else: 1 and 0 are numbers, true and false are not."""
    return type(value) in (int, float) and math.isfinite(value) and -1e9 <= value <= 1e9


class _File:
    """A JSON document in the form that all files of COCO share."""

    def __init__(self, path: Path, max_bytes: int):
        self.path = path
        self.root = _Item(path, "$", _json(path, read_whole(path, max_bytes)))

    def items(self, key: str, may_be_empty: bool = False) -> Iterator[_Item]:
        values = self.root.get(key)
        if not isinstance(values, list) or not (values or may_be_empty):
            raise self.root.wrong(key, "a list of objects")
        return (_Item(self.path, f"$.{key}[{k}]", value) for k, value in enumerate(values))

    def unique(self, key: str, ids: list[int]) -> None:
        if len(set(ids)) == len(ids):
            return
        first: dict[int, int] = {}
        for index, identity in enumerate(ids):
            if first.setdefault(identity, index) != index:
                problem = f"{identity} is also the id of {key}[{first[identity]}]"
                raise ReadError(self.path, f"$.{key}[{index}].id", problem)

    def images(self) -> tuple[CocoImage, ...]:
        images = tuple(
            CocoImage(
                item.identity("id"),
                check_file_name(
                    self.path, f"{item.place}.file_name", item.text("file_name"), folders=True
                ),
                item.integer("width", 1, MAX_SIDE),
                item.integer("height", 1, MAX_SIDE),
            )
            for item in self.items("images")
        )
        self.unique("images", [image.id for image in images])
        return images


def _json(path: Path, data: bytes) -> Any:
    """Parse JSON that has no NaN and no key twice."""
    try:
        text = data.decode()
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        problem = f"{data[error.start : error.start + 1]!r} is not UTF-8 ({error.reason})"
        raise ReadError(path, f"byte {error.start}", problem) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ReadError(path, place, f"is not JSON ({error.msg})") from error
    except _RepeatedKey as error:
        problem = f"an object has the key {shown(str(error))} twice, expected it once"
        raise ReadError(path, "$", problem) from error
    except RecursionError as error:
        raise ReadError(path, "$", "lists or objects nested too deep") from error
    except ValueError as error:  # NaN, Infinity, or an integer of over 4,300 digits
        raise _number_error(path, text) from error


class _RepeatedKey(Exception):
    """An object has a key twice; the parser does not say where."""


def _number_error(path: Path, text: str) -> ReadError:
    """Find what the parser stopped at, which stands outside of every string."""
    token = next(match for match in _TOKEN.finditer(text) if not match[0].startswith('"'))
    line, start = text.count("\n", 0, token.start()), text.rfind("\n", 0, token.start())
    place = f"line {line + 1}, column {token.start() - start}"
    digits = token[0][0].isdigit()
    got = f"an integer of {len(token[0])} digits" if digits else token[0]
    return ReadError(path, place, f"{got}, expected a finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        raise _RepeatedKey(next(key for key, count in keys.items() if count > 1))
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _instance(item: _Item, sizes: dict[int, tuple[int, int]], categories: set[int]) -> CocoInstance:
    image = item.reference("image_id", sizes)
    left, top, width, height = item.numbers(item.get("bbox"), f"{item.place}.bbox", 4)
    if width < 0 or height < 0:
        raise ReadError(
            item.path, f"{item.place}.bbox", f"size {width:g} x {height:g}, expected 0 or more"
        )
    area = item.get("area")
    if not _is_number(area) or area < 0:
        raise item.wrong("area", "a number from 0 to 1e9")
    return CocoInstance(
        id=item.identity("id"),
        image_id=image,
        category_id=item.reference("category_id", categories),
        box=(left, top, width, height),
        area=float(area),
        crowd=bool(item.integer("iscrowd", 0, 1)),
        outline=_outline(item, sizes[image]),
    )


def _outline(item: _Item, size: tuple[int, int]) -> tuple[Polygon, ...] | RunLengths:
    """Read polygons, or a mask of the size of the image."""
    value, place = item.get("segmentation"), f"{item.place}.segmentation"
    if isinstance(value, list):
        polygons = tuple(item.numbers(part, f"{place}[{k}]") for k, part in enumerate(value))
        for k, polygon in enumerate(polygons):
            if len(polygon) < 6 or len(polygon) % 2:
                problem = f"{len(polygon)} numbers, expected x and y of three points or more"
                raise ReadError(item.path, f"{place}[{k}]", problem)
        return polygons
    runs = _Item(item.path, place, value)
    if runs.get("size") != list(size) or any(type(side) is not int for side in runs.get("size")):
        problem = f"{str(runs.get('size'))[:40]}, expected height and width of the image, {size}"
        raise ReadError(item.path, f"{place}.size", problem)
    counts = runs.get("counts")
    if isinstance(counts, str):
        counts = _unpacked(item.path, f"{place}.counts", counts)
    area = size[0] * size[1]
    if not isinstance(counts, list):
        raise runs.wrong("counts", "a list or a string")
    for k, count in enumerate(counts):
        if type(count) is not int or not 0 <= count <= area:
            problem = f"{shown(count)}, expected the length of a run, 0 to {area}"
            raise ReadError(item.path, f"{place}.counts[{k}]", problem)
    if sum(counts) != area:
        problem = f"runs of {sum(counts)} pixels in all, expected {size[0]} x {size[1]} = {area}"
        raise ReadError(item.path, f"{place}.counts", problem)
    return RunLengths(size[0], size[1], tuple(counts))


def _unpacked(path: Path, place: str, text: str) -> list[int]:
    """Unpack the string form of runs, as COCO's mask API writes it.

    Each character, less 48, holds five bits of a number and in the sixth whether more follow; the
    fifth bit of the last is the sign. From the fourth run on, a number is the difference from the
    run two before.
    """
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, bits = 0, 0
        more = True
        while more:
            digit = ord(text[position]) - 48 if position < len(text) else -1
            if not 0 <= digit < 64 or bits > 60:
                got = shown(text[position : position + 1])
                problem = f"character {position} is {got}, expected a packed number"
                raise ReadError(path, place, problem)
            value |= (digit & 31) << bits
            bits += 5
            more = bool(digit & 32)
            position += 1
            if not more and digit & 16:
                value -= 1 << bits
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
