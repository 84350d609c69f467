"""Boxes against torchvision's operations."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops

from coursekit.vision import box_area, box_iou, convert_boxes

FORMATS = ("xyxy", "xywh", "cxcywh")
NUMBER = st.integers(-8, 8).map(lambda n: n / 2)
SIZE = st.integers(0, 8).map(lambda n: n / 2)
BOX = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), NUMBER, NUMBER, SIZE, SIZE)
BOXES = st.lists(BOX, max_size=5).map(lambda rows: torch.tensor(rows).reshape(-1, 4).double())


@pytest.mark.parametrize(("source", "target"), list(itertools.product(FORMATS, FORMATS)))
@given(boxes=BOXES)
def test_formats_equal_torchvisions_and_go_back(source, target, boxes):
    given_boxes = convert_boxes(boxes, "xyxy", source)
    found = convert_boxes(given_boxes, source, target)
    torch.testing.assert_close(found, ops.box_convert(given_boxes, source, target))
    torch.testing.assert_close(convert_boxes(found, target, source), given_boxes)


@given(BOXES, BOXES)
def test_areas_and_overlaps_equal_torchvisions(first, second):
    torch.testing.assert_close(box_area(first), ops.box_area(first))
    expected = ops.box_iou(first, second).nan_to_num(0.0)  # 0 / 0 where neither has an area
    torch.testing.assert_close(box_iou(first, second), expected)


@given(BOXES, BOXES)
def test_overlap_is_symmetric_between_0_and_1_and_1_with_itself(first, second):
    ious = box_iou(first, second)
    assert torch.equal(ious, box_iou(second, first).T)
    assert bool(((ious >= 0) & (ious <= 1)).all())
    assert torch.equal(box_iou(first, first).diagonal(), (box_area(first) > 0).double())


def test_any_number_of_axes_and_exchanged_corners():
    boxes = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    whole = convert_boxes(boxes, "cxcywh", "xyxy")
    torch.testing.assert_close(whole[1, 2], convert_boxes(boxes[1, 2], "cxcywh", "xyxy"))
    assert box_area(whole).shape == (2, 3)
    assert box_area(torch.tensor([3.0, 4.0, 1.0, 2.0])) == 0


def test_gradients_of_overlaps():
    first = torch.tensor([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 4.0, 2.5]], dtype=torch.float64)
    second = torch.tensor([[0.5, 0.7, 2.6, 3.2]], dtype=torch.float64)
    pair = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(box_iou, pair)
    flat = torch.zeros(1, 4, requires_grad=True)
    box_iou(flat, flat.detach()).sum().backward()
    assert bool(torch.isfinite(flat.grad).all())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: box_area(torch.zeros(3, 5)), r"four numbers a box, got shape \(3, 5\)"),
        (lambda: box_area(torch.zeros(4, dtype=torch.long)), "floating-point type, got torch.int6"),
        (lambda: box_iou(torch.zeros(4), torch.zeros(1, 4)), r"first must have shape \(boxes, 4\)"),
        (lambda: box_iou(torch.zeros(1, 4), torch.zeros(2)), "second must have four numbers a box"),
        (
            lambda: convert_boxes(torch.zeros(4), "xyxy", "whxy"),
            "target must be xyxy, xywh or cxcywh, got 'whxy'",
        ),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
