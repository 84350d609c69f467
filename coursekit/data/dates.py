"""Dates as people write them, each with its ISO 8601 form: a translation task of any length.

The task is the one on which Bahdanau's attention is often shown: "Thursday, March 5, 1987" becomes
"1987-03-05". Every text stands for one date only, so that a right answer always exists.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from coursekit.data.drawing import text_sheet

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
SPLIT_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
PIVOT = 69  # 69 to 99 stand for 1969 to 1999, 00 to 68 for 2000 to 2068, as in POSIX

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "es": "enero febrero marzo abril mayo junio "
    "julio agosto septiembre octubre noviembre diciembre",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "de": "Januar Februar März April Mai Juni "  # codespell:ignore
    "Juli August September Oktober November Dezember",  # codespell:ignore
}
_WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
}
MONTHS = {language: tuple(names.split()) for language, names in _MONTHS.items()}
WEEKDAYS = {language: tuple(names.split()) for language, names in _WEEKDAYS.items()}
_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_UNITS = _BELOW_TWENTY.split()
_TENS = ["", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth"}
_ORDINALS |= {"eight": "eighth", "nine": "ninth", "twelve": "twelfth"}


@dataclass(frozen=True)
class Dates:
    """Written dates.

    Attributes:
        texts: The dates as written.
        targets: The same in ISO 8601, such as "1987-03-05".
        formats: Name of the written form of each, a key of `FORMATS`.
    """

    texts: list[str]
    targets: list[str]
    formats: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Dates({len(self):,} dates in {len(set(self.formats))} forms)"


def number_words(number: int) -> str:
    """Spell a number below 100.

    Args:
        number: From 0 to 99.

    Returns:
        For example "eighty-seven".

    Raises:
        ValueError: It is outside.
    """
    if not 0 <= number < 100:
        raise ValueError(f"number must be from 0 to 99, got {number}")
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens] + (f"-{_UNITS[units]}" if units else "")


def ordinal_words(number: int) -> str:
    """Spell the ordinal of a number below 100.

    Args:
        number: From 1 to 99.

    Returns:
        For example "thirty-first".

    Raises:
        ValueError: It is outside.

    >>> ordinal_words(12), ordinal_words(20), ordinal_words(31)
    ('twelfth', 'twentieth', 'thirty-first')
    """
    if not 1 <= number < 100:
        raise ValueError(f"number must be from 1 to 99, got {number}")
    head, hyphen, last = number_words(number).rpartition("-")
    ordinal = last[:-1] + "ieth" if last.endswith("y") else _ORDINALS.get(last, last + "th")
    return head + hyphen + ordinal


def year_words(year: int, full: bool = False) -> str:
    """Spell a year as it is said.

    Args:
        year: From 1900 to 2099.
        full: "nineteen hundred and eighty-seven" instead of "nineteen eighty-seven".

    Returns:
        The words.

    Raises:
        ValueError: It is outside.

    >>> year_words(1987), year_words(1905), year_words(2000), year_words(2007), year_words(2024)
    ('nineteen eighty-seven', 'nineteen oh five', 'two thousand', 'two thousand seven', \
'twenty twenty-four')
    >>> year_words(1905, full=True), year_words(2024, full=True)
    ('nineteen hundred and five', 'two thousand and twenty-four')
    """
    if not FIRST.year <= year <= LAST.year:
        raise ValueError(f"year must be from {FIRST.year} to {LAST.year}, got {year}")
    century, rest = divmod(year, 100)
    hundreds = "nineteen hundred" if century == 19 else "two thousand"
    if rest == 0:
        return hundreds
    if full:
        return f"{hundreds} and {number_words(rest)}"
    if rest < 10:
        return f"nineteen oh {_UNITS[rest]}" if century == 19 else f"two thousand {_UNITS[rest]}"
    return f"{number_words(century)} {number_words(rest)}"


def _ordinal(day: int) -> str:
    """Write 1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def _short_year(d: datetime.date) -> str | None:
    """Write two digits where they stand for this year."""
    return f"{d.year % 100:02}" if 1900 + PIVOT <= d.year < 2000 + PIVOT else None


