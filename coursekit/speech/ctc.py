"""Connectionist temporal classification: train and decode without an alignment.

A network emits, for every frame, a distribution over the labels and one extra class, the blank.
A path names one class a frame; the map `collapse` merges repeats, then drops blanks; the
probability of a labeling is the sum over all paths that collapse to it.

Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification:
Labelling Unsegmented Sequence Data with Recurrent Neural Networks", 2006. Two things differ
from that paper: everything is computed with logarithms instead of rescaled probabilities, and
the backward variable leaves out the emission of its own frame, so that no division by it is
needed. The prefix search keeps a fixed number of prefixes (a beam), as in Hannun et al.,
"First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs",
2014, instead of the paper's best-first search.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

IMPOSSIBLE = -math.inf


def collapse(path: Sequence[int], blank: int = 0) -> list[int]:
    """Map a path to its labeling: merge neighbors that are equal, then drop blanks.

    Args:
        path: One class a frame.
        blank: The class that stands for no label.

    Returns:
        The labels.

    >>> collapse([0, 3, 3, 0, 3, 5, 0])
    [3, 3, 5]
    """
    labels = []
    previous = blank
    for label in path:
        if label not in (previous, blank):
            labels.append(int(label))
        previous = label
    return labels


def minimum_frames(target: Sequence[int]) -> int:
    """Return how few frames can carry a labeling: its length plus one blank a doubled label.

    Args:
        target: Labels without blanks.

    Returns:
        The least number of frames for which some path collapses to `target`.

    >>> minimum_frames([8, 5, 12, 12, 15])
    6
    """
    repeats = sum(left == right for left, right in itertools.pairwise(target))
    return len(target) + repeats


def extend(targets: Int[Tensor, "batch labels"], blank: int = 0) -> Int[Tensor, "batch states"]:
    """Put a blank before, between and after the labels.

    Args:
        targets: Labels, shape (batch, labels).
        blank: The class that stands for no label.

    Returns:
        Shape (batch, 2 * labels + 1); states 1, 3, 5, … hold the labels.
    """
    extended = targets.new_full((targets.shape[0], 2 * targets.shape[1] + 1), blank)
    extended[:, 1::2] = targets
    return extended


class Lattice(NamedTuple):
    """What forward-backward knows of a batch; states are those of the extended labels.

    Attributes:
        log_alpha: Log-probability of the frames up to and with t along paths that stand in state
            s at t, shape (batch, time, states).
        log_beta: Log-probability of the frames after t, given that the path stands in s at t.
        log_likelihood: log p(target | input), shape (batch,); -inf when no path fits.
    """

    log_alpha: Float[Tensor, "batch time states"]
    log_beta: Float[Tensor, "batch time states"]
    log_likelihood: Float[Tensor, "batch"]

    def occupancy(self) -> Float[Tensor, "batch time states"]:
        """Return the posterior of each state in each frame; it sums to 1 over the states."""
        possible = torch.isfinite(self.log_likelihood)
        log_total = torch.where(possible, self.log_likelihood, 0.0)
        return torch.exp(self.log_alpha + self.log_beta - log_total[:, None, None])


def forward_backward(
    log_probs: Float[Tensor, "batch time classes"],
    targets: Int[Tensor, "batch labels"],
    input_lengths: Int[Tensor, "batch"],
    target_lengths: Int[Tensor, "batch"],
    blank: int = 0,
) -> Lattice:
    """Sum over all paths that collapse to the targets, in log space.

    Args:
        log_probs: Log-probabilities of the classes in each frame, shape (batch, time, classes).
        targets: Labels, padded with any valid class, shape (batch, labels).
        input_lengths: Valid frames of each utterance, at least 1.
        target_lengths: Valid labels of each utterance, 0 for silence.
        blank: The class that stands for no label.

    Returns:
        The forward and backward variables and the log-likelihoods.

    Raises:
        ValueError: If shapes, lengths or labels do not fit together.
    """
    _check(log_probs, targets, input_lengths, target_lengths, blank)
    batch, time, _ = log_probs.shape
    states = extend(targets, blank)  # (batch, states)
    emission = log_probs.gather(2, states[:, None, :].expand(-1, time, -1))
    # A path may jump over a blank, but not between two equal labels.
    jump = torch.zeros_like(states, dtype=torch.bool)
    jump[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    last = 2 * target_lengths  # state of the final blank

    alpha = torch.full_like(emission, IMPOSSIBLE)
    alpha[:, 0, :2] = emission[:, 0, :2]  # a path starts with the blank or the first label
    for t in range(1, time):
        alpha[:, t] = emission[:, t] + _incoming(alpha[:, t - 1], jump)

    position = torch.arange(states.shape[1], device=states.device)
    final = (position == last[:, None]) | (position == last[:, None] - 1)
    final_scores = torch.where(final, 0.0, IMPOSSIBLE).to(log_probs.dtype)
    beta = torch.full_like(emission, IMPOSSIBLE)
    for t in range(time - 1, -1, -1):
        if t + 1 < time:
            beta[:, t] = _outgoing(emission[:, t + 1] + beta[:, t + 1], jump)
        ends_here = (input_lengths == t + 1)[:, None]
        beta[:, t] = torch.where(ends_here, final_scores, beta[:, t])

    utterance = torch.arange(batch, device=states.device)
    at_end = alpha[utterance, input_lengths - 1] + final_scores
    return Lattice(alpha, beta, torch.logsumexp(at_end, dim=1))


def _shift(scores: Tensor, places: int) -> Tensor:
    """Shift scores along the states, right for positive places, and fill with -inf."""
    rolled = scores.roll(places, dims=1)
    if places > 0:
        rolled[:, :places] = IMPOSSIBLE
    else:
        rolled[:, places:] = IMPOSSIBLE
    return rolled


def _incoming(scores: Tensor, jump: Tensor) -> Tensor:
    """Sum over the predecessors of every state: itself, its neighbor, and the one before."""
    jumped = torch.where(jump, _shift(scores, 2), IMPOSSIBLE)
    return torch.logsumexp(torch.stack([scores, _shift(scores, 1), jumped]), dim=0)


def _outgoing(scores: Tensor, jump: Tensor) -> Tensor:
    """Sum over the successors of every state; `jump` marks the states jumped to."""
    jumped = _shift(torch.where(jump, scores, IMPOSSIBLE), -2)
    return torch.logsumexp(torch.stack([scores, _shift(scores, -1), jumped]), dim=0)


class _Loss(torch.autograd.Function):
    """The loss with the gradient of the derivation in place of automatic differentiation."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        targets: Tensor,
        input_lengths: Tensor,
        target_lengths: Tensor,
        blank: int,
    ) -> Tensor:
        """Compute -log p(target | input) and keep probabilities minus occupancy."""
        probabilities = logits.softmax(dim=2)
        lattice = forward_backward(
            logits.log_softmax(dim=2), targets, input_lengths, target_lengths, blank
        )
        time = logits.shape[1]
        states = extend(targets, blank)[:, None, :].expand(-1, time, -1)
        expected = torch.zeros_like(logits).scatter_add(2, states, lattice.occupancy())
        frame = torch.arange(time, device=logits.device)
        counts = frame < input_lengths[:, None]  # (batch, time)
        counts = counts & torch.isfinite(lattice.log_likelihood)[:, None]
        ctx.save_for_backward(torch.where(counts[:, :, None], probabilities - expected, 0.0))
        return -lattice.log_likelihood

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Scale the stored gradient of each utterance."""
        (gradient,) = ctx.saved_tensors
        return incoming[0][:, None, None] * gradient, None, None, None, None


def ctc_loss(
    logits: Float[Tensor, "batch time classes"],
    targets: Int[Tensor, "batch labels"],
    input_lengths: Int[Tensor, "batch"],
    target_lengths: Int[Tensor, "batch"],
    blank: int = 0,
) -> Float[Tensor, "batch"]:
    """Return -log p(target | input) of each utterance, with the gradient derived by hand.

    Args:
        logits: Scores before the softmax, shape (batch, time, classes).
        targets: Labels, padded with any valid class, shape (batch, labels).
        input_lengths: Valid frames of each utterance, at least 1.
        target_lengths: Valid labels of each utterance.
        blank: The class that stands for no label.

    Returns:
        Losses in nats, shape (batch,). An utterance with fewer frames than
        `minimum_frames(target)` has an infinite loss and a gradient of 0, so that it
        shows in the sum but moves no weight.

    Raises:
        ValueError: If shapes, lengths or labels do not fit together.

    Source: Graves et al. 2006, equations 6 to 16.
    """
    _check(logits, targets, input_lengths, target_lengths, blank)
    loss: Tensor = _Loss.apply(logits, targets, input_lengths, target_lengths, blank)
    return loss


def _check(
    scores: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> None:
    """Raise ValueError when the arguments of the loss do not fit together."""
    if scores.ndim != 3 or scores.shape[1] < 1:
        raise ValueError(
            f"scores must have shape (batch, time, classes) with time >= 1, "
            f"got {tuple(scores.shape)}"
        )
    batch, time, classes = scores.shape
    if not 0 <= blank < classes:
        raise ValueError(f"blank must be one of the {classes} classes, got {blank}")
    if targets.ndim != 2 or len(targets) != batch:
        raise ValueError(
            f"targets must have shape (batch, labels) with batch = {batch}, "
            f"got {tuple(targets.shape)}"
        )
    for name, lengths, low, high in (
        ("input_lengths", input_lengths, 1, time),
        ("target_lengths", target_lengths, 0, targets.shape[1]),
    ):
        if lengths.shape != (batch,):
            raise ValueError(f"{name} must have shape ({batch},), got {tuple(lengths.shape)}")
        if batch and (int(lengths.min()) < low or int(lengths.max()) > high):
            raise ValueError(f"{name} must lie in [{low}, {high}], got {lengths.tolist()}")
    position = torch.arange(targets.shape[1], device=targets.device)
    valid = targets[position < target_lengths[:, None]]
    if valid.numel() and (bool((valid == blank).any()) or int(valid.min()) < 0):
        raise ValueError(f"targets must be classes other than the blank ({blank})")
    if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= classes):
        raise ValueError(
            f"targets, padding included, must lie in [0, {classes}), "
            f"got {int(targets.min())} to {int(targets.max())}"
        )


def greedy_decode(log_probs: Float[Tensor, "time classes"], blank: int = 0) -> list[int]:
    """Collapse the single best path, the most probable class of each frame.

    The best path need not belong to the best labeling: see `prefix_beam_search`.

    Args:
        log_probs: Log-probabilities (or any scores) of one utterance, shape (time, classes).
        blank: The class that stands for no label.

    Returns:
        The labels.
    """
    _check_frames(log_probs)
    return collapse(log_probs.argmax(dim=1).tolist(), blank)


class Hypothesis(NamedTuple):
    """One result of the search.

    Attributes:
        labels: The labeling.
        score: log p(labels | input), found so far by the beam, plus the language model's part.
    """

    labels: tuple[int, ...]
    score: float


LanguageModel = Callable[[tuple[int, ...]], Sequence[float]]


def prefix_beam_search(
    log_probs: Float[Tensor, "time classes"],
    *,
    width: int = 16,
    language_model: LanguageModel | None = None,
    weight: float = 0.0,
    bonus: float = 0.0,
    least: float = 1e-4,
    blank: int = 0,
) -> list[Hypothesis]:
    """Search for the labeling with the best score, merging the paths of every prefix.

    The score of a labeling is log p(labels | input) + weight * log p_lm(labels) + bonus * length.

    Args:
        log_probs: Log-probabilities of one utterance, shape (time, classes).
        width: Prefixes kept after each frame.
        language_model: Takes the labels so far and returns natural log-probabilities of what
            follows, one for each class; the blank's entry is that of the end of the text.
        weight: Weight of the language model.
        bonus: Added for each label; it makes up for the language model's taste for short texts.
        least: Labels less probable than this in a frame are not tried there; 0 tries all.
        blank: The class that stands for no label.

    Returns:
        At most `width` hypotheses, best first.

    Raises:
        ValueError: If the shape is wrong or the width is below 1.
    """
    _check_frames(log_probs)
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    # Per prefix: probability of its paths that end in a blank, in its last label; other scores.
    beam: dict[tuple[int, ...], tuple[float, float, float]] = {(): (1.0, 0.0, 0.0)}
    log_scale = 0.0
    for frame in log_probs.double().exp().tolist():
        labels = [k for k, p in enumerate(frame) if k != blank and p > least]
        grown: dict[tuple[int, ...], list[float]] = {}
        for prefix, (in_blank, in_label, extra) in beam.items():
            total = in_blank + in_label
            stay = grown.setdefault(prefix, [0.0, 0.0, extra])
            stay[0] += total * frame[blank]
            if prefix:
                stay[1] += in_label * frame[prefix[-1]]
            following = language_model(prefix) if language_model and weight else None
            for label in labels:
                # A label again right after itself only counts as new across a blank.
                mass = in_blank if prefix and label == prefix[-1] else total
                if mass == 0.0:
                    continue
                longer = (*prefix, label)
                if longer not in grown:
                    gain = bonus + (weight * following[label] if following is not None else 0.0)
                    grown[longer] = [0.0, 0.0, extra + gain]
                grown[longer][1] += mass * frame[label]
        ranked = sorted(grown.items(), key=_score, reverse=True)[:width]
        scale = max(b + n for _, (b, n, _) in ranked)
        if scale == 0.0:
            raise ValueError("log_probs must leave at least one class possible in each frame")
        log_scale += math.log(scale)
        beam = {prefix: (b / scale, n / scale, e) for prefix, (b, n, e) in ranked}
    finished = []
    for item in beam.items():
        end = language_model(item[0])[blank] if language_model and weight else 0.0
        finished.append(Hypothesis(item[0], _score(item) + log_scale + weight * end))
    return sorted(finished, key=lambda hypothesis: hypothesis.score, reverse=True)


def _score(item: tuple[tuple[int, ...], Sequence[float]]) -> float:
    """Return the log-score of a prefix in the beam."""
    in_blank, in_label, extra = item[1]
    total = in_blank + in_label
    return (math.log(total) if total > 0.0 else IMPOSSIBLE) + extra


def _check_frames(log_probs: Tensor) -> None:
    """Raise ValueError unless the scores are those of one utterance."""
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs must have shape (time, classes), got {tuple(log_probs.shape)}")
