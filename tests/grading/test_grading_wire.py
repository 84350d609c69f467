"""What crosses between two processes arrives as it was sent, and nothing else does any harm."""

import json
import socket
import struct
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as some_numpy

from coursekit.grading.compare import changed
from coursekit.grading.official.codec import MOST_ITEMS, decode, encode
from coursekit.grading.official.wire import (
    MOST_HEADER,
    Channel,
    Closed,
    Malformed,
    TooLarge,
    TooLate,
    framed,
    parsed,
)
from coursekit.grading.values import plain

LENGTHS = struct.Struct(">QI")


def crossed(*values):
    """Send values through a frame and return them."""
    frame = framed({}, values)
    total, head = LENGTHS.unpack(frame[:12])
    assert len(frame) == 12 + total
    return parsed(frame[12 : 12 + head], bytearray(frame[12 + head :]))[1]


def alike(sent, got):
    """Whether two values are the same bit for bit, of the same types, NaN included."""
    if type(sent) is not type(got):
        return False
    if isinstance(sent, (list, tuple)):
        return len(sent) == len(got) and all(map(alike, sent, got))
    if isinstance(sent, dict):
        keys = [(type(k), repr(k)) for k in sent] == [(type(k), repr(k)) for k in got]
        return keys and all(map(alike, sent.values(), got.values()))
    if isinstance(sent, torch.Tensor):
        same = sent.dtype == got.dtype and sent.requires_grad == got.requires_grad
        return same and not changed(plain(sent), plain(got))
    if isinstance(sent, (np.ndarray, np.generic)):
        return sent.dtype == got.dtype and sent.shape == got.shape and _bits(sent) == _bits(got)
    return repr(sent) == repr(got)


def _bits(array):
    array = np.asarray(array)
    return array.tobytes() if array.dtype.itemsize <= 8 or array.dtype.kind == "c" else repr(array)


# Round trips

keys = some.text(max_size=5) | some.integers() | some.floats(allow_nan=False) | some.booleans()
arrays = some_numpy.arrays(
    some_numpy.boolean_dtypes()
    | some_numpy.integer_dtypes(endianness="=")
    | some_numpy.unsigned_integer_dtypes(endianness="=")
    | some_numpy.floating_dtypes(endianness="=", sizes=(16, 32, 64))
    | some_numpy.complex_number_dtypes(endianness="=", sizes=(64, 128)),
    some_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
leaves = (
    some.none()
    | some.booleans()
    | some.integers(min_value=-(2**200), max_value=2**200)
    | some.floats()
    | some.text(some.characters(), max_size=10)
    | arrays
    | arrays.filter(lambda a: a.ndim == 0).map(lambda a: a[()])
    | arrays.map(torch.from_numpy)
)
values = some.recursive(
    leaves,
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.lists(inner, max_size=4).map(tuple)
        | some.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(some.lists(values, max_size=3))
def test_plain_values_arrive_as_they_were_sent(sent):
    assert all(map(alike, sent, crossed(*sent)))


FORMATS = [
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16),
    *(torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2),
]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
def test_tensors_of_every_format_arrive(dtype, shape):
    sent = torch.ones(shape).to(dtype)
    (got,) = crossed(sent)
    assert (got.dtype, got.shape) == (dtype, shape)
    assert alike(sent, got)


def test_numbers_that_are_not_finite_arrive():
    (got,) = crossed(torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0]))
    assert got.tolist()[1:] == [float("inf"), float("-inf"), 0.0]
    assert got.isnan().tolist() == [True, False, False, False]
    assert got.signbit().tolist()[2:] == [True, True]


def test_an_argument_keeps_its_gradient_and_the_order_of_its_axes():
    sent = torch.randn(3, 4, 5).permute(2, 0, 1).requires_grad_()
    (got,) = crossed(sent)
    assert got.requires_grad
    assert got.is_leaf
    assert got.stride() == sent.stride()
    assert torch.equal(got, sent)


