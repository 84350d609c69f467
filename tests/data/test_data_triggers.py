"""Trigger words in backgrounds: labels by brute force, places, loudness, reproducibility."""

import itertools
import math

import numpy as np
import pytest
import torch

from coursekit.data import load, triggers
from coursekit.data.triggers import label_frames, mix, place, trigger_words

RATE = 8000


def tone(frequency, samples, rate=RATE):
    return torch.sin(2 * torch.pi * frequency * torch.arange(samples) / rate)


@pytest.fixture(scope="module")
def words():
    return {
        "go": [tone(500, 900), 0.1 * tone(510, 1300)],
        "stop": [tone(700, 1200)],
        "left": [tone(900, 700), tone(950, 400)],
    }


@pytest.fixture(scope="module")
def data(words):
    return trigger_words(
        60, "go", words, seconds=2.0, hop=50, ones=20, triggers=(0, 3), others=(0, 3), seed=4
    )


def test_same_seed_gives_the_same_bytes_and_another_seed_others(words):
    def make(seed):
        return trigger_words(
            5, "go", words, seconds=2.0, hop=50, ones=20, triggers=(0, 2), others=(0, 2), seed=seed
        )

    first, again, other = make(1), make(1), make(2)
    assert first.waveforms.numpy().tobytes() == again.waveforms.numpy().tobytes()
    assert torch.equal(first.targets, again.targets)
    assert first.events == again.events
    assert not torch.equal(first.waveforms, other.waveforms)


def test_targets_equal_a_brute_force_walk_over_frames_and_events(data):
    for k, row in enumerate(data.targets.tolist()):
        ends = [event.end for event in data.events[k] if event.word == "go"]
        for t, target in enumerate(row):
            begin = t * 50
            expected = any(
                begin >= end and sum(1 for s in range(t) if s * 50 >= end) < 20 for end in ends
            )
            assert target == expected


def test_every_trigger_word_is_followed_by_all_its_ones(data):
    for k, events in enumerate(data.events):
        for event in events:
            if event.word == "go":
                first = math.ceil(event.end / 50)
                assert data.targets[k, first : first + 20].tolist() == [1] * 20
                assert first + 20 <= data.targets.shape[1]


def test_words_do_not_overlap_and_stand_in_the_order_of_time(data):
    assert any(len(events) > 3 for events in data.events)
    for events in data.events:
        for before, after in itertools.pairwise(events):
            assert before.end <= after.start
        assert all(0 <= event.start < event.end for event in events)


def test_counts_of_words_cover_the_stated_ranges(data):
    said = [[event.word for event in events] for events in data.events]
    assert {names.count("go") for names in said} == {0, 1, 2, 3}
    assert {len(names) - names.count("go") for names in said} == {0, 1, 2, 3}
    assert {name for names in said for name in names} == {"go", "stop", "left"}


def test_words_sound_where_the_events_say_at_the_stated_ratio():
    # The background holds nothing between 400 and 1,000 Hz, where the words are.
    quiet = tone(3000, 40_000) + tone(150, 40_000)
    sounds = {"go": [tone(500, 800)], "stop": [tone(800, 1600)]}
    data = trigger_words(
        30, "go", sounds, [quiet], seconds=2.0, hop=50, ones=20, snr=(-5.0, 25.0), seed=0,
        triggers=(0, 3), others=(0, 3),
    )  # fmt: skip
    frequencies = np.fft.rfftfreq(16_000, 1 / RATE)
    for waveform, events in zip(data.waveforms.numpy(), data.events, strict=True):
        spectrum = np.fft.rfft(waveform)
        ground = np.fft.irfft(
            np.where((frequencies < 200) | (frequencies > 2500), spectrum, 0), 16_000
        )
        voice = np.fft.irfft(
            np.where((frequencies > 200) & (frequencies < 2500), spectrum, 0), 16_000
        )
        for event in events:
            power = (voice[event.start : event.end] ** 2).mean()
            measured = 10 * math.log10(power / (ground**2).mean())
            assert measured == pytest.approx(event.snr, abs=0.5)
            assert event.end - event.start == {"go": 800, "stop": 1600}[event.word]


def test_mix_keeps_the_ratio_exactly_also_where_it_must_scale_down():
    random = np.random.default_rng(0)
    background = 0.2 * random.standard_normal(5000)
    word = random.standard_normal(700)
    for snr in (-6.0, 0.0, 30.0):
        ground, speech = mix(background, [word], [1000], [snr])
        ratio = (speech[1000:1700] ** 2).mean() / (ground**2).mean()
        assert 10 * math.log10(ratio) == pytest.approx(snr, abs=1e-9)
        assert np.abs(ground + speech).max() <= 0.99 + 1e-12
        assert not speech[:1000].any()
        assert not speech[1700:].any()
    assert np.abs(ground).max() < np.abs(background).max()  # 30 dB would have clipped


