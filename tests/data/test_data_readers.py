"""Readers of public formats: right on good files, safe and exact on damaged and hostile ones."""

import gzip
import json
import pickle
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzz_readers import FORMATS, HANG, MEMORY, long_stream

from coursekit.data import readers
from coursekit.data.readers import (
    Question,
    ReadError,
    RunLengths,
    read_babi,
    read_cifar10,
    read_cifar100,
    read_coco_captions,
    read_coco_instances,
    read_glove,
    read_idx,
    read_voc,
    read_word2vec,
)
from coursekit.errors import UserError

FUZZ = Path(__file__).with_name("fuzz_readers.py")
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="limits of memory are set and measured by Linux's /proc"
)


@pytest.fixture
def write(tmp_path):
    def write_file(data: bytes | str, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write_file


def idx(code, array):
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


# Good files


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "uint8"), (9, "int8"), (11, "int16"), (12, "int32"), (13, "float32"), (14, "float64")],
)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 5, 3)])
def test_idx_is_read_as_torchvision_reads_it(write, code, dtype, shape):
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    values = np.random.default_rng(code).normal(size=shape) * 50
    data = idx(code, values.astype(dtype))
    array = read_idx(write(data))
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, values.astype(dtype))
    np.testing.assert_array_equal(array, read_sn3_pascalvincent_tensor(write(data)).numpy())
    np.testing.assert_array_equal(
        read_idx(write(gzip.compress(data, mtime=0), "no-gz-in-the-name")), array
    )
    array[:] = 0  # may be written to


def test_cifar_10_is_label_then_red_green_blue(write):
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3, 32, 32)
    data = read_cifar10(write(b"\3" + pixels[0].tobytes() + b"\11" + pixels[1].tobytes()))
    assert data.labels.tolist() == [3, 9]
    assert data.labels.dtype == np.int64
    assert data.coarse is None
    assert data.images[1, 2, 0, 5] == (3072 + 2 * 1024 + 5) % 256
    np.testing.assert_array_equal(data.images, pixels)
    assert repr(data) == "Cifar(2 images of 3 x 32 x 32, 10 classes)"


def test_cifar_100_has_the_coarse_label_first(write):
    data = read_cifar100(write(b"\4\x1e" + bytes(3072) + b"\x13\x63" + bytes([7]) * 3072))
    assert (data.coarse.tolist(), data.labels.tolist()) == ([4, 19], [30, 99])
    assert data.images[1].min() == data.images[1].max() == 7


def test_voc_annotation(write):
    annotation = read_voc(write(FORMATS["voc"][0]()[0]))
    assert (annotation.filename, annotation.segmented) == ("2007_000027.jpg", False)
    assert (annotation.width, annotation.height, annotation.depth) == (486, 500, 3)
    person, dog = annotation.objects
    assert (person.name, person.box) == ("person", (174, 101, 349, 351))
    assert person.parts == (("head", (169, 104, 209, 146)),)
    assert (dog.name, dog.box, dog.truncated) == ("dog", (1, 45.7, 486, 500), True)
    assert (dog.pose, dog.difficult, dog.parts) == ("Unspecified", False, ())


def test_coco_instances(write):
    data = read_coco_instances(write(FORMATS["coco"][0]()[0]))
    assert repr(data) == "CocoInstances(2 images, 4 instances, 2 categories)"
    assert data.images[1].file_name == "val/000000000285.jpg"
    assert [c.supercategory for c in data.categories] == ["animal", ""]
    assert data.instances[0].outline[0] == (1.5, 2.0, 8.0, 2.5, 4.0, 5.0)
    assert data.instances[0].box == (23.6, 1.0, 38.0, 72.75)
    assert [instance.crowd for instance in data.instances] == [False, True, True, True]


