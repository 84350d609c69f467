"""The CTC loss and its decoders against torch and brute force over all paths."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursekit.speech.ctc import (
    collapse,
    ctc_loss,
    extend,
    forward_backward,
    greedy_decode,
    minimum_frames,
    prefix_beam_search,
)


def random_logits(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


def all_labelings(log_probs, blank=0):
    """Probability of every labeling, by adding up every path."""
    time, classes = log_probs.shape
    totals = {}
    for path in itertools.product(range(classes), repeat=time):
        merged = [k for k, _ in itertools.groupby(path)]
        labels = tuple(k for k in merged if k != blank)
        score = sum(float(log_probs[t, k]) for t, k in enumerate(path))
        totals[labels] = totals.get(labels, 0.0) + math.exp(score)
    return totals


def batch_of(*targets, blank=0):
    width = max(len(target) for target in targets)
    fill = 1 if blank == 0 else 0
    padded = [[*target, *[fill] * (width - len(target))] for target in targets]
    lengths = torch.tensor([len(target) for target in targets])
    return torch.tensor(padded, dtype=torch.long).reshape(len(targets), width), lengths


def test_collapse_merges_repeats_before_it_drops_blanks():
    assert collapse([0, 3, 3, 0, 3, 5, 0]) == [3, 3, 5]
    assert collapse([3, 3, 3]) == [3]
    assert collapse([0, 0]) == collapse([]) == []
    assert collapse([0, 2, 0, 1], blank=2) == [0, 0, 1]


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_frame_of_a_path_may_be_doubled_without_changing_its_labels(path):
    doubled = [label for label in path for _ in range(2)]
    assert collapse(doubled) == collapse(path)
    assert minimum_frames(collapse(path)) <= len(path)


def test_extended_labels_alternate_with_blanks():
    assert extend(torch.tensor([[3, 1, 1]])).tolist() == [[0, 3, 0, 1, 0, 1, 0]]
    assert extend(torch.empty(2, 0, dtype=torch.long)).tolist() == [[0], [0]]


TARGETS = ([1, 2, 3], [2, 2, 1, 1], [], [4])


@pytest.mark.parametrize("blank", [0, 2])
def test_loss_and_gradient_equal_those_of_torch(blank):
    kinds = [k for k in range(6) if k != blank]
    targets, lengths = batch_of(*[[kinds[k] for k in t] for t in TARGETS], blank=blank)
    frames = torch.tensor([9, 7, 5, 9])
    weights = torch.tensor([1.0, 0.5, 2.0, -1.0], dtype=torch.float64)
    logits = random_logits(4, 9, 6).requires_grad_()
    ours = ctc_loss(logits, targets, frames, lengths, blank)
    (gradient,) = torch.autograd.grad((weights * ours).sum(), logits)
    theirs = F.ctc_loss(
        logits.log_softmax(2).transpose(0, 1), targets, frames, lengths, blank, reduction="none"
    )
    (expected,) = torch.autograd.grad((weights * theirs).sum(), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


def test_gradient_equals_finite_differences():
    targets, lengths = batch_of([1, 1], [2])
    frames = torch.tensor([4, 3])
    logits = random_logits(2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ctc_loss(z, targets, frames, lengths), logits)


def test_likelihood_equals_the_sum_over_all_paths():
    log_probs = random_logits(5, 3).log_softmax(1)
    totals = all_labelings(log_probs)
    assert sum(totals.values()) == pytest.approx(1.0)
    for labels, expected in totals.items():
        targets, lengths = batch_of(labels)
        lattice = forward_backward(log_probs[None], targets, torch.tensor([5]), lengths)
        assert math.exp(float(lattice.log_likelihood)) == pytest.approx(expected, rel=1e-9)


def test_every_frame_of_the_lattice_holds_the_whole_likelihood():
    log_probs = random_logits(2, 8, 4).log_softmax(2)
    targets, lengths = batch_of([1, 1, 3], [2])
    lattice = forward_backward(log_probs, targets, torch.tensor([8, 6]), lengths)
    occupancy = lattice.occupancy().sum(2)  # (batch, time)
    torch.testing.assert_close(occupancy[0], torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close(occupancy[1, :6], torch.ones(6, dtype=torch.float64))
    assert torch.equal(occupancy[1, 6:], torch.zeros(2, dtype=torch.float64))


def test_padding_of_frames_and_labels_changes_nothing():
    logits = random_logits(1, 6, 4)
    alone = ctc_loss(logits, torch.tensor([[1, 3]]), torch.tensor([6]), torch.tensor([2]))
    noise = torch.cat([logits, random_logits(1, 3, 4, seed=9)], dim=1).requires_grad_()
    padded = ctc_loss(noise, torch.tensor([[1, 3, 2]]), torch.tensor([6]), torch.tensor([2]))
    padded.sum().backward()
    assert torch.equal(alone, padded.detach())
    assert torch.equal(noise.grad[0, 6:], torch.zeros(3, 4, dtype=torch.float64))


def test_gradient_of_a_frame_sums_to_zero():
    logits = random_logits(1, 6, 4).requires_grad_()
    ctc_loss(logits, torch.tensor([[1, 1]]), torch.tensor([6]), torch.tensor([2])).sum().backward()
    assert torch.allclose(logits.grad.sum(2), torch.zeros(1, 6, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(("target", "frames"), [([1, 2, 3], 2), ([1, 1], 2), ([2, 2, 2], 4)])
def test_too_few_frames_give_an_infinite_loss_and_no_gradient(target, frames):
    assert minimum_frames(target) > frames
    targets, lengths = batch_of(target, [1])
    logits = random_logits(2, 5, 4).requires_grad_()
    loss = ctc_loss(logits, targets, torch.tensor([frames, 5]), lengths)
    loss.sum().backward()
    assert loss[0] == math.inf
    assert torch.isfinite(loss[1])
    assert torch.equal(logits.grad[0], torch.zeros(5, 4, dtype=torch.float64))
    assert logits.grad[1].abs().sum() > 0


def test_hundreds_of_confident_frames_do_not_underflow():
    logits = 40.0 * F.one_hot(torch.arange(1500) % 2, 3).float()[None]
    loss = ctc_loss(logits, torch.tensor([[2] * 20]), torch.tensor([1500]), torch.tensor([20]))
    expected = F.ctc_loss(
        logits.log_softmax(2).transpose(0, 1), torch.tensor([[2] * 20]), (1500,), (20,),
        reduction="none",
    )  # fmt: skip
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(8))
def test_wide_beam_finds_the_best_labeling_and_its_exact_probability(seed):
    log_probs = random_logits(5, 3, seed=seed, scale=1.0).log_softmax(1)
    totals = all_labelings(log_probs)
    found = prefix_beam_search(log_probs, width=10_000, least=0.0)
    assert found[0].labels == max(totals, key=totals.get)
    assert len(found) == len(totals)
    for labels, score in found:
        assert math.exp(score) == pytest.approx(totals[labels], rel=1e-9)


def bigram(prefix):
    """A model of text in which 1 and 2 alternate; class 0 is the end."""
    table = {(): [0.1, 0.6, 0.3], (1,): [0.2, 0.1, 0.7], (2,): [0.5, 0.4, 0.1]}
    return [math.log(p) for p in table[prefix[-1:]]]


@pytest.mark.parametrize("seed", range(8))
def test_wide_beam_with_a_language_model_finds_the_best_combined_score(seed):
    log_probs = random_logits(5, 3, seed=seed, scale=1.0).log_softmax(1)
    weight, bonus = 0.8, 0.6

    def score(labels, probability):
        text = sum(bigram(labels[:i])[label] for i, label in enumerate(labels))
        text += bigram(labels)[0]
        return math.log(probability) + weight * text + bonus * len(labels)

    scores = {labels: score(labels, p) for labels, p in all_labelings(log_probs).items()}
    best = prefix_beam_search(
        log_probs, width=10_000, least=0.0, language_model=bigram, weight=weight, bonus=bonus
    )[0]
    assert best.labels == max(scores, key=scores.get)
    assert best.score == pytest.approx(scores[best.labels], rel=1e-9)


def test_best_path_may_miss_the_best_labeling():
    log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert greedy_decode(log_probs) == []  # the path of two blanks has probability 0.36
    best = prefix_beam_search(log_probs)[0]
    assert best.labels == (1,)
    assert math.exp(best.score) == pytest.approx(0.64)


def test_decoders_agree_when_the_network_is_sure():
    path = [0, 1, 1, 0, 1, 2, 2]
    log_probs = (30.0 * F.one_hot(torch.tensor(path), 3).double()).log_softmax(1)
    assert greedy_decode(log_probs) == [1, 1, 2]
    assert prefix_beam_search(log_probs, width=1)[0].labels == (1, 1, 2)


def test_no_frame_is_decoded_to_no_label():
    assert greedy_decode(torch.zeros(0, 3)) == []
    assert prefix_beam_search(torch.zeros(0, 3))[0] == ((), 0.0)


def test_bad_input_is_named():
    logits, targets = torch.zeros(2, 5, 4), torch.ones(2, 3, dtype=torch.long)
    frames, lengths = torch.tensor([5, 5]), torch.tensor([3, 3])
    with pytest.raises(ValueError, match=r"\(batch, time, classes\).*got \(5, 4\)"):
        ctc_loss(logits[0], targets, frames, lengths)
    with pytest.raises(ValueError, match=r"targets must have shape.*batch = 2, got \(1, 3\)"):
        ctc_loss(logits, targets[:1], frames, lengths)
    with pytest.raises(ValueError, match=r"input_lengths must lie in \[1, 5\], got \[5, 6\]"):
        ctc_loss(logits, targets, frames + torch.tensor([0, 1]), lengths)
    with pytest.raises(ValueError, match=r"target_lengths must have shape \(2,\)"):
        ctc_loss(logits, targets, frames, lengths[:1])
    with pytest.raises(ValueError, match=r"other than the blank \(1\)"):
        ctc_loss(logits, targets, frames, lengths, blank=1)
    with pytest.raises(ValueError, match=r"must lie in \[0, 4\), got 1 to 4"):
        ctc_loss(logits, targets + torch.tensor([0, 3, 0]), frames, lengths)
    with pytest.raises(ValueError, match="blank must be one of the 4 classes, got 4"):
        ctc_loss(logits, targets, frames, lengths, blank=4)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        prefix_beam_search(torch.zeros(3, 2), width=0)
    with pytest.raises(ValueError, match=r"log_probs must have shape \(time, classes\)"):
        greedy_decode(torch.zeros(1, 3, 2))