def _apostrophe(d: datetime.date) -> str | None:
    year = _short_year(d)
    return None if year is None else f"{d.day} {_month(d)[:3]} '{year}"


def _slashes(d: datetime.date) -> str | None:
    # 5/3/1987 is March in the United States, May elsewhere; only days above 12 leave no doubt.
    return f"{d.month}/{d.day}/{d.year}" if d.day > 12 else None


def _short_slashes(d: datetime.date) -> str | None:
    year = _short_year(d)
    return None if year is None or d.day <= 12 else f"{d.month}/{d.day}/{year}"


def _dashes(d: datetime.date) -> str | None:
    return f"{d.day:02}-{d.month:02}-{d.year}" if d.day > 12 else None


def _month(d: datetime.date, language: str = "en") -> str:
    return MONTHS[language][d.month - 1]


def _weekday(d: datetime.date, language: str = "en") -> str:
    return WEEKDAYS[language][d.weekday()]


def _french_day(d: datetime.date) -> str:
    return "1er" if d.day == 1 else str(d.day)


def _morning(d: datetime.date) -> str:
    day, year = ordinal_words(d.day), year_words(d.year, full=True)
    return f"on the morning of {_weekday(d)} the {day} day of {_month(d)} in the year {year}"


# Form -> what writes it, or gives None where it would stand for two dates.
FORMATS: dict[str, Callable[[datetime.date], str | None]] = {
    "compact": lambda d: f"{d.year}{d.month:02}{d.day:02}",
    "year first": lambda d: f"{d.year}/{d.month:02}/{d.day:02}",
    "month/day/year": _slashes,
    "month/day/two-digit year": _short_slashes,
    "day-month-year": _dashes,
    "two-digit year": _apostrophe,
    "short month": lambda d: f"{d.day} {_month(d)[:3]} {d.year}",
    "short month first": lambda d: f"{_month(d)[:3]} {d.day}, {d.year}",
    "day month year": lambda d: f"{d.day} {_month(d)} {d.year}",
    "month day, year": lambda d: f"{_month(d)} {d.day}, {d.year}",
    "ordinal": lambda d: f"{_month(d)} {_ordinal(d.day)}, {d.year}",
    "ordinal of": lambda d: f"the {_ordinal(d.day)} of {_month(d)} {d.year}",
    "short weekday": lambda d: f"{_weekday(d)[:3]} {d.day} {_month(d)[:3]} {d.year}",
    "weekday": lambda d: f"{_weekday(d)}, {_month(d)} {d.day}, {d.year}",
    "weekday ordinal": lambda d: f"{_weekday(d)} the {_ordinal(d.day)} of {_month(d)}, {d.year}",
    "spelled": lambda d: f"{_month(d)} {ordinal_words(d.day)}, {year_words(d.year)}",
    "spelled of": lambda d: f"the {ordinal_words(d.day)} of {_month(d)}, {year_words(d.year)}",
    "spelled weekday": lambda d: (
        f"{_weekday(d)} the {ordinal_words(d.day)} of {_month(d)}, {year_words(d.year, full=True)}"
    ),
    "spelled in full": _morning,
    "es": lambda d: f"{d.day} de {_month(d, 'es')} de {d.year}",
    "es weekday": lambda d: f"{_weekday(d, 'es')}, {d.day} de {_month(d, 'es')} de {d.year}",
    "fr": lambda d: f"{_french_day(d)} {_month(d, 'fr')} {d.year}",
    "fr weekday": lambda d: f"{_weekday(d, 'fr')} {_french_day(d)} {_month(d, 'fr')} {d.year}",
    "de": lambda d: f"{d.day}. {_month(d, 'de')} {d.year}",
    "de numbers": lambda d: f"{d.day:02}.{d.month:02}.{d.year}",
    "de weekday": lambda d: f"{_weekday(d, 'de')}, {d.day}. {_month(d, 'de')} {d.year}",
}
FOREIGN = tuple(
    name for name in FORMATS if name[:2] in ("es", "fr", "de") and name[2:3] in ("", " ")
)
ENGLISH = tuple(name for name in FORMATS if name not in FOREIGN)
LONG = tuple(name for name in FORMATS if name.startswith("spelled"))
SHORT = tuple(name for name in ENGLISH if name not in LONG)


