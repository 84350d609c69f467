"""Rebuild ``files/words/words.npz`` by espeak-ng 1.52.0 of the Python package ``espeakng-loader``.

Usage: ``python -m coursekit.data.sources.words PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked wheel of espeakng-loader 0.2.4 (the one that holds
``espeakng_loader/libespeak-ng.so``).

Every word is said once by every voice. Rate and pitch of a clip come from a hash of its word and
voice; which voices stand in which split, and which accent a voice has, from the order of the
hashes of their variants.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from coursekit.data.catalog import SPLITS
from coursekit.data.sources import main, write_npz
from coursekit.data.spoken import SAMPLE_RATE, Engine, encode_mu_law, package_engine, say

VERSION = "1.52.0"
# The 35 words of Speech Commands 0.02 (arXiv:1804.03209), and a trigger word.
_WORDS = """
activate backward bed bird cat dog down eight five follow forward four go happy house learn
left marvin nine no off on one right seven sheila six stop three tree two up visual wow yes
zero
"""
WORDS = tuple(_WORDS.split())
_ACCENTS = """
en-029 en en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-gb-x-rp en-us en-us-nyc
"""
ACCENTS = tuple(_ACCENTS.split())
# Variants that sound like people; of those that give nearly the same spectra only one, and none
# that clips, so that the splits by voice are splits by sound.
_VARIANTS = """
Alex Alicia Annie Denis Lee Mario anika aunty belinda boris david f1 f2 f3 f4 f5 grandma ian
linda m1 m2 m3 m4 m5 m8 marcelo miguel pablo rob steph travis zac
"""
VARIANTS = tuple(_VARIANTS.split())
TEST_VOICES, VALIDATION_VOICES = 8, 4
RATES, PITCHES = (130, 200), (30, 70)  # words a minute; 0 to 99, of which 50 is the voice's own


def choose_voices() -> list[tuple[str, str]]:
    """Give every variant an accent and a split.

    Returns:
        Voice (accent+variant) and its split, in the order of the hashes of the variants.
    """
    ordered = sorted(VARIANTS, key=lambda variant: hashlib.sha256(variant.encode()).digest())
    splits = ["test"] * TEST_VOICES + ["validation"] * VALIDATION_VOICES
    splits += ["train"] * (len(ordered) - len(splits))
    return [
        (f"{ACCENTS[k % len(ACCENTS)]}+{variant}", split)
        for k, (variant, split) in enumerate(zip(ordered, splits, strict=True))
    ]


def choose(kind: str, word: str, voice: str, limits: tuple[int, int]) -> int:
    """Choose the rate or pitch of a clip by a hash.

    Args:
        kind: "rate" or "pitch".
        word: What is said.
        voice: Who says it.
        limits: The least and the greatest value.

    Returns:
        A number within the limits.
    """
    digest = hashlib.sha256(f"{kind} {word} {voice}".encode()).digest()
    return limits[0] + int.from_bytes(digest[:8], "big") % (limits[1] - limits[0] + 1)


def _say(engine: Engine, clip: tuple[str, str, int, int]) -> np.ndarray:
    word, voice, rate, pitch = clip
    return encode_mu_law(say(word, voice, rate, pitch, SAMPLE_RATE, engine).numpy())


def synthesize_all(engine: Engine) -> dict[str, np.ndarray]:
    """Say every word by every voice.

    Args:
        engine: The synthesizer.

    Returns:
        The arrays of the npz: ``samples`` (mu-law bytes of all clips), ``lengths``, ``labels``,
        ``voice``, ``split``, ``rates`` and ``pitches`` (one value a clip), ``classes`` and
        ``voices`` (names).
    """
    voices = choose_voices()
    clips = [
        (
            word,
            voice,
            choose("rate", word, voice, RATES),
            choose("pitch", word, voice, PITCHES),
        )
        for voice, _ in voices
        for word in WORDS
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waveforms = list(pool.map(functools.partial(_say, engine), clips))
    return {
        "samples": np.concatenate(waveforms),
        "lengths": np.array([len(waveform) for waveform in waveforms], dtype=np.uint16),
        "labels": np.tile(np.arange(len(WORDS), dtype=np.uint8), len(voices)),
        "voice": np.repeat(np.arange(len(voices), dtype=np.uint8), len(WORDS)),
        "split": np.repeat(
            np.array([SPLITS.index(split) for _, split in voices], dtype=np.uint8), len(WORDS)
        ),
        "rates": np.array([clip[2] for clip in clips], dtype=np.uint8),
        "pitches": np.array([clip[3] for clip in clips], dtype=np.uint8),
        "classes": np.array(WORDS),
        "voices": np.array([voice for voice, _ in voices]),
    }


def build(package: Path, output: Path) -> None:
    """Build the extract.

    Args:
        package: The unpacked wheel of espeakng-loader 0.2.4.
        output: The folder to write to.

    Raises:
        ValueError: The package holds another version of espeak-ng.
    """
    engine = package_engine(package / "espeakng_loader")
    if engine.version != VERSION:
        raise ValueError(f"package must hold espeak-ng {VERSION}, got {engine.version}")
    write_npz(output / "words.npz", synthesize_all(engine))


if __name__ == "__main__":
    sys.exit(main("words", build, "the unpacked wheel espeakng-loader 0.2.4"))
