"""Sound files that are decoded when they are asked for; shared by speech and other sounds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.data.catalog import DataFileError


class Waveforms(Sequence[Tensor]):
    """Clips that are decoded when they are first asked for, and kept.

    Decoding all 24 minutes of a language takes seconds; most uses need the short clips only.
    Iteration and slices decode on all cores, because libsndfile works without the interpreter's
    lock.

    Args:
        paths: The sound files.
        sample_rate: Samples a second that each of them must have.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int):
        self._paths = list(paths)
        self._sample_rate = sample_rate
        self._decoded: dict[Path, Tensor] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return self._decode(self._paths[index])
        return self._decode([self._paths[index]])[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self[:])

    def pick(self, indices: Iterable[int]) -> Waveforms:
        """Choose clips without decoding them; what is decoded serves both.

        Args:
            indices: Numbers of the clips.

        Returns:
            These clips, in this order.
        """
        chosen = Waveforms([self._paths[index] for index in indices], self._sample_rate)
        chosen._decoded = self._decoded
        return chosen

    def _decode(self, paths: list[Path]) -> list[Tensor]:
        missing = [path for path in paths if path not in self._decoded]
        if len(missing) > 1:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                self._decoded.update(zip(missing, pool.map(self._read, missing), strict=True))
        elif missing:
            self._decoded[missing[0]] = self._read(missing[0])
        return [self._decoded[path] for path in paths]

    def _read(self, path: Path) -> Tensor:
        return read_clip(path, self._sample_rate)


def read_clip(path: Path, sample_rate: int) -> Float[Tensor, " samples"]:
    """Decode a clip.

    Args:
        path: A mono sound file.
        sample_rate: Samples a second that it must have.

    Returns:
        float32 of shape (samples,) in [-1, 1].

    Raises:
        DataFileError: It cannot be decoded, is not mono or has another rate.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise DataFileError(
            f"{path} cannot be decoded ({error}); soundfile needs a libsndfile with Opus: "
            "pip install --force-reinstall soundfile"
        ) from error
    if rate != sample_rate or samples.ndim != 1:
        raise DataFileError(
            f"{path} must be mono at {sample_rate} Hz, got {rate} Hz and shape {samples.shape}"
        )
    return torch.from_numpy(samples).clamp_(-1, 1)


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Bring a sound to another sample rate by scipy's polyphase filter, which draws no number.

    Args:
        samples: Floats of shape (samples,).
        rate: Samples a second.
        new_rate: Samples a second that are wanted. What lies above half of it is filtered out.

    Returns:
        float32 of shape (about samples * new_rate / rate,).

    Raises:
        ValueError: A rate is not positive.
    """
    if min(rate, new_rate) < 1:
        raise ValueError(f"rate and new_rate must be positive, got {rate} and {new_rate}")
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, new_rate)
    filtered = resample_poly(samples.astype(np.float64), new_rate // divisor, rate // divisor)
    return filtered.astype(np.float32)
