"""Every schedule equals torch's, step by step, or its formula where torch has none."""

import math

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from coursekit.training import schedules

STEPS = 60
RATE = 0.3


def rates(make):
    """The learning rate at each step, by a torch scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(schedule):
    return [RATE * schedule(step) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        (schedules.constant(), lambda o: theirs.ConstantLR(o, factor=1.0)),
        (schedules.exponential(0.93), lambda o: theirs.ExponentialLR(o, 0.93)),
        (schedules.staircase(0.5, every=7), lambda o: theirs.StepLR(o, 7, 0.5)),
        (schedules.warm_up(10), lambda o: theirs.LinearLR(o, 0.1, 1.0, total_iters=9)),
        (
            schedules.one_cycle(STEPS),
            lambda o: theirs.OneCycleLR(o, max_lr=RATE, total_steps=STEPS, final_div_factor=1e4),
        ),
        (
            schedules.one_cycle(STEPS, rise=0.5, start=0.1, end=0.001),
            lambda o: theirs.OneCycleLR(
                o, RATE, STEPS, pct_start=0.5, div_factor=10, final_div_factor=100
            ),
        ),
    ],
)
def test_schedule_equals_the_scheduler_of_torch(schedule, reference):
    assert ours(schedule) == pytest.approx(rates(reference), rel=1e-9)


def test_cosine_equals_torch_until_its_end_and_stays_there():
    reference = rates(lambda o: theirs.CosineAnnealingLR(o, T_max=40, eta_min=0.03))
    found = ours(schedules.cosine(40, lowest=0.1))
    assert found[:41] == pytest.approx(reference[:41], rel=1e-9)
    assert found[41:] == pytest.approx([0.03] * (STEPS - 41))


def test_a_warm_up_leads_into_another_schedule_at_its_start():
    schedule = schedules.warm_up(5, schedules.cosine(20))
    reference = rates(
        lambda o: theirs.SequentialLR(
            o, [theirs.LinearLR(o, 0.2, 1.0, 4), theirs.CosineAnnealingLR(o, 20)], [4]
        )
    )
    assert ours(schedule)[:25] == pytest.approx(reference[:25], rel=1e-9, abs=1e-12)


def test_decay_by_epochs_follows_the_formulas():
    inverse = schedules.inverse_time(0.5, every=10)
    root = schedules.inverse_sqrt(scale=2.0, every=10)
    smooth = schedules.exponential(0.95, every=10)
    for step in range(STEPS):
        epoch = step // 10
        assert inverse(step) == 1 / (1 + 0.5 * epoch)
        assert root(step) == 2 / math.sqrt(epoch + 1)
        assert smooth(step) == pytest.approx(0.95 ** (step / 10))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.inverse_time(-1), "rate must be a finite number, 0 or above, got -1"),
        (lambda: schedules.exponential(math.nan), "rate must be a finite number"),
        (lambda: schedules.staircase(0.5, every=0), "every must be at least 1, got 0"),
        (lambda: schedules.cosine(0), "steps must be at least 1, got 0"),
        (lambda: schedules.warm_up(0), "steps must be at least 1, got 0"),
        (lambda: schedules.inverse_sqrt(math.inf), "scale must be a finite number"),
        (lambda: schedules.one_cycle(10, rise=1.0), "rise must lie between 0 and 1, got 1.0"),
        (lambda: schedules.one_cycle(2), "must be above 1 to leave a rise, got 0.6"),
    ],
)
def test_a_bad_number_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
