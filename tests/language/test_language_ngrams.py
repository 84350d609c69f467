"""Character n-grams against counts by hand and properties of distributions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.language.ngrams import END, CharacterNgram

TEXTS = st.lists(st.text(alphabet="abc", max_size=8), min_size=1, max_size=5)


@given(TEXTS, st.text(alphabet="abcd", max_size=5), st.integers(1, 4))
def test_probabilities_are_positive_and_sum_to_one(texts, history, order):
    model = CharacterNgram(texts, order, "abcd")
    probabilities = model.probabilities(history)
    assert len(probabilities) == 5
    assert min(probabilities) > 0.0
    assert sum(probabilities) == pytest.approx(1.0)


def test_bigram_probability_equals_the_formula_by_hand():
    model = CharacterNgram(["ab", "aa"], 2, "ab")
    # Singles: a 3, b 1, end 2: 6 in all, 3 kinds; below them 1/3 each.
    single_a = (3 + 3 * (1 / 3)) / (6 + 3)
    single_b = (1 + 3 * (1 / 3)) / (6 + 3)
    # After a: b 1, a 1, end 1: 3 in all, 3 kinds. At the start: a 2, one kind.
    assert model.probabilities("a")[0] == pytest.approx((1 + 3 * single_a) / (3 + 3))
    assert model.probabilities("a")[1] == pytest.approx((1 + 3 * single_b) / (3 + 3))
    assert model.probabilities("")[0] == pytest.approx((2 + 1 * single_a) / (2 + 1))


@given(st.text(alphabet="ab", max_size=5))
def test_only_the_last_characters_count(text):
    model = CharacterNgram(["abab", "bba"], 3, "ab")
    assert model.probabilities("aaaaa" + text + "ba") == model.probabilities("bbbbb" + text + "ba")


def test_probabilities_of_all_short_texts_approach_one():
    model = CharacterNgram(["ab", "b"], 2, "ab")
    texts = [""]
    total = 0.0
    for _ in range(14):
        total += sum(math.exp(model.log_probability(text)) for text in texts)
        texts = [text + letter for text in texts for letter in "ab"]
    assert 0.97 < total < 1.0


def test_longer_histories_lower_the_perplexity_of_the_training_text():
    texts = ["press one now", "press two now", "please try again"]
    alphabet = " abcdefghijklmnopqrstuvwxyz"
    values = [CharacterNgram(texts, order, alphabet).perplexity(texts) for order in (1, 2, 3, 4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 2.0


def test_symbols_end_with_the_end_of_the_text():
    assert CharacterNgram(["a"], 1, "ab").symbols == ["a", "b", END]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        CharacterNgram(["a"], 0, "a")
    with pytest.raises(ValueError, match=r"alphabet only, got \['!'\]"):
        CharacterNgram(["a!"], 2, "a")
