"""Text and names that come from learners, made harmless for tables, XML, HTML and file names.

Nothing here trusts what it gets: a name, an exception's message or an answer may hold control
characters, right-to-left overrides, formulas for a spreadsheet, markup, or megabytes.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import jinja2

LINE = 300  # characters of a title, a name or a reason that are shown
BLOCK, ROWS = 6000, 120  # characters and lines of a longer text that are shown
MARKS = 4  # combining marks in a row that are kept; more would cover the lines around them

# Zero-width joiners are part of the spelling of some languages and of emoji, next to characters
# beyond ASCII; anywhere else they only make two names look alike.
_JOINERS = "\u200c\u200d"
_UNUSUAL = re.compile("[^\0-\u02ff\u0370-\u0482\u2000-\u20cf\u2100-\u2bff]")  # maybe marks
_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SIMPLE = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def visible(text: str) -> str:
    """Replace what cannot be seen by something that can; line ends count as such.

    Of more than 4 combining marks in a row the others are left out.

    Control characters become their pictures ("␀"), other invisible characters (directions, lone
    surrogates, characters that Unicode has not assigned) their number ("⟨U+202E⟩"). What is left
    is encodable in UTF-8 and allowed in XML.
    """
    if text.isprintable() and not _UNUSUAL.search(text):
        return text
    shown: list[str] = []
    marks = 0
    for place, sign in enumerate(text):
        marks = marks + 1 if unicodedata.combining(sign) else 0
        if marks > MARKS:
            continue
        shown.append(sign if _seen(text, place) else _picture(sign))
    return "".join(shown)


def _seen(text: str, place: int) -> bool:
    sign = text[place]
    if sign.isprintable() or unicodedata.category(sign) == "Zs":
        return True
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    return sign in _JOINERS and len(around) == 2 and not any(c.isascii() for c in around)


def _picture(sign: str) -> str:
    number = ord(sign)
    if number < 0x20 or number == 0x7F:
        return chr(0x2400 + number) if number < 0x20 else "\u2421"
    return f"⟨U+{number:04X}⟩"


def line(text: str, most: int = LINE) -> str:
    """Return a text as one line of at most `most` characters, and a word on what is left out."""
    if len(text) <= most:
        return visible(text)
    return f"{visible(text[:most])}… ({len(text):,} characters)"


@lru_cache(maxsize=2048)  # learners make the same mistakes, and their messages are the same
def block(text: str, most: int = BLOCK, rows: int = ROWS) -> str:
    """Return a text of several lines, bounded in characters and lines; tabs become spaces."""
    kept = re.sub(r"\r\n?", "\n", text[:most]).expandtabs(4).split("\n")
    shown = "\n".join(visible(row) for row in kept[:rows])
    if len(text) > most or len(kept) > rows:
        shown += f"\n… ({len(text):,} characters in all)"
    return shown


def cell(text: str, most: int = LINE) -> str:
    """Return a text as a cell of a table that no spreadsheet takes for a formula.

    An apostrophe is put before a text that begins with = + - @, a tab, a carriage return or the
    wide form of such a sign, and before one that begins with apostrophes and such a sign, so that
    two texts never become one. It is also put behind a semicolon before such a sign, where
    spreadsheets of some countries begin a new cell. A text that is a number, like "-3", stays.
    """
    if _NUMBER.fullmatch(text):
        return text
    guarded = "'" + text if _FORMULA.match(text) else text
    return line(re.sub(r";(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])", ";'", guarded), most)


def figure(value: float, digits: int = 6) -> str:
    """Write a number of points: at most 6 digits behind the point, no exponent, no "-0".

    Raises:
        ValueError: If it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"value must be a finite number of points, got {value}")
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def folder_name(learner: str) -> str:
    """Return the folder of a learner, which is safe on Linux, macOS and Windows.

    A name of up to 64 lower-case letters, digits and . _ @ - stays as it is. Any other becomes
    what ASCII keeps of it, "~", and 32 hexadecimal digits (128 bits) of the SHA-256 of the name.
    A simple name holds no "~", so the two kinds never meet; simple names differ in more than case.
    """
    simple = _SIMPLE.fullmatch(learner) and not _RESERVED.fullmatch(learner)
    if simple and ".." not in learner:
        return learner
    plain = unicodedata.normalize("NFKD", learner[:200]).encode("ascii", "ignore").decode("ascii")
    readable = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:30].strip("-") or "learner"
    digest = hashlib.sha256(learner.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{readable}~{digest}"


@cache
def _environment() -> jinja2.Environment:
    """Return the templates of this folder; everything that is put into them is escaped."""

    def source(name: str) -> str:
        return files(__package__).joinpath(name).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": line, "block": block, "figure": lambda x: figure(x, 2)}
    return environment


def page(template: str, **values: Any) -> str:
    """Fill a template of this folder; texts are escaped."""
    return _environment().get_template(template).render(values)
