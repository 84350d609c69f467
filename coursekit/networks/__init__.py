"""Network architectures, one system a file, each readable from top to bottom."""

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

__all__ = [
    "ParallelTransformers",
    "SpatialTransformer",
    "affine_grid",
    "attention_matrix",
    "bilinear_gradient",
    "bilinear_sample",
    "distort",
    "to_pixels",
]