def split_of(date: datetime.date) -> str:
    """Say in which split a date stands, by the hash of its ISO form.

    Args:
        date: Any date.

    Returns:
        "train" for about 80 % of the dates, "validation" and "test" for 10 % each.
    """
    digest = hashlib.sha256(date.isoformat().encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < SPLIT_SHARES["test"]:
        return "test"
    below = SPLIT_SHARES["test"] + SPLIT_SHARES["validation"]
    return "validation" if share < below else "train"


@functools.cache
def _ordinals_of(split: str) -> np.ndarray:
    days = range(FIRST.toordinal(), LAST.toordinal() + 1)
    fitting = [day for day in days if split_of(datetime.date.fromordinal(day)) == split]
    return np.array(fitting)


def dates(
    examples: int, split: str = "train", formats: Sequence[str] = ENGLISH, seed: int = 0
) -> Dates:
    """Generate written dates with their ISO 8601 form.

    Dates are drawn evenly from 1900 to 2099, with repetition; no date stands in two splits,
    whatever the seed. The form is drawn evenly from those asked for that can write the date without
    doubt: a form with slashes or dashes writes only days above 12, and one with two digits of the
    year only 1969 to 2068 (69 to 99 stand for 19.., 00 to 68 for 20..). English texts have 7 to 37
    characters in the `SHORT` forms and 21 to 110 in the `LONG` ones, which spell the day and the
    year in words: they show how a model fares with length.

    Args:
        examples: How many.
        split: "train", "validation" or "test".
        formats: Names of `FORMATS`: by default those in `ENGLISH`, which are `SHORT` and `LONG`;
            `FOREIGN` are Spanish, French and German.
        seed: The same seed gives the same dates.

    Returns:
        The dates.

    Raises:
        ValueError: `examples` is negative, or there is no such split or form, or none of the forms
            can write every date.

    >>> dates(2, formats=["weekday"], seed=0).texts
    ['Friday, December 27, 2069', 'Saturday, March 27, 2027']
    """
    if examples < 0:
        raise ValueError(f"examples must not be negative, got {examples}")
    if split not in SPLIT_SHARES:
        raise ValueError(f"split must be one of {', '.join(SPLIT_SHARES)}, got {split!r}")
    if not formats or any(name not in FORMATS for name in formats):
        raise ValueError(f"formats must be some of {', '.join(FORMATS)}, got {list(formats)!r}")
    rng = np.random.default_rng(seed)
    texts, targets, chosen = [], [], []
    for day in rng.choice(_ordinals_of(split), examples):
        date = datetime.date.fromordinal(int(day))
        written = {name: text for name in formats if (text := FORMATS[name](date)) is not None}
        if not written:
            problem = f"formats must hold one that writes every date, got {list(formats)!r}"
            raise ValueError(f"{problem}, none of which writes {date} without doubt")
        name = list(written)[rng.integers(len(written))]
        texts.append(written[name])
        targets.append(date.isoformat())
        chosen.append(name)
    return Dates(texts, targets, chosen)


def draw(name: str) -> Figure:
    """Draw a table of all forms.

    Args:
        name: "dates".

    Returns:
        The figure.
    """
    rows = []
    for seed, form in enumerate(FORMATS):
        samples = dates(200, formats=[form, "compact"], seed=seed)
        i = samples.formats.index(form)
        rows.append([form, samples.texts[i], samples.targets[i]])
    title = f"{name}: each written form with its ISO 8601 form"
    return text_sheet(["form", "text", "target"], rows, title, width=140)