def test_runs_are_unpacked_as_by_the_mask_api_of_coco(write):
    # Both strings were written by pycocotools 2.0.11 for these masks.
    instances = read_coco_instances(write(FORMATS["coco"][0]()[0])).instances
    small = np.zeros((6, 9), bool)
    small[1:4, 2:5] = small[4:6, 6:9] = small[0, 0] = True
    big = np.zeros((100, 120), bool)
    big[10:90, 30:80] = True
    big[40:60, 50:60] = False
    np.testing.assert_array_equal(instances[1].outline.mask(), small)
    np.testing.assert_array_equal(instances[3].outline.mask(), big)
    assert instances[2].outline == RunLengths(6, 9, (0, 1, 12, 3, 38))


def test_coco_captions(write):
    data = read_coco_captions(write(FORMATS["coco"][0]()[3]))
    assert repr(data) == "CocoCaptions(2 images, 2 captions)"
    assert data.captions[1].caption == "Un oso à côté 🐻"
    assert data.captions[1].image_id == data.images[1].id == 285


def test_babi_story_holds_the_statements_before_a_question(write):
    first, second, third, last = read_babi(write(FORMATS["babi"][0]()[1]))
    mary, john = (
        ("mary", "moved", "to", "the", "bathroom"),
        ("john", "went", "to", "the", "hallway"),
    )
    assert first == Question((mary, john), ("where", "is", "mary"), ("bathroom",), (0,))
    assert second.story[:2] == (mary, john)
    assert second.story[3][:2] == ("sandra's", "cat")
    assert second.supporting == (2,)  # line 4 is the third statement
    assert (third.answer, third.supporting) == (("s", "s"), (0, 1))
    assert (len(last.story), last.supporting) == (59, (58,))


def test_glove_is_read_as_gensim_reads_it(write):
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    path = datapath("test_glove.txt")
    stated = KeyedVectors.load_word2vec_format(path, binary=False, no_header=True)
    read = read_glove(path)
    assert list(read.words) == stated.index_to_key
    np.testing.assert_array_equal(read.vectors, stated.vectors)
    assert repr(read) == f"WordVectors({len(stated):,} words, {stated.vector_size} dimensions)"
    assert read_glove(path, limit=3).words == read.words[:3]


def test_glove_words_may_hold_spaces_and_numbers_and_come_twice(write):
    path = write("the 1 2\n. . . 3 4\n7 5 6\n\u0085 7 8\nthe 9 9\r\n")
    read = read_glove(path)
    assert read.words == ("the", ". . .", "7", "\u0085")
    assert read.vectors.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert read.repeated == 1
    assert read_glove(write(". . 1 2 3\n"), dimensions=3).words == (". .",)


@pytest.mark.parametrize("file", ["euclidean_vectors.bin", "high_precision.kv.bin"])
def test_word2vec_is_read_as_gensim_reads_it(file):
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    path = datapath(file)
    stated = KeyedVectors.load_word2vec_format(path, binary=True)
    read = read_word2vec(path)
    assert list(read.words) == stated.index_to_key
    np.testing.assert_array_equal(read.vectors, stated.vectors)
    assert read_word2vec(path, limit=2).words == read.words[:2]


def test_word2vec_takes_a_newline_after_each_vector_or_none(write):
    with_newlines, without = (read_word2vec(write(data)) for data in FORMATS["word2vec"][0]())
    assert with_newlines.words == without.words
    assert with_newlines.words[3] == "中文"
    np.testing.assert_array_equal(with_newlines.vectors, without.vectors)


def test_word2vec_keeps_the_first_of_two_vectors(write):
    row = b"a " + struct.pack("<2f", 1, 2)
    read = read_word2vec(write(b"3 2\n" + row + b"b" + row[1:] + b"a " + bytes(8)))
    assert (read.words, read.repeated) == (("a", "b"), 1)
    assert read.vectors.tolist() == [[1, 2], [1, 2]]


# Damaged files: the message names the file, the place and what was expected.

