"""A script as a learner writes it, the same for one process and for several under torchrun.

``torchrun --nproc-per-node 2 distributed_run.py OUT STEPS [KILL]`` writes what rank 0 ends with.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from coursekit.language import Perplexity
from coursekit.speech import ErrorRate
from coursekit.training import Trainer, seed_everything
from coursekit.training.metrics import AUC, F1, Accuracy

out, steps = Path(sys.argv[1]), int(sys.argv[2])
victim = int(sys.argv[3]) if len(sys.argv) > 3 else None

torch.set_num_threads(1)
seed_everything(5)
torch.set_default_dtype(getattr(torch, os.environ.get("RUN_DTYPE", "float64")))
inputs = torch.randn(203, 8)  # neither batches nor halves of them come out even
targets = (inputs[:, 0] + inputs[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))


def scores(outputs):
    return outputs[:, 1] - outputs[:, 0]


class Score(AUC):
    """AUC of two logits."""

    def update(self, outputs, targets):
        super().update(scores(outputs), targets)


def texts(outputs, targets):
    return [[outputs.argmax(1).tolist()], [targets.tolist()]]


def die(step):
    """Give the batch of a step; in the victim's 20th step, die as a machine does."""
    if step == 20 and victim is not None and int(os.environ["RANK"]) == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    rows = torch.arange(step * 7, step * 7 + 25) % len(inputs)
    return inputs[rows], targets[rows]


trainer = Trainer(
    model,
    torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5),
    cross_entropy,
    metrics={
        "accuracy": Accuracy(),
        "f1": F1(),
        "auc": Score(),
        "perplexity": Perplexity(),
        "errors": ErrorRate(decode=texts),
        "examples": lambda outputs, _: len(outputs),
    },
    device="cpu",
    progress=False,
)
data = (inputs, targets) if victim is None else die
validation = DataLoader(TensorDataset(inputs, targets), batch_size=30)  # dealt out by turns
history = trainer.fit(data, validation, steps=steps, batch_size=25, evaluate_every=25, seed=1)
if trainer.world.leads:
    torch.save(trainer.model.state_dict(), out)
    out.with_suffix(".json").write_text(json.dumps(history.rows))
