"""What the trainer adds to the loop: precision, accumulation, averages, stops, guards, logs."""

import copy
import csv
import math

import matplotlib as mpl
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from coursekit.training import (
    Trainer,
    csv_log,
    early_stopping,
    find_learning_rate,
    overfit_one_batch,
    profile,
    tensorboard_log,
)
from coursekit.training import diagnostics as looking
from coursekit.training.history import History
from coursekit.training.metrics import Accuracy
from coursekit.training.schedules import staircase

mpl.use("Agg")


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def blobs(examples=60, seed=1):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (examples,), generator=generator)
    return torch.randn(examples, 6, generator=generator) + targets[:, None], targets


def trainer_of(model, lr=0.1, loss=cross_entropy, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return Trainer(model, optimizer, loss, device="cpu", progress=False, **options)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Accumulation, clipping, schedules, averages


@pytest.mark.parametrize("parts", [2, 3, 16, 100])
def test_accumulation_equals_one_large_batch(parts):
    whole, cut = net().double(), net().double()
    data = blobs()[0].double(), blobs()[1]
    first = trainer_of(whole).fit(data, epochs=3, batch_size=16)
    second = trainer_of(cut, accumulate=parts).fit(data, epochs=3, batch_size=16)
    torch.testing.assert_close(parameters(cut), parameters(whole), rtol=0, atol=1e-12)
    assert second.column("loss") == pytest.approx(first.column("loss"), abs=1e-6)


def test_clipping_by_value_bounds_every_element():
    model, reference = net(), net()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    inputs, targets = blobs()
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(reference(inputs), targets).backward()
        for parameter in reference.parameters():
            parameter.grad.clamp_(-0.01, 0.01)
        optimizer.step()
    trainer_of(model, clip_value=0.01).fit((inputs, targets), steps=5, batch_size=None)
    assert torch.equal(parameters(model), parameters(reference))


def test_a_schedule_is_applied_step_by_step():
    seen = []
    trainer = trainer_of(
        net(),
        lr=0.4,
        schedule=staircase(0.5, every=2),
        callbacks=[
            lambda e: (
                seen.append(e.trainer.optimizer.param_groups[0]["lr"]) if e.name == "step" else None
            )
        ],
    )
    trainer.fit(blobs(), steps=5)
    assert seen == pytest.approx([0.4, 0.2, 0.2, 0.1, 0.1])  # already that of the next step


def test_the_average_follows_its_formula_and_serves_the_evaluation():
    model, weights = net(), []
    trainer = trainer_of(
        model, average=0.8, callbacks=[lambda e: weights.append(parameters(model).clone())]
    )
    history = trainer.fit(blobs(), blobs(seed=2), steps=6, evaluate_every=6)
    steps = weights[1:7]
    expected = steps[0]
    for values in steps[1:]:
        expected = 0.8 * expected + 0.2 * values
    average = torch.cat([p.flatten() for p in trainer.average.module.parameters()])
    torch.testing.assert_close(average, expected)
    inputs, targets = blobs(seed=2)
    loss = cross_entropy(trainer.average(inputs), targets).item()
    assert history.last["validation_loss"] == pytest.approx(loss)
    assert loss != cross_entropy(model(inputs), targets).item()


def test_parameters_that_the_optimizer_gets_later_are_trained_from_fresh_gradients():
    both, late = net(), net()
    trainer_of(both).fit(blobs(), steps=4)
    optimizer = torch.optim.SGD(late[0].parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(late, optimizer, cross_entropy, device="cpu", progress=False)
    optimizer.add_param_group({"params": late[2].parameters()})
    trainer.fit(blobs(), steps=4)
    assert torch.equal(parameters(late), parameters(both))


# Precision


def test_bf16_on_the_processor_computes_in_bf16_and_keeps_float32_weights():
    seen = []
    model = net()
    model[1].register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    trainer = trainer_of(model, precision="bf16", metrics={"accuracy": Accuracy()})
    history = trainer.fit(blobs(), blobs(), epochs=20)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history.last["validation_accuracy"] > 0.8
    assert trainer.predict(blobs()[0]).dtype == torch.float32


def test_without_a_gpu_auto_is_float32_and_the_scaler_does_nothing():
    plain, auto = net(), net()
    trainer = trainer_of(auto, precision="auto")
    assert trainer.dtype is None
    assert not trainer.scaler.is_enabled()
    trainer.fit(blobs(), epochs=2)
    trainer_of(plain, precision="fp32").fit(blobs(), epochs=2)
    assert torch.equal(parameters(plain), parameters(auto))


def test_channels_last_gives_the_same_network():
    def images(seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(20, 3, 8, 8, generator=generator), torch.arange(20) % 4

    results = []
    for flag in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
        trainer = trainer_of(model, channels_last=flag)
        trainer.fit(images(), steps=10)
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last) is flag
        results.append(parameters(model))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_model_trains_like_the_plain_one():
    plain, compiled = net(), net()
    trainer_of(plain).fit(blobs(), steps=5)
    trainer_of(compiled, compile=True).fit(blobs(), steps=5)
    torch.testing.assert_close(parameters(compiled), parameters(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_on_a_gpu(precision):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(
        model, optimizer, cross_entropy, metrics={"accuracy": Accuracy()}, device="cuda",
        precision=precision, clip_norm=1.0, progress=False,
    )  # fmt: skip
    history = trainer.fit(blobs(), blobs(), epochs=20)
    assert trainer.scaler.is_enabled() is (precision == "fp16")
    assert history.last["validation_accuracy"] > 0.8


# Early stopping, callbacks, logs


def test_early_stopping_ends_after_the_rows_without_improvement():
    losses = iter([3.0, 2.0, 2.5, 1.9, 1.95, 2.0, 0.1])
    trainer = trainer_of(net(), metrics={"score": lambda outputs, targets: next(losses)})
    stop = early_stopping("validation_score", patience=2)
    history = trainer.fit(blobs(), blobs(), epochs=50, stop=stop)
    assert history.column("validation_score") == [3.0, 2.0, 2.5, 1.9, 1.95, 2.0]


def test_early_stopping_knows_largest_and_least_change():
    rows = History([{"accuracy": value} for value in (0.5, 0.6, 0.601, 0.602)])
    assert early_stopping("accuracy", 2, largest=True, least_change=0.01)(rows)
    assert not early_stopping("accuracy", 2, largest=True)(rows)
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        early_stopping("accuracy", 0)
    with pytest.raises(ValueError, match=r"name must be one of \['accuracy'\], got 'loss'"):
        early_stopping("loss", 1)(rows)


def test_callbacks_are_told_in_order():
    events = []
    trainer = trainer_of(net(), callbacks=[lambda e: events.append((e.name, e.step))])
    trainer.fit(blobs(), steps=3, evaluate_every=2)
    steps = [("step", 1), ("step", 2), ("row", 2), ("step", 3), ("row", 3)]
    assert events == [("start", 0), *steps, ("end", 3)]


def test_the_table_is_logged_as_csv(tmp_path):
    path = tmp_path / "deep" / "run.csv"
    trainer = trainer_of(net(), callbacks=[csv_log(path)])
    history = trainer.fit(blobs(), blobs(), epochs=2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation_loss"]) for row in rows] == history.column("validation_loss")


def test_the_table_is_logged_for_tensorboard(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = trainer_of(net(), callbacks=[tensorboard_log(tmp_path)])
    history = trainer.fit(blobs(), epochs=3, batch_size=20)
    log = reading.EventAccumulator(str(tmp_path))
    log.Reload()
    found = [(event.step, event.value) for event in log.Scalars("loss")]
    assert [step for step, _ in found] == history.column("step")
    assert [value for _, value in found] == pytest.approx(history.column("loss"))
    assert [event.value for event in log.Scalars("learning_rate")] == [pytest.approx(0.1)] * 3


# Guards


class Logarithm(nn.Module):
    def forward(self, values):
        return values.log()


def test_the_guard_names_the_first_layer_that_fails_before_the_bad_update():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Tanh(), Logarithm()), nn.Linear(4, 3))
    before = parameters(model).clone()
    with pytest.raises(
        FloatingPointError,
        match=r"loss is nan at step 1: the output of 1\.1 \(Logarithm\) is the first that is not "
        r"finite; lower the learning rate",
    ):
        trainer_of(model).fit(blobs(), steps=3)
    assert torch.equal(parameters(model), before)


def test_the_guard_tells_the_batch_from_the_loss():
    inputs, targets = blobs()
    inputs[5, 2] = math.nan
    with pytest.raises(FloatingPointError, match="the batch itself holds values"):
        trainer_of(net()).fit((inputs, targets), steps=1, batch_size=None)
    with pytest.raises(FloatingPointError, match="it arises in the loss"):
        trainer_of(net(), loss=lambda o, t: (o - o).sum().log()).fit(blobs(), steps=1)


def test_a_guard_that_looks_seldom_names_the_parameter():
    model = nn.Sequential(nn.Linear(6, 1))
    trainer = trainer_of(
        model, lr=1e30, check_every=5, loss=lambda o, t: mse_loss(o[:, 0], t.float())
    )
    says = r"the parameter 0\.weight is no longer finite; with check_every=1"
    with pytest.raises(FloatingPointError, match=says):
        trainer.fit(blobs(), steps=10)


def test_a_full_memory_says_what_to_change():
    def full(outputs, targets):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"Tried to allocate 2\.00 GiB\.: give the trainer accumulate=6",
    ):
        trainer_of(net(), loss=full, accumulate=3).fit(blobs(), steps=1)


def test_other_errors_are_left_alone():
    def broken(outputs, targets):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        trainer_of(net(), loss=broken).fit(blobs(), steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"check_every": 0}, "check_every must be at least 1, got 0"),
        ({"clip_value": -1}, "clip_value must be above 0, got -1"),
        ({"average": 1.0}, "average must lie between 0 and 1, got 1.0"),
        ({"precision": "int8"}, "precision must be one of auto, fp32, bf16, fp16, got 'int8'"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        trainer_of(net(), **options)


# Trials that put everything back


@pytest.fixture
def untouched():
    """A trainer in the middle of a run, and a check that a trial left it as it was."""
    model = net()
    trainer = trainer_of(model, average=0.9, schedule=staircase(0.9, every=3))
    trainer.fit(blobs(), steps=4)
    parts = (model, trainer.optimizer, trainer.average, trainer.schedule)
    before = copy.deepcopy([part.state_dict() for part in parts])

    def check():
        for part, state in zip(parts, before, strict=True):
            after = part.state_dict()
            assert repr(after) == repr(state)

    return trainer, check


def test_the_learning_rate_finder_tries_from_small_to_too_large(untouched):
    trainer, check = untouched
    history = find_learning_rate(trainer, blobs(), lowest=1e-4, highest=1e3, steps=60)
    rates = history.column("learning_rate")
    assert rates[0] == pytest.approx(1e-4)
    assert rates == sorted(rates)
    assert len(history) < 60, "it ends when the loss grows"
    best = rates[history.column("smoothed").index(min(history.column("smoothed")))]
    assert 1e-2 < best < 30
    check()


def test_one_batch_is_learned_by_heart_and_everything_put_back(untouched):
    trainer, check = untouched
    inputs, targets = blobs(8)
    history = overfit_one_batch(trainer, (inputs, targets))
    assert history.last["loss"] <= 0.01 * history.rows[0]["loss"]
    check()


def test_labels_that_nothing_can_learn_are_reported(untouched):
    trainer, check = untouched
    inputs = torch.ones(8, 6)
    with pytest.raises(RuntimeError, match=r"the loss of one batch went from .* in 50 steps, not"):
        overfit_one_batch(trainer, (inputs, torch.arange(8) % 3), steps=50)
    check()


def test_the_profiler_names_the_operators(untouched):
    trainer, check = untouched
    table = profile(trainer, blobs(), steps=2)
    assert "aten::addmm" in table
    check()


def test_a_finder_that_meets_an_infinite_loss_ends():
    model = nn.Linear(6, 1)
    trainer = trainer_of(model, loss=lambda o, t: mse_loss(o[:, 0], t.float()))
    history = find_learning_rate(trainer, blobs(), lowest=1e20, highest=1e30, steps=10)
    assert len(history) < 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "0 < lowest < highest, got 0.0 and 10"),
        ({"highest": 1e-9}, "0 < lowest < highest"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
    ],
)
def test_bad_rates_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        looking.find_learning_rate(trainer_of(net()), blobs(), **options)
