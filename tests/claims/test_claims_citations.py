"""Citation keys become authors and years."""

import pytest

from coursekit.claims.citations import authors_and_year, cited, letters

BIBLIOGRAPHY = """@article{one1958,
  author = {Cox, David R.},
  year   = {1958}
}

@book{two1994,
  author    = {Bourlard, Herv{\\'e} and Morgan, Nelson},
  publisher = {Some and Company},
  year      = 1994
}

@inproceedings{three2006,
  author = {Graves, Alex and Fern{\\'a}ndez, Santiago and
            Gomez, Faustino},
  year   = {2006}
}
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "references.bib").write_text(BIBLIOGRAPHY, encoding="utf-8")
    return tmp_path


def test_one_two_and_many_authors_are_written_as_in_the_prose(root):
    keys = ["one1958", "two1994", "three2006"]
    assert cited(root, keys) == "Cox, 1958; Bourlard and Morgan, 1994; Graves et al., 2006"


def test_a_key_without_an_entry_stays_a_key(root, tmp_path):
    assert cited(root, ["nobody2000"]) == "nobody2000"
    assert cited(None, ["one1958"]) == "one1958"
    assert cited(tmp_path / "elsewhere", ["one1958"]) == "one1958"


@pytest.mark.parametrize(
    ("tex", "text"),
    [(r"Herv{\'e}", "Hervé"), (r"{J{\"u}rgen}", "Jürgen"), ("van der Walt", "van der Walt")],
)
def test_accents_of_tex_become_letters(tex, text):
    assert letters(tex) == text


def test_an_entry_without_a_year_shows_its_authors():
    assert authors_and_year("author = {Cox, David},") == "Cox"
