"""Glyphs: identities, splits, what the seed decides, and drawing against brute force."""

import numpy as np
import pytest
import torch

from coursekit.data.glyphs import IDENTITIES, WIDTH, character, draw, glyphs


def test_images_and_labels_have_the_stated_shapes_types_and_range():
    data = glyphs(250, classes=100, size=20, seed=0)
    assert data.images.shape == (250, 20, 20)
    assert data.images.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.images.min() >= 0
    assert 0.9 < data.images.max() <= 1
    assert torch.equal(data.labels, torch.arange(250) % 100)


def test_splits_share_no_identity_whatever_the_seeds():
    seen = [
        set(glyphs(60, 60, split, 8, seed=seed).labels.tolist())
        for seed, split in enumerate(("train", "validation", "test"))
    ]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert min(seen[2]) == 2 * IDENTITIES


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    first, second, other = (glyphs(130, seed=seed).images for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_shorter_list_is_the_beginning_of_a_longer_one_up_to_whole_chunks():
    assert torch.equal(glyphs(64, seed=1).images, glyphs(200, seed=1).images[:64])


def test_without_nuisance_an_identity_always_looks_the_same():
    first, second = (glyphs(30, 10, seed=seed, nuisance=0.0).images for seed in (1, 2))
    assert torch.equal(first, second)
    assert torch.equal(first[:10], first[10:20])


def test_no_two_of_the_first_identities_look_alike():
    plain = torch.cat(
        [glyphs(400, 400, split, 20, seed=0, nuisance=0.0).images for split in ("train", "test")]
    ).flatten(1)
    distance = torch.cdist(plain, plain) + 99 * torch.eye(len(plain))
    assert distance.min() > 2


def test_drawing_agrees_with_the_distance_from_a_finely_sampled_curve():
    data = glyphs(12, 12, size=16, seed=0, nuisance=0.0)
    t = np.linspace(0, 1, 13)[:, None]  # the curve is drawn as twelve straight pieces
    bezier = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    for image, label in zip(data.images.numpy(), data.labels.tolist(), strict=True):
        corners = np.einsum("tp,spi->sti", bezier, character(label))
        fine = np.linspace(0, 1, 60)[:, None, None, None]
        points = ((1 - fine) * corners[:, :-1] + fine * corners[:, 1:]).reshape(-1, 2)
        axis = (np.arange(16) + 0.5) / 8 - 1
        grid = np.stack(np.meshgrid(axis, axis), axis=-1)  # x by columns, y by rows
        square = ((grid[:, :, None] - points) ** 2).sum(-1).min(-1)
        assert np.allclose(image, np.exp(-square / (2 * WIDTH**2)), atol=0.01)


def test_pixels_tell_identities_better_than_chance_but_not_well():
    hits = []
    for seed in range(20):
        first, second = (
            glyphs(20, 20, "test", seed=s).images.flatten(1) for s in (seed, 99 + seed)
        )
        hits.append((torch.cdist(first, second).argmin(1) == torch.arange(20)).float().mean())
    assert 0.3 < torch.stack(hits).mean() < 0.7


def test_characters_have_two_to_four_strokes_and_no_blots():
    shapes = [character(identity) for identity in range(300)]
    assert {len(shape) for shape in shapes} == {2, 3, 4}
    spans = np.concatenate([np.ptp(shape, axis=1).max(-1) for shape in shapes])
    assert spans.min() >= 0.6
    assert max(np.abs(shape).max() for shape in shapes) <= 0.75


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"classes": 0}, r"classes must lie in \[1, 100000\], got 0"),
        ({"split": "dev"}, "split must be one of train, validation, test, got 'dev'"),
        ({"size": 4}, "size must be at least 8 pixels, got 4"),
        ({"nuisance": -1.0}, r"nuisance must lie in \[0, 2\], got -1.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        glyphs(**{"examples": 1, "seed": 0, **arguments})
    with pytest.raises(ValueError, match="identity must be at least 0, got -1"):
        character(-1)


@pytest.mark.slow
def test_sheet_has_a_row_an_identity():
    labels = [label.get_text() for label in draw("glyphs").axes[0].get_yticklabels()]
    assert len(labels) == 12
    assert labels[4] == "validation\n100,000"
