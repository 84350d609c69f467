"""Damaged files for the readers of public formats, and what reading them may cost.

Usage: ``python tests/data/fuzz_readers.py FORMAT FILES [SEED]`` reads that many damaged files of a
format, or of each of "all", one after the other. It prints a JSON object a format: how many were
read and refused, the most seconds of processor time and the most megabytes that one of them took,
and every failure. A file must end in a ReadError that names file and place, or in the right answer:
the one that an independent reader gives. The process may not take more than 256 MB beyond what it
holds before the first file.
"""

import gzip
import json
import re
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from coursekit.data import readers
from coursekit.data.readers import ReadError

MEMORY = 256 << 20
HANG = 10  # seconds of the clock after which reading a file is broken off

# Good files to begin with.


def idx_files() -> list[bytes]:
    random = np.random.default_rng(0)

    def idx(code: int, values: np.ndarray) -> bytes:
        return (
            bytes([0, 0, code, values.ndim])
            + struct.pack(f">{values.ndim}I", *values.shape)
            + values.tobytes()
        )

    images = idx(0x08, random.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    labels = idx(0x08, random.integers(0, 10, 20, dtype=np.uint8))
    floats = idx(0x0D, random.normal(size=(5, 4)).astype(">f4"))
    doubles = idx(0x0E, random.normal(size=6).astype(">f8"))
    shorts = idx(0x0B, random.integers(-99, 99, (3, 4)).astype(">i2"))
    return [
        images,
        labels,
        floats,
        doubles,
        shorts,
        gzip.compress(images, mtime=0),
        gzip.compress(labels, mtime=0),
    ]


def cifar_files() -> list[bytes]:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (4, 3072), dtype=np.uint8)
    labels = np.array([[3], [9], [0], [3]], np.uint8)
    pairs = np.array([[4, 30], [19, 99], [0, 0], [4, 30]], np.uint8)
    return [
        b"\0" + np.hstack([labels, pixels]).tobytes(),
        b"\1" + np.hstack([pairs, pixels]).tobytes(),
    ]


def voc_files() -> list[bytes]:
    text = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
	<folder>VOC2012</folder>
	<filename>2007_000027.jpg</filename>
	<source><database>The VOC2007 Database</database><image>flickr</image></source>
	<size><width>486</width><height>500</height><depth>3</depth></size>
	<segmented>0</segmented>
	<object>
		<name>person</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
		<bndbox><xmin>174</xmin><ymin>101</ymin><xmax>349</xmax><ymax>351</ymax></bndbox>
		<part><name>head</name>
			<bndbox><xmin>169</xmin><ymin>104</ymin><xmax>209</xmax><ymax>146</ymax></bndbox>
		</part>
	</object>
	<object>
		<name>dog</name><truncated>1</truncated>
		<bndbox><xmin>1</xmin><ymin>45.7</ymin><xmax>486</xmax><ymax>500</ymax></bndbox>
	</object>
</annotation>
"""
    return [text.encode(), text.replace("utf-8", "ISO-8859-1").encode(), text.encode("utf-16")]


def coco_files() -> list[bytes]:
    images = [
        {"id": 139, "file_name": "000000000139.jpg", "width": 9, "height": 6, "license": 2},
        {"id": 285, "file_name": "val/000000000285.jpg", "width": 120, "height": 100},
    ]
    big = "Rn2`2d000000000000000000000000000000000000000^N00000000000000000000000000000000000000"
    big += "0b100000000000000000000000000000000000000fl3"

    def thing(number: int, image: int, outline: object, crowd: int = 0) -> dict[str, object]:
        common = {"id": number, "image_id": image, "category_id": 18, "area": 531.8}
        box = [23.6, 1.0, 38.0, 72.75]
        return common | {"bbox": box, "iscrowd": crowd, "segmentation": outline}

    instances = {
        "info": {"year": 2017},
        "images": images,
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 90, "name": "toothbrush"},
        ],
        "annotations": [
            thing(1768, 139, [[1.5, 2.0, 8.0, 2.5, 4.0, 5.0], [0, 0, 3, 0, 3, 3, 0, 3]]),
            thing(1769, 139, {"size": [6, 9], "counts": "01<2G0009OH000"}, 1),
            thing(1770, 139, {"size": [6, 9], "counts": [0, 1, 12, 3, 38]}, 1),
            thing(1771, 285, {"size": [100, 120], "counts": big}, 1),
        ],
    }
    captions = {
        "images": images,
        "annotations": [
            {"id": 37, "image_id": 139, "caption": "A bicycle replica with a clock, 1 wheel."},
            {"id": 49, "image_id": 285, "caption": "Un oso \u00e0 c\u00f4t\u00e9 \U0001f43b"},
        ],
    }
    return [
        json.dumps(instances).encode(),
        json.dumps(instances, indent=1).encode(),
        json.dumps(captions).encode(),
        json.dumps(captions, ensure_ascii=False).encode(),
    ]


def babi_files() -> list[bytes]:
    first = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Sandra's cat moved to the garden.
6 Where is Daniel? \thallway\t4
1 The office is north of the kitchen.
2 The garden is south of the kitchen.
3 How do you go from the office to the garden? \ts,s\t1 2
"""
    lines = "".join(f"{k} Mary went to room {k}.\n" for k in range(1, 60))
    return [first.encode(), (first + lines + "60 Where is Mary? \t59\t59\n").encode()]


