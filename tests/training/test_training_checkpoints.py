"""Checkpoints: what is kept, what a run goes on from, and what is said when that cannot be."""

import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from coursekit.data.batches import data_loader
from coursekit.training import CheckpointError, Checkpoints, Trainer, early_stopping
from coursekit.training.schedules import cosine

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(50, 6, generator=GENERATOR)
TARGETS = torch.randint(3, (50,), generator=GENERATOR)


def trainer_of(hidden=8, optimizer=torch.optim.Adam, **options):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, hidden), nn.Dropout(0.2), nn.Linear(hidden, 3))
    return Trainer(
        model, optimizer(model.parameters(), lr=0.01), cross_entropy, device="cpu",
        progress=False, **options,
    )  # fmt: skip


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def loader():
    return DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8, shuffle=True)


def seeded_loader():
    return data_loader(TensorDataset(INPUTS, TARGETS), batch_size=8, workers=0, seed=4)


SOURCES = {
    "pair": lambda: (INPUTS, TARGETS),
    "loader of the global generator": loader,
    "loader with a generator": lambda: DataLoader(
        TensorDataset(INPUTS, TARGETS), batch_size=8, shuffle=True,
        generator=torch.Generator().manual_seed(9),
    ),
    "the course's loader": seeded_loader,
    "function": lambda: lambda step: (INPUTS[step % 40 :][:8], TARGETS[step % 40 :][:8]),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("last", [7, 14, 20])  # an epoch of 8 in a batch has 7 steps
def test_a_run_goes_on_bit_for_bit_from_anywhere_in_an_epoch(source, last, tmp_path):
    def run(folder, resume, last=None):
        def interrupt(event):
            if event.name == "step" and event.step - 1 == last:
                raise KeyboardInterrupt

        torch.manual_seed(2)
        trainer = trainer_of(schedule=cosine(40), average=0.9, clip_norm=1.0, callbacks=[interrupt])
        torch.manual_seed(3)
        history = trainer.fit(
            SOURCES[source](), (INPUTS, TARGETS), steps=25, batch_size=8, evaluate_every=6,
            checkpoints=Checkpoints(folder, every=1), resume=resume,
        )  # fmt: skip
        return weights(trainer), history.rows

    whole, expected = run(tmp_path / "whole", "never")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", "auto", last)
    draws = torch.rand(5), random.random(), np.random.random()  # noqa: NPY002
    resumed, rows = run(tmp_path / "parts", "auto")
    assert torch.equal(resumed, whole), draws
    assert rows == expected


def test_the_latest_and_the_best_are_kept(tmp_path):
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.6, 2.7])
    trainer = trainer_of(metrics={"score": lambda outputs, targets: next(losses)})
    checkpoints = Checkpoints(tmp_path, keep=2, best="validation_score")
    trainer.fit((INPUTS, TARGETS), (INPUTS, TARGETS), epochs=6, checkpoints=checkpoints)
    assert [path.name for path in checkpoints.paths()] == [
        "step-000000002", "step-000000005", "step-000000006",
    ]  # fmt: skip
    assert checkpoints.best_path().name == "step-000000002"
    assert not list(tmp_path.glob(".*")), "no remains"


def test_the_largest_can_be_the_best(tmp_path):
    scores = iter([0.5, 0.9, 0.7])
    trainer = trainer_of(metrics={"score": lambda outputs, targets: next(scores)})
    checkpoints = Checkpoints(tmp_path, keep=1, best="validation_score", largest=True)
    trainer.fit((INPUTS, TARGETS), (INPUTS, TARGETS), epochs=3, checkpoints=checkpoints)
    assert checkpoints.best_path().name == "step-000000002"


def test_the_weights_are_a_plain_safetensors_file(tmp_path):
    from safetensors.torch import load_file

    trainer = trainer_of()
    trainer.fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path)
    (path,) = Checkpoints(tmp_path).paths()
    found = load_file(path / "model.safetensors")
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(found[name], tensor)


def test_tied_weights_are_saved_and_taken_up(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    trainer = Trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), cross_entropy, device="cpu",
        progress=False,
    )  # fmt: skip
    trainer.fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path)
    trainer.fit((INPUTS, TARGETS), epochs=2, checkpoints=tmp_path, resume="must")
    assert model[1].weight is model[0].weight


def test_a_run_that_had_stopped_early_does_not_go_on(tmp_path):
    def run():
        losses = iter([1.0, 2.0, 3.0, 0.1, 0.1])
        trainer = trainer_of(metrics={"score": lambda outputs, targets: next(losses)})
        return trainer.fit(
            (INPUTS, TARGETS), (INPUTS, TARGETS), epochs=5, checkpoints=tmp_path, resume="auto",
            stop=early_stopping("validation_score", patience=2),
        )  # fmt: skip

    assert run().column("validation_score") == [1.0, 2.0, 3.0]
    assert run().column("validation_score") == [1.0, 2.0, 3.0]


def test_a_finished_run_is_not_trained_again(tmp_path):
    trainer = trainer_of()
    trainer.fit((INPUTS, TARGETS), epochs=2, checkpoints=tmp_path)
    again = trainer_of()
    history = again.fit((INPUTS, TARGETS), epochs=2, checkpoints=tmp_path, resume="auto")
    assert torch.equal(weights(again), weights(trainer))
    assert history.last["step"] == 2


@pytest.mark.parametrize("file", ["model.safetensors", "state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(file, tmp_path):
    trainer_of().fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path)
    (path,) = Checkpoints(tmp_path).paths()
    content = bytearray((path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (path / file).write_bytes(content[:-3] if file == "state.json" else content)
    with pytest.raises(CheckpointError, match=r"000001 cannot be read .*remove that folder"):
        trainer_of().fit((INPUTS, TARGETS), epochs=2, checkpoints=tmp_path, resume="auto")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trainer_of().fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="another model, optimizer or schedule"):
        trainer_of(hidden=9).fit((INPUTS, TARGETS), epochs=2, checkpoints=tmp_path, resume="auto")


def test_resuming_needs_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="resume='auto' needs checkpoints, got None"):
        trainer_of().fit((INPUTS, TARGETS), epochs=1, resume="auto")
    with pytest.raises(CheckpointError, match="holds no checkpoint: start without resume"):
        trainer_of().fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path, resume="must")


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written .*name another folder"):
        trainer_of().fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path / "file" / "folder")


@pytest.mark.parametrize("name", ["every", "keep"])
def test_bad_numbers_are_named(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Checkpoints(tmp_path, **{name: 0})


def test_nothing_is_unpickled(tmp_path):
    trainer_of().fit((INPUTS, TARGETS), epochs=1, checkpoints=tmp_path)
    (path,) = Checkpoints(tmp_path).paths()
    assert sorted(file.name for file in path.iterdir()) == [
        "model.safetensors", "state.json", "state.safetensors",
    ]  # fmt: skip
    assert json.loads((path / "state.json").read_text())["step"] == 1
