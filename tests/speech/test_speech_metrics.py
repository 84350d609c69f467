"""Error rates against jiwer."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.speech.metrics import edit_distance, error_rate, word_error_rate

TEXT = st.text(alphabet="abc ", max_size=12)
WORDS = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=6).map(
    " ".join
)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_error_rates_equal_those_of_jiwer(pairs):
    references, hypotheses = (list(side) for side in zip(*pairs, strict=True))
    assert error_rate(references, hypotheses) == pytest.approx(jiwer.cer(references, hypotheses))
    assert word_error_rate(references, hypotheses) == pytest.approx(
        jiwer.wer(references, hypotheses)
    )


@given(TEXT, TEXT, TEXT)
def test_edit_distance_is_a_metric(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


def test_labels_may_be_numbers_and_an_empty_hypothesis_deletes_all():
    assert edit_distance([1, 2, 2, 3], [1, 2, 3]) == 1
    assert error_rate([[1, 2], [3]], [[], [3]]) == pytest.approx(2 / 3)


def test_rate_weighs_by_length_and_may_exceed_one():
    assert error_rate(["abcd", "x"], ["abcd", "y"]) == pytest.approx(1 / 5)
    assert error_rate(["a"], ["bcd"]) == 3.0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="must have the same length, got 2 and 1"):
        error_rate(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="references must hold at least one label"):
        error_rate(["", ""], ["a", ""])