LABELS = idx(8, np.arange(5, dtype=np.uint8))
PACKED, LONGER = gzip.compress(LABELS, mtime=0), gzip.compress(LABELS + b"x", mtime=0)
RECORD = b"\4\x1e" + bytes(3072)
ANNOTATION = FORMATS["voc"][0]()[0].decode()
INSTANCES = FORMATS["coco"][0]()[0].decode()
CAPTIONS = FORMATS["coco"][0]()[2].decode()
TALE = "1 A b.\n2 Who? \tA\t1\n"
VECTORS = b"2 1\nab " + struct.pack("<f", 1) + b"c " + struct.pack("<f", 2)

DAMAGED = [
    (read_idx, b"", "byte 0", "empty"),
    (read_idx, b"\x89PNG\r\n", "byte 0", "expected two zero bytes"),
    (read_idx, b"\0\0\7\1\0\0\0\1a", "byte 2", "type 0x07, expected one of 0x08"),
    (read_idx, b"\0\0\10\0", "byte 3", "0 axes, expected 1 to 32"),
    (read_idx, b"\0\0\10\2\0\0", "byte 6", "ends in the 2 lengths"),
    (read_idx, LABELS[:-1], "byte 4", "promises 5 x 1 bytes of numbers, but the file of 12 bytes"),
    (read_idx, LABELS + b"x", "byte 4", "holds 6"),
    (read_idx, b"\0\0\10\1\0\0\0\0", "byte 4", "length 0, expected at least 1"),
    (read_idx, idx(13, np.array([1, np.nan, 2], "f4")), "byte 12", "nan, expected a finite number"),
    (read_idx, PACKED[:-1], "before byte 32 of the 32 compressed", "ended before"),
    (read_idx, gzip.compress(LABELS[:-1], mtime=0), "byte 12", "ends, expected 1 more"),
    (read_idx, LONGER, "byte 13", "more bytes follow, expected the end"),
    (read_cifar10, RECORD, "byte 3073", "1 bytes at the end, expected records of 3073"),
    (read_cifar10, b"\12" + bytes(3072), "byte 0", "label 10, expected 0 to 9"),
    (read_cifar100, b"\24" + RECORD[1:], "byte 0", "coarse label 20, expected 0 to 19"),
    (read_cifar100, RECORD + b"\0\x64" + bytes(3072), "byte 3075", "fine label 100, expected"),
    (read_cifar100, RECORD + b"\5" + RECORD[1:], "byte 3074", "5, expected 4 as before"),
    (read_voc, ANNOTATION[:300], "line 8", "is not XML"),
    (read_voc, "<html/>", "line 1, /html", "<html>, expected <annotation>"),
    (read_voc, ANNOTATION.replace("351", "900"), "/object[1]/bndbox", "leaves the image of"),
    (read_voc, ANNOTATION.replace("349", "17"), "/object[1]/bndbox", "expected xmin <= xmax"),
    (read_voc, ANNOTATION.replace(">146", ">nan"), "/part[1]/bndbox/ymax", "'nan', expected a num"),
    (read_voc, ANNOTATION.replace("45.7", "1_0"), "/object[2]/bndbox/ymin", "expected a number"),
    (read_voc, ANNOTATION.replace("<name>dog</name>", ""), "/object[2]", "no <name> within"),
    (read_voc, ANNOTATION.replace("<depth>", "<width>1</width><depth>"), "/size/width", "a second"),
    (read_voc, ANNOTATION.replace("_000027", "/.."), "/filename", "without a folder"),
    (read_voc, ANNOTATION.replace('"utf-8"', '"utf-7"'), "line 1", "encodings are not supported"),
    (read_coco_captions, CAPTIONS[:-9], "line 1, column", "is not JSON"),
    (read_coco_captions, CAPTIONS.replace("139,", "NaN,", 1), "line 1, column", "NaN, expected"),
    (read_coco_captions, CAPTIONS.replace("285,", "9" * 5000 + ",", 1), "column", "of 5000 digits"),
    (read_coco_captions, CAPTIONS.replace("285,", "139,", 1), "$.images[1].id", "also the id of"),
    (read_coco_captions, CAPTIONS.replace(": 49", ": true"), "$.annotations[1].id", "True, expect"),
    (read_coco_captions, CAPTIONS.replace("37, ", '37, "id": 1, '), "$", "key 'id' twice"),
    (read_coco_captions, CAPTIONS.replace("val/", "../"), "$.images[1].file_name", "in its folder"),
    (read_coco_captions, CAPTIONS.replace("val/", "C:"), "$.images[1].file_name", "in its folder"),
    (read_coco_captions, CAPTIONS.replace("\\udc3b", ""), "$.annotations[1].caption", "surrogate"),
    (read_coco_captions, CAPTIONS.encode()[:-2] + b"\xff", "byte", "is not UTF-8"),
    (read_coco_instances, CAPTIONS, "$", 'no key "categories"'),
    (read_coco_instances, INSTANCES.replace("38.0", "1e999", 1), ".bbox[2]", "inf, expected a num"),
    (read_coco_instances, INSTANCES.replace("38.0", "-1", 1), "annotations[0].bbox", "-1 x 72.75"),
    (read_coco_instances, INSTANCES.replace(": 18, ", ": 19, ", 1), "category_id", "18, expected"),
    (read_coco_instances, INSTANCES.replace("3, 38]", "3, 39]"), "[2].segmentation.counts", "55"),
    (read_coco_instances, INSTANCES.replace("OH000", "OH00P"), "[1].segmentation.counts", "packed"),
    (read_coco_instances, INSTANCES.replace("[6, 9]", "[9, 6]", 1), "segmentation.size", "(6, 9)"),
    (read_coco_instances, INSTANCES.replace(", 5.0]", "]"), "segmentation[0]", "of three points"),
    (read_babi, TALE[:-1], "line 2", "expected a newline at its end"),
    (read_babi, TALE[:7], "line 1", "without a question"),
    (read_babi, TALE.replace("2 W", "3 W"), "line 2", "number 3 in the story, expected 1 or 2"),
    (read_babi, TALE.replace("\t1", "\t2"), "line 2", "'2', expected an earlier statement"),
    (read_babi, TALE.replace("\t1", ""), "line 2", "2 columns, expected question, answer and"),
    (read_babi, TALE.replace("A b", "A\0b"), "line 1, byte 3", "NUL"),
    (read_babi, TALE.replace("\n", "\r"), "line 1", "expected a newline"),
    (read_babi, TALE.encode() + b"3 \xff", "line 3", "expected a newline"),
    (read_babi, TALE.encode() + b"3 \xff\n", "line 3, byte 2", "is not UTF-8"),
    (read_babi, "1 " + "b " * 5000 + "\n", "line 1", "10,000 bytes or more"),
    (read_babi, "".join(f"{k} a\n" for k in range(1, 1002)), "line 1001", "over 1,000 lines"),
    (read_glove, "the\n", "line 1", "expected a word without spaces and its numbers"),
    (read_glove, "the 1 2\na 1\n", "line 2", "expected a word and 2 numbers"),
    (read_glove, "the 1 2\na 1 2 3\n", "line 2", "more numbers than 2"),
    (read_glove, "the 1 2\na 1 2b 1 2\n", "line 2", "more numbers than 2"),
    (read_glove, "the 1 2\na 1 nan\n", "line 2", "'nan' in the entry of 'a'"),
    (read_glove, "the 1 2\na 1 1_0\n", "line 2", "'1_0' in the entry of 'a'"),
    (read_glove, "the 1 2\na 1 \u0661\n", "line 2", "expected 2 numbers"),
    (read_glove, "the 1 2\na 1 1e39\n", "line 2", "'1e39', expected a number that float32"),
    (read_glove, "the 1 2\n 1 2\n", "line 2", "expected a word"),
    (read_glove, "the 1 2\na 1 2", "line 2", "the file ends within a line"),
    (read_word2vec, b"2 1 ", "byte 0", 'expected a line "words dimensions"'),
    (read_word2vec, b"0" + VECTORS[1:], "byte 0", "numbers above 0"),
    (read_word2vec, b"3" + VECTORS[1:], "byte 0", "take at least 18 bytes, but 13 follow"),
    (read_word2vec, b"1" + VECTORS[1:], "byte 11", "6 bytes follow the last of 1 words"),
    (read_word2vec, VECTORS.replace(b"c ", b" c"), "byte 11", "expected a word and a space"),
    (read_word2vec, VECTORS.replace(b"ab", b"a\xff"), "byte 5", "is not UTF-8"),
    (read_word2vec, VECTORS.replace(b"ab", b"a\n"), "byte 4", "expected a word in one line"),
    (read_word2vec, VECTORS[:-2] + b"\x80\x7f", "byte 13", "inf, expected a number"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "data", "place", "problem"), DAMAGED)
