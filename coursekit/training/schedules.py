"""Learning rates that change with the step, as pure functions.

A schedule maps the number of updates taken so far, 0, 1, 2, …, to the factor by which the
optimizer's learning rate is multiplied. `Trainer` takes it as ``schedule=``; drawn over
``range(steps)`` it is a curve; in a loop of one's own ``torch.optim.lr_scheduler.LambdaLR`` applies
it. Each is the same, step by step, as torch's scheduler where torch has one.
"""

import math
from collections.abc import Callable

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "inverse_time",
    "one_cycle",
    "staircase",
    "warm_up",
]

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Keep the learning rate.

    >>> constant()(1000)
    1.0
    """
    return lambda step: 1.0


def inverse_time(rate: float, every: int = 1) -> Schedule:
    """Divide by 1 + rate · t, where t counts spans of `every` steps.

    Args:
        rate: decay in a span, not negative.
        every: steps in a span; those of an epoch give 1 / (1 + rate · epoch).

    >>> inverse_time(1.0, every=10)(25)
    0.3333333333333333
    """
    _check(rate=rate)
    _check_whole(every=every)
    return lambda step: 1 / (1 + rate * (step // every))


def exponential(rate: float, every: int = 1) -> Schedule:
    """Multiply by `rate` after each span: rate ^ (step / every).

    Args:
        rate: factor of a span, above 0.
        every: steps in a span; the fall inside it is smooth.

    >>> exponential(0.5, every=10)(20)
    0.25
    """
    _check(rate=rate)
    _check_whole(every=every)
    return lambda step: rate ** (step / every)


def inverse_sqrt(scale: float = 1.0, every: int = 1) -> Schedule:
    """Fall as scale / √t, where t counts spans of `every` steps from 1.

    Args:
        scale: k in k / √epoch, above 0.
        every: steps in a span.

    >>> inverse_sqrt(every=10)(35)
    0.5
    """
    _check(scale=scale)
    _check_whole(every=every)
    return lambda step: scale / math.sqrt(step // every + 1)


def staircase(rate: float, every: int) -> Schedule:
    """Multiply by `rate` at every so many steps, and stay between.

    Args:
        rate: factor of a stair, above 0.
        every: steps of a stair.

    >>> [staircase(0.5, every=2)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _check(rate=rate)
    _check_whole(every=every)
    return lambda step: float(rate ** (step // every))


def cosine(steps: int, lowest: float = 0.0) -> Schedule:
    """Fall along half a cosine and stay at the end (Loshchilov and Hutter, 2017).

    Args:
        steps: length of the fall.
        lowest: the factor at its end.

    >>> [round(cosine(4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    _check(lowest=lowest)
    _check_whole(steps=steps)

    def factor(step: int) -> float:
        share = min(step, steps) / steps
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * share)) / 2

    return factor


def warm_up(steps: int, after: Schedule | None = None) -> Schedule:
    """Rise on a line from 1 / steps to 1, then follow another schedule from its start.

    Args:
        steps: length of the rise; the first update is taken with the factor 1 / steps.
        after: what follows; constant when None.

    >>> [warm_up(4)(step) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    _check_whole(steps=steps)
    after = after or constant()

    def factor(step: int) -> float:
        return (step + 1) / steps if step < steps - 1 else after(step - steps + 1)

    return factor


def one_cycle(
    steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000
) -> Schedule:
    """Rise along half a cosine, then fall further than it rose (Smith and Topin, 2018).

    The optimizer's learning rate is the highest.

    Args:
        steps: updates of the whole run.
        rise: share of the steps in which it rises, between 0 and 1.
        start: the factor at step 0.
        end: the factor at the last step.

    >>> [round(one_cycle(10, rise=0.5)(step), 3) for step in (0, 4, 9)]
    [0.04, 1.0, 0.0]
    """
    _check(start=start, end=end)
    _check_whole(steps=steps)
    if not 0 < rise < 1:
        raise ValueError(f"rise must lie between 0 and 1, got {rise}")
    top = rise * steps - 1
    if top <= 0:
        raise ValueError(f"rise · steps must be above 1 to leave a rise, got {rise * steps}")

    def factor(step: int) -> float:
        if step <= top:
            return _half_cosine(start, 1.0, step / top)
        return _half_cosine(1.0, end, min(1.0, (step - top) / (steps - 1 - top)))

    return factor


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, 0 or above, got {value}")


def _check_whole(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
