"""EfficientNet-Lite0 equals the package that its weights come from."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn import functional as F

from coursekit.data import load
from coursekit.data.sources.efficientnet_lite0 import rename
from coursekit.networks import EfficientNetLite0
from coursekit.networks.efficientnet_lite import InvertedResidual, SameConv2d

WEIGHTS = load("efficientnet-lite0")


@pytest.fixture
def images():
    random = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return WEIGHTS.normalize(random)


@pytest.fixture
def network():
    network = EfficientNetLite0().eval()
    network.load_state_dict(WEIGHTS.tensors)
    return network


@pytest.fixture
def original():
    """The package's network with the embedded weights under its own names."""
    original = EfficientNet.from_name("efficientnet-lite0").eval()
    state = original.state_dict()
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    renamed = {name: WEIGHTS.tensors[rename(name)] for name in state if name not in counters}
    original.load_state_dict({**state, **renamed})
    return original


def parameters_and_statistics(network):
    return {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}


def test_names_and_shapes_are_those_of_the_weights(network):
    assert parameters_and_statistics(network) == set(WEIGHTS.tensors)
    for name, tensor in network.state_dict().items():
        if name in WEIGHTS.tensors:
            assert torch.equal(tensor, WEIGHTS.tensors[name])


def test_logits_equal_the_original_package(network, original, images):
    with torch.no_grad():
        torch.testing.assert_close(network(images), original(images), atol=1e-4, rtol=1e-5)


def test_gradients_equal_the_original_package_in_float64(network, original, images):
    images = images[:1].double()
    gradients = []
    for model in (network.double(), original.double()):
        images = images.detach().requires_grad_()
        model(images)[:, 285].sum().backward()
        gradients.append(images.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=1e-8)


def test_features_feed_the_classifier_and_are_finite(network, images):
    with torch.no_grad():
        features = network.features(images)
        assert features.shape == (2, 1280)
        assert features.isfinite().all()
        assert features.min() >= 0
        assert features.max() <= 6
        torch.testing.assert_close(network(images), network.classifier(features))


def test_feature_maps_have_the_stated_sizes(network, images):
    with torch.no_grad():
        maps = network.feature_maps(images[:1])
    sizes = [("stem", 32, 112), ("stage1", 16, 112), ("stage2", 24, 56), ("stage3", 40, 28)]
    sizes += [("stage4", 80, 14), ("stage5", 112, 14), ("stage6", 192, 7), ("stage7", 320, 7)]
    sizes += [("head", 1280, 7)]
    assert [(name, *maps[name].shape[1:3]) for name in maps] == sizes
    assert all(m.shape[2] == m.shape[3] and m.isfinite().all() for m in maps.values())


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 5, 8])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_same_convolution_rounds_up(kernel_size, size, stride):
    convolution = SameConv2d(2, 3, kernel_size, stride)
    images = torch.randn(1, 2, size, size + 1)
    output = convolution(images)
    assert output.shape == (1, 3, -(-size // stride), -(-(size + 1) // stride))
    if stride == 1:
        expected = F.conv2d(images, convolution.weight, padding=kernel_size // 2)
        torch.testing.assert_close(output, expected)


@pytest.mark.parametrize(
    ("size", "kernel_size", "reads"),
    [(4, 3, [0, 2]), (5, 3, [-1, 1, 3]), (4, 5, [-1, 1]), (5, 5, [-2, 0, 2]), (4, 1, [0, 2])],
)
def test_same_convolution_pads_an_odd_row_below_and_not_above(size, kernel_size, reads):
    convolution = SameConv2d(1, 1, kernel_size, stride=2)
    nn.init.zeros_(convolution.weight)
    convolution.weight.data[0, 0, 0, 0] = 1  # copy the pixel under the kernel's first corner
    images = torch.arange(1.0, 1 + size * size).view(1, 1, size, size)
    expected = [
        [images[0, 0, i, j].item() if i >= 0 and j >= 0 else 0.0 for j in reads] for i in reads
    ]
    assert convolution(images)[0, 0].tolist() == expected


def test_block_adds_its_input_only_where_shapes_agree():
    same = InvertedResidual(8, 8, 3, stride=1, expansion=6).eval()
    nn.init.zeros_(same.project.norm.weight)
    images = torch.randn(1, 8, 6, 6)
    assert torch.equal(same(images), images)
    for block in (InvertedResidual(8, 12, 3, 1, 6), InvertedResidual(8, 8, 3, 2, 6)):
        nn.init.zeros_(block.project.norm.weight)
        assert not block.eval()(images).any()


def test_other_classes_need_a_new_last_layer_only(images):
    network = EfficientNetLite0(num_classes=5)
    assert network.classifier.weight.shape == (5, 1280)
    trunk = {k: v for k, v in WEIGHTS.tensors.items() if not k.startswith("classifier")}
    missing = network.load_state_dict(trunk, strict=False)
    assert {name for name in missing.missing_keys if "num_batches" not in name} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert not missing.unexpected_keys
    with torch.no_grad():
        assert network.eval()(images).shape == (2, 5)


def test_dropout_acts_while_training_only():
    network = EfficientNetLite0(num_classes=3, dropout=1.0)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), network.classifier.bias.expand(2, 3))
        assert not torch.equal(network.eval()(images), network.classifier.bias.expand(2, 3))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_classes must be at least 1, got 0"):
        EfficientNetLite0(num_classes=0)
    network = EfficientNetLite0(num_classes=2)
    for shape in ((3, 32, 32), (1, 1, 32, 32)):
        with pytest.raises(ValueError, match=r"images must have shape \(batch, 3, .*got \("):
            network(torch.zeros(shape))
