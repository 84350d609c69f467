"""A program of its own: use the course's libraries in a confined process with several threads.

What imported torch may have threads, so it is a fork of it that is confined. Called with the
scratch folder, "own" or "nobody", and the protections to leave out; prints JSON. torch is imported
before, as in the zygote, everything else for the first time inside.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import torch

from coursekit.grading.official import sandbox


def product():
    torch.set_num_threads(2)
    left, right = torch.rand(600, 600), torch.rand(600, 600)
    assert torch.allclose(left @ right, torch.einsum("ij,jk->ik", left, right), rtol=1e-3)


def capability():
    if " avx2 " in Path("/proc/cpuinfo").read_text():
        assert torch.backends.cpu.get_cpu_capability() != "DEFAULT"


def convolution():
    weights = torch.rand(8, 3, 3, 3, requires_grad=True)
    output = torch.nn.functional.conv2d(torch.rand(4, 3, 32, 32), weights, padding=1)
    output.square().mean().backward()
    assert weights.grad.abs().sum() > 0


def training():
    model = torch.nn.Sequential(torch.nn.Linear(10, 50), torch.nn.ReLU(), torch.nn.Linear(50, 1))
    optimizer = torch.optim.Adam(model.parameters())
    inputs = torch.rand(64, 10)
    first = last = 0.0
    for _ in range(50):
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert last < first


def recurrent():
    output, _ = torch.nn.LSTM(4, 8, batch_first=True)(torch.rand(2, 5, 4))
    output.sum().backward()
    assert output.shape == (2, 5, 8)


def saving():
    torch.save({"a": torch.arange(3)}, "saved.pt")
    assert torch.load("saved.pt")["a"].tolist() == [0, 1, 2]


def numpy():
    import numpy as np

    square = np.random.default_rng(0).normal(size=(200, 200))
    assert np.allclose(np.linalg.inv(square) @ square, np.eye(200), atol=1e-6)


def scipy():
    import scipy.optimize
    import scipy.stats

    assert abs(scipy.optimize.brentq(lambda x: x * x - 2, 0, 2) - 2**0.5) < 1e-9
    assert abs(scipy.stats.norm.cdf(0) - 0.5) < 1e-12


def sklearn():
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    inputs, labels = make_classification(200, random_state=0)
    assert LogisticRegression().fit(inputs, labels).score(inputs, labels) > 0.8
    assert KNeighborsClassifier(1).fit(inputs, labels).score(inputs, labels) == 1


def matplotlib():
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3], label="$x^2$")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture)
    assert picture.getvalue().startswith(b"\x89PNG")


def pictures_and_sound():
    import io

    import numpy as np
    import soundfile
    from PIL import Image

    Image.new("RGB", (32, 32), "red").resize((8, 8)).save("red.png")
    assert Image.open("red.png").getpixel((0, 0)) == (255, 0, 0)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), 8000, format="FLAC")
    file.seek(0)
    assert len(soundfile.read(file)[0]) == 100


def data():
    import torchvision.ops

    from coursekit.data import load

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert torchvision.ops.box_iou(boxes, boxes).item() == 1
    assert len(load("digits")) > 0


USES = (product, capability, convolution, training, recurrent, saving, numpy, scipy, sklearn,
        matplotlib, pictures_and_sound, data)  # fmt: skip


FIRST = (
    "numpy.random", "scipy.optimize", "scipy.stats", "sklearn.datasets", "sklearn.linear_model",
    "sklearn.neighbors", "matplotlib.pyplot", "PIL.Image", "soundfile", "torchvision.ops",
    "coursekit.data", "xml.etree.ElementTree", "encodings.cp437",
)  # fmt: skip


def main(scratch, user, *without):
    if user == "nobody":
        for module in FIRST:  # what lies below a home of 0700 it cannot read later
            importlib.import_module(module)
        sys.modules["PIL.Image"].init()
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if user == "nobody":
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        sandbox.call("prctl", 4, 1, 0, 0, 0)
    if "namespaces" not in without:
        sandbox.enter_namespaces()
    sandbox.confine(sandbox.readable_paths(), scratch, sandbox.Limits(), without)
    results = {}
    for use in USES:
        try:
            use()
            results[use.__name__] = "works"
        except BaseException:
            results[use.__name__] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
