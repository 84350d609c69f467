"""Finding things in images: boxes and how well they are found."""

from coursekit.vision.boxes import box_area, box_iou, convert_boxes
from coursekit.vision.detection import (
    COCO_THRESHOLDS,
    MeanAveragePrecision,
    average_precision,
    match_boxes,
)

__all__ = [
    "COCO_THRESHOLDS",
    "MeanAveragePrecision",
    "average_precision",
    "box_area",
    "box_iou",
    "convert_boxes",
    "match_boxes",
]
