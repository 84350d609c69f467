"""Encode sound as Ogg Opus in bytes that the samples and the clip's name determine.

libsndfile draws the serial number of every stream at random; here it becomes a hash of the clip's
name, so that the same libsndfile writes the same bytes. Another version of libopus may write
others: compare the decoded samples then.
"""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

COMPRESSION = 0.945  # about 23 kbit/s at 8 kHz


def _crc_table() -> list[int]:
    """Tabulate the checksum of Ogg pages (RFC 3533): polynomial 0x04c11db7, not reflected."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


CRC_TABLE = _crc_table()


def set_serial(stream: bytes, serial: int) -> bytes:
    """Give every page of an Ogg stream a serial number, and its checksum.

    Args:
        stream: One logical Ogg stream.
        serial: The number, below 2 ** 32.

    Returns:
        The stream with the number changed.

    Source: RFC 3533, section 6.
    """
    pages, start = [], 0
    while start < len(stream):
        segments = stream[start + 26]
        lengths = stream[start + 27 : start + 27 + segments]
        stop = start + 27 + segments + sum(lengths)
        page = bytearray(stream[start:stop])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = bytes(4)
        crc = 0
        for byte in page:
            crc = ((crc << 8) & 0xFFFFFFFF) ^ CRC_TABLE[(crc >> 24) ^ byte]
        page[22:26] = struct.pack("<I", crc)
        pages.append(bytes(page))
        start = stop
    return b"".join(pages)


def encode(samples: np.ndarray, rate: int, name: str, compression: float = COMPRESSION) -> bytes:
    """Encode a clip as Ogg Opus.

    Args:
        samples: int16 or float32 of shape (samples,).
        rate: Samples a second, one that Opus knows: 8, 12, 16, 24 or 48 thousand.
        name: Name of the clip, which gives the serial number.
        compression: 0 (largest file) to 1 (smallest), as libsndfile takes it.

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, rate, format="OGG", subtype="OPUS", compression_level=compression
    )
    return set_serial(buffer.getvalue(), zlib.crc32(name.encode()))


def write_listing(path: Path, columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Path:
    """Write the list of clips as tab-separated values.

    Args:
        path: The file to write.
        columns: Names of the columns.
        rows: One tuple of texts a clip; they are sorted.

    Returns:
        The path.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        writer.writerow(columns)
        writer.writerows(sorted(rows))
    return path
