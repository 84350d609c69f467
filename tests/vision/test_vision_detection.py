"""Mean average precision against COCO's evaluation code and torchmetrics, on random boxes."""

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coursekit.vision import (
    COCO_THRESHOLDS,
    MeanAveragePrecision,
    average_precision,
    box_iou,
    match_boxes,
)


def scenes(images=12, classes=3, true=5, found=8, seed=0, whole=False):
    """Draw images with true boxes, moved copies of them and wrong boxes.

    With `whole` numbers, equal scores and overlaps that lie on a threshold are frequent.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        values = torch.rand(*shape, generator=generator)
        return (10 * values).floor() if whole else 100 * values

    def boxes(count):
        corner, size = uniform(count, 2), uniform(count, 2) + (1 if whole else 5)
        return torch.cat([corner, corner + size], dim=1)

    def choose(limit, count):
        return torch.randint(limit, (count,), generator=generator)

    outputs, targets = [], []
    for _ in range(images):
        answers = boxes(int(choose(true + 1, 1)))
        labels = choose(classes, len(answers))
        wrong = boxes(int(choose(found + 1, 1)))
        copies = choose(2, len(answers)).bool()
        moved = answers[copies]
        if not whole:
            moved = moved + 4 * torch.randn(moved.shape, generator=generator).clamp(-1, 1)
            moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 1)
        guessed = torch.cat([moved, wrong])
        names = torch.cat([labels[copies], choose(classes + 1, len(wrong))])
        outputs.append({"boxes": guessed, "labels": names, "scores": uniform(len(guessed)) / 100})
        targets.append({"boxes": answers, "labels": labels})
    return outputs, targets


def coco(outputs, targets, thresholds=COCO_THRESHOLDS, max_detections=100):
    """The figures of COCO's own code: classes × thresholds."""

    def rows(images, scored):
        listed = []
        for number, image in enumerate(images):
            boxes = image["boxes"].double()
            for k, (x, y, right, bottom) in enumerate(boxes.tolist()):
                box = [x, y, right - x, bottom - y]
                row = {"id": len(listed) + 1, "image_id": number, "bbox": box, "iscrowd": 0,
                       "category_id": int(image["labels"][k]), "area": box[2] * box[3]}  # fmt: skip
                listed.append(row | ({"score": float(image["scores"][k])} if scored else {}))
        return listed

    classes = sorted({int(label) for image in targets for label in image["labels"]})
    others = sorted({int(label) for image in outputs for label in image["labels"]})
    truth = COCO()
    truth.dataset = {
        "info": {}, "images": [{"id": k} for k in range(len(targets))],
        "annotations": rows(targets, False),
        "categories": [{"id": k} for k in sorted({*classes, *others})],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows(outputs, True)), "bbox")
        evaluation.params.iouThrs = np.asarray(thresholds)
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]  # thresholds, recalls, classes
    known = [k for k in range(precision.shape[2]) if precision[0, 0, k] > -1]
    return precision[:, :, known].mean(1).T


def assert_equal_to_coco(metric, outputs, targets, **options):
    metric.reset()
    metric.update(outputs, targets)
    expected = coco(outputs, targets, metric.thresholds, **options)
    found = metric.table()[1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert metric.compute() == pytest.approx(expected.mean(), abs=1e-12)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_random_boxes_equal_cocos_code_class_by_class_and_threshold_by_threshold(seed, whole):
    outputs, targets = scenes(seed=seed, whole=whole)
    assert_equal_to_coco(MeanAveragePrecision(), outputs, targets)
    assert_equal_to_coco(MeanAveragePrecision((0.5,)), outputs, targets)


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 4))
def test_few_boxes_equal_cocos_code(seed, whole, images):
    outputs, targets = scenes(images, 2, 3, 3, seed, whole)
    if any(len(t["labels"]) for t in targets) and any(len(o["labels"]) for o in outputs):
        assert_equal_to_coco(MeanAveragePrecision((0.5, 0.75)), outputs, targets)


@pytest.mark.parametrize("most", [1, 3])
def test_a_limit_of_boxes_counts_for_each_class_of_an_image(most):
    outputs, targets = scenes(seed=7)
    metric = MeanAveragePrecision(max_detections=most)
    assert_equal_to_coco(metric, outputs, targets, max_detections=most)


