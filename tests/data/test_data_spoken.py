"""Spoken words: the embedded set, split by voice, and the synthesizer that made it."""

import hashlib
import io
import itertools
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import stft
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from coursekit.data import CATALOG, DataFileError, load, spoken
from coursekit.data.catalog import sha256_file
from coursekit.data.sources import words as source
from coursekit.data.sources import write_npz
from coursekit.data.spoken import (
    SpokenWords,
    SynthesisError,
    SynthesizerMissing,
    decode_mu_law,
    encode_mu_law,
    languages,
    say,
    synthesize,
    variants,
)

SPLITS = {"train": 20, "validation": 4, "test": 8}


@pytest.fixture
def engine():
    try:
        return spoken.find_engine()
    except SynthesizerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def fresh():
    """Forget the engine that was found, before and after the test."""
    caches = (spoken.find_engine, languages, variants)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("split", SPLITS)
def test_every_word_is_said_once_by_every_voice_of_a_split(split):
    data = load("words", split)
    assert len(set(data.voices)) == SPLITS[split]
    said = {(voice, int(label)) for voice, label in zip(data.voices, data.labels, strict=True)}
    assert len(said) == len(data) == 36 * SPLITS[split]
    assert data.classes == source.WORDS
    assert repr(data) == (
        f"SpokenWords({len(data):,} clips of 36 words, {SPLITS[split]} voices at 8000 Hz)"
    )


def test_no_voice_and_no_throat_stands_in_two_splits():
    voices = {split: set(load("words", split).voices) for split in SPLITS}
    throats = {split: {voice.split("+")[1] for voice in voices[split]} for split in SPLITS}
    for first, second in itertools.combinations(SPLITS, 2):
        assert not voices[first] & voices[second]
        assert not throats[first] & throats[second]


def test_all_accents_are_heard_in_train_and_in_test():
    for split in ("train", "test"):
        accents = {voice.split("+")[0] for voice in load("words", split).voices}
        assert accents == set(source.ACCENTS)


def test_clips_are_different_trimmed_and_in_range():
    data = load("words")
    assert len({waveform.numpy().tobytes() for waveform in data.waveforms}) == 1152
    for waveform in data.waveforms:
        peak = waveform.abs().max()
        assert waveform.dtype == torch.float32
        assert 0.15 < peak <= 1
        assert 0.15 < len(waveform) / data.sample_rate < 0.85
        # The cut was at 0.5 % of the peak; the mu-law rounds by up to half a step.
        assert waveform[[0, -1]].abs().min() > 0.004 * peak
    assert 130 <= data.rates.min() < data.rates.max() <= 200
    assert 30 <= data.pitches.min() < data.pitches.max() <= 70


def test_voices_rates_and_pitches_are_those_that_the_script_chooses():
    data = load("words")
    chosen = source.choose_voices()
    assert list(dict.fromkeys(data.voices)) == [voice for voice, _ in chosen]
    assert {split: set(load("words", split).voices) for split in SPLITS} == {
        split: {voice for voice, of in chosen if of == split} for split in SPLITS
    }
    for k in range(0, len(data), 17):
        word, voice = data.classes[int(data.labels[k])], data.voices[k]
        assert data.rates[k] == source.choose("rate", word, voice, source.RATES)
        assert data.pitches[k] == source.choose("pitch", word, voice, source.PITCHES)


def log_spectra(data):
    power = np.abs(stft(data.padded(1.0).numpy(), nperseg=256, noverlap=96, boundary=None)[2]) ** 2
    bands = np.log(power[:, :128] + 1e-6).reshape(len(data), 32, 4, -1).mean(2)
    return (bands - bands.mean((1, 2), keepdims=True)).reshape(len(data), -1)


def test_logistic_regression_names_the_words_of_new_voices_as_the_card_says():
    train, test = load("words", "train"), load("words", "test")
    scaler = StandardScaler().fit(log_spectra(train))
    model = LogisticRegression(C=0.001, max_iter=300)
    model.fit(scaler.transform(log_spectra(train)), train.labels)
    accuracy = model.score(scaler.transform(log_spectra(test)), test.labels)
    assert accuracy == pytest.approx(0.79, abs=0.02)
    assert "79 %" in CATALOG["words"].card.read_text(encoding="utf-8")


def test_mu_law_is_monotonic_symmetric_and_exact_on_its_own_steps():
    codes = np.arange(1, 256, dtype=np.uint8)
    values = decode_mu_law(codes)
    assert np.all(np.diff(values) > 0)
    assert np.array_equal(values, -values[::-1])
    assert np.array_equal(encode_mu_law(values), codes)


