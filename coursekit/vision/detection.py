"""Mean average precision: how well boxes find the things of each class.

Sources: Everingham et al., "The PASCAL visual object classes (VOC) challenge", 2010 (average
precision, at one overlap); Lin et al., "Microsoft COCO: common objects in context", 2014, and its
evaluation code (ten overlaps, greedy matching, 101 points).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coursekit.vision.boxes import box_iou

__all__ = ["COCO_THRESHOLDS", "MeanAveragePrecision", "average_precision", "match_boxes"]

Interpolation = Literal["coco", "voc"]
Array = np.ndarray

COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)


def match_boxes(
    ious: Float[Array, "found true"], thresholds: Sequence[float]
) -> Bool[Array, "t n"]:
    """Say which of the boxes found are right, in COCO's way.

    The boxes found choose in their order, the highest score first: each takes, of the true boxes
    that are still free and overlap at least as much as the threshold, the one with the largest
    overlap (of equals the last). A box for which none is left is wrong, so that a thing found twice
    counts once.

    Args:
        ious: the overlap of each box found with each true one; the highest score first.
        thresholds: least overlaps, each matched on its own.

    Returns:
        For each threshold and each box found whether it is right.
    """
    right = np.zeros((len(thresholds), len(ious)), dtype=bool)
    if not ious.size:
        return right
    free = np.ones((len(thresholds), ious.shape[1]), dtype=bool)
    least = np.minimum(np.asarray(thresholds), 1 - 1e-10)[:, None]  # as COCO, for boxes that agree
    rows = np.arange(len(thresholds))
    for number, overlaps in enumerate(ious):
        if overlaps.max() < least.min():
            continue
        possible = np.where(free & (overlaps >= least), overlaps, -1.0)
        chosen = ious.shape[1] - 1 - possible[:, ::-1].argmax(1)
        hit = possible[rows, chosen] >= 0
        right[:, number] = hit
        free[rows[hit], chosen[hit]] = False
    return right


def average_precision(
    right: Bool[Array, " found"], true: int, interpolation: Interpolation = "coco"
) -> float:
    """Return the area under precision against recall, for one class at one threshold.

    The precision at a recall is the largest at this recall or a higher one.

    Args:
        right: whether each box found is right; the highest score first.
        true: how many boxes there are to find.
        interpolation: "coco" takes the mean over the 101 recalls 0, 0.01, …, 1; "voc" the exact
            area, as PASCAL VOC has done since 2010.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: there is nothing to find, or the interpolation is not one of these.

    >>> average_precision(np.array([True, False, True]), 2, "voc")  # 1/2 · 1 + 1/2 · 2/3
    0.8333333333333333
    """
    if true < 1:
        raise ValueError(f"true must be at least 1, got {true}: there is nothing to find")
    if interpolation not in ("coco", "voc"):
        raise ValueError(f"interpolation must be coco or voc, got {interpolation!r}")
    hits = np.cumsum(right)
    recall = hits / true
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "voc":
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())  # 0 at recalls that are not reached


class MeanAveragePrecision:
    """Mean average precision over classes and thresholds; a streaming metric for ``Trainer``.

    Boxes are matched image by image when they are read; what is held is a score and a few bits for
    each box found. The matching is COCO's with either interpolation; there are no crowds and no
    classes of size.

    Args:
        thresholds: least overlaps (intersection over union) at which a box counts as right: COCO's
            ten, 0.5 to 0.95, or for example ``(0.5,)``.
        interpolation: as in `average_precision`.
        max_detections: how many boxes of a class count in an image, the highest scores; all when
            None.
        decode: turns what `update` is given into the lists described there, for models whose
            outputs are tensors; not called when None.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = COCO_THRESHOLDS,
        interpolation: Interpolation = "coco",
        max_detections: int | None = 100,
        decode: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    ) -> None:
        if not len(thresholds) or not all(0 < t <= 1 for t in thresholds):
            raise ValueError(f"thresholds must lie above 0 and up to 1, got {tuple(thresholds)}")
        if interpolation not in ("coco", "voc"):
            raise ValueError(f"interpolation must be coco or voc, got {interpolation!r}")
        if max_detections is not None and max_detections < 1:
            raise ValueError(f"max_detections must be at least 1 or None, got {max_detections}")
        self.thresholds, self.interpolation = tuple(thresholds), interpolation
        self.max_detections, self.decode = max_detections, decode
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        # For each batch: classes and scores of the boxes found, whether right; classes of the true.
        self.batches: list[tuple[Array, Array, Array, Array]] = []

    def update(self, outputs: Any, targets: Any) -> None:
        """Read a batch.

        Args:
            outputs: for each image a dictionary, as torchvision's detectors return: ``boxes``
                (found, 4) as "xyxy", ``scores`` (found,) and ``labels`` (found,).
            targets: for each image a dictionary with ``boxes`` (true, 4) and ``labels`` (true,).

        Raises:
            ValueError: the numbers of images differ, a key is missing, shapes do not fit, a number
                is not finite or a box ends before it begins.
        """
        if self.decode:
            outputs, targets = self.decode(outputs, targets)
        if len(outputs) != len(targets):
            raise ValueError(
                f"outputs and targets must be of the same images, got {len(outputs)} and "
                f"{len(targets)}"
            )
        parts = []
        for found, true in zip(outputs, targets, strict=True):
            boxes, labels, scores = _read(found, "outputs", ("boxes", "labels", "scores"))
            answers, classes = _read(true, "targets", ("boxes", "labels"))
            parts.append(self._match(boxes, labels, scores, answers, classes))
        if parts:
            labels, scores, right, classes = (
                np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)
            )
            self.batches.append((labels, scores, right, classes))

    def _match(
        self, boxes: Array, labels: Array, scores: Array, answers: Array, classes: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Match the boxes of one image, class by class."""
        order = np.argsort(-scores, kind="stable")
        ious = box_iou(torch.from_numpy(boxes), torch.from_numpy(answers)).numpy()
        kept, right = [], []
        for label in np.unique(labels):
            rows = order[labels[order] == label][: self.max_detections]
            kept.append(rows)
            right.append(match_boxes(ious[rows][:, classes == label], self.thresholds))
        rows = np.concatenate(kept) if kept else order
        hits = np.concatenate(right, axis=1) if right else np.zeros((len(self.thresholds), 0), bool)
        return labels[rows], scores[rows], hits, classes

    def table(self) -> tuple[Int[Array, " classes"], Float[Array, "classes thresholds"]]:
        """Return the classes that are to be found and their average precisions.

        Returns:
            The numbers of the classes that have true boxes, ascending, and for each of them the
            average precision at each threshold. Boxes found of other classes do not count.

        Raises:
            ValueError: there are no true boxes.
        """
        classes = np.concatenate([batch[3] for batch in self.batches] or [np.zeros(0)])
        if not len(classes):
            raise ValueError("targets must hold at least one box in all, got none")
        labels, scores, right = (
            np.concatenate([batch[k] for batch in self.batches], axis=-1) for k in range(3)
        )
        order = np.argsort(-scores, kind="stable")
        labels, right = labels[order], right[:, order]
        numbers, counts = np.unique(classes, return_counts=True)
        rows = [
            [average_precision(hits, int(count), self.interpolation) for hits in right[:, own]]
            for number, count in zip(numbers, counts, strict=True)
            for own in [labels == number]
        ]
        return numbers, np.array(rows)

    def compute(self) -> float:
        """Return the mean over the classes that have true boxes and over the thresholds.

        Raises:
            ValueError: there are no true boxes.
        """
        return float(self.table()[1].mean())

    def reduce(self, world: Any) -> None:
        """Add what the other processes of a run have read.

        Args:
            world: the processes, as ``coursekit.training.distributed.World``.
        """
        self.batches = world.gather(self.batches)

    def __call__(self, outputs: Any, targets: Any) -> float:
        """Return the value of one batch, whatever was read before."""
        self.reset()
        self.update(outputs, targets)
        return self.compute()


def _read(image: Mapping[str, Tensor], name: str, keys: Sequence[str]) -> list[Array]:
    """Check the boxes of one image and bring them to the CPU, boxes and scores in float64."""
    missing = [key for key in keys if key not in image]
    if missing:
        raise ValueError(f"{name} must have the keys {', '.join(keys)}, got {', '.join(image)}")
    boxes, labels, *scores = (image[key].detach().cpu() for key in keys)
    boxes = boxes.reshape(-1, 4).double() if boxes.numel() == 0 else boxes.double()
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: boxes must have shape (boxes, 4), got {tuple(boxes.shape)}")
    for key, values in zip(keys[1:], (labels, *scores), strict=True):
        if values.shape != boxes.shape[:1]:
            raise ValueError(
                f"{name}: {key} must have shape ({len(boxes)},), one for each box, got "
                f"{tuple(values.shape)}"
            )
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name}: {key} must be finite, got {values.tolist()}")
    wrong = ~(torch.isfinite(boxes).all(1) & (boxes[:, 2:] >= boxes[:, :2]).all(1))
    if bool(wrong.any()):
        raise ValueError(
            f"{name}: boxes must be finite, left ≤ right and top ≤ bottom, got "
            f"{boxes[wrong][0].tolist()}"
        )
    return [boxes.numpy(), labels.numpy(), *(values.double().numpy() for values in scores)]
