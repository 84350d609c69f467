"""EfficientNet-Lite0: a small image classifier whose features serve for transfer learning.

The body is EfficientNet-B0 of Tan and Le, "EfficientNet: rethinking model scaling for
convolutional neural networks" (2019): 16 inverted residual blocks in 7 stages. The lite variant
(TensorFlow's repository ``tpu``, 2020) leaves out squeeze-and-excitation and replaces swish by
ReLU6, so that the network survives quantization to 8 bits. Pretrained weights come from
``coursekit.data.load("efficientnet-lite0")``.

What differs from training at Google: no stochastic depth (blocks are never dropped).
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# One row a stage: blocks, kernel size, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
FEATURES = 1280


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded so that the output has ceil(size / stride) pixels.

    Where the padding is odd, the extra row and column stand below and to the right, as in
    TensorFlow. `nn.Conv2d` with ``padding=kernel_size // 2`` puts them above and to the left:
    with stride 2 it reads pixels shifted by one, which weights trained in TensorFlow do not expect.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the square kernel.
        stride: Step in pixels.
        groups: Groups of channels; `in_channels` makes it depthwise.

    Shape: (batch, in_channels, height, width) to (batch, out_channels, ⌈height / stride⌉,
    ⌈width / stride⌉).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False
        )

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Pad, then convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[2:]
        )
        padding = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(input, padding))


class ConvNorm(nn.Module):
    """Convolution, batch normalization and, where wanted, ReLU6.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the square kernel.
        stride: Step in pixels.
        groups: Groups of channels.
        activation: Whether ReLU6 follows.

    Shape: as `SameConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size, stride, groups)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        self.activation = nn.ReLU6() if activation else nn.Identity()

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Apply the three in turn."""
        return self.activation(self.norm(self.conv(images)))


class InvertedResidual(nn.Module):
    """Widen by a 1×1 convolution, filter each channel by itself, narrow again without activation.

    The input is added to the output where their shapes agree. "Inverted", because the wide maps
    are inside and the narrow ones carry the residual.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the depthwise kernel.
        stride: Step of the depthwise convolution.
        expansion: How many times wider the inside is; 1 leaves the first convolution out.

    Shape: as `SameConv2d`.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = ConvNorm(in_channels, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel_size, stride, groups=wide)
        self.project = ConvNorm(wide, out_channels, 1, activation=False)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Apply the block."""
        output = self.project(self.depthwise(self.expand(images)))
        return output + images if self.residual else output


class EfficientNetLite0(nn.Module):
    """The classifier, with its features for transfer learning.

    To reuse it for other classes, load the weights, then replace the last layer::

        weights = load("efficientnet-lite0")
        network = EfficientNetLite0()
        network.load_state_dict(weights.tensors)
        network.classifier = nn.Linear(1280, 5)

    Args:
        num_classes: Number of logits.
        dropout: Probability of dropping a feature before the last layer while training.

    Shape: (batch, 3, height, width) to (batch, num_classes). The weights were trained at 224 × 224;
    any size of at least 1 × 1 is accepted. Images are normalized as ``Weights.normalize`` does.

    Raises:
        ValueError: `num_classes` is less than 1, or images do not have shape (batch, 3, height,
            width).

    Source: Tan and Le (2019), table 1.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for blocks, kernel_size, stride, expansion, out_channels in STAGES:
            stage = nn.Sequential()
            for block in range(blocks):
                step = stride if block == 0 else 1
                stage.append(InvertedResidual(channels, out_channels, kernel_size, step, expansion))
                channels = out_channels
            self.stages.append(stage)
        self.head = ConvNorm(channels, FEATURES, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(FEATURES, num_classes)

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[str, Float[Tensor, "batch channels map_height map_width"]]:
        """Return what each part of the body computes.

        Args:
            images: Normalized images.

        Returns:
            "stem", "stage1" to "stage7" and "head" in this order. At 224 × 224 the maps are 112,
            112, 56, 28, 14, 14, 7, 7 and 7 pixels wide, with 32, 16, 24, 40, 80, 112, 192, 320 and
            1,280 channels.

        Raises:
            ValueError: The images do not have shape (batch, 3, height, width).
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must have shape (batch, 3, height, width), got {tuple(images.shape)}"
            )
        maps = {"stem": self.stem(images)}
        latest = maps["stem"]
        for number, stage in enumerate(self.stages, start=1):
            latest = maps[f"stage{number}"] = stage(latest)
        maps["head"] = self.head(latest)
        return maps

    def features(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch features"]:
        """Describe each image by 1,280 numbers in [0, 6]: the head's maps, averaged over pixels.

        Args:
            images: Normalized images.

        Raises:
            ValueError: The images do not have shape (batch, 3, height, width).

        >>> import torch
        >>> with torch.no_grad():
        ...     EfficientNetLite0().eval().features(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1280])
        """
        return self.feature_maps(images)["head"].mean(dim=(2, 3))

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Return one logit a class."""
        return self.classifier(self.dropout(self.features(images)))
