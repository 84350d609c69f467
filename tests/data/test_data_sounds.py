"""Backgrounds, noises and calls: contents, splits by recording, other rates, and the scripts."""

import hashlib

import numpy as np
import pytest
import soundfile
import torch

from coursekit.data import CATALOG, load
from coursekit.data.clips import read_clip, resample
from coursekit.data.sounds import draw, read_listing
from coursekit.data.sources import backgrounds, cetaceans, noises

NAMES = ("backgrounds", "noises", "cetaceans")
PACKAGES = {
    "backgrounds": (backgrounds, "sonic-pi-samples"),
    "noises": (noises, "gcompris-qt-data"),
    "cetaceans": (cetaceans, "tuxpaint-stamps-default"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_clip_is_listed_and_decodes_to_the_stated_length(name):
    entry, data = CATALOG[name], load(name)
    assert len(data) == entry.examples
    found = {path.relative_to(entry.folder).as_posix() for path in entry.folder.rglob("*.ogg")}
    assert found == {row["path"] for row in read_listing(entry.folder)}
    for index, waveform in enumerate(data.waveforms):
        assert waveform.dtype == torch.float32
        assert len(waveform) == pytest.approx(data.seconds[index] * data.sample_rate, abs=50)
        assert 0.01 < waveform.abs().max() <= 1
        assert data.paths[index].stem == data.names[index]
        assert data.captions[index]


@pytest.mark.parametrize("name", ["backgrounds", "noises"])
def test_splits_share_no_recording_and_make_up_the_whole(name):
    entry, whole = CATALOG[name], load(name)
    parts = {split: load(name, split) for split in entry.splits}
    assert {split: len(part) for split, part in parts.items()} == dict(entry.splits)
    assert sorted(n for part in parts.values() for n in part.names) == whole.names
    seen = {}
    for row in read_listing(entry.folder):
        recording = backgrounds.group(row["name"], row["author"])
        if name == "noises":
            recording = row["caption"]
        assert seen.setdefault(recording, row["split"]) == row["split"], row["name"]
    share = sum(parts["train"].seconds) / sum(whole.seconds)
    assert share == pytest.approx(0.6, abs=0.05)


def test_backgrounds_last_three_minutes_in_less_than_three_megabytes():
    assert sum(load("backgrounds").seconds) > 180
    assert CATALOG["backgrounds"].size < 3e6


def test_every_split_of_the_backgrounds_has_every_kind():
    for split in CATALOG["backgrounds"].splits:
        assert set(load("backgrounds", split).kinds) == {"ambience", "machine", "music"}


def test_calls_are_of_four_animals_and_have_no_splits():
    data = load("cetaceans")
    assert data.kinds == ["dolphin", "orca", "sea lion", "whale"]
    assert data.captions[1] == "An orca."
    with pytest.raises(ValueError, match=r"cetaceans has no splits: split must be None, got 'tr"):
        load("cetaceans", "train")
    assert repr(data) == "Sounds(4 clips, 12 s at 44100 Hz)"


def test_whale_calls_below_a_kilohertz_and_dolphin_above():
    def middle(wave):
        power = torch.fft.rfft(wave).abs() ** 2
        place = torch.searchsorted(power.cumsum(0), power.sum() / 2)
        return place.item() * 44100 / len(wave)

    dolphin, _, _, whale = load("cetaceans").waveforms
    assert middle(whale) < 600
    assert middle(dolphin) > 2000


def test_another_rate_keeps_tones_below_its_half_and_filters_those_above():
    time = np.arange(16000) / 16000
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 6000 * time)
    halved = resample(low + high, 16000, 8000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    assert halved.dtype == np.float32
    np.testing.assert_allclose(halved[200:-200], expected[200:-200], atol=5e-3)


def test_resampled_clips_last_as_long():
    data = load("noises", "validation")
    for wave, seconds in zip(data.resampled(8000), data.seconds, strict=True):
        assert len(wave) == pytest.approx(seconds * 8000, abs=5)  # milliseconds are listed
        assert wave.abs().max() <= 1
    with pytest.raises(ValueError, match=r"must be positive, got 16000 and 0"):
        data.resampled(0)


def test_authors_are_read_from_the_list_of_samples():
    readme = (
        "* `:perc_bell_2`- https://freesound.org/people/hullum/sounds/415559/\n"
        "* `:ambi_drone` - http://freesound.org/people/Autistic%20Lucario/sounds/195341/\n"
    )
    origins = backgrounds.read_origins(readme)
    assert origins["percbell2"][0] == "hullum"
    assert origins["ambidrone"][0] == "Autistic Lucario"


def test_left_channel_is_taken_and_a_constant_is_removed(tmp_path):
    left = 0.3 + 0.2 * np.sin(2 * np.pi * 500 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, -left], axis=1), 44100)
    samples, rate = backgrounds.read_left(tmp_path / "stereo.wav")
    np.testing.assert_allclose(samples, left, atol=1e-4)
    path, seconds, sha256 = backgrounds.write_clip(tmp_path, "tone", samples, rate)
    assert seconds == "1.000"
    assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == sha256
    assert read_clip(tmp_path / path, 16000).mean().abs() < 0.01


def test_samples_are_drawn_with_their_captions():
    titles = [axis.get_title() for axis in draw("cetaceans").axes if axis.get_title()]
    assert titles == [
        "dolphin: A dolphin.",
        "orca: An orca.",
        "sea lion: A sea lion.",
        "whale: A whale.",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_script_rebuilds_the_embedded_clips(name, source_folder, tmp_path):
    module, package = PACKAGES[name]
    module.build(source_folder(package), tmp_path)
    folder, rate = CATALOG[name].folder, load(name).sample_rate
    for new, old in zip(read_listing(tmp_path), read_listing(folder), strict=True):
        assert {**new, "sha256": ""} == {**old, "sha256": ""}
        if new["sha256"] != old["sha256"]:  # another version of libopus
            a, b = read_clip(tmp_path / new["path"], rate), read_clip(folder / old["path"], rate)
            assert (a - b).pow(2).mean() < 0.01 * b.pow(2).mean() + 1e-8
