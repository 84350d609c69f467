"""Files that are no notebooks, things that are no files, and hostile names of learners."""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog import Handed, Kit, attack, function, written
from hostile_notebooks import NOTHING, RIGHT, raw, right, wrong
from nbformat.v4 import new_code_cell, new_markdown_cell

REFUSED = "JSON|notebook|UTF-8|memory|MB"

# --- files that are no notebook ---------------------------------------------------------------


def _file(name: str, tries: str, data: Any, shows: str = REFUSED, honest: float = NOTHING) -> None:
    def build(kit: Kit) -> Handed:
        return data(kit) if callable(data) else data

    build.__name__, build.__doc__ = name, tries
    attack(honest=honest, shows=shows)(build)


def changed(**values: Any) -> Callable[[Kit], bytes]:
    """Return a file whose JSON has other values at its top."""
    return lambda kit: raw(right(kit), lambda data: data.update(values))


def zipped(_: Kit) -> bytes:
    """Return an archive of 1 MB that holds a gigabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("01-layers.ipynb", bytes(256 << 20))
    return buffer.getvalue()


_file("empty_file", "Hand in no byte.", b"")
_file("binary_file", "Hand in an ELF header and noise.", b"\x7fELF" + bytes(range(256)) * 1000)
_file("null_file", "Hand in NUL alone.", bytes(1 << 20))
_file("utf16_file", "Hand in UTF-16.", lambda kit: written(right(kit)).decode().encode("utf-16"))
_file("byte_order_mark", "Begin right answers with a byte order mark.",
      lambda kit: b"\xef\xbb\xbf" + written(right(kit)), "", RIGHT)  # fmt: skip
_file("truncated_file", "Hand in half of a notebook.", lambda kit: written(right(kit))[:-2000])
_file("zip_bomb", "Hand in an archive under the name of a notebook.", zipped)
_file("brackets", "Hand in 19 MB of brackets.", b"[" * (19 << 20))
_file("nested_mappings", "Hand in mappings nested a million deep.", b'{"cells":' * 10**6)
_file("nested_metadata", "Nest metadata a hundred thousand deep around right answers.",
      lambda kit: written(right(kit)).replace(b'"nbformat":', b'"x": ' + b"[" * 100_000 +
      b"]" * 100_000 + b', "nbformat":', 1))  # fmt: skip
_file("moderate_nesting", "Nest metadata 900 deep, below the limit of a JSON parser.",
      lambda kit: written(right(kit)).replace(b'"nbformat":', b'"x": ' + b"[" * 900 +
      b"]" * 900 + b', "nbformat":', 1), "", RIGHT)  # fmt: skip
_file("endless_number", "Give the format by a number of a million digits.",
      lambda kit: written(right(kit)).replace(b'"nbformat": 4',
                                              b'"nbformat": ' + b"9" * 10**6))  # fmt: skip
_file(
    "not_a_number", "Give NaN, Infinity and a true value as format.", changed(nbformat=float("nan"))
)
_file("doubled_keys", "Give every cell list twice; the last counts, as in every parser.",
      lambda kit: written(wrong(kit)).rstrip()[:-1] + b', "cells": ' +
      json.dumps(json.loads(written(right(kit)))["cells"]).encode() + b"}", "", RIGHT)  # fmt: skip
_file("format_3", "Say that the format is 3.", changed(nbformat=3))
_file("format_99", "Say that the format is 99.", changed(nbformat=99))
_file("format_minus_1", "Say that the format is -1.", changed(nbformat=-1))
_file("format_true", "Say that the format is true.", changed(nbformat=True))
_file("format_text", "Say that the format is a text.", changed(nbformat="4"))
_file("cells_as_mapping", "Hand in cells as a mapping.", changed(cells={"0": "x"}))
_file("cells_as_text", "Hand in cells as a text.", changed(cells="cells"))
_file("cells_of_numbers", "Hand in numbers as cells.", changed(cells=[1, None, [], "x"]))
_file("cells_of_null", "Hand in null as cells.", changed(cells=None))
_file("sources_as_mappings", "Hand in mappings as text of cells.",
      changed(cells=[{"cell_type": "code", "metadata": {}, "source": {"x": 1}}]))  # fmt: skip
_file("metadata_as_list", "Hand in metadata as a list.", changed(metadata=[1, 2]))
_file("unknown_cell_types", "Hand in cells of a type of one's own.",
      changed(cells=[{"cell_type": "points", "metadata": {}, "source": "1000"}]))  # fmt: skip
_file("list_at_the_top", "Hand in a list.", b"[1000]")
_file("number_at_the_top", "Hand in a number.", b"1000.0")


def placed(name: str, tries: str, place: Callable[[Kit, Path], None], **options: Any) -> None:
    """Enter an attack that puts something other than a file into place."""

    def build(kit: Kit) -> Handed:
        return lambda path: place(kit, path)

    build.__name__, build.__doc__ = name, tries
    attack(**options)(build)


def huge(_: Kit, path: Path) -> None:
    with open(path, "wb") as file:
        file.write(b'{"cells": [')
        file.truncate(200 << 20)


def folder_loop(kit: Kit, path: Path) -> None:
    path.write_bytes(written(right(kit)))
    (path.parent / "loop").symlink_to(path.parent.parent)
    (path.parent / "up").symlink_to("../../..")


def listening(_: Kit, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        listener.bind(path.name)
        os.chdir(here)


def many(kit: Kit, path: Path) -> None:
    for number in range(600):
        (path.parent / f"copy {number}.ipynb").write_bytes(b"{}")
    path.write_bytes(written(right(kit)))


def nested(_: Kit, path: Path) -> None:
    path.parent.joinpath(*["d"] * 100).mkdir(parents=True)
    path.parent.joinpath(*["d"] * 100, "01-layers.ipynb").write_bytes(b"{}")


def two_copies(kit: Kit, path: Path) -> None:
    path.write_bytes(written(wrong(kit)))
    (path.parent / ".ipynb_checkpoints").mkdir()
    (path.parent / ".ipynb_checkpoints" / path.name).write_bytes(written(right(kit)))


LINK = {"shows": "symbolic link"}
placed("link_to_a_system_file", "Hand in a link to /etc/passwd.",
       lambda kit, path: path.symlink_to("/etc/passwd"), **LINK)  # fmt: skip
placed("link_to_a_neighbor", "Hand in a link to another learner's notebook.",
       lambda kit, path: path.symlink_to(kit.places["neighbor"]), **LINK)  # fmt: skip
placed("link_to_the_solution", "Hand in a link to the solution.",
       lambda kit, path: path.symlink_to(kit.places["solution"]), **LINK)  # fmt: skip
placed("link_to_itself", "Hand in a link that leads to itself.",
       lambda kit, path: path.symlink_to(path.name), **LINK)  # fmt: skip
placed("link_to_nowhere", "Hand in a link to /dev/zero.",
       lambda kit, path: path.symlink_to("/dev/zero"), **LINK)  # fmt: skip
placed("folder_loop", "Hand in right answers beside links to folders above.", folder_loop,
       honest=RIGHT, shows="")  # fmt: skip
placed("pipe", "Hand in a pipe, whose reader waits for ever.",
       lambda kit, path: os.mkfifo(path), shows="pipe")  # fmt: skip
placed("socket", "Hand in a socket.", listening, shows="socket")
placed("folder", "Hand in a folder under the name of a notebook.",
       lambda kit, path: path.mkdir(), shows="folder|no notebook")  # fmt: skip
placed("huge_file", "Hand in 200 MB.", huge, shows="20 MB")
placed("many_files", "Hand in six hundred notebooks.", many, shows="more than 500 notebooks")
placed("nested_folders", "Hand in folders nested a hundred deep.", nested, shows="deep")
placed(
    "checkpoints", "Hide right answers in a checkpoint of wrong ones.", two_copies, shows="wrong"
)
if os.geteuid() == 0:
    placed("device", "Hand in a device.",
           lambda kit, path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),
           shows="device")  # fmt: skip


# --- names of learners --------------------------------------------------------------------------

NAMES = {
    "line_end": b"line\nend",
    "formula": b'=HYPERLINK("evil";"x")',
    "markup": b"<img src=x onerror=alert(1)>",
    "option": b"--out=evil",
    "direction": "evil\u202elennosrep".encode(),
    "no_text": b"\xff\xfe\xfa",
    "quotes": b'a","b\';DROP TABLE grades;--',
    "long": b"l" * 255,
    "dots": b"a..\\..",
    "backslash": b"..\\..\\evil",
    "terminal": b"\x1b[2J\x1b]0;x\x07",
    "template": b"{{ 7 * 7 }}{% raise %}%s%(x)d$(id)`id`",
    "reserved": b"CON",
    "combining": ("e" + "\u0301" * 100).encode(),
    "blank": b"   ",
}

for _name, _bytes in NAMES.items():

    def _named(kit: Kit) -> bytes:
        return kit.submission(**{**kit.right, "softmax": function("softmax", "raise ValueError")})

    _named.__name__ = f"learner_named_by_{_name}"
    _named.__doc__ = f"Take {_bytes[:40]!r} for one's name."
    attack(honest=15.0, shows="", learner=_bytes)(_named)


@attack(honest=15.0, shows="")
def markup_in_messages(kit: Kit) -> bytes:
    """Put markup, formulas, terminal commands and templates into exceptions, names and notes."""
    evil = "</td><script>alert(document.cookie)</script>{{ 7 * 7 }}]]>\\x1b[31m=cmd|'/c calc'!A0"
    source = f"class alert(Exception): pass\n\ndef softmax(x):\n    raise alert({evil!r})\n"
    notebook = kit.notebook(**{**kit.right, "softmax": source})
    notebook.cells.append(new_markdown_cell("# <script>alert(1)</script>"))
    notebook.cells.append(new_code_cell("𝖛𝖎𝖑𝖎𝖋𝖞 = '<script>'\nprint(𝖛𝖎𝖑𝖎𝖋𝖞)"))
    return written(notebook)
