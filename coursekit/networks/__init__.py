"""Network architectures, one system a file, each readable from top to bottom."""

from coursekit.networks.counting import (
    conv_parameters,
    count_parameters,
    embedding_parameters,
    linear_parameters,
    md_lstm_parameters,
    recurrent_parameters,
)
from coursekit.networks.efficientnet_lite import EfficientNetLite0
from coursekit.networks.learned_optimizer import (
    LearnedOptimizer,
    OptimizerState,
    Quadratics,
    log_and_sign,
    unroll,
)
from coursekit.networks.normalization import (
    local_contrast_norm,
    local_contrast_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from coursekit.networks.quantization import dequantize, quantize, quantized
from coursekit.networks.spatial_transformer import (
    ParallelTransformers,
    SpatialTransformer,
    affine_grid,
    attention_matrix,
    bilinear_gradient,
    bilinear_sample,
    distort,
    to_pixels,
)
from coursekit.networks.squeezenet import SqueezeNet
from coursekit.networks.synthetic_gradients import (
    DecoupledNetwork,
    SyntheticGradient,
)

__all__ = [
    "DecoupledNetwork",
    "EfficientNetLite0",
    "LearnedOptimizer",
    "OptimizerState",
    "ParallelTransformers",
    "Quadratics",
    "SpatialTransformer",
    "SqueezeNet",
    "SyntheticGradient",
    "affine_grid",
    "attention_matrix",
    "bilinear_gradient",
    "bilinear_sample",
    "conv_parameters",
    "count_parameters",
    "dequantize",
    "distort",
    "embedding_parameters",
    "linear_parameters",
    "local_contrast_norm",
    "local_contrast_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_and_sign",
    "md_lstm_parameters",
    "quantize",
    "quantized",
    "recurrent_parameters",
    "to_pixels",
    "unroll",
]
