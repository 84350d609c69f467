"""Written dates: exact labels by independent readers, one date a text, splits that do not meet."""

import datetime
import re

import dateutil.parser
import numpy as np
import pytest

from coursekit.data.dates import (
    ENGLISH,
    FIRST,
    FOREIGN,
    FORMATS,
    LAST,
    LONG,
    SHORT,
    Dates,
    dates,
    number_words,
    ordinal_words,
    split_of,
    year_words,
)

ALL_DAYS = [
    datetime.date.fromordinal(day) for day in range(FIRST.toordinal(), LAST.toordinal() + 1)
]
# What datetime itself reads, with the fields that each form holds.
STRPTIME = {
    "compact": "%Y%m%d",
    "year first": "%Y/%m/%d",
    "month/day/year": "%m/%d/%Y",
    "month/day/two-digit year": "%m/%d/%y",
    "day-month-year": "%d-%m-%Y",
    "two-digit year": "%d %b '%y",
    "short month": "%d %b %Y",
    "short month first": "%b %d, %Y",
    "day month year": "%d %B %Y",
    "month day, year": "%B %d, %Y",
    "short weekday": "%a %d %b %Y",
    "weekday": "%A, %B %d, %Y",
    "de numbers": "%d.%m.%Y",
}
# Names of months by an independent list: the order in which a reader meets their first letters.
FOREIGN_MONTHS = {
    "es": ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"],
    "fr": ["jan", "fév", "mar", "avr", "mai", "juin", "juil", "aoû", "sep", "oct", "nov", "déc"],
    "de": ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"],
}


def sample(form, count=400):
    days = np.random.default_rng(7).choice(len(ALL_DAYS), count)
    pairs = [(FORMATS[form](ALL_DAYS[day]), ALL_DAYS[day]) for day in days]
    return [(text, date) for text, date in pairs if text is not None]


@pytest.mark.parametrize("form", STRPTIME)
def test_datetime_reads_the_date_back(form):
    for text, date in sample(form):
        assert datetime.datetime.strptime(text, STRPTIME[form]).date() == date


@pytest.mark.parametrize(
    "form", [form for form in SHORT if "two-digit" not in form and form != "day-month-year"]
)
def test_dateutil_reads_the_date_back(form):
    for text, date in sample(form, 200):
        read = dateutil.parser.parse(text.removeprefix("the "), fuzzy=True)
        assert read.date() == date, text


@pytest.mark.parametrize("form", ["ordinal", "ordinal of", "weekday ordinal"])
def test_ordinals_end_as_in_english(form):
    for text, date in sample(form):
        ending = re.search(rf"\b{date.day}(st|nd|rd|th)\b", text)[1]
        special = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
        assert ending == special.get(date.day, "th")


def number_of(text):
    """Read a number below 100, cardinal or ordinal, by listing all of them."""
    listed = {number_words(n): n for n in range(100)} | {ordinal_words(n): n for n in range(1, 100)}
    return listed[text]


def year_of(text):
    """Read a year in words, by rules of its own."""
    text = text.replace(" and ", " ").replace(" oh ", " ")
    for start, century in (("nineteen hundred", 1900), ("two thousand", 2000)):
        if text.startswith(start):
            rest = text.removeprefix(start).strip()
            return century + (number_of(rest) if rest else 0)
    century, rest = text.split(" ")
    return 100 * number_of(century) + number_of(rest)


def test_years_in_words_are_read_back_in_both_ways():
    for year in range(1900, 2100):
        assert year_of(year_words(year)) == year
        assert year_of(year_words(year, full=True)) == year


def test_numbers_in_words_are_those_of_english():
    assert [number_words(n) for n in (0, 13, 20, 41, 99)] == [
        "zero",
        "thirteen",
        "twenty",
        "forty-one",
        "ninety-nine",
    ]
    ordinals = "first second third fifth eighth ninth twelfth twentieth twenty-second thirty-first"
    assert " ".join(map(ordinal_words, (1, 2, 3, 5, 8, 9, 12, 20, 22, 31))) == ordinals
    assert len({number_words(n) for n in range(100)}) == 100


@pytest.mark.parametrize("form", LONG)
def test_spelled_dates_are_read_back(form):
    pattern = {
        "spelled": r"(?P<month>\w+) (?P<day>[\w-]+), (?P<year>.*)",
        "spelled of": r"the (?P<day>[\w-]+) of (?P<month>\w+), (?P<year>.*)",
        "spelled weekday": r"(?P<weekday>\w+) the (?P<day>[\w-]+) of (?P<month>\w+), (?P<year>.*)",
        "spelled in full": (
            r"on the morning of (?P<weekday>\w+) the (?P<day>[\w-]+) day of (?P<month>\w+) "
            r"in the year (?P<year>.*)"
        ),
    }[form]
    for text, date in sample(form):
        found = re.fullmatch(pattern, text).groupdict()
        month = datetime.datetime.strptime(found["month"], "%B").month
        assert datetime.date(year_of(found["year"]), month, number_of(found["day"])) == date
        assert found.get("weekday", date.strftime("%A")) == date.strftime("%A")