@pytest.mark.parametrize(
    "sent",
    [
        torch.randn(6, 6)[::2, 1::3],
        torch.randn(1, 3).expand(4, 3),
        torch.randn(3).to_sparse(),
        torch.randn(2, dtype=torch.complex64).conj(),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=["strided", "expanded", "sparse", "conjugate", "parameter"],
)
def test_odd_tensors_arrive_as_plain_ones(sent):
    (got,) = crossed(sent)
    assert type(got) is torch.Tensor
    assert not changed(plain(sent), plain(got))


@pytest.mark.parametrize(
    "sent",
    [
        np.arange(24.0).reshape(2, 3, 4).T[:, ::2],
        np.arange(4, dtype=">i4"),
        np.broadcast_to(np.float32(3), (2, 2)),
        np.longdouble(1) / 3,
        np.array([1, 2], np.clongdouble) / 3,
        np.array([np.inf, np.nan], np.longdouble),
    ],
    ids=["strided", "big-endian", "broadcast", "longdouble", "clongdouble", "not finite"],
)
def test_odd_arrays_arrive_with_their_values(sent):
    (got,) = crossed(sent)
    assert type(got) is type(sent)
    assert got.dtype == sent.dtype.newbyteorder("=")
    assert np.array_equal(got, sent, equal_nan=True)


def test_tuples_of_torch_arrive_as_tuples():
    assert crossed(torch.zeros(2, 3).shape) == [(2, 3)]
    assert type(crossed(torch.tensor([2.0, 1.0]).sort())[0]) is tuple


def test_arrays_that_arrive_are_independent_and_can_be_written():
    first, second, third = crossed(torch.zeros(3), np.zeros(3), torch.zeros(3))
    first += 1
    second += 2
    assert third.sum() == 0
    assert second.flags.owndata
    assert second.flags.aligned


def test_halves_of_surrogate_pairs_arrive():
    assert crossed("a\ud800b", {"\udfff": 1}) == ["a\ud800b", {"\udfff": 1}]


# What cannot be sent


class Five(int):
    pass


class Mine(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "refused",
    [
        Five(5),
        {Five(5): 1},
        {(1, 2): 3},
        {None: 3},
        torch.zeros(1).as_subclass(Mine),
        np.zeros(1).view(np.matrix),
        np.array([object()]),
        np.zeros(2, dtype=[("a", float)]),
        b"bytes",
        {1, 2},
        object(),
        len,
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_but_plain_data_is_not_sent(refused):
    with pytest.raises(TypeError):
        encode([refused])


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_limited_on_both_sides():
    assert crossed(nested(20)) == [nested(20)]
    with pytest.raises(TypeError, match="20 deep"):
        encode([nested(21)])
    nodes, _ = encode([nested(20)])
    with pytest.raises(Malformed):
        decode([["l", nodes[0]]], bytearray())


@pytest.mark.parametrize(
    ("large", "says"),
    [
        (list(range(MOST_ITEMS)), "200,000 items"),
        (2**13_001, "13,000 bits"),
        ("a" * MOST_HEADER, "4 MB of text"),
        (torch.zeros(1).expand(1 << 30), "4096 MB, more than 1 MB"),
        ([np.zeros(100_000), np.zeros(100_000)], "2 MB, more than 1 MB"),
        (torch.zeros([1] * 40), "32 axes"),
    ],
    ids=["items", "int", "text", "expanded", "arrays", "axes"],
)
def test_what_is_too_large_is_not_sent(large, says):
    with pytest.raises(TooLarge, match=says):
        framed({}, [large], most=1 << 20)


# What must not be believed


@pytest.mark.parametrize(
    ("nodes", "body"),
    [
        ({}, b""),
        ([[]], b""),
        ([["x"]], b""),
        ([["l", ["x"]]], b""),
        ([{"a": 1}], b""),
        ([1 << 64], b""),
        ([["i", "12"]], b""),
        ([["i", "0x" + "f" * 40]], b""),
        ([["i", "f" * 5000]], b""),
        ([["i", "--" + "f" * 40]], b""),
        ([["d", "a"]], b""),
        ([["d", None, 1]], b""),
        ([["d", ["l"], 1]], b""),
        ([["d", 1, 1, True, 2]], b""),
        ([["A", "float64", [1]]], b"1234567"),
        ([["A", "float64", [1]]], b"123456789"),
        ([["A", "object", [1]]], b"12345678"),
        ([["A", "O", [1]]], b"12345678"),
        ([["A", ["float64"], [1]]], b"12345678"),
        ([["A", "float64", 1]], b"12345678"),
        ([["A", "float64", [True]]], b"12345678"),
        ([["A", "float64", [-1, -1]]], b"12345678"),
        ([["A", "float64", [1.0]]], b"12345678"),
        ([["A", "float64", [0, 1 << 39, 1 << 39]]], b""),
        ([["A", "float64", [1 << 39, 1 << 39]]], b""),
        ([["A", "float64", [1] * 33]], b"12345678"),
        ([["A", "bool", [1]]], b"\x02"),
        ([["S", "float64", [1]]], b"12345678"),
        ([["T", "bool", [1], [0], False]], b"\x02"),
        ([["T", "float32", [1], [1], False]], b"1234"),
        ([["T", "float32", [1], [], False]], b"1234"),
        ([["T", "float32", [1], [False], False]], b"1234"),
        ([["T", "float32", [1], [0], 1]], b"1234"),
        ([["T", "int32", [1], [0], True]], b"1234"),
        ([["T", "qint8", [1], [0], False]], b"1"),
        ([["T", "float32", [1], [0]]], b"1234"),
    ],
)
def test_values_that_are_not_as_they_are_sent_are_refused(nodes, body):
    with pytest.raises(Malformed):
        decode(nodes, bytearray(body))


@pytest.mark.parametrize(
    "header",
    [b"", b"x", b"[", b"[{}]", b"[[], []]", b'{"a": 1}', b"[" * 100_000, b"\xff\xfe", b"1" * 5000],
)
def test_headers_that_are_none_are_refused(header):
    with pytest.raises(Malformed):
        parsed(header, bytearray())


SAMPLE = framed(
    {"ok": True},
    [{"a": [1.5, None, (2**80, "text")]}, torch.ones(2, 3).T, np.arange(3), np.float32(1)],
)


@settings(deadline=None, max_examples=200)
@given(some.data())
def test_spoiled_frames_raise_nothing_unexpected(data):
    frame = bytearray(SAMPLE)
    for _ in range(data.draw(some.integers(1, 6))):
        position = data.draw(some.integers(0, len(frame) - 1))
        if data.draw(some.booleans()):
            frame[position] = data.draw(some.integers(0, 255))
        else:
            del frame[position : position + data.draw(some.integers(1, 8))]
    _received_or_refused(bytes(frame))


@settings(deadline=None, max_examples=200)
@given(some.binary(max_size=200))
def test_random_bytes_raise_nothing_unexpected(frame):
    _received_or_refused(frame)


json_values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.sampled_from(["l", "t", "d", "i", "T", "A", "S", "bool", "float32", "int64", "f" * 40]),
    lambda inner: some.lists(inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(some.lists(json_values, max_size=3), some.binary(max_size=32))
def test_any_nodes_raise_nothing_unexpected(nodes, body):
    head = json.dumps([{}, nodes]).encode()
    _received_or_refused(LENGTHS.pack(len(head) + len(body), len(head)) + head + body)


def _received_or_refused(frame):
    sending, receiving = socket.socketpair()
    with sending, receiving:
        sending.sendall(frame)
        sending.shutdown(socket.SHUT_WR)
        try:
            _, values = Channel(receiving).receive(5.0, most=1 << 20)
        except (Malformed, Closed):
            return
        for value in values:
            plain(value)


# Time and memory


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "lengths", [(1 << 62, 10), ((1 << 20) + 1, 10), (10, 11), (1 << 19, 5 << 20)]
)
def test_a_length_beyond_the_limit_is_refused_before_memory_is_taken(ends, lengths):
    ours, theirs = ends
    theirs.sendall(LENGTHS.pack(*lengths))
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            Channel(ours).receive(5.0, most=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_memory_is_taken_as_bytes_arrive(ends):
    ours, theirs = ends
    theirs.sendall(LENGTHS.pack(100 << 20, 1000) + b"[" * 500)
    theirs.shutdown(socket.SHUT_WR)
    tracemalloc.start()
    try:
        with pytest.raises(Closed):
            Channel(ours).receive(5.0)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_header_full_of_containers_stays_within_the_limits():
    header = b"[{}, [" + b"[]," * (MOST_HEADER // 24) + b"[]]]"
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(json.loads(header)[1], bytearray(1))
        assert tracemalloc.get_traced_memory()[1] * 8 < 128 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [0, 5, 12, 30, len(SAMPLE) - 1])
def test_silence_and_half_a_frame_are_too_late(ends, length):
    ours, theirs = ends
    theirs.sendall(SAMPLE[:length])
    started = time.monotonic()
    with pytest.raises(TooLate):
        Channel(ours).receive(0.05)
    assert 0.04 < time.monotonic() - started < 5


def test_a_drip_counts_against_the_time_of_the_whole_frame(ends):
    ours, theirs = ends
    stop = threading.Event()

    def drip():
        for byte in SAMPLE:
            if stop.wait(0.02):
                return
            theirs.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(TooLate):
            Channel(ours).receive(0.3)
    finally:
        stop.set()
        thread.join()


def test_an_end_that_closes_is_closed(ends):
    ours, theirs = ends
    theirs.sendall(SAMPLE[:50])
    theirs.close()
    with pytest.raises(Closed):
        Channel(ours).receive(5.0)
    with pytest.raises(Closed):
        Channel(ours).send({"a": 1})


def test_an_end_that_does_not_read_is_too_late(ends):
    ours, _ = ends
    with pytest.raises(TooLate):
        Channel(ours).send({}, [np.zeros(1 << 20)], seconds=0.1)


def test_frames_follow_each_other(ends):
    ours, theirs = ends
    for number in range(3):
        Channel(theirs).send({"number": number}, [number])
    for number in range(3):
        assert Channel(ours).receive(5.0) == ({"number": number}, [number])
