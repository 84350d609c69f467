"""The trainer is the loop that one would write by hand, bit for bit."""

import matplotlib as mpl
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from coursekit.training import History, Trainer

mpl.use("Agg")


def small_net(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 3))


def blobs(examples=50, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, 6, generator=generator)
    return inputs, torch.randint(3, (examples,), generator=generator)


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def trainer_of(model, lr=0.1, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return Trainer(model, optimizer, cross_entropy, device="cpu", progress=False, **options)


def loop_by_hand(model, data, epochs, batch_size, seed, clip_norm=None, decay=None):
    """What a tutorial writes: no helper, no validation."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay) if decay else None
    generator = torch.Generator().manual_seed(seed)
    means = []
    for _ in range(epochs):
        order, total = torch.randperm(len(data[0]), generator=generator), 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            loss = cross_entropy(model(data[0][rows]), data[1][rows])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            if schedule:
                schedule.step()
            total += loss.item() * len(rows)
        means.append(total / len(order))
    return means


def assert_same_bits(first, second):
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("clip_norm", "decay"), [(None, None), (0.05, None), (None, 0.9)])
def test_fit_equals_the_loop_by_hand_bit_for_bit(clip_norm, decay, dropout):
    data, by_hand, model = blobs(), small_net(dropout=dropout), small_net(dropout=dropout)
    torch.manual_seed(9)
    expected = loop_by_hand(by_hand, data, 3, 16, seed=4, clip_norm=clip_norm, decay=decay)
    torch.manual_seed(9)
    trainer = trainer_of(model, clip_norm=clip_norm)
    if decay:
        trainer.schedule = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, decay)
    history = trainer.fit(data, blobs(seed=2), epochs=3, batch_size=16, seed=4)
    assert_same_bits(by_hand, model)
    assert history.column("loss") == pytest.approx(expected, rel=1e-12)


def test_the_whole_set_as_one_batch_is_gradient_descent_in_the_given_order():
    inputs, targets = blobs()
    by_hand, model = small_net(), small_net()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        optimizer.zero_grad()
        cross_entropy(by_hand(inputs), targets).backward()
        optimizer.step()
    history = trainer_of(model).fit((inputs, targets), epochs=4, batch_size=None)
    assert_same_bits(by_hand, model)
    assert history.column("step") == history.column("epoch") == [1, 2, 3, 4]


def test_a_loader_a_pair_and_a_function_of_the_step_train_alike():
    data = blobs()
    batches = [(data[0][k : k + 10], data[1][k : k + 10]) for k in range(0, 50, 10)]
    models = [small_net() for _ in range(3)]
    trainer_of(models[0]).fit(DataLoader(TensorDataset(*data), batch_size=10), epochs=2)
    trainer_of(models[1]).fit(batches, steps=10)
    trainer_of(models[2]).fit(lambda step: batches[(step - 1) % 5], steps=10)
    assert_same_bits(models[0], models[1])
    assert_same_bits(models[0], models[2])


def test_the_order_of_batches_depends_on_the_seed_alone():
    first, again, other = small_net(), small_net(), small_net()
    trainer_of(first).fit(blobs(), epochs=1, batch_size=8, seed=3)
    torch.rand(5)
    trainer_of(again).fit(blobs(), epochs=1, batch_size=8, seed=3)
    trainer_of(other).fit(blobs(), epochs=1, batch_size=8, seed=5)
    assert_same_bits(first, again)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_shuffling_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    model = small_net(seed=7)
    torch.manual_seed(0)
    trainer_of(model).fit(blobs(), epochs=2)
    assert torch.equal(torch.rand(3), expected)


def test_several_inputs_reach_the_model_by_position_and_the_loss_as_a_tuple():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.0))

        def forward(self, left, right):
            return self.scale * left + right

    def weighted(outputs, targets):
        values, weights = targets
        return (weights * (outputs - values) ** 2).mean()

    left, right = torch.arange(6.0), torch.ones(6)
    model = Sum()
    trainer = Trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.05), weighted, device="cpu", progress=False
    )
    trainer.fit(((left, right), (2 * left + right, torch.ones(6))), steps=200, batch_size=None)
    assert model.scale.item() == pytest.approx(2, abs=1e-5)
    assert torch.allclose(trainer.predict((left, right)), 2 * left + right, atol=1e-4)


def test_metrics_see_all_examples_at_once():
    seen = []

    def spread(outputs, targets):
        seen.append(len(outputs))
        return outputs.std().item()

    data, model = blobs(), small_net()
    scores = trainer_of(model, metrics={"spread": spread}).evaluate(data, batch_size=7)
    assert seen == [50]
    assert scores["loss"] == pytest.approx(cross_entropy(model(data[0]), data[1]).item(), rel=1e-6)
    assert scores["spread"] == pytest.approx(model(data[0]).std().item(), rel=1e-6)


def test_evaluation_switches_dropout_off_and_training_on_again():
    model = small_net(dropout=0.5)
    trainer = trainer_of(model)
    first, second = trainer.predict(blobs()[0]), trainer.predict(blobs()[0], batch_size=3)
    assert torch.allclose(first, second)
    assert model.training
    assert not first.requires_grad


def test_history_has_a_row_for_each_evaluation():
    trainer = trainer_of(small_net(), metrics={"accuracy": accuracy})
    history = trainer.fit(blobs(), blobs(seed=2), steps=10, batch_size=25, evaluate_every=4)
    assert history.columns == ["step", "epoch", "loss", "validation_loss", "validation_accuracy"]
    assert history.column("step") == [4, 8, 10]
    assert history.column("epoch") == [2, 4, 5]
    assert history.last["validation_accuracy"] == trainer.evaluate(blobs(seed=2))["accuracy"]


def test_history_is_a_table_in_text_and_html():
    history = History(
        [{"step": 1, "loss": 0.25}, {"step": 20, "loss": 0.125, "validation_loss": 1.5}]
    )
    assert repr(history).splitlines() == [
        "step    loss  validation_loss",
        "   1  0.2500                 ",
        "  20  0.1250           1.5000",
    ]
    page = history._repr_html_()
    assert "<th>validation loss</th>" in page
    assert page.count("<tr>") == 3
    assert len(history) == 2


def test_history_plots_the_losses_against_the_step():
    trainer = trainer_of(small_net())
    history = trainer.fit(blobs(), blobs(seed=2), epochs=3)
    ax = history.plot()
    assert [line.get_label() for line in ax.lines] == ["loss", "validation loss"]
    assert list(ax.lines[0].get_ydata()) == history.column("loss")
    assert history.plot(ax, columns=["epoch"]) is ax


@pytest.mark.parametrize("bad_step", [1, 7, 63])
def test_a_loss_that_is_no_number_names_its_step(bad_step):
    def batch(step):
        inputs = torch.ones(4, 6) * (float("nan") if step == bad_step else 0.1)
        return inputs, torch.zeros(4, dtype=torch.long)

    with pytest.raises(FloatingPointError, match=f"loss is nan at step {bad_step}:"):
        trainer_of(small_net()).fit(batch, steps=70)


def test_progress_is_silent_when_the_environment_says_so(monkeypatch, capfd):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for value, silent in (("0", True), ("1", False)):
        monkeypatch.setenv("COURSEKIT_PROGRESS", value)
        Trainer(model, optimizer, cross_entropy, device="cpu").fit(blobs(), epochs=1)
        assert (capfd.readouterr().err == "") is silent


def fit(data=None, **options):
    return trainer_of(small_net()).fit(blobs() if data is None else data, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(), "give epochs or steps, got epochs=None and steps=None"),
        (lambda: fit(epochs=1, steps=1), "give epochs or steps, got epochs=1 and steps=1"),
        (lambda: fit(epochs=0), "epochs must be at least 1, got 0"),
        (lambda: fit(steps=-2), "steps must be at least 1, got -2"),
        (lambda: fit(steps=1, batch_size=0), "batch_size must be at least 1 or None, got 0"),
        (lambda: fit(steps=1, evaluate_every=0), "evaluate_every must be at least 1, got 0"),
        (lambda: fit(lambda step: blobs(), epochs=1), "epochs have no end"),
        (lambda: fit(iter([blobs()]), steps=1), "train must be a pair .* got list_iterator"),
        (lambda: fit((*blobs(), None), steps=1), r"train must be a pair .* got 3 items"),
        (
            lambda: fit((torch.zeros(5, 6), torch.zeros(4).long()), steps=1),
            r"train must hold as many targets as inputs, got lengths \[4, 5\]",
        ),
        (
            lambda: fit((torch.zeros(0, 6), torch.zeros(0).long()), steps=1),
            "train must hold at least one example",
        ),
        (lambda: trainer_of(small_net()).evaluate(lambda step: blobs()), "data must be a pair"),
        (lambda: trainer_of(small_net(), clip_norm=0.0), "clip_norm must be above 0, got 0.0"),
        (
            lambda: Trainer(
                small_net(), torch.optim.SGD(small_net().parameters(), lr=0.1), mse_loss
            ),
            "optimizer must hold the parameters of model",
        ),
        (lambda: History([{"step": 1}]).column("loss"), r"one of \['step'\], got 'loss'"),
        (lambda: History().last, "history has no rows yet"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_loss_for_each_example_is_refused():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.CrossEntropyLoss(reduction="none")
    trainer = Trainer(model, optimizer, loss, device="cpu", progress=False)
    with pytest.raises(ValueError, match=r"scalar tensor, got shape \(50,\): take the mean"):
        trainer.fit(blobs(), steps=1)


def test_outputs_of_different_widths_cannot_be_joined():
    model = nn.Linear(1, 1)
    trainer = Trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), mse_loss, device="cpu", progress=False
    )
    ragged = [(torch.zeros(2, n, 1), torch.zeros(2, n, 1)) for n in (3, 4)]
    with pytest.raises(ValueError, match=r"got \[\(3, 1\), \(4, 1\)\]: pad to one length"):
        trainer.evaluate(ragged)
