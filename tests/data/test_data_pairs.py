"""Verses and captions: alignment, splits that do not leak, and the scripts."""

import collections
import gzip
import itertools
import re

import pytest

from coursekit.data import CATALOG, load
from coursekit.data.sources import captions, verses
from coursekit.data.sources.texts import runs, words

SPLITS = ("train", "validation", "test")


def test_verses_are_aligned_translations():
    data = load("verses")
    assert data.languages == ("es", "en")
    assert repr(data) == "Pairs(30,742 pairs, es to en)"
    i = data.ids.index("Genesis 1:1")
    assert data.sources[i] == "En el principio crió Dios los cielos y la tierra."
    assert data.targets[i] == "In the beginning God created the heaven and the earth."
    assert data.references[i] == "In the beginning, God created the heavens and the earth."
    assert len(set(data.ids)) == len(data)


def test_verses_hold_text_alone():
    data = load("verses")
    for texts in (data.sources, data.targets, data.references):
        assert not set("".join(texts)) & set("<>¶\\&_*{}\t\n")
        assert all(text == " ".join(text.split()) for text in texts)
    assert all(data.sources)
    assert all(data.targets)
    assert sum(not reference for reference in data.references) == 11


def test_translations_agree_on_proper_names():
    # Names that both languages write alike: a shift by one verse would part most of them.
    data = load("verses")
    for name in ("Abraham", "David", "Samuel", "Ruth", "Daniel"):
        alone = re.compile(rf"\b{name}\b")
        spanish = {i for i, text in enumerate(data.sources) if alone.search(text)}
        english = {i for i, text in enumerate(data.targets) if alone.search(text)}
        assert len(spanish) > 10
        assert len(spanish & english) / len(spanish) > 0.85, name


def test_lengths_of_the_translations_agree():
    data = load("verses")
    for source, target in zip(data.sources, data.targets, strict=True):
        assert 0.5 <= len(source) / len(target) <= 1.6