def glove_files() -> list[bytes]:
    random = np.random.default_rng(2)
    words = [
        "the",
        ",",
        ". . .",
        "café",
        "2.5",
        "\u4e2d\u6587",
        "of",
        "\u0085",
        "dog's",
        "a-b",
    ]
    rows = [(w, random.normal(size=6)) for w in words + [f"w{k}" for k in range(20)]]
    text = "".join(f"{w} {' '.join(f'{v:.5f}' for v in row)}\n" for w, row in rows)
    tiny = "".join(f"{w} {' '.join(f'{v:.3e}' for v in row)}\n" for w, row in rows[3:])
    return [text.encode(), tiny.encode()]


def word2vec_files() -> list[bytes]:
    random = np.random.default_rng(3)
    words = ["</s>", "the", "café", "\u4e2d\u6587", "New_York"] + [f"w{k}" for k in range(15)]
    vectors = random.normal(size=(len(words), 5)).astype("<f4")

    def file(end: bytes) -> bytes:
        rows = [w.encode() + b" " + v.tobytes() + end for w, v in zip(words, vectors, strict=True)]
        return b"%d 5\n" % len(words) + b"".join(rows)

    return [file(b"\n"), file(b"")]


# Readers that share no code with the course's. Each is asked only about files that were accepted.


def check_idx(path: Path, result: np.ndarray) -> bool:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    axes = data[3]
    shape = [int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(1, axes + 1)]
    letter = {8: "B", 9: "b", 11: "h", 12: "i", 13: "f", 14: "d"}[data[2]]
    numbers = struct.unpack(f">{int(np.prod(shape))}{letter}", data[4 + 4 * axes :])
    return list(result.shape) == shape and result.ravel().tolist() == list(numbers)


def check_cifar(path: Path, result: readers.Cifar) -> bool:
    data = path.read_bytes()
    skip = 1 if result.coarse is None else 2
    for k in range(len(result)):
        record = data[k * (skip + 3072) : (k + 1) * (skip + 3072)]
        if result.labels[k] != record[skip - 1] or result.images[k].tobytes() != record[skip:]:
            return False
        if result.coarse is not None and result.coarse[k] != record[0]:
            return False
    return len(result) * (skip + 3072) == len(data) and max(result.labels) < 10**skip


def check_voc(path: Path, result: readers.VocAnnotation) -> bool:
    root = ElementTree.parse(path).getroot()

    def box(node: ElementTree.Element) -> tuple[float, ...]:
        sides = ("xmin", "ymin", "xmax", "ymax")
        return tuple(float(node.findtext(f"bndbox/{side}", "")) for side in sides)

    things = [((n.findtext("name") or "").strip(), box(n)) for n in root.findall("object")]
    size = [int(root.findtext(f"size/{key}", "")) for key in ("width", "height", "depth")]
    inside = all(
        0 <= x1 <= x2 <= size[0] and 0 <= y1 <= y2 <= size[1] for _, (x1, y1, x2, y2) in things
    )
    same = things == [(thing.name, thing.box) for thing in result.objects]
    name = (root.findtext("filename") or "").strip() == result.filename
    return inside and same and name and size == [result.width, result.height, result.depth]


