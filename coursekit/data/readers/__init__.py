"""Readers of public formats, for data that a reader of the course brings along.

Each ``read_*`` takes the path of a file and returns arrays or frozen dataclasses. A file that is
damaged, or made to do harm, ends in a `ReadError` that names the file and the place.
"""

from coursekit.data.readers.babi import Question, read_babi
from coursekit.data.readers.cifar import Cifar, read_cifar10, read_cifar100
from coursekit.data.readers.coco import (
    CocoCaption,
    CocoCaptions,
    CocoCategory,
    CocoImage,
    CocoInstance,
    CocoInstances,
    RunLengths,
    read_coco_captions,
    read_coco_instances,
)
from coursekit.data.readers.files import ReadError
from coursekit.data.readers.glove import WordVectors, read_glove
from coursekit.data.readers.idx import read_idx
from coursekit.data.readers.voc import VocAnnotation, VocObject, read_voc
from coursekit.data.readers.word2vec import read_word2vec

__all__ = [
    "Cifar",
    "CocoCaption",
    "CocoCaptions",
    "CocoCategory",
    "CocoImage",
    "CocoInstance",
    "CocoInstances",
    "Question",
    "ReadError",
    "RunLengths",
    "VocAnnotation",
    "VocObject",
    "WordVectors",
    "read_babi",
    "read_cifar10",
    "read_cifar100",
    "read_coco_captions",
    "read_coco_instances",
    "read_glove",
    "read_idx",
    "read_voc",
    "read_word2vec",
]
