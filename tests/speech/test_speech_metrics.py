"""Error rates against jiwer."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.speech.metrics import ErrorRate, edit_distance, error_rate, word_error_rate

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


@given(st.lists(st.lists(st.tuples(WORDS, WORDS), max_size=3), min_size=1, max_size=4))
def test_streaming_rates_equal_those_of_jiwer_over_all_batches(batches):
    references, hypotheses = ([pair[k] for batch in batches for pair in batch] for k in (0, 1))
    characters, words = ErrorRate(), ErrorRate(words=True)
    for batch in batches:
        for metric in (characters, words):
            metric.update([pair[1] for pair in batch], [pair[0] for pair in batch])
    if references:
        assert characters.compute() == pytest.approx(jiwer.cer(references, hypotheses))
        assert words.compute() == pytest.approx(jiwer.wer(references, hypotheses))
    else:
        with pytest.raises(ValueError, match="references must hold at least one label"):
            words.compute()


def test_processes_add_up(two_processes):
    first, second = ErrorRate(), ErrorRate()
    first.update(["abcd"], ["abcx"])
    second.update(["y"], ["x"])
    first.reduce(two_processes(second.edits, second.labels))
    assert first.compute() == pytest.approx(2 / 5)


def test_outputs_may_be_decoded_and_a_call_forgets_what_was_read_before():
    metric = ErrorRate(decode=lambda outputs, targets: ([outputs.lower()], [targets]))
    metric.update("ABX", "abc")
    assert metric("ABC", "abc") == 0


def test_streaming_names_batches_that_do_not_fit():
    with pytest.raises(ValueError, match="of the same utterances, got 2 and 1"):
        ErrorRate().update(["a", "b"], ["a"])