def test_mu_law_noise_is_38_db_below_the_speech():
    random = np.random.default_rng(0)
    speech = 0.1 * random.laplace(size=20_000).clip(-9, 9)
    noise = decode_mu_law(encode_mu_law(speech)) - speech
    assert 10 * np.log10((speech**2).mean() / (noise**2).mean()) == pytest.approx(38, abs=1)


def two_clips():
    return SpokenWords(
        waveforms=[torch.arange(1.0, 5.0), torch.tensor([1.0])],
        labels=torch.tensor([1, 0]),
        classes=("no", "yes"),
        voices=("en-us", "en-us"),
        rates=torch.tensor([160, 160]),
        pitches=torch.tensor([50, 50]),
        sample_rate=4,
    )


def test_padded_puts_clips_into_the_middle_and_cuts_long_ones():
    rows = two_clips().padded(1.5)
    assert rows.tolist() == [[0, 1, 2, 3, 4, 0], [0, 0, 1, 0, 0, 0]]
    assert two_clips().padded(0.5).tolist() == [[2, 3], [1, 0]]
    with pytest.raises(ValueError, match="seconds must be positive, got 0"):
        two_clips().padded(0)


def test_clips_are_collected_by_word():
    clips = two_clips().by_word()
    assert list(clips) == ["no", "yes"]
    assert [clip.tolist() for clip in clips["yes"]] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("damage", [b"no archive", None])
def test_a_file_that_cannot_be_read_is_reported(tmp_path, damage):
    path = tmp_path / "words.npz"
    if damage is None:
        write_npz(path, {"samples": np.zeros(4, dtype=np.uint8)})
    else:
        path.write_bytes(damage)

    class Elsewhere:
        folder = tmp_path

    with pytest.raises(DataFileError, match=r"words\.npz cannot be read"):
        spoken.load(Elsewhere)


def test_picture_shows_four_words_by_two_voices():
    titles = [axis.get_title() for axis in spoken.draw("words").axes if axis.get_title()]
    assert len(titles) == 8
    assert sum("activate" in title for title in titles) == 2


@pytest.fixture
def small_commands(monkeypatch, tmp_path):
    """Put an archive in the form of Speech Commands, with five clips, where the full set goes."""
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    files = {
        "./validation_list.txt": b"yes/aa_nohash_0.wav\n",
        "./testing_list.txt": b"no/bb_nohash_0.wav\nyes/bb_nohash_1.wav\n",
        "./README.md": b"",
    }
    clips = ["yes/aa_nohash_0", "no/aa_nohash_0", "no/bb_nohash_0", "yes/bb_nohash_1", "up/cc_x"]
    for k, clip in enumerate([*clips, "_background_noise_/rain"]):
        buffer = io.BytesIO()
        soundfile.write(buffer, np.full(100, k / 10), 16_000, format="WAV")
        files[f"./{clip}.wav"] = buffer.getvalue()
    path = tmp_path / spoken.COMMANDS
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(spoken, "COMMANDS_SHA256", sha256_file(path))


def test_full_set_has_the_publishers_splits_and_the_same_classes(small_commands):
    parts = {split: load("words", split, full=True) for split in SPLITS}
    said = {
        split: [data.classes[int(label)] for label in data.labels] for split, data in parts.items()
    }
    assert said == {"train": ["no", "up"], "validation": ["yes"], "test": ["no", "yes"]}
    assert parts["test"].voices == ("bb", "bb")
    assert parts["test"].classes == load("words").classes
    whole = load("words", full=True)
    assert len(whole) == 5
    assert whole.sample_rate == 16_000
    assert parts["test"].waveforms[0].tolist() == pytest.approx([0.2] * 100, abs=1e-4)


# The synthesizer.


@pytest.mark.parametrize(
    ("name", "version", "repeatable"),
    [
        ("espeakng-loader", "1.52.0", True),
        ("espeak-ng", "1.51", True),
        ("espeak-ng", "1.49.2", True),
        ("espeak-ng", "1.52.0", False),
        ("espeak-ng", "1.53-dev", False),
    ],
)
def test_the_command_repeats_itself_before_version_1_52(tmp_path, name, version, repeatable):
    assert spoken.Engine(name, version, tmp_path, ()).repeatable == repeatable


def skip_unless_repeatable(engine):
    if not engine.repeatable:
        pytest.skip(f"the command espeak-ng {engine.version} seeds its noise by the clock")