def test_nothing_clips_and_the_level_of_the_background_is_as_stated(words):
    silent = trigger_words(
        40, "go", words, seconds=1.0, hop=50, ones=20, triggers=(0, 0), others=(0, 0), seed=0,
        level=(-40.0, -30.0),
    )  # fmt: skip
    levels = 20 * silent.waveforms.double().pow(2).mean(1).sqrt().log10()
    assert levels.min() > -40.001
    assert levels.max() < -29.999
    assert levels.max() - levels.min() > 5
    loud = trigger_words(
        20, "go", words, seconds=2.0, hop=50, ones=20, snr=(40.0, 40.0), seed=0,
        triggers=(1, 1), others=(0, 0),
    )  # fmt: skip
    assert loud.waveforms.abs().max() <= 0.99 + 1e-6


def test_placements_are_all_possible_ones_equally_often():
    random = np.random.default_rng(0)
    drawn = [tuple(place([2, 3], 7, random)) for _ in range(6000)]
    possible = {(a, b) for a in range(8) for b in range(8) if a + 2 <= b and b + 3 <= 7}
    counts = {pair: drawn.count(pair) for pair in set(drawn)}
    assert set(counts) == possible
    for count in counts.values():
        assert count == pytest.approx(6000 / len(possible), abs=4 * math.sqrt(6000 / 6))


def test_words_that_fill_the_room_stand_side_by_side_and_more_do_not_fit():
    assert place([2, 3, 1], 6, np.random.default_rng(0)) == [0, 2, 5]
    assert place([], 6, np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match="room must hold the words, 7 samples, got 6"):
        place([4, 3], 6, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], [0, 0, 0, 0, 0, 0]),
        ([4], [0, 1, 1, 0, 0, 0]),  # ends with frame 0
        ([5], [0, 0, 1, 1, 0, 0]),  # reaches one sample into frame 1
        ([4, 9], [0, 1, 1, 1, 1, 0]),
        ([24], [0, 0, 0, 0, 0, 0]),
    ],
)
def test_labels_start_with_the_first_frame_after_the_word(ends, expected):
    assert label_frames(ends, frames=6, hop=4, ones=2).tolist() == expected


def test_excerpts_of_backgrounds_are_drawn_from_anywhere():
    ramp = torch.linspace(0.1, 1.0, 50_000)
    data = trigger_words(
        20, "go", {"go": [tone(500, 800)]}, [ramp], seconds=1.0, hop=50, ones=20,
        triggers=(0, 0), others=(0, 0), level=(-20.0, -20.0), seed=0,
    )  # fmt: skip
    growth = data.waveforms[:, -1] / data.waveforms[:, 0]
    assert growth.min() < 1.3
    assert growth.max() > 1.7


def test_embedded_words_of_a_split_serve_without_arguments():
    data = trigger_words(6, seed=0)
    assert data.waveforms.shape == (6, 80_000)
    assert data.targets.shape == (6, 1250)
    lengths = {len(w) for w in load("words", "train").waveforms}
    assert {event.end - event.start for events in data.events for event in events} <= lengths
    assert str(data).startswith("TriggerClips(6 clips of 10 s at 8000 Hz, 1,250 frames, ")
    first = data.events[0][0]
    assert first.start_seconds == first.start / 8000
    assert first.end_seconds == first.end / 8000


def test_about_one_frame_in_twenty_is_one():
    data = trigger_words(150, seed=0)
    assert 0.045 < data.positive_share < 0.065
    assert data.positive_share == pytest.approx(float(data.targets.float().mean()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"hop": 0}, "hop must be at least 1, got 0"),
        ({"ones": 0}, "ones must be at least 1, got 0"),
        ({"trigger": "halt"}, "trigger must be one of go, stop, left, got 'halt'"),
        ({"triggers": (2, 1)}, r"triggers must be \(least, most\), got \(2, 1\)"),
        ({"others": (-1, 1)}, r"others must be \(least, most\), got \(-1, 1\)"),
        ({"snr": (3, 1)}, r"snr must be \(least, greatest\) in dB, got \(3, 1\)"),
        ({"level": (3, 1)}, r"level must be \(least, greatest\) in dB, got \(3, 1\)"),
        ({"seconds": 0.5}, "seconds must leave room for 3 trigger and 4 other words, 8700 samples"),
        ({"backgrounds": []}, "backgrounds must hold at least one sound, got none"),
        ({"backgrounds": [torch.ones(10)]}, r"backgrounds\[0\] must have at least the 16000 samp"),
        ({"backgrounds": [torch.zeros(20_000)]}, r"backgrounds\[0\] must have .* of silence"),
        ({"backgrounds": [torch.ones(2, 20_000)]}, r"backgrounds\[0\] .* got shape \(2, 20000\)"),
        ({"words": {"go": [tone(500, 800)]}}, "words must hold a word beside the trigger"),
        ({"words": {"go": [tone(500, 800)], "no": []}}, "words must hold a clip of .* of 'no'"),
        ({"words": None, "trigger": "activate", "sample_rate": 16_000}, "sample_rate must be 8000"),
    ],
)
def test_bad_arguments_are_named(words, arguments, message):
    usual = {"examples": 2, "trigger": "go", "words": words, "seconds": 2.0, "hop": 50, "ones": 20}
    with pytest.raises(ValueError, match=message):
        trigger_words(**{**usual, "seed": 0, **arguments})


def test_picture_names_every_word():
    figure = triggers.draw("trigger-words")
    assert len(figure.axes) == 6
    assert any("activate" in [text.get_text() for text in axis.texts] for axis in figure.axes)