def test_no_chapter_stands_in_two_splits():
    chapters = {s: {name.rpartition(":")[0] for name in load("verses", s).ids} for s in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not chapters[one] & chapters[other]


@pytest.mark.slow
@pytest.mark.parametrize("column", ["sources", "targets", "references"])
def test_no_verse_shares_half_of_its_trigrams_with_another_split(column):
    train = [runs(words(t), 3, least=6) for t in getattr(load("verses", "train"), column)]
    where = collections.defaultdict(set)
    for i, pieces in enumerate(train):
        for piece in pieces:
            where[piece].add(i)
    equal = {tuple(words(text)) for text in getattr(load("verses", "train"), column)}
    held = {s: getattr(load("verses", s), column) for s in ("validation", "test")}
    for text in itertools.chain(*held.values()):
        assert not text or tuple(words(text)) not in equal
        pieces = runs(words(text), 3, least=6)
        together = collections.Counter(i for piece in pieces for i in where[piece])
        for i, count in together.items():
            assert count <= 0.5 * min(len(pieces), len(train[i]))
    assert not {tuple(words(t)) for t in held["validation"] if t} & {
        tuple(words(t)) for t in held["test"] if t
    }


def test_captions_are_aligned_by_picture():
    data = load("captions")
    assert repr(data) == "Captions(952 pictures, 57 languages)"
    assert all(len(texts) == 952 for texts in data.texts.values())
    i = data.names.index("animals/amphibians/frog")
    assert data.texts["en"][i] == "A frog."
    assert data.texts["fr"][i] == "Une grenouille."
    assert data.texts["ru"][i] == "Лягушка."


def test_every_language_covers_nine_of_ten_pictures():
    for texts in load("captions").texts.values():
        assert sum(map(bool, texts)) >= 0.9 * 952


def test_no_caption_of_any_language_stands_in_two_splits():
    parts = {split: load("captions", split).texts for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        for language in parts["train"]:
            spelled = [
                {tuple(words(text)) for text in parts[split][language]} - {()}
                for split in (one, other)
            ]
            assert not spelled[0] & spelled[1]


def test_pairs_of_captions_are_different_and_complete():
    pairs = load("captions", "train").pairs("en", "es")
    assert pairs.languages == ("en", "es")
    assert len(set(zip(pairs.sources, pairs.targets, strict=True))) == len(pairs)
    assert all(pairs.sources)
    assert all(pairs.targets)
    assert len(pairs.references) == len(pairs.ids) == len(pairs)
    with pytest.raises(ValueError, match=r"source must be one of en, ach, .* got 'english'"):
        load("captions", "test").pairs("english", "es")
    with pytest.raises(ValueError, match=r"target must be one of .* got ''"):
        load("captions", "test").pairs("en", "")


def marked(*numbers):
    return " ".join(f'<w lemma="strong:H{number:04}">x</w>' for number in numbers)


def test_agreement_is_the_share_of_the_originals_words():
    assert verses.agreement(marked(1, 2, 3, 4), marked(4, 3, 9, 8)) == 0.5
    assert verses.agreement(marked(1, 1), marked(1, 2, 3)) == 0.5
    assert verses.agreement("no numbers", marked(1)) == 0.0


def test_shifted_chapters_are_left_out_whole():
    english = {("Job", c, v): marked(10 * c + v) for c in (1, 2) for v in range(1, 6)}
    spanish = dict(english)
    for verse in range(1, 4):  # three verses of chapter 2 stand one place later
        spanish["Job", 2, verse] = english["Job", 2, verse + 1]
    spanish["Job", 1, 5] = ""
    assert verses.aligned(spanish, english) == [("Job", 1, verse) for verse in range(1, 5)]


def test_markup_and_notes_are_taken_out():
    verse = (
        '<title canonical="true" type="psalm">A Psalm.</title> <lg sID="1"/><speaker>He</speaker>'
        '<w lemma="strong:H1">Yahweh</w>,<note placement="foot"><reference>1</reference>a note'
        '</note><divineName>is</divineName> king &amp; lord <div type="glossary" sID="2"/>Abba'
    )
    assert verses.clean(verse) == "A Psalm. Yahweh, is king & lord"


def test_what_one_translation_alone_has_is_taken_out():
    texts = {
        "spanish": {
            ("Psalms", 119, 9): "BETH ¿Con qué limpiará?",
            ("Psalms", 119, 10): "JAH es Dios.",
            ("Galatians", 6, 18): "Sea con vosotros. Amén. Enviada de Roma á los Gálatas.",
        },
        "english": {("Psalms", 119, 9): "Teach me, O LORD", ("Psalms", 119, 10): "x"},
        "reference": {("Psalms", 119, 9): "SIN AND SHIN How", ("Psalms", 119, 10): "x"},
    }
    verses.mend(texts)
    assert list(texts["spanish"].values()) == [
        "¿Con qué limpiará?",
        "JAH es Dios.",
        "Sea con vosotros. Amén.",
    ]
    assert texts["english"]["Psalms", 119, 9] == "Teach me, O LORD"
    assert texts["reference"]["Psalms", 119, 9] == "How"


def test_chapters_that_repeat_a_verse_are_a_family():
    same = "and he did that which was right in his sight"
    texts = {
        ("I", 1, 1): same,
        ("II", 1, 1): same + " indeed",
        ("III", 1, 1): "short words only",
        ("IV", 1, 1): "Short words: only!",
        ("V", 1, 1): "he went to the city of his fathers alone",
    }
    assert verses.families(list(texts), [texts]) == [["I 1", "II 1"], ["III 1", "IV 1"], ["V 1"]]


def test_stamps_with_one_caption_in_common_stay_together():
    stamps = {
        "a": {"en": "A frog.", "es": "Una rana."},
        "b": {"en": "a frog", "es": "La rana."},
        "c": {"en": "A toad.", "es": "¡La rana!"},
        "d": {"en": "A car."},
    }
    splits = captions.choose(stamps, ["en", "es"])
    assert splits["a"] == splits["b"] == splits["c"]
    assert set(splits) == set(stamps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "build", "folder"),
    [
        ("captions", captions.build, "tuxpaint-stamps-default-2022.06.04"),
        ("verses", verses.build, "sword-texts"),
    ],
)
def test_script_rebuilds_the_embedded_file(name, build, folder, source_folder, tmp_path):
    if name == "verses":
        pytest.importorskip("pysword")
    built = build(source_folder(folder), tmp_path)
    assert gzip.decompress(built.read_bytes()) == gzip.decompress(
        (CATALOG[name].folder / built.name).read_bytes()
    )
