"""Divisions that never leak, and statistics of the training part alone.

A split by group puts all examples of a speaker, an object or a text into the same part, so that no
test asks for what was seen in training. It is computed from the group's name alone: data that are
added later move no group that was there before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float, Int
from torch import Tensor


class LeakError(ValueError):
    """An example stands in two parts of a split."""


def split_by_group(
    groups: Iterable[str | int], shares: Mapping[str, float], salt: str = ""
) -> dict[str, Int[Tensor, " part"]]:
    """Divide examples so that a group is never divided.

    The SHA-256 of the group's name, read as a number from 0 to 1, says into which part it falls.
    So the parts have the stated shares of the groups only on average: the more groups, the closer.

    Args:
        groups: Name or number of the group of each example; 7 and "7" are the same group.
        shares: Name of each part and its share; the shares sum to 1.
        salt: Another text gives another division.

    Returns:
        For each part, the indices of its examples, int64, ascending; a part may be empty.

    Raises:
        ValueError: A group is no text or whole number; a share is not positive; they do not sum to
            1 within 1e-9.

    >>> split_by_group(["ann", "bob", "ann", "eve"], {"train": 0.5, "test": 0.5})
    {'train': tensor([0, 1, 2]), 'test': tensor([3])}
    """
    if not shares or any(not share > 0 for share in shares.values()):
        raise ValueError(f"shares must be positive numbers, got {dict(shares)}")
    if abs(math.fsum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares must sum to 1, got {math.fsum(shares.values())}")
    names, bounds, total = list(shares), [], 0.0
    for share in shares.values():
        total += share
        bounds.append(total)
    bounds[-1] = 1.0
    parts: dict[str, list[int]] = {name: [] for name in names}
    chosen: dict[str | int, str] = {}
    for index, group in enumerate(groups):
        if group not in chosen:
            if not isinstance(group, str | Integral) or isinstance(group, bool):
                raise ValueError(f"groups must be texts or whole numbers, got {group!r}")
            at = _fraction(f"{salt}\0{group}")
            chosen[group] = names[next(k for k, bound in enumerate(bounds) if at < bound)]
        parts[chosen[group]].append(index)
    return {name: torch.tensor(part, dtype=torch.int64) for name, part in parts.items()}


def _fraction(key: str) -> float:
    """Turn a text into a number in [0, 1) that looks random, the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def check_disjoint(parts: Mapping[str, Iterable[Hashable] | Tensor]) -> None:
    """See that nothing stands in two parts of a split.

    Args:
        parts: For each part what tells its examples apart: texts, names of groups, paths; or a
            tensor, whose rows are compared by their bytes.

    Raises:
        LeakError: Something stands in two parts; the message names both, how many there are and
            the first one.

    >>> check_disjoint({"train": ["a", "b"], "test": ["c"]})
    """
    seen: dict[Hashable, str] = {}
    for name, part in parts.items():
        keys = dict.fromkeys(_keys(part))
        common = [key for key in keys if key in seen]
        if common:
            other = seen[common[0]]
            number = sum(seen[key] == other for key in common)
            index = list(_keys(part)).index(common[0]) if isinstance(part, Tensor) else None
            example = repr(common[0])[:80] if index is None else f"row {index} of {name}"
            raise LeakError(
                f'parts "{other}" and "{name}" must have nothing in common, got {number} in both, '
                f"the first one {example}"
            )
        seen |= dict.fromkeys(keys, name)


def _keys(part: Iterable[Hashable] | Tensor) -> Iterable[Hashable]:
    if not isinstance(part, Tensor):
        return part
    rows = part.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Subtracts the mean of the training data and divides by their standard deviation.

    Attributes:
        mean: float64; one number for each feature, in a shape that fits the data.
        scale: float64, of the same shape; 1 for a feature that was constant in training.
    """

    mean: Float[Tensor, "*feature"]
    scale: Float[Tensor, "*feature"]

    @classmethod
    def fit(cls, train: Tensor, dim: int | None = 1) -> Standardizer:
        """Measure training data; no other data may be measured with them.

        Args:
            train: Of shape (n, …), finite, examples along the first axis.
            dim: The axis of the features or channels, each of which gets its own mean and
                deviation over all other axes: 1 for (n, features) and (n, channels, height,
                width), -1 for (n, time, features). None: one mean and deviation for all, as for
                gray images (n, height, width).

        Returns:
            What standardizes data of the same form. Sums are taken in float64, and the deviation is
            that of the population (divided by n).

        Raises:
            ValueError: There is no example, `dim` is 0 or no axis, or a number is not finite.

        >>> standardize = Standardizer.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> standardize(torch.tensor([[5.0, 6.0]])).tolist()
        [[3.0, 1.0]]
        """
        if not train.ndim or not train.numel():
            raise ValueError(f"train must hold examples, got shape {tuple(train.shape)}")
        axis = None if dim is None else dim % train.ndim
        if axis is not None and (axis == 0 or dim not in (axis, axis - train.ndim)):
            raise ValueError(
                f"dim must be an axis of train (shape {tuple(train.shape)}) after the first, "
                f"got {dim}"
            )
        over = [k for k in range(train.ndim) if k != axis]
        count = train.numel() // (1 if axis is None else train.shape[axis])
        chunks = train.split(max(1, _CHUNK // max(1, train[0].numel())))
        mean = sum(chunk.double().sum(over, keepdim=True) for chunk in chunks) / count
        squares = sum((c.double() - mean).square().sum(over, keepdim=True) for c in chunks)
        if not torch.isfinite(torch.as_tensor(squares)).all():
            raise ValueError("train must hold finite numbers, got NaN or infinity")
        constant = train.amax(over, keepdim=True) == train.amin(over, keepdim=True)
        scale = (torch.as_tensor(squares) / count).sqrt().masked_fill(constant, 1)
        return cls(torch.as_tensor(mean)[0], scale[0])

    def __call__(self, values: Tensor) -> Tensor:
        """Standardize.

        Args:
            values: Of the form of the training data; whole numbers become float32.

        Returns:
            (values - mean) / scale, of the type of the values.
        """
        values = values if values.is_floating_point() else values.float()
        return (values - self.mean.to(values)).div_(self.scale.to(values))

    def inverse(self, values: Tensor) -> Tensor:
        """Undo the standardization.

        Args:
            values: What `__call__` gave.

        Returns:
            values · scale + mean.
        """
        return values * self.scale.to(values) + self.mean.to(values)


_CHUNK = 1 << 22
"""Numbers that are turned to float64 at once."""