def test_the_error_names_file_place_and_expectation(write, read, data, place, problem):
    path = write(data)
    with pytest.raises(ReadError) as caught:
        read(path)
    assert place in caught.value.place
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"{path}, {caught.value.place}: ")


def test_a_read_error_is_a_user_error_and_a_value_error_and_can_be_sent_by_a_worker():
    error = ReadError("a.idx", "byte 4", "x" * 5000)
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert len(str(error)) < 400
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "read", [getattr(readers, name) for name in readers.__all__ if name.startswith("read_")]
)
def test_what_is_no_file_is_refused(tmp_path, read):
    for path in (tmp_path / "missing", tmp_path, Path("/dev/zero"), "a\0b"):
        with pytest.raises(ReadError, match="byte 0"):
            read(path)


@pytest.mark.parametrize(("read", "argument"), [(read_glove, "limit"), (read_word2vec, "limit")])
def test_a_wrong_limit_is_named(write, read, argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1 or None, got 0"):
        read(write(VECTORS), **{argument: 0})


@pytest.mark.parametrize("read", [read_cifar10, read_voc, read_coco_captions, read_idx])
def test_max_bytes_bounds_what_is_read(write, read):
    with pytest.raises(ReadError, match="expected at most max_bytes = 4"):
        read(write(LABELS + bytes(20)), max_bytes=4)


# Hostile files: small on the disk, large or endless for a careless reader.


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
    entities = '<!ENTITY a0 "ha">' + entities
    return f"<!DOCTYPE a [{entities}]><annotation>&a9;</annotation>".encode()


@cache
def hostile_files() -> list:
    full = np.array([0x08, 2, 30_000, 30_000], ">u4")
    return [
        (read_idx, bytes([0, 0, 8, 3]) + b"\xff" * 12),
        (read_idx, bytes([0, 0, 8, 2]) + full[2:].tobytes()),
        (read_idx, gzip.compress(bytes([0, 0, 8, 2]) + full[2:].tobytes(), mtime=0)),
        (read_idx, long_stream()),
        (read_voc, laughs()),
        (read_voc, b'<!DOCTYPE a SYSTEM "/dev/zero"><annotation/>'),
        (read_voc, b"<a>" * 1_000_000),
        (read_voc, b"<annotation>" + b"<a/>" * 1_000_000),
        (read_voc, b"<annotation><filename>" + b"x<!---->" * 500_000),
        (read_coco_instances, b"[" * 5_000_000),
        (read_coco_instances, b'{"images": ' * 1_000_000),
        (read_coco_instances, b'{"images": [' + b"1" * 5_000_000 + b"]}"),
        (read_coco_instances, b'{"images": [' + b'"\\' * 2_000_000 + b"NaN"),
        (
            read_coco_instances,
            b"{" + b",".join(b'"%d":1' % k for k in range(200_000)) + b',"199999":2}',
        ),
        (read_babi, b"1 " + b"a" * 5_000_000),
        (read_babi, b"\n" * 5_000_000),
        (read_glove, b"the " + b"1" * 5_000_000),
        (read_glove, b"the " + b"1" * 1_000_000 + b"x\n"),
        (read_glove, b"the " + b"1 " * 500_000 + b"\n" + b"a " + b"1 " * 499_999 + b"\n"),
        (read_word2vec, b"999999999999 999999999\nthe "),
        (read_word2vec, b"1000000 1000000\n" + bytes(1_000_000)),
        (read_word2vec, b"1 " + b"9" * 5_000_000),
        (read_word2vec, b"1 1\n" + b"a" * 5_000_000),
    ]


HOSTILE = """
import json, sys
sys.path.insert(0, {folder!r})
from fuzz_readers import fuzz
from test_data_readers import hostile_files

for read, data in hostile_files():
    print(json.dumps(fuzz(read, None, iter([("", data)]))))
"""


@on_linux
def test_hostile_files_are_refused_at_once_and_in_little_memory():
    script = HOSTILE.format(folder=str(FUZZ.parent))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(reports) == len(hostile_files()), result.stderr
    for (read, data), report in zip(hostile_files(), reports, strict=True):
        name = f"{read.__name__} of {data[:40]!r}"
        assert report["failures"] == [], name
        assert report["refused"] == 1, name
        assert report["seconds"] < 1, name
        assert report["megabytes"] < 256, name


# Damaged files by the thousand


def fuzz(format, count, seed):
    command = [sys.executable, str(FUZZ), format, str(count), str(seed)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG * 3 + count)
    assert result.returncode == 0, result.stderr
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert [report["format"] for report in reports] == ([format] if format != "all" else [*FORMATS])
    for report in reports:
        assert report["failures"] == [], report["format"]
        assert report["read"] + report["refused"] == count
        assert report["seconds"] < 1
        assert report["megabytes"] < MEMORY / 2**20
        # Neither a reader that refuses all nor one that takes all would be tested by these files.
        assert 0.03 * count < report["read"] < 0.5 * count


@on_linux
def test_a_hundred_damaged_files_a_format_end_in_an_error_or_in_the_right_answer():
    fuzz("all", 100, seed=1)


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_thousand_damaged_files_end_in_an_error_or_in_the_right_answer(format):
    fuzz(format, 1000, seed=0)


CARELESS = """
import json, sys, time
sys.path.insert(0, {folder!r})
from fuzz_readers import fuzz
from coursekit.data.readers import ReadError

def hang(path):
    while True:
        pass

def hoard(path):
    return bytes(300 << 20)

def use_much(path):
    return b"x" * (100 << 20)

def dawdle(path):
    begin = time.process_time()
    while time.process_time() < begin + 0.1:
        pass
    return b"x"

def crash(path):
    raise KeyError("image")

def name_no_place(path):
    raise ReadError(path, "somewhere", "is wrong")

def name_another_file(path):
    raise ReadError("other", "byte 0", "is wrong")

def answer_wrongly(path):
    return 7

readers = [hang, hoard, crash, name_no_place, name_another_file, answer_wrongly, use_much, dawdle]
for read in readers:
    check = lambda path, result: result != 7
    limit = 0.2 if read is hang else 60
    print(json.dumps(fuzz(read, check, iter([("", b"data")]), limit)))
"""


@on_linux
def test_the_harness_notices_readers_that_hang_hoard_crash_or_answer_wrongly():
    script = CARELESS.format(folder=str(FUZZ.parent))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    problems = [" ".join(report["failures"]) for report in reports]
    expected = ["Hang", "MemoryError", "KeyError", "no place", "no file", "another answer"]
    expected += ["", ""]
    assert len(problems) == len(expected), result.stderr
    for problem, word in zip(problems, expected, strict=True):
        assert word in problem
    assert problems[-2:] == ["", ""]
    assert 100 <= reports[-2]["megabytes"] < 110
    assert 0.1 <= reports[-1]["seconds"] < 0.2


def test_readers_import_neither_torch_nor_a_plotting_library():
    script = "import sys, coursekit.data.readers; print({'torch', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
