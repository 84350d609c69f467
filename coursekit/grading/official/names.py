r"""Name learners by their folders: every name can be seen, and no two learners share one.

Learners are told apart by the bytes of their folders' names. Their names are shown in Unicode's
composed form; what cannot be seen (control characters, marks of direction, spaces at the ends,
bytes that are no UTF-8) is spelled out as ``\u202e`` or ``\xff``, and a backslash is doubled. Where
two names differ in their Unicode form alone, the one that is not composed is spelled out in ASCII.
Names that differ in case are two learners.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import chain, count

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Whose a file is: "folder" or "file", and the name from which the learner's is made.
Owner = tuple[str, str]


def shown(name: str, ascii_only: bool = False) -> str:
    """Return a name with what cannot be seen spelled out; different names stay different.

    Args:
        name: A name of a file or folder, undecodable bytes as Python escapes them.
        ascii_only: Spell out whatever is not ASCII as well.
    """
    edges = {0, len(name) - 1} if name != name.strip(" ") else set()
    return "".join(
        _spelled(c)
        if _unseen(c) or (c == " " and i in edges) or (ascii_only and not c.isascii())
        else c
        for i, c in enumerate(name)
    )


def _unseen(c: str) -> bool:
    kind = unicodedata.category(c)
    return c == "\\" or kind in UNSEEN or (kind == "Zs" and c != " ")


def _spelled(c: str) -> str:
    code = ord(c)
    if c == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def names_of(owners: Iterable[Owner]) -> dict[Owner, str]:
    """Give each owner a name of its own."""
    names: dict[Owner, str] = {}
    taken: set[str] = set()
    for owner in sorted(owners, key=lambda o: (not _composed(o[1]), o[0] != "folder", o)):
        raw = owner[1]
        plain, spelled = shown(unicodedata.normalize("NFC", raw)), shown(raw, ascii_only=True)
        marked = (f"{spelled} ({owner[0]}{number})" for number in chain([""], count(2)))
        names[owner] = next(n for n in chain([plain, spelled], marked) if n not in taken)
        taken.add(names[owner])
    return names


def _composed(name: str) -> bool:
    return unicodedata.is_normalized("NFC", name)
