"""SqueezeNet 1.1: a classifier with 1.2 million parameters whose maps serve for style transfer.

Follows Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB
model size" (2016), in version 1.1 of its authors' repository. Fire modules are torchvision's. The
layers have the authors' names here, and every map can be had by its name. Pretrained weights come
from ``coursekit.data.load("squeezenet")``.

What differs from torchvision's `squeezenet1_1`: the first convolution sees one row and one column
of zeros, below and to the right, which the converted weights were measured with.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# One row a module: input channels, channels of the squeeze, channels of each of the two expansions.
FIRES = {
    "fire2": (64, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}
POOLED = ("fire3", "fire5")  # a pooling follows these, named by the same number


class SqueezeNet(nn.Module):
    """The classifier, with its maps by name.

    Args:
        num_classes: Number of logits.
        dropout: Probability of dropping a value of the last fire module's maps while training.

    Shape: (batch, 3, height, width) to (batch, num_classes). The weights were trained at 227 × 227;
    any size of at least 16 × 16 is accepted. Images are normalized as ``Weights.normalize`` does.

    Raises:
        ValueError: `num_classes` is less than 1, or images do not have shape (batch, 3, height,
            width).

    Source: Iandola et al. (2016); version 1.1.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        from torchvision.models.squeezenet import Fire  # torchvision takes a second to import

        self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        for name, (channels, squeeze, expand) in FIRES.items():
            self.add_module(name, Fire(channels, squeeze, expand, expand))
        self.dropout = nn.Dropout(dropout)
        self.conv10 = nn.Conv2d(512, num_classes, kernel_size=1)

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[str, Float[Tensor, "batch channels map_height map_width"]]:
        """Return the map of every layer, after its ReLU.

        Args:
            images: Normalized images.

        Returns:
            "conv1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6" to
            "fire9" and "conv10" (one map a class) in this order. At 224 × 224 they are 112 pixels
            wide, 56 from pool1 on, 28 from pool3 and 14 from pool5.

        Raises:
            ValueError: The images do not have shape (batch, 3, height, width).

        >>> import torch
        >>> with torch.no_grad():
        ...     SqueezeNet().feature_maps(torch.zeros(1, 3, 64, 64))["fire4"].shape
        torch.Size([1, 256, 8, 8])
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must have shape (batch, 3, height, width), got {tuple(images.shape)}"
            )
        maps = {"conv1": F.relu(self.conv1(F.pad(images, (0, 1, 0, 1))))}
        latest = maps["pool1"] = self.pool(maps["conv1"])
        for name in FIRES:
            latest = maps[name] = self.get_submodule(name)(latest)
            if name in POOLED:
                latest = maps[name.replace("fire", "pool")] = self.pool(latest)
        maps["conv10"] = F.relu(self.conv10(self.dropout(latest)))
        return maps

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Return one logit a class: its map, averaged over pixels. Logits are never negative."""
        return self.feature_maps(images)["conv10"].mean(dim=(2, 3))
