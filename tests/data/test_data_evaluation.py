"""The sets that gensim brings: read alike by gensim's own code, and damaged files named."""

import collections
import dataclasses

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

from coursekit.data import CATALOG, DataFileError, catalog, load


@pytest.fixture(scope="module")
def vectors():
    """Make random vectors of every word of both sets, for gensim's own evaluations."""
    words = {word for question in load("analogies").questions for word in question}
    words |= {word for pair in load("similarity").pairs for word in pair}
    found = KeyedVectors(8)
    ordered = sorted(words)
    generator = np.random.default_rng(0)
    found.add_vectors(ordered, generator.normal(size=(len(ordered), 8)).astype(np.float32))
    return found


def test_nothing_is_embedded_and_nothing_has_splits():
    for name in ("analogies", "similarity", "lee-news"):
        entry = CATALOG[name]
        assert entry.package == "gensim"
        assert [path.name for path in entry.card.parent.iterdir()] == ["CARD.md"]
        with pytest.raises(ValueError, match=rf"{name} has no splits: split must be None"):
            load(name, "train")


def test_analogies_are_the_questions_that_gensim_reads(vectors):
    data = load("analogies")
    _, sections = vectors.evaluate_word_analogies(
        datapath("questions-words.txt"),
        restrict_vocab=10**6,
        case_insensitive=False,
        dummy4unknown=True,
    )
    counts = collections.Counter(data.sections)
    gensim = {s["section"]: len(s["correct"]) + len(s["incorrect"]) for s in sections[:-1]}
    assert gensim == counts
    read = {question for s in sections[:-1] for question in s["incorrect"] + s["correct"]}
    upper = {tuple(word.upper() for word in question) for question in data.questions}
    assert {tuple(word.upper() for word in question) for question in read} == upper


def test_questions_relate_four_different_words():
    data = load("analogies")
    assert repr(data) == "Analogies(19,544 questions, 14 sections)"
    assert all(len(set(question)) == 4 for question in data.questions)
    assert ("Athens", "Greece", "Baghdad", "Iraq") in data.questions


@pytest.mark.parametrize(
    ("name", "file", "pairs"),
    [("wordsim353", "wordsim353.tsv", 353), ("simlex999", "simlex999.txt", 999)],
)
def test_correlation_with_scores_is_gensims(name, file, pairs, vectors):
    from scipy.stats import spearmanr

    data = load("similarity").collection(name)
    assert len(data) == pairs
    assert data.scores.min() >= 0
    assert data.scores.max() <= 10
    own = [vectors.similarity(*pair) for pair in data.pairs]
    _, spearman, unknown = vectors.evaluate_word_pairs(datapath(file), case_insensitive=False)
    assert unknown == 0
    assert spearmanr(own, data.scores.numpy()).statistic == pytest.approx(spearman.statistic)


def test_unknown_collection_lists_the_collections():
    with pytest.raises(ValueError, match=r"one of wordsim353, simlex999, got 'men'"):
        load("similarity").collection("men")


def test_corpus_is_the_file_line_by_line():
    data = load("lee-news")
    assert repr(data) == "Corpus(300 documents, 59,890 words)"
    with open(datapath("lee_background.cor"), encoding="utf-8") as file:
        assert data.texts == file.read().splitlines()
    words = data.sentences()[0]
    assert words[:5] == ["hundreds", "of", "people", "have", "been"]
    assert all(
        word == word.lower() and word[0].isalpha() for own in data.sentences() for word in own
    )


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("analogies", ": capitals\nAthens Greece Baghdad\n", r"must hold four words below"),
        ("analogies", "Athens Greece Baghdad Iraq\n", r"must hold four words below a section"),
        ("similarity", "# comment\ntiger cat 7.35\n", r"must hold two words and a score"),
        ("lee-news", None, r"cannot be read"),
    ],
)
def test_files_of_another_format_are_named(name, text, says, tmp_path, monkeypatch):
    from coursekit.data import evaluation

    path = next(iter(CATALOG[name].files))
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"\xff\xfe" if text is None else text.encode())
    monkeypatch.setattr(catalog, "_package_folder", lambda package: tmp_path)
    entry = dataclasses.replace(CATALOG[name], files={path: ""})
    with pytest.raises(DataFileError, match=says):
        evaluation.load(entry)
