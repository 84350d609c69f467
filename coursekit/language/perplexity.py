"""Perplexity: how many equally likely tokens a model is as unsure between, on average.

Source: Jelinek, Mercer, Bahl and Baker, "Perplexity: A measure of the difficulty of speech
recognition tasks", 1977.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Perplexity", "perplexity"]


def perplexity(negative_log_likelihood: float, tokens: float, base: float = math.e) -> float:
    """Return base ** (negative log likelihood / tokens).

    The figure does not depend on the base, as long as it is that of the logarithms.

    Args:
        negative_log_likelihood: sum of -log p over all tokens, from 0; in nats with the base e.
        tokens: how many tokens were predicted.
        base: of the logarithms: e for nats, 2 for bits.

    Returns:
        The perplexity, at least 1; infinite when a token had the probability 0.

    Raises:
        ValueError: there are no tokens, the sum is negative or NaN, or the base is not above 1.

    >>> perplexity(6.0, 3, base=2)  # two bits a token
    4.0
    """
    if not tokens > 0:
        raise ValueError(f"tokens must be above 0, got {tokens}: nothing was predicted")
    if not negative_log_likelihood >= 0:
        raise ValueError(
            "negative_log_likelihood must be at least 0, got "
            f"{negative_log_likelihood}: outputs must be finite logits"
        )
    if not base > 1:
        raise ValueError(f"base must be above 1, got {base}")
    try:
        return base ** (negative_log_likelihood / tokens)
    except OverflowError:
        return math.inf


class Perplexity:
    """Perplexity over all tokens, read batch by batch; a streaming metric for ``Trainer``.

    It adds up nats and tokens, so that long texts weigh as many tokens as they have; the mean of
    the perplexities of batches would be another, larger figure.

    Args:
        ignore_index: target of positions that do not count, such as padding; -100 is what
            ``torch.nn.functional.cross_entropy`` skips.

    >>> metric = Perplexity(ignore_index=0)
    >>> equally_likely = torch.zeros(1, 5, 3)  # one text, five tokens, three positions
    >>> metric.update(equally_likely, torch.tensor([[4, 1, 0]]))
    >>> round(metric.compute(), 4)
    5.0
    """

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.nats, self.tokens = 0.0, 0.0

    def update(
        self, outputs: Float[Tensor, "batch classes *more"], targets: Int[Tensor, "batch *more"]
    ) -> None:
        """Read a batch.

        Args:
            outputs: logits, the classes along axis 1 as in ``cross_entropy``: (batch, classes) or
                (batch, classes, length).
            targets: numbers of the tokens, (batch,) or (batch, length).

        Raises:
            ValueError: the shapes do not fit, or a target is no class.
        """
        if outputs.ndim < 2 or targets.shape != (*outputs.shape[:1], *outputs.shape[2:]):
            raise ValueError(
                "outputs must have shape (batch, classes, …) and targets (batch, …), got "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        counted = targets != self.ignore_index
        logits, answers = outputs.movedim(1, -1)[counted], targets[counted].long()
        if not len(answers):
            return
        if not 0 <= int(answers.min()) <= int(answers.max()) < outputs.shape[1]:
            raise ValueError(
                f"targets must be {self.ignore_index} or from 0 to {outputs.shape[1] - 1}, got "
                f"{int(answers.min())} to {int(answers.max())}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        chosen = logits.gather(1, answers[:, None]).squeeze(1)
        surprise = logits.logsumexp(1) - chosen
        self.nats += surprise.clamp_min(0).sum(dtype=torch.float64).item()  # rounding goes below 0
        self.tokens += len(answers)

    def compute(self) -> float:
        """Return the perplexity, at least 1.

        Raises:
            ValueError: no token was read, or outputs were NaN.
        """
        return perplexity(self.nats, self.tokens)

    def reduce(self, world: Any) -> None:
        """Add what the other processes of a run have read.

        Args:
            world: the processes, as ``coursekit.training.distributed.World``.
        """
        self.nats, self.tokens = world.sum(self.nats, self.tokens)

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the perplexity of one batch, whatever was read before."""
        self.reset()
        self.update(outputs, targets)
        return self.compute()
