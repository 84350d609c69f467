"""Boxes along the axes of an image: their formats, areas and overlaps.

Coordinates are real numbers, most often in pixels, x to the right and y down; a box reaches from
its first corner to its last without an extra pixel. Formats have torchvision's names:

- "xyxy": left, top, right, bottom;
- "xywh": left, top, width, height;
- "cxcywh": center x, center y, width, height.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["BoxFormat", "box_area", "box_iou", "convert_boxes"]

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]


def convert_boxes(
    boxes: Float[Tensor, "*boxes 4"], source: BoxFormat, target: BoxFormat
) -> Float[Tensor, "*boxes 4"]:
    """Write boxes in another format.

    Args:
        boxes: four numbers a box along the last axis.
        source: the format that they have.
        target: the format that they get.

    Raises:
        ValueError: the last axis has not four numbers, or a format is not one of those above.

    >>> convert_boxes(torch.tensor([1.0, 2.0, 3.0, 6.0]), "xyxy", "cxcywh")
    tensor([2., 4., 2., 4.])
    """
    _check("boxes", boxes)
    for name, value in (("source", source), ("target", target)):
        if value not in ("xyxy", "xywh", "cxcywh"):
            raise ValueError(f"{name} must be xyxy, xywh or cxcywh, got {value!r}")
    if source == target:
        return boxes
    first, last = boxes[..., :2], boxes[..., 2:]
    if source == "cxcywh":
        first, last = first - last / 2, first + last / 2
    elif source == "xywh":
        last = first + last
    if target == "cxcywh":
        first, last = (first + last) / 2, last - first
    elif target == "xywh":
        last = last - first
    return torch.cat([first, last], dim=-1)


def box_area(boxes: Float[Tensor, "*boxes 4"]) -> Float[Tensor, "*boxes"]:
    """Return the area of boxes given as "xyxy", in squared units of their coordinates.

    Args:
        boxes: four numbers a box along the last axis.

    Returns:
        The areas; 0 for a box whose corners are exchanged in one direction or in both.

    Raises:
        ValueError: the last axis has not four numbers.
    """
    _check("boxes", boxes)
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def box_iou(first: Float[Tensor, "m 4"], second: Float[Tensor, "n 4"]) -> Float[Tensor, "m n"]:
    """Return the intersection over the union of each two boxes given as "xyxy".

    Args:
        first: the boxes of the rows.
        second: the boxes of the columns.

    Returns:
        Shares from 0 to 1; 0 where neither box has an area (torchvision gives NaN there).

    Raises:
        ValueError: a shape is not (boxes, 4).

    >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor([[0.3333]])
    """
    for name, boxes in (("first", first), ("second", second)):
        _check(name, boxes)
        if boxes.ndim != 2:
            raise ValueError(f"{name} must have shape (boxes, 4), got {tuple(boxes.shape)}")
    left_top = torch.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (right_bottom - left_top).clamp_min(0).prod(-1)
    union = box_area(first)[:, None] + box_area(second)[None, :] - shared
    return torch.where(union > 0, shared / union.where(union > 0, 1), 0)


def _check(name: str, boxes: Tensor) -> None:
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{name} must have four numbers a box, got shape {tuple(boxes.shape)}")
    if not boxes.is_floating_point():
        raise ValueError(f"{name} must be of a floating-point type, got {boxes.dtype}")
