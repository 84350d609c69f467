"""Rebuild ``speech-en``, ``-fr``, ``-es``, ``-it`` or ``-ru`` from Debian's Asterisk prompts 1.6.1.

Usage: ``python -m coursekit.data.sources.speech NAME ROOT [--output FOLDER]``, where NAME is, for
example, ``speech-fr`` and ROOT the folder into which the packages ``asterisk-core-sounds-fr``
(transcripts) and ``asterisk-core-sounds-fr-wav`` (sound) were unpacked (``dpkg -x``), or ``/``
where they are installed.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import itertools
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import soundfile

from coursekit.data.sources import content_share, main
from coursekit.data.sources.ogg import encode, write_listing
from coursekit.data.speech import SAMPLE_RATE
from coursekit.data.spelling import fold, normalize_text

COLUMNS = ("name", "path", "seconds", "split", "text", "published", "sha256")
REMARK = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
# Three lines of the Italian and French lists hold the line of another clip, with its name.
EMBEDDED = re.compile(r"(?:^|(?<=[\s.]))(\w+(?:-\w+)+): ")
LEAST_WORDS = 6  # shorter texts are variants of one another only if they are equal
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1

# Names that differ between the list of transcripts and the clips; "#2" is a name's second line.
RENAMED = {
    "fr": {"confbridge-lock-out-0": "confbridge-lock-out", "dollars": "digits/dollars"},
    "es": {
        "confbridge-lock-out-0": "confbridge-lock-out",
        "digits/0#2": "digits/10",
        "digits/1f": "digits/1F",
        "digits/1m": "digits/1M",
        "digits/21-and": "digits/20-and",
    },
    "it": {"letters/O": "letters/o", "phonetic/C_P": "phonetic/c_p"},
}
# Slips of the keyboard that change letters: lost accents in Italian, Latin letters in Russian.
MENDED = {
    "it": {"sar?": "sarà", "pu?": "può", "cos?": "così", "pi?": "più", " ? ": " è "},
    "ru": {"первoe": "первое", "Q": "кью", "Z": "зэт"},
}
# Clips whose published line does not tell in letters what is said; their text is left empty.
NOT_SPEECH = {"it": {"beep", "beeperr", "confbridge-join", "confbridge-leave"}}
UNCERTAIN = {
    "fr": {
        "demo-instruct",  # numbers of several digits
        "digits/h-80",  # the line is that of "seventieth"
        "priv-callee-options",  # words in parentheses, which may be read
        "screen-callee-options",
        "spy-h323",
    },
    "es": {"demo-instruct", "spy-h323", "vm-tempgreetactive"},
    "it": {
        "demo-instruct",
        "invalid",
        "is",  # the line is English
        "letters/at",  # "a [@]" may be the English word
        "pbx-invalid",
        "pbx-parkingfailed",
        "spy-h323",
        "vm-msgsaved",
    },
    "ru": {
        "demo-instruct",
        "demo-moreinfo",  # an address of the web
        "letters/at",  # English, too
        "spy-h323",
        "vm-review-nonurgent",
    },
}


def published_texts(root: Path, language: str, clips: Collection[str]) -> dict[str, str]:
    """Read the publisher's transcripts.

    Args:
        root: Where the packages were unpacked.
        language: Two letters, for example "fr".
        clips: Names of the clips.

    Returns:
        Clip name to text, in NFC; without the clips that the list does not name.
    """
    path = root / f"usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    lines = unicodedata.normalize("NFC", gzip.decompress(path.read_bytes()).decode("utf-8-sig"))
    texts: dict[str, str] = {}
    for line in lines.splitlines():
        if line.strip() and not line.startswith(";"):
            name, text = line.split(":", 1)
            name = f"{name}#2" if name in texts else name
            name = RENAMED.get(language, {}).get(name, name)
            texts[name] = _own_line(" ".join(text.split()), name, clips)
    return {name: texts[name] for name in clips if name in texts}


def _own_line(text: str, name: str, clips: Collection[str]) -> str:
    """Cut a line off where the line of another clip begins, and its own name from its head."""
    for match in EMBEDDED.finditer(text):
        if match[1] == name:
            return text[match.end() :]
        if match[1] in clips:
            return text[: match.start()].rstrip()
    return text


def spoken_text(published: str, language: str = "en", name: str = "") -> str:
    """Take the remarks on the recording out of a transcript and mend its letters.

    Args:
        published: For example ``at [@]`` or ``(1 second of silence)``.
        language: Two letters.
        name: Name of the clip.

    Returns:
        What is said: ``at``; empty for tones and silences, and where the line does not tell.
    """
    if name in NOT_SPEECH.get(language, ()) or name in UNCERTAIN.get(language, ()):
        return ""
    text = REMARK.sub(" ", published)
    for slip, mended in MENDED.get(language, {}).items():
        text = text.replace(slip, mended)
    return " ".join(text.split())


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
    for first, second in itertools.combinations([t for t in ordered if trigrams[t]], 2):
        a, b = trigrams[first], trigrams[second]
        if family[first] is not family[second] and len(a & b) > min(len(a), len(b)) / 2:
            family[first] |= family[second]
            for text in family[second]:
                family[text] = family[first]
    return {text: min(members) for text, members in family.items()}


def choose_splits(texts: Iterable[str], language: str = "en") -> dict[str, str]:
    """Choose the split of each text by the hash of its family.

    Texts that differ in accents alone count as one: the prompts are not consistent in them.

    Args:
        texts: What is said in each clip; empty where nothing is.
        language: Two letters.

    Returns:
        Text to "train", "validation" or "test"; "none" for the empty text.
    """
    spelled = {text: fold(normalize_text(text, language)) for text in texts}
    family = families(spelled.values())
    splits: dict[str, str] = {}
    for text, letters in spelled.items():
        share = content_share(family[letters].encode())
        if not text:
            splits[text] = "none"
        elif share < TEST_SHARE:
            splits[text] = "test"
        else:
            splits[text] = "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"
    return splits


def read_wav(path: Path) -> np.ndarray:
    """Read a published clip.

    Args:
        path: The file, 16 bits, mono, 8 kHz.

    Returns:
        int16 of shape (samples,).

    Raises:
        ValueError: It has another format.
    """
    samples, rate = soundfile.read(path, dtype="int16")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise ValueError(f"{path} must be mono at {SAMPLE_RATE} Hz, got {rate} Hz")
    return samples


def build(root: Path, output: Path, language: str = "en") -> Path:
    """Build the extract of a language.

    Args:
        root: Where the packages were unpacked.
        output: The folder to write to.
        language: Two letters.

    Returns:
        The path of the list of clips.
    """
    (sounds,) = (root / "usr/share/asterisk/sounds").glob(f"{language}_*")
    wavs = {
        wav.relative_to(sounds).with_suffix("").as_posix(): wav for wav in sounds.rglob("*.wav")
    }
    published = published_texts(root, language, wavs)
    texts = {name: spoken_text(line, language, name) for name, line in published.items()}
    splits = choose_splits(["", *texts.values()], language)
    rows = []
    for name, wav in wavs.items():
        samples = read_wav(wav)
        if not len(samples):  # the Russian clip "is"
            continue
        stream = encode(samples, SAMPLE_RATE, name)
        path = output / "clips" / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream)
        text = texts.get(name, "")
        length = f"{len(samples) / SAMPLE_RATE:.3f}"
        relative, sha256 = path.relative_to(output).as_posix(), hashlib.sha256(stream).hexdigest()
        line = published.get(name, "")
        rows.append((name, relative, length, splits[text], text, line, sha256))
    return write_listing(output / "transcripts.tsv", COLUMNS, rows)


if __name__ == "__main__":
    NAMES = [f"speech-{code}" for code in ("en", "fr", "es", "it", "ru")]
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"the first argument must be one of {', '.join(NAMES)}, got {sys.argv[1:2]}")
    LANGUAGE = sys.argv[1].removeprefix("speech-")
    PACKAGE = f"the folder that holds the usr/share of the packages asterisk-core-sounds-{LANGUAGE}"
    REBUILD = functools.partial(build, language=LANGUAGE)
    sys.exit(main(sys.argv[1], REBUILD, PACKAGE, sys.argv[2:]))