def test_same_text_voice_rate_and_pitch_give_the_same_samples(engine):
    skip_unless_repeatable(engine)
    for voice in ("en-us", "en-gb-scotland+whisper", "en-us+klatt4", "de+f3"):
        first = say("seven stars", voice, 150, 40)
        say("something else in between", voice)
        assert torch.equal(first, say("seven stars", voice, 150, 40))


@pytest.mark.slow
def test_another_process_gives_the_same_samples(engine):
    skip_unless_repeatable(engine)
    code = (
        "import hashlib; from coursekit.data.spoken import say; "
        "print(hashlib.sha256(say('hello', 'en-us+croak', 170, 60).numpy().tobytes()).hexdigest())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    here = say("hello", "en-us+croak", 170, 60).numpy().tobytes()
    assert printed.strip() == hashlib.sha256(here).hexdigest()


def test_rate_pitch_voice_and_language_change_the_sound(engine):
    usual = say("wonderful weather")
    assert len(say("wonderful weather", rate=300)) < 0.8 * len(usual)
    for other in (
        say("wonderful weather", pitch=90),
        say("wonderful weather", "en-us+f2"),
        say("wonderful weather", "fr"),
    ):
        assert len(other) != len(usual) or not torch.allclose(other, usual, atol=0.01)


def test_pitch_raises_the_fundamental_frequency(engine):
    def fundamental(wave):
        middle = wave[len(wave) // 4 : -len(wave) // 4].numpy().astype(np.float64)
        correlation = np.correlate(middle, middle, "full")[len(middle) - 1 :]
        low, high = 8000 // 400, 8000 // 60
        return 8000 / (low + correlation[low:high].argmax())

    low, high = (fundamental(say("aaah", "en-us", 120, pitch)) for pitch in (20, 80))
    assert 60 < low < 0.8 * high


def test_sample_rate_changes_the_number_of_samples_and_not_the_length(engine):
    lengths = [len(say("three", sample_rate=rate)) / rate for rate in (8000, 16_000, 22_050)]
    assert max(lengths) - min(lengths) < 0.02


def test_synthesize_says_every_word_by_every_voice(engine):
    skip_unless_repeatable(engine)
    data = synthesize(["yes", "no"], ["en-us", "en-us+f2", "de"], seed=3, rate=(120, 220))
    assert len(data) == 6
    assert data.labels.tolist() == [0, 1] * 3
    assert data.voices == ("en-us", "en-us", "en-us+f2", "en-us+f2", "de", "de")
    assert data.pitches.tolist() == [50] * 6
    assert len(set(data.rates.tolist())) > 1
    for k in range(6):
        word, rate = data.classes[int(data.labels[k])], int(data.rates[k])
        assert torch.equal(data.waveforms[k], say(word, data.voices[k], rate))
    again = synthesize(["yes", "no"], ["en-us", "en-us+f2", "de"], seed=3, rate=(120, 220))
    assert torch.equal(torch.cat(list(again.waveforms)), torch.cat(list(data.waveforms)))


def test_there_are_over_a_hundred_languages_and_variants(engine):
    assert len(languages()) > 100
    assert len(variants()) > 90
    assert {"en-us", "en-gb-scotland", "de", "fr", "es"} <= set(languages())
    assert {"f1", "m3", "whisper"} <= set(variants())


@pytest.mark.slow
def test_every_language_and_every_variant_speaks(engine):
    # Without a dictionary a language is silent: Faroese and Karakalpak in espeakng-loader 0.2.4.
    speaking = [
        language
        for language in languages()
        if (engine.data / f"{language.partition('-')[0]}_dict").is_file()
    ]
    assert len(speaking) > 100
    for voice in (*speaking, *(f"en-us+{variant}" for variant in variants())):
        sounds = 0
        for text in ("a 1", "a"):  # Cherokee, Chuvash and Sindarin cannot say digits
            try:
                sounds += len(say(text, voice))
            except ValueError:
                continue
        assert sounds > 100, voice


def test_an_embedded_clip_is_what_the_synthesizer_says(engine):
    if engine.version != source.VERSION or engine.name != "espeakng-loader":
        pytest.skip(f"the clips were made by espeak-ng {source.VERSION} of espeakng-loader")
    data = load("words")
    for k in (0, 400, 1151):
        word = data.classes[int(data.labels[k])]
        wave = say(word, data.voices[k], int(data.rates[k]), int(data.pitches[k]))
        assert len(wave) == len(data.waveforms[k])
        # One step of the mu-law is 4.5 % of a sample, and 0.00017 near zero.
        error = (wave - data.waveforms[k]).abs()
        assert bool((error <= 0.045 * wave.abs() + 0.0002).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voice": "en-moon"}, "voices must be languages of espeak-ng, .* got 'en-moon'"),
        ({"voice": "en-us+nobody"}, r"voices must be languages .* got 'en-us\+nobody'"),
        ({"rate": 20}, "rate must be from 80 to 450, got 20"),
        ({"pitch": 100}, "pitch must be from 0 to 99, got 100"),
        ({"sample_rate": 0}, "sample_rate must be positive, got 0"),
        ({"text": ""}, "text must be something that espeak-ng can say in en-us, got ''"),
    ],
)
def test_bad_arguments_of_say_are_named(engine, arguments, message):
    with pytest.raises(ValueError, match=message):
        say(**{"text": "yes", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": []}, r"words must be different and at least one, got \[\]"),
        ({"words": ["a", "a"]}, r"words must be different and at least one, got \['a', 'a'\]"),
        ({"voices": []}, r"voices must be different and at least one, got \[\]"),
        ({"rate": (100, 200)}, "seed must be a number where rate or pitch is a range, got None"),
        ({"rate": (200, 100), "seed": 1}, r"rate must be \(least, most\), got \(200, 100\)"),
        ({"pitch": (0, 120), "seed": 1}, "pitch must be from 0 to 99, got 120"),
    ],
)
def test_bad_arguments_of_synthesize_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthesize(**{"words": ["yes"], "voices": ["en-us"], **arguments})


def test_without_a_synthesizer_one_error_says_how_to_install_it(monkeypatch, tmp_path, fresh):
    monkeypatch.setattr(spoken.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthesizerMissing, match="pip install espeakng-loader"):
        synthesize(["yes"], ["en-us"])
    assert len(load("words", "test")) == 288  # needs no synthesizer


def test_a_broken_package_is_reported_with_its_own_message(tmp_path):
    with pytest.raises(SynthesisError, match=r"espeak-ng failed: (.|\n)*cannot open shared object"):
        spoken.package_engine(tmp_path)


COMMAND = """#!{python}
import sys, struct
if "--version" in sys.argv:
    print("eSpeak NG text-to-speech: 1.51  Data at: {data}")
else:
    options = dict(zip(sys.argv[1:-2:2], sys.argv[2:-2:2]))
    assert sys.argv[-2:] == ["--stdin", "--stdout"]
    count = 100 * len(sys.stdin.read()) + int(options["-s"])
    samples = struct.pack("<h", 16384) * count
    head = b"RIFF" + struct.pack("<I", 0x7FFFF024) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    sys.stdout.buffer.write(head + b"data" + struct.pack("<I", 0x7FFFF000) + samples)
"""


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a script")
def test_an_installed_command_serves_where_the_package_is_missing(monkeypatch, tmp_path, fresh):
    data = tmp_path / "espeak-ng-data"
    for path in (data / "lang" / "gmw" / "en-US", data / "voices" / "!v" / "f2"):
        path.parent.mkdir(parents=True)
        path.write_text("name x\n", encoding="utf-8")
    command = tmp_path / "espeak-ng"
    command.write_text(COMMAND.format(python=sys.executable, data=data), encoding="utf-8")
    command.chmod(0o755)
    monkeypatch.setattr(spoken.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert spoken.find_engine().name == "espeak-ng"
    assert spoken.find_engine().version == "1.51"
    assert spoken.find_engine().repeatable
    assert (languages(), variants()) == (("en-us",), ("f2",))
    wave = say("four", "en-us+f2", rate=123)
    assert torch.equal(wave, torch.full((523,), 0.5))


@pytest.mark.slow
def test_script_rebuilds_the_embedded_words(source_folder, tmp_path):
    source.build(source_folder("espeakng-loader-0.2.4"), tmp_path)
    with (
        np.load(tmp_path / "words.npz") as new,
        np.load(CATALOG["words"].folder / "words.npz") as old,
    ):
        assert sorted(new.files) == sorted(old.files)
        for name in old.files:
            assert np.array_equal(new[name], old[name]), name


def test_script_refuses_another_version(monkeypatch, tmp_path):
    other = spoken.Engine("espeakng-loader", "1.51", tmp_path, ())
    monkeypatch.setattr(source, "package_engine", lambda folder: other)
    with pytest.raises(ValueError, match=r"package must hold espeak-ng 1\.52\.0, got 1\.51"):
        source.build(tmp_path, tmp_path)