def check_coco(path: Path, result: readers.CocoInstances | readers.CocoCaptions) -> bool:
    data = json.loads(path.read_text(encoding="utf-8"))
    images = [(i["id"], i["file_name"], i["width"], i["height"]) for i in data["images"]]
    same = images == [(i.id, i.file_name, i.width, i.height) for i in result.images]
    if isinstance(result, readers.CocoCaptions):
        stated = [(a["id"], a["image_id"], a["caption"]) for a in data["annotations"]]
        return same and stated == [(c.id, c.image_id, c.caption) for c in result.captions]
    things = [(a["id"], a["image_id"], a["category_id"], a["bbox"]) for a in data["annotations"]]
    same &= things == [(t.id, t.image_id, t.category_id, list(t.box)) for t in result.instances]
    for annotation, thing in zip(data["annotations"], result.instances, strict=True):
        if isinstance(thing.outline, readers.RunLengths):
            same &= thing.outline.mask().shape == tuple(annotation["segmentation"]["size"])
        else:
            same &= [list(p) for p in thing.outline] == annotation["segmentation"]
    known = {i[0] for i in images}, {c["id"] for c in data["categories"]}
    return same and all(t[1] in known[0] and t[2] in known[1] for t in things)


def check_babi(path: Path, result: list[readers.Question]) -> bool:
    letters = lambda text: "".join(c for c in text.lower() if c.isalnum())  # noqa: E731
    story: dict[int, str] = {}
    count = 0
    for line in path.read_bytes().decode().split("\n")[:-1]:
        head, sentence = line.removesuffix("\r").split(" ", 1)
        if int(head) == 1:
            story = {}
        if "\t" not in sentence:
            story[int(head)] = letters(sentence)
            continue
        question, answer, support = sentence.split("\t")
        read = result[count]
        count += 1
        told = ["".join(map(letters, words)) for words in read.story]
        if told != list(story.values()) or "".join(map(letters, read.question)) != letters(
            question
        ):
            return False
        if letters("".join(read.answer)) != letters(answer):
            return False
        if [told[k] for k in read.supporting] != [story[int(k)] for k in support.split()]:
            return False
    return count == len(result)


def check_vectors(path: Path, result: readers.WordVectors, binary: bool) -> bool:
    from gensim.models import KeyedVectors

    try:
        stated = KeyedVectors.load_word2vec_format(str(path), binary=binary, no_header=not binary)
    except ValueError:  # gensim takes a word with spaces for several columns
        if binary or not any(" " in word for word in result.words):
            raise
        return check_glove_by_hand(path, result)
    # For a word that comes twice gensim keeps an empty place at the end.
    same = list(stated.key_to_index) == list(result.words)
    return same and np.array_equal(stated.vectors[: len(result)], result.vectors)


def check_glove_by_hand(path: Path, result: readers.WordVectors) -> bool:
    size, seen = result.vectors.shape[1], {}
    for line in path.read_bytes().decode().split("\n")[:-1]:
        word, *numbers = line.removesuffix("\r").rstrip(" ").rsplit(" ", size)
        seen.setdefault(word, np.array(numbers, np.float64).astype(np.float32))
    return list(seen) == list(result.words) and np.array_equal(list(seen.values()), result.vectors)


def read_coco(path: Path) -> readers.CocoInstances | readers.CocoCaptions:
    captions = path.suffix == ".captions"
    return readers.read_coco_captions(path) if captions else readers.read_coco_instances(path)


def read_cifar(path: Path) -> readers.Cifar:
    return readers.read_cifar100(path) if path.suffix == ".100" else readers.read_cifar10(path)


FORMATS: dict[str, tuple[Callable, Callable, Callable]] = {
    "idx": (idx_files, readers.read_idx, check_idx),
    "cifar": (cifar_files, read_cifar, check_cifar),
    "voc": (voc_files, readers.read_voc, check_voc),
    "coco": (coco_files, read_coco, check_coco),
    "babi": (babi_files, readers.read_babi, check_babi),
    "glove": (glove_files, readers.read_glove, lambda p, r: check_vectors(p, r, False)),
    "word2vec": (word2vec_files, readers.read_word2vec, lambda p, r: check_vectors(p, r, True)),
}

# Ways to damage a file: functions of its bytes and a generator.

Random = np.random.Generator
NUMBERS = [0, 1, 2, -1, 127, 255, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**40]


def place(data: bytes, random: Random) -> int:
    """Choose a byte, half of the time near the beginning, where headers stand."""
    limit = len(data) if random.random() < 0.5 else min(len(data), 40)
    return int(random.integers(0, limit + 1))


