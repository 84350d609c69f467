"""Perplexity against torch's cross entropy and torchmetrics, however the tokens were batched."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from coursekit.language import Perplexity, perplexity

PADDING = 0


def texts(count=23, classes=11, length=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, length, generator=generator)
    targets = torch.randint(1, classes, (count, length), generator=generator)
    lengths = torch.randint(1, length + 1, (count, 1), generator=generator)
    targets[torch.arange(length) >= lengths] = PADDING
    return logits, targets


def streamed(metric, logits, targets, batch):
    for start in range(0, len(targets), batch):
        metric.update(logits[start : start + batch], targets[start : start + batch])
    return metric.compute()


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_streaming_equals_the_exponential_of_torchs_cross_entropy(batch):
    logits, targets = texts()
    expected = cross_entropy(logits.double(), targets, ignore_index=PADDING).exp().item()
    found = streamed(Perplexity(ignore_index=PADDING), logits, targets, batch)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow  # torchmetrics takes seconds to import
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_streaming_equals_torchmetrics_with_the_classes_along_the_last_axis(batch):
    from torchmetrics.text import Perplexity as Reference

    logits, targets = texts(seed=1)
    reference = Reference(ignore_index=PADDING)
    for start in range(0, len(targets), batch):
        rows = slice(start, start + batch)
        reference.update(logits[rows].transpose(1, 2), targets[rows])
    found = streamed(Perplexity(ignore_index=PADDING), logits, targets, batch)
    assert found == pytest.approx(reference.compute().item(), rel=1e-4)  # it sums in float32


def test_one_token_a_text_and_torchs_own_mark_of_padding():
    logits, targets = texts(length=1)
    logits, targets = logits[..., 0], targets[:, 0]
    targets[::3] = -100
    expected = cross_entropy(logits.double(), targets).exp().item()
    assert Perplexity()(logits, targets) == pytest.approx(expected, rel=1e-6)


def test_padding_weighs_nothing_whatever_its_logits():
    logits, targets = texts()
    changed = torch.where((targets == PADDING)[:, None], torch.inf, logits)
    metric = Perplexity(ignore_index=PADDING)
    assert metric(changed, targets) == metric(logits, targets)


def test_a_batch_of_padding_alone_changes_nothing():
    logits, targets = texts()
    metric = Perplexity(ignore_index=PADDING)
    before = metric(logits, targets)
    metric.update(logits, torch.full_like(targets, PADDING))
    assert metric.compute() == before


@pytest.mark.parametrize("classes", [2, 7, 1000])
def test_equal_logits_are_as_unsure_as_there_are_classes(classes):
    targets = torch.arange(20).reshape(4, 5) % classes
    assert Perplexity()(torch.zeros(4, classes, 5), targets) == pytest.approx(classes, rel=1e-5)


def test_perplexity_is_1_where_the_model_is_sure_and_infinite_where_it_rules_out():
    sure = torch.full((1, 3), -math.inf)
    sure[0, 1] = 5.0
    assert Perplexity()(sure, torch.tensor([1])) == 1.0
    assert Perplexity()(sure, torch.tensor([2])) == math.inf


def test_half_precision_counts_in_float32():
    logits, targets = texts()
    half = logits.bfloat16()
    metric = Perplexity(ignore_index=PADDING)
    assert metric(half, targets) == pytest.approx(metric(half.float(), targets), rel=1e-9)


def test_the_base_is_that_of_the_logarithms():
    nats = 12.5
    bits = nats / math.log(2)
    assert perplexity(nats, 5) == pytest.approx(perplexity(bits, 5, base=2))
    assert perplexity(nats, 5) == pytest.approx(math.exp(2.5))
    assert perplexity(1e6, 1) == math.inf


def test_processes_add_up(two_processes):
    logits, targets = texts()
    whole, half, rest = (Perplexity(ignore_index=PADDING) for _ in range(3))
    whole.update(logits, targets)
    half.update(logits[:10], targets[:10])
    rest.update(logits[10:], targets[10:])
    half.reduce(two_processes(rest.nats, rest.tokens))
    assert half.compute() == pytest.approx(whole.compute(), rel=1e-9)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Perplexity().compute(), "tokens must be above 0, got 0.0"),
        (lambda: Perplexity()(*texts()[::-1]), r"targets \(batch, …\), got \(23, 9\) and \(23, 11"),
        (
            lambda: Perplexity()(texts()[0], texts()[1] + 1),
            "targets must be -100 or from 0 to 10, got 1 to 11",
        ),
        (
            lambda: Perplexity()(torch.full((2, 3), torch.nan), torch.zeros(2, dtype=torch.long)),
            "must be at least 0, got nan: outputs must be finite logits",
        ),
        (lambda: perplexity(-1.0, 3), "negative_log_likelihood must be at least 0, got -1.0"),
        (lambda: perplexity(1.0, 3, base=1), "base must be above 1, got 1"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