@pytest.mark.parametrize("form", [form for form in FOREIGN if form != "de numbers"])
def test_foreign_dates_are_read_back(form):
    months = FOREIGN_MONTHS[form[:2]]
    monday = {"es": "lunes", "fr": "lundi", "de": "Montag"}[form[:2]]
    for text, date in sample(form):
        month = [i for i, name in enumerate(months, 1) if re.search(rf"\d\S* (de )?{name}", text)]
        day, year = re.findall(r"\d+", text)
        assert month == [date.month], text
        assert (int(year), int(day)) == (date.year, date.day)
        if "weekday" in form:
            assert text.startswith(monday) == (date.weekday() == 0)


@pytest.mark.slow
def test_no_text_stands_for_two_dates():
    meaning = {}
    for date in ALL_DAYS:
        for write in FORMATS.values():
            text = write(date)
            if text is not None:
                assert meaning.setdefault(text, date) == date, text


def test_slashes_and_dashes_are_unambiguous():
    for form in ("month/day/year", "month/day/two-digit year", "day-month-year"):
        for text, _ in sample(form):
            numbers = [int(number) for number in re.findall(r"\d+", text)]
            assert max(numbers[:2]) > 12 >= min(numbers[:2])


def test_two_digit_years_turn_at_69():
    assert FORMATS["two-digit year"](datetime.date(1969, 1, 2)) == "2 Jan '69"
    assert FORMATS["two-digit year"](datetime.date(2068, 1, 2)) == "2 Jan '68"
    assert FORMATS["two-digit year"](datetime.date(1968, 1, 2)) is None
    assert FORMATS["two-digit year"](datetime.date(2069, 1, 2)) is None


def test_no_date_stands_in_two_splits_whatever_the_seed():
    parts = {
        split: {target for seed in range(3) for target in dates(3000, split, seed=seed).targets}
        for split in ("train", "validation", "test")
    }
    assert not parts["train"] & parts["validation"]
    assert not parts["train"] & parts["test"]
    assert not parts["validation"] & parts["test"]
    for split, targets in parts.items():
        assert {split_of(datetime.date.fromisoformat(target)) for target in targets} == {split}


def test_same_seed_gives_the_same_dates_and_another_seed_others():
    assert dates(50, seed=3) == dates(50, seed=3)
    assert dates(50, seed=3) != dates(50, seed=4)
    np.random.seed(0)  # noqa: NPY002
    assert dates(50, seed=3) == dates(50, seed=3)


def test_texts_and_targets_agree_with_the_named_form():
    data = dates(500, formats=tuple(FORMATS), seed=1)
    assert len(data) == 500
    assert repr(data) == "Dates(500 dates in 26 forms)"
    for text, target, form in zip(data.texts, data.targets, data.formats, strict=True):
        assert FORMATS[form](datetime.date.fromisoformat(target)) == text


def test_long_forms_are_longer_than_short_ones():
    short = [len(text) for text in dates(500, formats=SHORT).texts]
    long = [len(text) for text in dates(500, formats=LONG).texts]
    assert np.mean(long) > 3 * np.mean(short)
    assert max(short) <= 37
    assert min(long) >= 21
    assert max(long) <= 110
    assert set(SHORT) | set(LONG) == set(ENGLISH)
    assert len(ENGLISH) >= 12


def test_years_and_forms_are_drawn_evenly():
    data = dates(4000, formats=["year first", "weekday"], seed=2)
    years = [int(target[:4]) for target in data.targets]
    assert min(years) == 1900
    assert max(years) == 2099
    assert abs(data.formats.count("weekday") - 2000) < 150
    assert abs(np.mean(years) - 1999.5) < 4


def test_no_examples_are_no_error():
    assert dates(0) == Dates([], [], [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"examples": -1}, r"examples must not be negative, got -1"),
        ({"examples": 1, "split": "dev"}, r"split must be one of train, .*, got 'dev'"),
        ({"examples": 1, "formats": []}, r"formats must be some of compact, .*, got \[\]"),
        ({"examples": 1, "formats": ["iso"]}, r"formats must be some of .*, got \['iso'\]"),
        ({"examples": 50, "formats": ["two-digit year"]}, r"none of which writes \d{4}-\d\d-\d\d"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        dates(**arguments)


@pytest.mark.parametrize(
    ("function", "value", "says"),
    [
        (number_words, 100, "number must be from 0 to 99, got 100"),
        (ordinal_words, 0, "number must be from 1 to 99, got 0"),
        (year_words, 1899, "year must be from 1900 to 2099, got 1899"),
    ],
)
def test_numbers_outside_are_named(function, value, says):
    with pytest.raises(ValueError, match=says):
        function(value)
