"""A run with checkpoints that is killed again and again: ``python training_run.py FOLDER KILLS``.

Everything that a checkpoint must bring back takes part: dropout, momentum, a schedule, an average
of the weights, and draws from the global generators of Python and NumPy. Processes are forked from
this one, which has imported torch, so that most of their life is training.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from coursekit.training import Checkpoints, Trainer, seed_everything
from coursekit.training.schedules import cosine

STEPS = 120


def jitter(event):
    """Draw from the generators that torch does not know of, with an effect on the weights."""
    if event.name == "step":
        with torch.no_grad():
            factor = 1 + 1e-4 * random.random() + 1e-4 * np.random.random()  # noqa: NPY002
            next(event.trainer.model.parameters()).mul_(factor)


def train(folder):
    """Train from the latest checkpoint to the end; return a digest of everything."""
    seed_everything(3)
    inputs = torch.randn(500, 20)
    targets = (inputs[:, :5].sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        cross_entropy,
        schedule=cosine(STEPS),
        average=0.99,
        callbacks=[jitter],
        device="cpu",
        progress=False,
    )
    history = trainer.fit(
        (inputs, targets),
        (inputs, targets),
        steps=STEPS,
        batch_size=32,
        evaluate_every=37,
        checkpoints=Checkpoints(folder, every=3, keep=2, best="validation_loss"),
        resume="auto",
    )
    digest = hashlib.sha256(repr(history.rows).encode())
    for state in (trainer.model.state_dict(), trainer.average.state_dict()):
        for tensor in state.values():
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def forked(folder, result):
    """Train in a child, which writes its digest; return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            result.write_text(train(folder))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def main():
    """Train once without a break, then with kills; print what came of each as JSON."""
    base, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    result = base / "result"
    train(base / "warm")  # what torch imports late is in this process now, and in its children
    started = time.monotonic()
    os.waitpid(forked(base / "whole", result), 0)
    seconds, expected = time.monotonic() - started, result.read_text()
    moments = random.Random(os.urandom(8))
    runs = []
    for number in range(kills):
        folder = base / f"killed-{number}"
        child = forked(folder, result)
        time.sleep(moments.uniform(0, seconds))  # the moment is what is drawn
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = [path.name for path in Checkpoints(folder).paths()]
        for path in found:
            Checkpoints(folder).load(folder / path)
        result.unlink(missing_ok=True)
        os.waitpid(forked(folder, result), 0)
        runs.append({"from": found[-1:], "same": result.read_text() == expected})
    print(json.dumps({"seconds": seconds, "runs": runs}))


if __name__ == "__main__":
    main()
