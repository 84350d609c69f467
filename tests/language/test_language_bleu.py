"""BLEU against sacrebleu, over random and real sentences."""

import csv
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU as Reference

from coursekit.language import BLEU, bleu_counts, corpus_bleu, sentence_bleu

FILES = Path(__file__).resolve().parents[2] / "coursekit" / "data" / "sharealike"
SMOOTHINGS = [("none", None), ("exp", None), ("floor", None), ("floor", 0.3), ("add-k", None),
              ("add-k", 2.0)]  # fmt: skip
SENTENCE = st.lists(st.sampled_from("abc"), max_size=9)


def expected(hypotheses, references, smoothing, value, effective_order=False, order=4):
    """Sacrebleu's figure; it takes one list a reference, of texts, None where there is none."""
    metric = Reference(
        tokenize="none", force=True, smooth_method=smoothing, smooth_value=value,
        effective_order=effective_order, max_ngram_order=order,
    )  # fmt: skip
    most = max(map(len, references))
    columns = [
        [" ".join(group[k]) if k < len(group) else None for group in references]
        for k in range(most)
    ]
    return metric.corpus_score([" ".join(h) for h in hypotheses], columns).score / 100


@pytest.mark.parametrize(("smoothing", "value"), SMOOTHINGS)
@given(st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3)), min_size=1,
                max_size=4), st.booleans(), st.integers(1, 5))  # fmt: skip
def test_a_corpus_equals_sacrebleu(smoothing, value, pairs, effective_order, order):
    hypotheses, references = (list(side) for side in zip(*pairs, strict=True))
    found = corpus_bleu(hypotheses, references, order, smoothing, value, effective_order)
    figure = expected(hypotheses, references, smoothing, value, effective_order, order)
    assert found == pytest.approx(figure, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("smoothing", "value"), SMOOTHINGS)
@given(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3))
def test_a_sentence_equals_sacrebleu(smoothing, value, hypothesis, references):
    figure = expected([hypothesis], [references], smoothing, value, effective_order=True)
    found = sentence_bleu(hypothesis, references, smoothing=smoothing, value=value)
    assert found == pytest.approx(figure, rel=1e-9, abs=1e-12)


def test_a_word_counts_as_often_as_in_the_one_reference_that_holds_it_most_often():
    the = ["the"] * 7  # the paper's example: 2 of the 7 count
    texts = ("the cat is on the mat", "there is a cat on the mat")
    references = [text.split() for text in texts]
    assert bleu_counts(the, references, order=1) == [7, 7, 2, 7]


@pytest.mark.parametrize(
    ("length", "closest"), [(1, 2), (3, 2), (4, 5), (5, 5), (9, 5)], ids=str
)  # of two equally close the shorter
def test_brevity_is_judged_by_the_closest_reference(length, closest):
    assert bleu_counts(["a"] * length, [["a"] * 5, ["a"] * 2])[1] == closest


def test_a_perfect_translation_is_1_and_one_without_a_common_word_0():
    text = ["the", "cat", "sat", "on", "the", "mat"]
    assert corpus_bleu([text], [[text]]) == 1.0
    for smoothing, value in SMOOTHINGS:
        assert corpus_bleu([["dog"] * 6], [[text]], 4, smoothing, value) == 0.0


@pytest.mark.parametrize(("smoothing", "value"), SMOOTHINGS)
@pytest.mark.parametrize("hypothesis", ["", "a", "a b", "a b c", "b"])
def test_hypotheses_that_hold_no_4_gram(hypothesis, smoothing, value):
    for effective_order in (False, True):
        references = [[["a", "b", "c", "d"], ["a", "b"]]]
        arguments = ([hypothesis.split()], references)
        found = corpus_bleu(*arguments, 4, smoothing, value, effective_order)
        figure = expected(*arguments, smoothing, value, effective_order)
        assert found == pytest.approx(figure, rel=1e-9, abs=1e-12)


def sentences(count=60, seed=3):
    """Recorded prompts with some words exchanged; a shortened copy is a second reference."""
    draw = random.Random(seed)
    with (FILES / "speech-en" / "transcripts.tsv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"].split() for row in csv.DictReader(file, delimiter="\t")]
    texts = draw.sample(texts, count)
    references = [[text, text[draw.randint(0, 3) :]] for text in texts]
    hypotheses = [[w if draw.random() < 0.8 else "the" for w in text] for text in texts]
    return hypotheses, references


@pytest.mark.parametrize(("smoothing", "value"), SMOOTHINGS)
def test_real_sentences_one_by_one_equal_sacrebleu(smoothing, value):
    for hypothesis, references in zip(*sentences(), strict=True):
        figure = expected([hypothesis], [references], smoothing, value, effective_order=True)
        found = sentence_bleu(hypothesis, references, smoothing=smoothing, value=value)
        assert found == pytest.approx(figure, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_streaming_equals_the_corpus_at_once_and_sacrebleu(batch):
    hypotheses, references = sentences()
    metric = BLEU()
    for start in range(0, len(hypotheses), batch):
        metric.update(hypotheses[start : start + batch], references[start : start + batch])
    assert metric.compute() == corpus_bleu(hypotheses, references)
    assert metric.compute() == pytest.approx(expected(hypotheses, references, "exp", None))


def test_processes_add_up(two_processes):
    hypotheses, references = sentences()
    first, second = BLEU(), BLEU()
    first.update(hypotheses[:20], references[:20])
    second.update(hypotheses[20:], references[20:])
    first.reduce(two_processes(second.sentences, *second.counts))
    assert first.compute() == corpus_bleu(hypotheses, references)


def test_a_call_forgets_what_was_read_before_and_tokens_may_be_numbers():
    metric = BLEU()
    metric.update([[9, 9]], [[[1, 2]]])
    assert metric([[1, 2, 3, 4]], [[[1, 2, 3, 4]]]) == 1.0


def test_outputs_may_be_decoded():
    metric = BLEU(decode=lambda outputs, targets: (outputs.split(), targets))
    with pytest.raises(ValueError, match="got 'a' of type str"):
        metric.update("a b", [[["a"]], [["b"]]])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: corpus_bleu([["a"]], []), "of the same sentences, got 1 and 0"),
        (lambda: corpus_bleu([], []), "hypotheses must hold at least one sentence, got none"),
        (lambda: corpus_bleu([["a"]], [[]]), "references must hold at least one sequence"),
        (lambda: corpus_bleu(["a b"], [["a b"]]), "hypothesis must be a list of tokens, got 'a b'"),
        (lambda: corpus_bleu([["a"]], [["a"]]), "reference must be a list of tokens, got 'a'"),
        (lambda: BLEU(order=0), "order must be at least 1, got 0"),
        (lambda: BLEU(smoothing="addk"), "one of none, floor, add-k, exp, got 'addk'"),
        (lambda: BLEU(smoothing="floor", value=0), "value must be above 0, got 0"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
