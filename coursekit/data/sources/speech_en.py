"""Rebuild ``files/speech-en`` from Debian's ``asterisk-core-sounds-en-wav`` 1.6.1.

Usage: ``python -m coursekit.data.sources.speech_en ROOT [--output FOLDER]``, where ROOT is the
folder into which the packages ``asterisk-core-sounds-en`` and ``asterisk-core-sounds-en-wav`` were
unpacked (``dpkg -x``), or ``/`` where they are installed.

Clips are encoded by libsndfile as Ogg Opus. It draws the serial number of every stream at random;
here it becomes a hash of the clip's name, so that the same libsndfile writes the same bytes.
Another version of libopus may write others: compare the decoded samples then.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import re
import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import soundfile

from coursekit.data.sources import main
from coursekit.data.speech import SAMPLE_RATE, normalize_text

COMPRESSION = 0.945  # about 23 kbit/s
COLUMNS = ("name", "path", "seconds", "split", "text", "published", "sha256")
REMARK = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
LEAST_WORDS = 6  # shorter texts are variants of one another only if they are equal
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1


def published_texts(root: Path) -> dict[str, str]:
    """Read the publisher's transcripts.

    Args:
        root: Where the packages were unpacked.

    Returns:
        Clip name to text.
    """
    path = root / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    texts = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith(";"):
                name, text = line.split(":", 1)
                texts[name] = " ".join(text.split())
    return texts


def spoken_text(published: str) -> str:
    """Take the remarks on the recording out of a transcript.

    Args:
        published: For example ``at [@]`` or ``(1 second of silence)``.

    Returns:
        What is said: ``at``; empty for tones and silences.
    """
    return " ".join(REMARK.sub(" ", published).split())


def _trigrams(text: str) -> set[tuple[str, ...]]:
    """List the runs of three words of a normalized text; none if it has too few words."""
    words = text.split()
    if len(words) < LEAST_WORDS:
        return set()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def families(texts: Iterable[str]) -> dict[str, str]:
    """Join the texts that are variants of one another, such as menus that differ in one item.

    Two texts of at least six words are joined if more than half of the word trigrams of the one
    that has fewer stand in the other; so are all that hang together by such pairs.

    Args:
        texts: Normalized texts.

    Returns:
        Each text to the alphabetically first of its family.
    """
    ordered = sorted(set(texts))
    trigrams = {text: _trigrams(text) for text in ordered}
    family = {text: {text} for text in ordered}
    for first, second in itertools.combinations(ordered, 2):
        a, b = trigrams[first], trigrams[second]
        if family[first] is not family[second] and len(a & b) > min(len(a), len(b)) / 2:
            family[first] |= family[second]
            for text in family[second]:
                family[text] = family[first]
    return {text: min(members) for text, members in family.items()}


def choose_splits(texts: Iterable[str]) -> dict[str, str]:
    """Choose the split of each text by the hash of its family.

    Args:
        texts: What is said in each clip; empty where nothing is.

    Returns:
        Text to "train", "validation" or "test"; "none" for the empty text.
    """
    normalized: dict[str, str] = {text: normalize_text(text) for text in texts}
    family = families(normalized.values())
    splits: dict[str, str] = {}
    for text, spelled in normalized.items():
        digest = hashlib.sha256(family[spelled].encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        if not text:
            splits[text] = "none"
        elif share < TEST_SHARE:
            splits[text] = "test"
        else:
            splits[text] = "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"
    return splits


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


def encode(wav: Path, name: str) -> tuple[bytes, float]:
    """Encode a clip as Ogg Opus.

    Args:
        wav: The published file, 16 bits, mono, 8 kHz.
        name: Name of the clip, which gives the serial number.

    Returns:
        The bytes, and the length in seconds.
    """
    samples, rate = soundfile.read(wav, dtype="int16")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise ValueError(f"{wav} must be mono at {SAMPLE_RATE} Hz, got {rate} Hz")
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, rate, format="OGG", subtype="OPUS", compression_level=COMPRESSION
    )
    return set_serial(buffer.getvalue(), zlib.crc32(name.encode())), len(samples) / rate


def build(root: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        root: Where the packages were unpacked.
        output: The folder to write to.

    Returns:
        The path of the list of clips.
    """
    sounds, published = root / "usr/share/asterisk/sounds/en", published_texts(root)
    texts = {name: spoken_text(text) for name, text in published.items()}
    splits = choose_splits(texts.values())
    rows = []
    for wav in sounds.rglob("*.wav"):
        name = wav.relative_to(sounds).with_suffix("").as_posix()
        stream, seconds = encode(wav, name)
        path = output / "clips" / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream)
        relative, text = path.relative_to(output).as_posix(), texts[name]
        sha256 = hashlib.sha256(stream).hexdigest()
        length = f"{seconds:.3f}"
        rows.append((name, relative, length, splits[text], text, published[name], sha256))
    listing = output / "transcripts.tsv"
    with listing.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))
    return listing


if __name__ == "__main__":
    sys.exit(main("speech-en", build, "the folder that holds the packages' usr/share"))
