"""The XML annotations of Pascal VOC: what stands where in an image.

A document with one ``<annotation>``: the image's ``<filename>`` and ``<size>`` and an ``<object>``
for each thing, with its ``<name>`` (the class) and ``<bndbox>``.

Source: M. Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010), and the
development kit of VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from xml.parsers import expat

from coursekit.data.readers.files import ReadError, check_file_name, read_whole, shown

MAX_BYTES = 1 << 22
MAX_DEPTH = 16
MAX_ELEMENTS = 50_000
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{0,20})?(?:[eE]-?[0-9]{1,2})?")


@dataclass(frozen=True)
class VocObject:
    """One thing in an image.

    Attributes:
        name: Its class.
        box: Left, top, right, bottom in pixels; as in the file, the first pixel has the number 1
            and the right and bottom pixels belong to the box.
        pose: "Frontal", "Left", "Unspecified" and so on.
        truncated: Whether it reaches beyond the box.
        difficult: Whether the evaluation leaves it out.
        parts: Names and boxes of its parts (head, hand, foot).
    """

    name: str
    box: tuple[float, float, float, float]
    pose: str = "Unspecified"
    truncated: bool = False
    difficult: bool = False
    parts: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()


@dataclass(frozen=True)
class VocAnnotation:
    """What stands in an image.

    Attributes:
        filename: Name of the image's file, without a folder.
        width: Pixels across.
        height: Pixels down.
        depth: Channels.
        segmented: Whether there is a segmentation of the image.
        objects: The things in it, in the order of the file.
    """

    filename: str
    width: int
    height: int
    depth: int
    segmented: bool
    objects: tuple[VocObject, ...]

    def __len__(self) -> int:
        return len(self.objects)


def read_voc(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> VocAnnotation:
    """Read an annotation.

    Elements that are not listed above (source, owner, actions, points) are passed over.

    Args:
        path: A file such as ``2007_000027.xml``.
        max_bytes: The largest file to accept.

    Returns:
        The annotation.

    Raises:
        ReadError: The file is no such XML; it has a document type, and so might define entities;
            an element is missing, stands twice or has a wrong value; a box is empty or leaves the
            image; the file name leads into another folder. The message names the line and the
            path of the element.
    """
    root = _Document(path).parse(read_whole(path, max_bytes))
    if root.name != "annotation":
        raise _error(path, root, f"element <{shown(root.name)[1:-1]}>, expected <annotation>")
    name = _one(path, root, "filename")
    filename = check_file_name(path, name.place, _text(path, name))
    size = _one(path, root, "size")
    width, height, depth = (_integer(path, size, key) for key in ("width", "height", "depth"))
    objects = tuple(
        _object(path, node, width, height) for node in root.children if node.name == "object"
    )
    return VocAnnotation(filename, width, height, depth, _flag(path, root, "segmented"), objects)


@dataclass
class _Element:
    name: str
    place: str
    path: str
    children: list[_Element] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class _Document:
    """Builds the tree of a document that has no document type and is not deep."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path
        self.open: list[_Element] = []
        self.elements = 0
        self.root: _Element | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def parse(self, data: bytes) -> _Element:
        try:
            self.parser.Parse(data, True)
        except (expat.ExpatError, LookupError, UnicodeError) as error:
            raise ReadError(self.path, self._line(), f"is not XML ({error})") from error
        except ReadError:
            raise
        except ValueError as error:  # the encoding takes several bytes a character
            raise ReadError(self.path, self._line(), f"cannot be read ({error})") from error
        assert self.root is not None  # the parser asks for an element
        return self.root

    def _line(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def _doctype(self, *_: object) -> None:
        problem = "a document type, which may define entities; expected <annotation>"
        raise ReadError(self.path, self._line(), problem)

    def _start(self, name: str, _: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            problem = f"over {MAX_ELEMENTS:,} elements, expected the annotation of one image"
            raise ReadError(self.path, self._line(), problem)
        if len(self.open) >= MAX_DEPTH:
            problem = f"elements nested deeper than {MAX_DEPTH}, expected <annotation> of VOC"
            raise ReadError(self.path, self._line(), problem)
        within = self.open[-1] if self.open else None
        path = f"/{shown(name)[1:-1]}"
        if within:
            within.counts[name] = within.counts.get(name, 0) + 1
            path = f"{within.path}{path}"
            if name in ("object", "part"):
                path += f"[{within.counts[name]}]"
        element = _Element(name, f"{self._line()}, {path}", path)
        if within:
            within.children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def _end(self, _: str) -> None:
        self.open.pop()

    def _characters(self, text: str) -> None:
        self.open[-1].text.append(text)


def _error(path: str | os.PathLike[str], element: _Element, problem: str) -> ReadError:
    return ReadError(path, element.place, problem)


def _find(path: str | os.PathLike[str], within: _Element, name: str) -> _Element | None:
    found = [child for child in within.children if child.name == name]
    if len(found) > 1:
        raise _error(path, found[1], f"a second <{name}>, expected one")
    return found[0] if found else None


def _one(path: str | os.PathLike[str], within: _Element, name: str) -> _Element:
    found = _find(path, within, name)
    if found is None:
        raise _error(path, within, f"no <{name}> within, expected one")
    return found


def _text(path: str | os.PathLike[str], element: _Element) -> str:
    text = "".join(element.text).strip()
    if element.children or not text or not text.isprintable():
        got = "elements" if element.children else shown(text)
        raise _error(path, element, f"{got}, expected a line of text")
    return text


def _number(path: str | os.PathLike[str], within: _Element, name: str) -> float:
    element = _one(path, within, name)
    text = _text(path, element)
    if not _NUMBER.fullmatch(text):
        raise _error(path, element, f"{shown(text)}, expected a number")
    return float(text)


def _integer(path: str | os.PathLike[str], within: _Element, name: str) -> int:
    element = _one(path, within, name)
    text = _text(path, element)
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise _error(path, element, f"{shown(text)}, expected a whole number from 1 to 999999")
    return int(text)


def _flag(path: str | os.PathLike[str], within: _Element, name: str) -> bool:
    element = _find(path, within, name)
    if element is None:
        return False
    text = _text(path, element)
    if text not in ("0", "1"):
        raise _error(path, element, f"{shown(text)}, expected 0 or 1")
    return text == "1"


def _box(
    path: str | os.PathLike[str], within: _Element
) -> tuple[_Element, tuple[float, float, float, float]]:
    element = _one(path, within, "bndbox")
    left, top = _number(path, element, "xmin"), _number(path, element, "ymin")
    right, bottom = _number(path, element, "xmax"), _number(path, element, "ymax")
    if right < left or bottom < top or not all(map(math.isfinite, (left, top, right, bottom))):
        problem = f"box ({left:g}, {top:g}, {right:g}, {bottom:g}), expected xmin <= xmax and "
        raise _error(path, element, problem + "ymin <= ymax")
    return element, (left, top, right, bottom)


def _object(path: str | os.PathLike[str], node: _Element, width: int, height: int) -> VocObject:
    element, box = _box(path, node)
    if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
        problem = f"box {tuple(f'{side:g}' for side in box)} leaves the image of {width} x {height}"
        raise _error(path, element, problem.replace("'", ""))
    pose = _find(path, node, "pose")
    parts = [child for child in node.children if child.name == "part"]
    return VocObject(
        name=_text(path, _one(path, node, "name")),
        box=box,
        pose=_text(path, pose) if pose else "Unspecified",
        truncated=_flag(path, node, "truncated"),
        difficult=_flag(path, node, "difficult"),
        parts=tuple((_text(path, _one(path, p, "name")), _box(path, p)[1]) for p in parts),
    )
