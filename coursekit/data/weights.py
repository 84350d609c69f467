"""Pretrained weights of image classifiers, for transfer learning, visualization and style transfer.

The networks they belong to stand in `coursekit.networks`, which this room does not import: a state
dictionary is loaded by the caller. ::

    weights = load("efficientnet-lite0")
    network = EfficientNetLite0()
    network.load_state_dict(weights.tensors)
    logits = network.eval()(weights.normalize(images))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, find
from coursekit.data.drawing import image_sheet


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input, for images in [0, 1].

    Attributes:
        mean: Of red, green and blue; subtracted.
        std: Of red, green and blue; divided by.
        image_size: Height and width in pixels that the card's figures were measured at.
        first_layer: Name of the tensor that sees the image, (filters, 3, height, width).
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int
    first_layer: str


PREPROCESSING = {
    "efficientnet-lite0": Preprocessing(
        (127 / 255, 127 / 255, 127 / 255),
        (128 / 255, 128 / 255, 128 / 255),
        224,
        "stem.conv.weight",
    ),
    "squeezenet": Preprocessing(
        (123.68 / 255, 116.779 / 255, 103.939 / 255),
        (1 / 255, 1 / 255, 1 / 255),
        224,
        "conv1.weight",
    ),
}


@dataclass(frozen=True)
class Weights:
    """Trained parameters with what is needed to use them.

    Attributes:
        tensors: Name in the state dictionary to float32 tensor.
        classes: Name of each class, in the order of the logits.
        mean: Of red, green and blue, for images in [0, 1].
        std: The same, divided by.
        image_size: Height and width in pixels that the card's figures were measured at.
    """

    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        numbers = sum(tensor.numel() for tensor in self.tensors.values())
        return f"Weights({len(self)} tensors, {numbers:,} numbers, {len(self.classes):,} classes)"

    def normalize(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> Float[Tensor, "n 3 height width"]:
        """Turn images into the network's input; gradients flow through.

        Args:
            images: Floats in [0, 1], red first. A little outside is accepted, as images that are
                optimized leave the interval.

        Returns:
            (images - mean) / std.

        Raises:
            ValueError: The shape is another, or the values are not floats near [0, 1].

        >>> gray = Weights({}, (), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 224)
        >>> gray.normalize(torch.ones(1, 3, 1, 1)).flatten().tolist()
        [2.0, 2.0, 2.0]
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have shape (n, 3, height, width), got {images.shape}")
        if not images.is_floating_point():
            raise ValueError(f"images must be floats in [0, 1], got {images.dtype}: divide by 255")
        if images.numel() and (images.min() < -1 or images.max() > 2):
            raise ValueError(
                f"images must lie in [0, 1], got values from {images.min():.3g} to "
                f"{images.max():.3g}"
            )
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (images - mean) / std


def load(entry: Entry, split: str | None = None, full: bool = False) -> Weights:
    """Load pretrained weights.

    Args:
        entry: Weights of the catalog.
        split: None: weights have no splits.
        full: False: the files are all there is.

    Returns:
        Fresh tensors, in float32 whatever the file stores.

    Raises:
        DataFileError: An embedded file cannot be read.
    """
    path = entry.folder / "weights.safetensors"
    try:
        tensors = {name: tensor.float() for name, tensor in sorted(load_file(path).items())}
        classes = (entry.folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, SafetensorError) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error
    chosen = PREPROCESSING[entry.name]
    return Weights(tensors, tuple(classes), chosen.mean, chosen.std, chosen.image_size)


def draw(name: str) -> Figure:
    """Draw the filters of the first layer, which see the image itself.

    Args:
        name: Weights of the catalog.

    Returns:
        The figure. Gray is 0; each filter is scaled by its own largest weight, so that only dead
        filters are gray all over.
    """
    filters = load(find(name)).tensors[PREPROCESSING[name].first_layer]
    largest = filters.abs().amax(dim=(1, 2, 3), keepdim=True)
    filters = 0.5 + filters / (2 * largest.clamp_min(largest.max() / 1000))
    pixels = np.kron(filters.numpy(), np.ones((1, 1, 16, 16), dtype=np.float32))
    rows = [list(pixels[start : start + 8]) for start in range(0, len(pixels), 8)]
    labels = [f"{8 * k} to {8 * k + len(row) - 1}" for k, row in enumerate(rows)]
    height, width = filters.shape[2:]
    title = f"{name}: the {len(filters)} filters of the first layer, {height} x {width} pixels"
    return image_sheet(rows, labels, title, cell=0.7)