@pytest.mark.slow  # torchmetrics takes seconds to import
@pytest.mark.parametrize("seed", range(3))
def test_batches_equal_torchmetrics(seed):
    from torchmetrics.detection import MeanAveragePrecision as Reference

    outputs, targets = scenes(images=20, seed=seed)
    # Its own 101 recalls are rounded to float32, so that 0.3 is missed by a recall of 3/10.
    recalls = np.linspace(0, 1, 101).tolist()
    reference = Reference(rec_thresholds=recalls, class_metrics=True)
    all_ten, half = MeanAveragePrecision(), MeanAveragePrecision((0.5,))
    for start in range(0, 20, 6):
        rows = slice(start, start + 6)
        for metric in (reference, all_ten, half):
            metric.update(outputs[rows], targets[rows])
    expected = reference.compute()
    assert all_ten.compute() == pytest.approx(expected["map"].item(), abs=1e-6)
    assert half.compute() == pytest.approx(expected["map_50"].item(), abs=1e-6)
    known = {int(k): v for k, v in zip(expected["classes"], expected["map_per_class"], strict=True)}
    for number, row in zip(*all_ten.table(), strict=True):
        assert row.mean() == pytest.approx(known[int(number)].item(), abs=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_batches_do_not_matter(batch):
    outputs, targets = scenes(whole=True)
    whole, streamed = MeanAveragePrecision(), MeanAveragePrecision()
    for start in range(0, len(outputs), batch):
        streamed.update(outputs[start : start + batch], targets[start : start + batch])
    assert streamed.compute() == whole(outputs, targets)


class Dealt:
    """Processes that read batches by turns; this one is the first."""

    def __init__(self, *others):
        self.others = others

    def gather(self, items):
        parts = [items, *self.others]
        return [part[i] for i in range(len(items)) for part in parts if i < len(part)]


def test_processes_join_their_boxes_in_the_order_of_the_batches():
    outputs, targets = scenes(whole=True)  # with equal scores the order counts
    metrics = [MeanAveragePrecision() for _ in range(3)]
    for number in range(len(outputs)):
        metrics[number % 3].update(outputs[number : number + 1], targets[number : number + 1])
    metrics[0].reduce(Dealt(metrics[1].batches, metrics[2].batches))
    assert metrics[0].compute() == MeanAveragePrecision()(outputs, targets)


def precision_at(right, true, recall):
    """The largest precision at this recall or a higher one, by its definition."""
    points = [(sum(right[:n]) / true, sum(right[:n]) / n) for n in range(1, len(right) + 1)]
    return max((precision for reached, precision in points if reached >= recall), default=0.0)


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_the_exact_area_equals_its_definition(right, missed):
    true = max(1, sum(right) + missed)
    # The precision is constant between recalls that differ by one box.
    expected = sum(precision_at(right, true, hits / true) for hits in range(1, true + 1)) / true
    found = average_precision(np.array(right, bool), true, "voc")
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_101_points_equal_their_definition(right, missed):
    true = max(1, sum(right) + missed)
    recalls = np.linspace(0, 1, 101)
    expected = np.mean([precision_at(right, true, recall) for recall in recalls])
    assert average_precision(np.array(right, bool), true) == pytest.approx(expected, abs=1e-12)


def test_the_exact_area_of_detections():
    outputs, targets = scenes()
    metric = MeanAveragePrecision((0.5,), "voc")
    found = metric(outputs, targets)
    assert found == pytest.approx(MeanAveragePrecision((0.5,))(outputs, targets), abs=0.02)
    assert found != MeanAveragePrecision((0.5,))(outputs, targets)


def test_a_thing_found_twice_counts_once_and_the_higher_score_has_the_first_choice():
    true = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]], dtype=torch.float64)
    found = torch.tensor([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    ious = box_iou(found.double(), true).numpy()  # of the first: 0.9 and 8/9
    assert match_boxes(ious, [0.5]).tolist() == [[True, True, False]]
    assert match_boxes(ious, [0.85]).tolist() == [[True, False, False]]


def test_perfect_boxes_score_1_and_none_0():
    _, targets = scenes()
    perfect = [t | {"scores": torch.ones(len(t["labels"]))} for t in targets]
    nothing = [{k: v[:0] for k, v in image.items()} for image in perfect]
    assert MeanAveragePrecision()(perfect, targets) == 1.0
    assert MeanAveragePrecision(interpolation="voc")(perfect, targets) == 1.0
    assert MeanAveragePrecision()(nothing, targets) == 0.0


def test_classes_without_true_boxes_do_not_count():
    outputs, targets = scenes()
    numbers, _ = (metric := MeanAveragePrecision(), metric.update(outputs, targets))[0].table()
    assert numbers.tolist() == [0, 1, 2]
    assert any(3 in image["labels"] for image in outputs)


def test_outputs_may_be_decoded():
    outputs, targets = scenes()
    metric = MeanAveragePrecision(decode=lambda _, numbers: (outputs, targets))
    assert metric(None, None) == MeanAveragePrecision()(outputs, targets)


def image(**changes):
    found = {"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]]), "labels": torch.tensor([1]),
             "scores": torch.tensor([0.5])}  # fmt: skip
    return [found | changes]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: MeanAveragePrecision(()), r"above 0 and up to 1, got \(\)"),
        (lambda: MeanAveragePrecision((50,)), r"above 0 and up to 1, got \(50,\)"),
        (lambda: MeanAveragePrecision(interpolation="11"), "must be coco or voc, got '11'"),
        (lambda: MeanAveragePrecision(max_detections=0), "at least 1 or None, got 0"),
        (lambda: MeanAveragePrecision().compute(), "targets must hold at least one box in all"),
        (lambda: MeanAveragePrecision()(image(), []), "of the same images, got 1 and 0"),
        (
            lambda: MeanAveragePrecision()([{"boxes": torch.zeros(0, 4)}], image()),
            "outputs must have the keys boxes, labels, scores, got boxes",
        ),
        (
            lambda: MeanAveragePrecision()(image(scores=torch.zeros(2)), image()),
            r"outputs: scores must have shape \(1,\), one for each box, got \(2,\)",
        ),
        (
            lambda: MeanAveragePrecision()(image(scores=torch.tensor([torch.nan])), image()),
            "outputs: scores must be finite",
        ),
        (
            lambda: MeanAveragePrecision()(image(), image(boxes=torch.tensor([[5.0, 0, 4, 1]]))),
            r"targets: boxes must be finite, left ≤ right and top ≤ bottom, got \[5.0, 0.0, 4.0",
        ),
        (
            lambda: MeanAveragePrecision()(image(boxes=torch.zeros(1, 5)), image()),
            r"boxes must have shape \(boxes, 4\), got \(1, 5\)",
        ),
        (lambda: average_precision(np.array([True]), 0), "true must be at least 1, got 0"),
        (lambda: average_precision(np.array([True]), 1, "11"), "must be coco or voc, got '11'"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
