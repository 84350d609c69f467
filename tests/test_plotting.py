"""Figures: what is drawn is what was given, and bad input is named."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from coursekit.plotting import COLORS, LINES, label_axes, show_images, spectrogram, use_style


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def luminance(color):
    return float(np.dot(mpl.colors.to_rgb(color), (0.2126, 0.7152, 0.0722)))


def test_the_cycle_holds_the_named_colors_each_with_its_own_dashes():
    use_style()
    cycle = list(mpl.rcParams["axes.prop_cycle"])
    assert [entry["color"] for entry in cycle] == list(COLORS.values())
    assert len({str(entry["linestyle"]) for entry in cycle}) == len(LINES) == len(COLORS)


def test_colors_are_dark_enough_to_read_on_white():
    for name, color in COLORS.items():
        assert luminance(color) < 0.7, name


def test_two_lines_of_one_plot_differ_without_color():
    _, ax = plt.subplots()
    lines = [ax.plot([0, 1], [0, k])[0] for k in range(4)]
    assert len({line.get_linestyle() for line in lines}) == 4


@pytest.mark.parametrize("shape", [(5, 6, 4), (5, 1, 6, 4), (5, 3, 6, 4)])
def test_show_images_draws_each_image_once_and_leaves_the_rest_empty(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    figure = show_images(images, titles=list("abcde"), columns=3)
    assert len(figure.axes) == 6
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(drawn) == 5
    expected = images[4].permute(1, 2, 0) if shape[1] == 3 else images[4].reshape(6, 4)
    np.testing.assert_array_equal(np.asarray(drawn[4]), expected.numpy())
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", "d", "e", ""]


def test_show_images_does_not_scale_gray_values_between_images():
    figure = show_images([np.full((2, 2), 0.2), np.full((2, 2), 0.9)])
    assert all(ax.images[0].get_clim() == (0.0, 1.0) for ax in figure.axes)


def test_spectrogram_runs_in_seconds_with_the_first_band_below():
    features = torch.arange(12.0).reshape(4, 3)
    _, ax = plt.subplots()
    image = spectrogram(ax, features, seconds_per_frame=0.01, y="frequency (Hz)", top=4000)
    np.testing.assert_allclose(image.get_extent(), (0, 0.04, 0, 4000))
    assert image.origin == "lower"
    np.testing.assert_array_equal(np.asarray(image.get_array()), features.numpy().T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "frequency (Hz)")


def test_label_axes_returns_the_axes_it_named():
    _, ax = plt.subplots()
    assert label_axes(ax, "step", "loss", "digits") is ax
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("step", "loss", "digits")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: show_images(torch.zeros(4, 4)), r"images must have shape .* got \(4, 4\)"),
        (lambda: show_images([]), r"images must have shape .* got \(0,\)"),
        (lambda: show_images(torch.zeros(2, 4, 4), titles=["a"]), "got 1 for 2 images"),
        (lambda: show_images(torch.zeros(2, 4, 4), columns=0), "columns must be at least 1, got 0"),
        (
            lambda: spectrogram(plt.gca(), torch.zeros(4), seconds_per_frame=0.01),
            r"features must have shape \(frames, bands\), got \(4,\)",
        ),
        (
            lambda: spectrogram(plt.gca(), torch.zeros(4, 2), seconds_per_frame=0.0),
            "seconds_per_frame must be above 0, got 0.0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