def chunk(data: bytes, random: Random) -> tuple[int, int]:
    start = place(data, random)
    return start, min(len(data), start + int(2 ** random.uniform(0, 10)))


def truncate(data: bytes, random: Random) -> bytes:
    return data[: place(data, random)]


def flip_bits(data: bytes, random: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 9)) if data else 0):
        damaged[min(place(data, random), len(data) - 1)] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def insert(data: bytes, random: Random) -> bytes:
    at = place(data, random)
    return data[:at] + random.bytes(int(2 ** random.uniform(0, 10))) + data[at:]


def delete(data: bytes, random: Random) -> bytes:
    start, stop = chunk(data, random)
    return data[:start] + data[stop:]


def duplicate(data: bytes, random: Random) -> bytes:
    start, stop = chunk(data, random)
    return data[:stop] + data[start:stop] * int(2 ** random.uniform(0, 8)) + data[stop:]


def append_itself(data: bytes, random: Random) -> bytes:
    return data * int(random.integers(2, 50))


def exchange(data: bytes, random: Random) -> bytes:
    a, b, c, d = sorted(place(data, random) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def change_word(data: bytes, random: Random) -> bytes:
    """Write a telling number over four bytes of the header."""
    at = 4 * int(random.integers(0, 5))
    value = int(random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**20, 10**9])).to_bytes(4, "big")
    return data[:at] + (value if random.random() < 0.5 else value[::-1]) + data[at + 4 :]


def change_number(data: bytes, random: Random) -> bytes:
    """Write a telling number over one that is spelled in digits."""
    found = [match.span() for match in re.finditer(rb"-?[0-9][0-9.e]*", data[:100_000])]
    if not found:
        return change_word(data, random)
    start, stop = found[int(random.integers(0, len(found) if random.random() < 0.7 else 1))]
    odd = [b"NaN", b"Infinity", b"-inf", b"1e999", b"1e39", b"1_0", b"0x10", b"9" * 5000, b"1.5"]
    odd += ["\u0661".encode(), b"", b"true", b"1e-999", b"-0", b"." + b"3" * 9000]
    odd += [str(number).encode() for number in NUMBERS] + [data[slice(*found[-1])]]
    return data[:start] + odd[int(random.integers(len(odd)))] + data[stop:]


def insert_token(data: bytes, random: Random) -> bytes:
    """Insert what parsers stumble over."""
    entity = b'<!ENTITY a "' + b"ha" * 50 + b'"><!ENTITY b "' + b"&a;" * 1000 + b'">'
    tokens = [
        b"\0", b"\0" * 100, b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x85",
        b"\xc2\x85", b"\r", b"\r\n", b"\n", b"\n\n", b"\xe2\x80\xa8", b"\x0b", b"\x1c", b"\t",
        b"  ", b" ",
        b"[" * 100_000, b'{"a":' * 50_000, b"<a>" * 50_000, b"<a/>" * 100_000, b"[],", b"{}",
        b"<!DOCTYPE annotation [" + entity + b"]>", b"&b;", b"&#0;", b"&#x110000;", b"<![CDATA[",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">', b"<!-- -->", b"<?x?>", b"x<!---->" * 100_000,
        b"../", b"/etc/passwd", b"C:\\", b"\\ud800", b'"id": 139, ', b"1 ", b"1" * 2_000_000,
        b"-" * 5000, b"," * 5000, b"x" * 2_000_000, b"1." * 5000, b" 0.5" * 5000,
        b"\n1 a b.\n" * 99,
    ]  # fmt: skip
    at = place(data, random)
    if random.random() < 0.5:
        at = data.find([b"\n", b">", b"[", b'"', b" "][int(random.integers(5))], at) + 1
    return data[:at] + tokens[int(random.integers(len(tokens)))] + data[at:]


def change_newlines(data: bytes, random: Random) -> bytes:
    new = [b"\r\n", b"\r", b"", b"\n\n", b"\0", b"\xe2\x80\xa8", b"\n "][int(random.integers(7))]
    if random.random() < 0.5:
        return data.replace(b"\n", new)
    at = data.find(b"\n", place(data, random))
    return data[:at] + new + data[at + 1 :]


WAYS = [truncate, flip_bits, insert, delete, duplicate, append_itself, exchange, change_word]
WAYS += [change_number, change_number, insert_token, insert_token, change_newlines]


