"""SqueezeNet equals torchvision's, apart from the padding of its first layer."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import squeezenet1_1

from coursekit.data import load
from coursekit.networks import SqueezeNet
from coursekit.networks.squeezenet import FIRES

WEIGHTS = load("squeezenet")
PLACES = dict(zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True))  # in torchvision's features
LAYERS = ["conv1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6", "fire7"]
LAYERS += ["fire8", "fire9", "conv10"]


@pytest.fixture
def images():
    random = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return WEIGHTS.normalize(random)


@pytest.fixture
def network():
    network = SqueezeNet().eval()
    network.load_state_dict(WEIGHTS.tensors)
    return network


@pytest.fixture
def reference():
    """Torchvision's network with the embedded weights under its own names."""
    places = {"conv1": "features.0", "conv10": "classifier.1"}
    places |= {fire: f"features.{place}" for fire, place in PLACES.items()}
    reference = squeezenet1_1(weights=None).eval()
    reference.load_state_dict(
        {
            ".".join([places[name.partition(".")[0]], name.partition(".")[2]]): tensor
            for name, tensor in WEIGHTS.tensors.items()
        }
    )
    return reference


def test_names_and_shapes_are_those_of_the_weights(network):
    assert set(network.state_dict()) == set(WEIGHTS.tensors)


def test_logits_equal_torchvision_with_the_padding(network, reference, images):
    with torch.no_grad():
        expected = reference(F.pad(images, (0, 1, 0, 1)))
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-5)
        assert not torch.allclose(network(images), reference(images), atol=1e-4)


def test_maps_equal_torchvision_layer_by_layer(network, reference, images):
    with torch.no_grad():
        maps = network.feature_maps(images)
        latest = F.pad(images, (0, 1, 0, 1))
        expected = {}
        names = {1: "conv1", 2: "pool1", 5: "pool3", 8: "pool5"}
        names |= {place: fire for fire, place in PLACES.items()}
        for place, layer in enumerate(reference.features):
            latest = layer(latest)
            expected[names.get(place, "before its ReLU")] = latest
        assert list(maps) == LAYERS
        for name in LAYERS[:-1]:
            torch.testing.assert_close(maps[name], expected[name], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "widths"),
    [(224, (112, 56, 28, 14)), (227, (113, 56, 28, 14)), (16, (8, 4, 2, 1))],
)
def test_maps_have_the_stated_widths(size, widths):
    with torch.no_grad():
        maps = SqueezeNet(num_classes=2).eval().feature_maps(torch.randn(1, 3, size, size))
    assert maps["conv1"].shape == (1, 64, widths[0], widths[0])
    assert maps["fire3"].shape == (1, 128, widths[1], widths[1])
    assert maps["fire5"].shape == (1, 256, widths[2], widths[2])
    assert maps["fire9"].shape == (1, 512, widths[3], widths[3])
    assert maps["conv10"].shape == (1, 2, widths[3], widths[3])


def test_maps_are_finite_and_not_negative_and_their_mean_is_the_logit(network, images):
    with torch.no_grad():
        maps = network.feature_maps(images)
        for values in maps.values():
            assert values.isfinite().all()
            assert values.min() >= 0
            assert values.max() > 0
        assert torch.equal(network(images), maps["conv10"].mean(dim=(2, 3)))


def test_style_can_be_learned_by_the_image(network, images):
    image = images[:1].clone().requires_grad_()
    maps = network.feature_maps(image)["fire4"].flatten(2)
    gram = torch.einsum("bip,bjp->bij", maps, maps)
    (gram.square().mean()).backward()
    assert image.grad.isfinite().all()
    assert (image.grad != 0).float().mean() > 0.99


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_classes must be at least 1, got 0"):
        SqueezeNet(num_classes=0)
    with pytest.raises(ValueError, match=r"images must have shape \(batch, 3, .*got \(3, 64, 64\)"):
        SqueezeNet()(torch.zeros(3, 64, 64))
