"""Rebuild ``files/backgrounds`` from Debian's ``sonic-pi-samples`` 3.2.2.

Usage: ``python -m coursekit.data.sources.backgrounds ROOT [--output FOLDER]``, where ROOT is the
folder into which the package was unpacked (``dpkg -x``), or ``/`` where it is installed.

Of the package's samples those are taken that go on for a second and a half or more; single strokes
of drums, bells and cymbals are left out. The left channel is brought from 44.1 to 16 kHz and
encoded as Ogg Opus.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from coursekit.data.clips import resample
from coursekit.data.sources import main
from coursekit.data.sources.ogg import encode, write_listing

SAMPLE_RATE = 16000  # of 8 kHz speech twice the rate, and enough for synthetic speech
COMPRESSION = 0.8  # about 60 kbit/s: noise needs more than speech
HELD_OUT = 0.22  # most of the seconds of a kind that the test or the validation split may take
COLUMNS = ("name", "path", "seconds", "split", "kind", "caption", "author", "origin", "sha256")
SAMPLES = "usr/share/sonic-pi/samples"
# One recorder published many different sounds; the others' sounds are taken as one recording each.
MANY = "hullum"
KINDS = {
    "ambience": (
        "ambi_choir ambi_dark_woosh ambi_drone ambi_glass_hum ambi_glass_rub ambi_haunted_hum "
        "ambi_lunar_land ambi_piano ambi_sauna ambi_swoosh loop_drone_g_97"
    ),
    "machine": (
        "loop_3d_printer loop_electric mehackit_phone3 mehackit_robot4 mehackit_robot5 "
        "mehackit_robot6 perc_door vinyl_hiss vinyl_rewind"
    ),
    "music": (
        "bass_thick_c bass_trance_c bass_voxy_c bass_woodsy_c drum_roll guit_e_fifths "
        "guit_e_slide guit_em9 guit_harmonics loop_amen loop_amen_full loop_breakbeat loop_compus "
        "loop_garzul loop_mehackit1 loop_mehackit2 loop_mika loop_perc1 loop_perc2 loop_safari "
        "loop_tabla loop_weirdo"
    ),
}
PREFIX = re.compile(r"^(ambi|loop|perc|mehackit)_")


def read_origins(readme: str) -> dict[str, tuple[str, str]]:
    """Read who recorded each sample.

    Args:
        readme: The package's list of samples.

    Returns:
        Name of the sample without underscores to its author and address.
    """
    line = re.compile(r"\* `:(\w+)`\s*-\s*(https?://\S*/people/([^/]+)/\S+)")
    return {
        match[1].replace("_", ""): (match[3].replace("%20", " "), match[2])
        for match in line.finditer(readme)
    }


def group(name: str, author: str) -> str:
    """Say which recording a sample belongs to, so that none stands in two splits.

    Args:
        name: Name of the sample.
        author: Who published it.

    Returns:
        The author; for the one with many sounds, the name of the sample without its number.
        Both samples of the Amen break, by two authors, are one recording.
    """
    if name.startswith("loop_amen"):
        return "Amen break"
    return name.rstrip("0123456789") if author == MANY else author


def choose_splits(
    kinds: Mapping[str, str], groups: Mapping[str, str], seconds: Mapping[str, float]
) -> dict[str, str]:
    """Choose splits by recording, in each kind about 60 : 20 : 20 in seconds.

    Recordings come in the order of their hash; each goes to the test split while that has room,
    else to the validation split while that has room, else to the training split.

    Args:
        kinds: Clip name to kind.
        groups: Clip name to recording.
        seconds: Clip name to length.

    Returns:
        Clip name to "train", "validation" or "test".
    """
    length: dict[str, float] = {}
    for name, recording in groups.items():
        length[recording] = length.get(recording, 0) + seconds[name]
    split: dict[str, str] = {}
    for kind in sorted(set(kinds.values())):
        names = [name for name in kinds if kinds[name] == kind]
        room = dict.fromkeys(("test", "validation"), HELD_OUT * sum(seconds[n] for n in names))
        ours = {groups[name] for name in names} - split.keys()
        for recording in sorted(ours, key=lambda group: hashlib.sha256(group.encode()).digest()):
            free = [part for part, left in room.items() if length[recording] <= left]
            split[recording] = free[0] if free else "train"
            if free:
                room[free[0]] -= length[recording]
    return {name: split[recording] for name, recording in groups.items()}


def read_left(file: Path | str, stream: object = None) -> tuple[np.ndarray, int]:
    """Read the left channel; the mean of both would cancel what they hold in opposite phase.

    Args:
        file: A sound file, or its name where `stream` holds it.
        stream: An open binary file to read from instead.

    Returns:
        float32 of shape (samples,), and the samples a second.
    """
    samples, rate = soundfile.read(stream or file, dtype="float32", always_2d=True)
    return samples[:, 0], rate


def write_clip(output: Path, name: str, samples: np.ndarray, rate: int) -> tuple[str, str, str]:
    """Resample, encode and write a clip, without the constant that some recordings add.

    Args:
        output: Folder of the entry.
        name: Name of the clip.
        samples: float32 of shape (samples,).
        rate: Samples a second.

    Returns:
        Path inside the folder, length in seconds, SHA-256.
    """
    low = resample(samples - samples.mean(), rate, SAMPLE_RATE).clip(-1, 1)
    stream = encode(low, SAMPLE_RATE, name, COMPRESSION)
    path = output / "clips" / f"{name}.ogg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream)
    relative = path.relative_to(output).as_posix()
    return relative, f"{len(low) / SAMPLE_RATE:.3f}", hashlib.sha256(stream).hexdigest()


def build(root: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        root: Where the package was unpacked.
        output: The folder to write to.

    Returns:
        The path of the list of clips.
    """
    origins = read_origins((root / SAMPLES / "README.md").read_text(encoding="utf-8"))
    kinds = {name: kind for kind, names in KINDS.items() for name in names.split()}
    found = {name: origins[name.replace("3d_", "3d").replace("_", "")] for name in kinds}
    written = {
        name: write_clip(output, name, *read_left(root / SAMPLES / f"{name}.flac"))
        for name in kinds
    }
    splits = choose_splits(
        kinds,
        {name: group(name, found[name][0]) for name in kinds},
        {name: float(seconds) for name, (_, seconds, _) in written.items()},
    )
    rows = []
    for name, (relative, seconds, sha256) in written.items():
        caption = PREFIX.sub("", name).replace("_", " ")
        rows.append(
            (name, relative, seconds, splits[name], kinds[name], caption, *found[name], sha256)
        )
    return write_listing(output / "clips.tsv", COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main("backgrounds", build, "the folder that holds the package's usr/share"))
