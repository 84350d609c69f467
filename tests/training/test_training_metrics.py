"""Streaming metrics equal scikit-learn on all examples at once, however they were batched."""

import pytest
import torch
from sklearn import metrics as reference
from torch import nn
from torch.nn.functional import cross_entropy

from coursekit.language import BLEU, Perplexity
from coursekit.speech import ErrorRate
from coursekit.training import Trainer
from coursekit.training.metrics import AUC, F1, Accuracy, Confusion, Metric, Precision, Recall
from coursekit.vision import MeanAveragePrecision


def answers(examples=237, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(examples, classes, generator=generator)
    targets = torch.randint(classes, (examples,), generator=generator)
    outputs[torch.arange(examples), targets] += 0.7
    return outputs, targets


def streamed(metric, outputs, targets, batch=32):
    metric.reset()
    for start in range(0, len(targets), batch):
        metric.update(outputs[start : start + batch], targets[start : start + batch])
    return metric.compute()


@pytest.mark.parametrize("batch", [1, 32, 1000])
@pytest.mark.parametrize("top", [1, 2, 3])
def test_accuracy_and_top_k(top, batch):
    outputs, targets = answers()
    expected = reference.top_k_accuracy_score(targets, outputs, k=top, labels=range(4))
    assert streamed(Accuracy(top), outputs, targets, batch) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize(
    ("metric", "score"),
    [
        (Precision, reference.precision_score),
        (Recall, reference.recall_score),
        (F1, reference.f1_score),
    ],
)
def test_precision_recall_and_f1_of_several_classes(metric, score, average):
    outputs, targets = answers()
    expected = score(targets, outputs.argmax(1), average=average, zero_division=0)
    found = streamed(metric(classes=4, average=average), outputs, targets)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        (Precision, reference.precision_score),
        (Recall, reference.recall_score),
        (F1, reference.f1_score),
    ],
)
@pytest.mark.parametrize("threshold", [-5.0, 0.0, 0.4, 5.0])
def test_precision_recall_and_f1_of_a_score(metric, score, threshold):
    outputs, targets = answers(classes=2)
    scores = outputs[:, 1] - outputs[:, 0]
    expected = score(targets, scores > threshold, zero_division=0)
    found = streamed(metric(threshold=threshold), scores, targets)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_that_occurs_nowhere_does_not_count():
    outputs, targets = answers(classes=3)
    wide = torch.cat([outputs, torch.full((len(outputs), 1), -9.0)], dim=1)
    narrow = streamed(F1(3, "macro"), outputs, targets)
    assert streamed(F1(4, "macro"), wide, targets) == pytest.approx(narrow, abs=1e-12)


def test_the_confusion_matrix():
    outputs, targets = answers()
    confusion = Confusion(4)
    accuracy = streamed(confusion, outputs, targets)
    expected = reference.confusion_matrix(targets, outputs.argmax(1))
    assert confusion.matrix().tolist() == expected.tolist()
    assert accuracy == pytest.approx(reference.accuracy_score(targets, outputs.argmax(1)))


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_curve(ties):
    outputs, targets = answers(classes=2)
    scores = outputs[:, 1] - outputs[:, 0]
    if ties:
        scores = scores.round()
    expected = reference.roc_auc_score(targets, scores)
    assert streamed(AUC(), scores, targets) == pytest.approx(expected, abs=1e-12)


def test_outputs_with_more_axes_count_every_position():
    outputs = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1))
    targets = outputs.argmax(1)
    targets[0, 0] = (targets[0, 0] + 1) % 5
    assert Accuracy()(outputs, targets) == pytest.approx(20 / 21)


def test_a_call_forgets_what_was_read_before():
    outputs, targets = answers()
    metric = Accuracy()
    metric.update(outputs, (targets + 1) % 4)
    assert metric(outputs, outputs.argmax(1)) == 1


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Accuracy(0), "top must be at least 1, got 0"),
        (lambda: Accuracy(5)(*answers()), "top must be at most the 4 classes, got 5"),
        (lambda: Accuracy().compute(), "update was not called"),
        (lambda: F1().compute(), "update was not called"),
        (lambda: Accuracy()(torch.zeros(3), torch.zeros(3)), r"got \(3,\) and \(3,\)"),
        (lambda: Confusion(3)(*answers()), r"3 classes along axis 1, got shape \(237, 4\)"),
        (
            lambda: Confusion(4)(answers()[0], answers()[1] + 1),
            "targets must be from 0 to 3, got 1 to 4",
        ),
        (lambda: F1(classes=3), "average must be macro or micro for 3 classes"),
        (lambda: F1(average="mean"), "average must be binary, macro or micro, got 'mean'"),
        (lambda: Confusion(1), "classes must be at least 2, got 1"),
        (
            lambda: AUC()(torch.rand(4), torch.ones(4)),
            "AUC needs both classes, got 4 examples of 1 and 0 of 0",
        ),
        (lambda: AUC()(torch.rand(4, 2), torch.ones(4)), r"one shape \(batch,\), got \(4, 2\)"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()


# Metrics of the rooms below, which know nothing of this one


@pytest.mark.parametrize(
    "metric", [Accuracy(), AUC(), F1(), Perplexity(), BLEU(), ErrorRate(), MeanAveragePrecision()]
)
def test_what_has_the_four_methods_is_a_metric(metric):
    assert isinstance(metric, Metric)


def test_a_function_and_a_metric_that_cannot_be_reduced_are_none():
    class Half:
        reset = update = compute = __call__ = lambda self, *_: 0.0

    assert not isinstance(Half(), Metric)
    assert not isinstance(len, Metric)


def trainer_of(model, **metrics):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, optimizer, cross_entropy, metrics=metrics, device="cpu", progress=False)


def test_the_trainer_streams_metrics_of_other_fields():
    def boxes(outputs, targets):
        """Find one box an image; the true one is as large as the class says."""
        square, label = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0])
        found = [
            {"boxes": square, "labels": label, "scores": score}
            for score in outputs.max(1, keepdim=True).values
        ]
        true = [
            {"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0 + n]]), "labels": label}
            for n in targets.tolist()
        ]
        return found, true

    def texts(outputs, targets):
        return [outputs.argmax(1).tolist()], [[targets.tolist()]]

    def labels(outputs, targets):
        return outputs.argmax(1).tolist(), targets.tolist()

    inputs, targets = answers()
    torch.manual_seed(0)
    trainer = trainer_of(
        nn.Linear(4, 4),
        perplexity=Perplexity(),
        bleu=BLEU(order=1, decode=texts),
        errors=ErrorRate(decode=lambda o, t: tuple([x] for x in labels(o, t))),
        precision=MeanAveragePrecision((0.5,), decode=boxes),
        seen=lambda outputs, targets: len(outputs),
    )
    scores = trainer.evaluate((inputs, targets), batch_size=50)
    outputs = trainer.predict(inputs)

    assert scores["seen"] == len(targets)  # a function still gets all examples at once
    assert scores["perplexity"] == pytest.approx(cross_entropy(outputs, targets).exp().item())
    pairs = [labels(o, t) for o, t in zip(outputs.split(50), targets.split(50), strict=True)]
    found, expected = ([pair[k] for pair in pairs] for k in (0, 1))
    assert scores["bleu"] == BLEU(order=1)(found, [[text] for text in expected])
    assert scores["errors"] == ErrorRate()(found, expected)
    assert scores["precision"] == MeanAveragePrecision((0.5,))(*boxes(outputs, targets))
    assert 0 < scores["precision"] < 1