@cache
def long_stream() -> bytes:
    """Compress 300 MB of zeros, as the numbers of an array that says to have 64 of them."""
    head, zeros = bytes([0, 0, 8, 1, 0, 0, 0, 64]), bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)  # the same each time
    checksum = zlib.crc32(head)
    for _ in range(300):
        checksum = zlib.crc32(zeros, checksum)
    trailer = struct.pack("<II", checksum, len(head) + 300 * len(zeros))
    return gzip.compress(b"", mtime=0)[:10] + first + block * 300 + packer.flush() + trailer


def lie(data: bytes, random: Random, stream: bytes) -> bytes:
    """Damage what is inside a gzip file, or its own header and trailer."""
    inside = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    kind = int(random.integers(6))
    if kind == 0:
        return gzip.compress(change_word(inside, random), mtime=0)
    if kind == 1:
        return gzip.compress(WAYS[int(random.integers(len(WAYS)))](inside, random), mtime=0)
    packed = gzip.compress(inside, mtime=0)
    if kind == 2:  # checksum or length
        return packed[:-8] + random.bytes(8)
    if kind == 3:
        return packed + (packed, b"\0" * 50, b"junk", packed[:5])[int(random.integers(4))]
    if kind == 4:
        return gzip.compress(b"", mtime=0) * int(random.integers(1, 3000)) + packed
    return stream


def damaged_files(format: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield pairs of the ending of a file's name and damaged bytes."""
    good = FORMATS[format][0]()
    stream = long_stream() if format == "idx" else b""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        which = int(random.integers(len(good)))
        data, ending = good[which], ""
        if format == "cifar":  # the first byte says which of the two formats it is
            data, ending = data[1:], (".10", ".100")[data[0]]
        if format == "coco":
            ending = ".captions" if b'"caption"' in data else ".instances"
        if stream and random.random() < 0.25:
            yield ending, lie(data, random, stream)
            continue
        for _ in range(int(random.integers(1, 3))):
            data = WAYS[int(random.integers(len(WAYS)))](data, random)[: 4 << 20]
        yield ending, data


class Hang(BaseException):
    """Reading a file took too long."""


def fault(error: ReadError, path: Path) -> str | None:
    """Say what is wrong with an error, if anything."""
    message = str(error)
    if error.path != path or str(path) not in message:
        return "names no file"
    if not re.search(r"(byte|line) \d+|^\$", error.place) or error.place not in message:
        return "names no place"
    if len(message) > 600 or not message.isprintable():
        return "is no line of text"
    return None


def peak_beyond(before: int) -> int:
    """Return the bytes of memory that the process held at its peak beyond what it held before."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 - before


def resident() -> int:
    """Forget the peak so far and return the bytes that the process holds."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def fuzz(
    read: Callable, check: Callable, files: Iterator[tuple[str, bytes]], hang: float = HANG
) -> dict:
    """Read files one after the other and report."""
    import resource

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    report = {"read": 0, "refused": 0, "seconds": 0.0, "megabytes": 0.0, "failures": []}
    with tempfile.TemporaryDirectory() as folder:
        for number, (ending, data) in enumerate(files):
            path = Path(folder) / f"file{ending}"
            path.write_bytes(data)
            before, begin, result, problem = resident(), time.process_time(), None, None
            resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, resource.RLIM_INFINITY))
            signal.setitimer(signal.ITIMER_REAL, hang)
            try:
                result = read(path)
            except ReadError as error:
                problem = fault(error, path)
                report["refused"] += 1
            except (Exception, Hang) as error:
                problem = f"{type(error).__name__}: {error}"[:300]
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds, megabytes = time.process_time() - begin, peak_beyond(before) / 2**20
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if result is not None:
                report["read"] += 1
                problem = None if check(path, result) else "another answer than the reference"
            if problem:
                report["failures"].append(f"file {number}: {problem}")
            report["seconds"] = max(report["seconds"], seconds)
            report["megabytes"] = max(report["megabytes"], megabytes)
    return report


def main() -> None:
    """Read damaged files and print the reports."""
    formats = list(FORMATS) if sys.argv[1] == "all" else sys.argv[1:2]
    count, seed = int(sys.argv[2]), int((sys.argv[3:] or ["0"])[0])
    for format in formats:
        if format in ("glove", "word2vec"):
            import gensim  # noqa: F401 (its memory is none of the reader's)
        _, read, check = FORMATS[format]
        report = fuzz(read, check, damaged_files(format, count, seed))
        print(json.dumps({"format": format} | report))


if __name__ == "__main__":
    main()
