"""The English speech: contents, split by text, decoding on demand, and the script."""

import itertools

import pytest
import soundfile
import torch

from coursekit.data import CATALOG, DataFileError, load
from coursekit.data.sources import speech_en as source
from coursekit.data.speech import load as load_speech
from coursekit.data.speech import normalize_text, read_clip, read_transcripts

SPLITS = {"train": 426, "validation": 64, "test": 61}
FOLDER = CATALOG["speech-en"].folder


def texts_of(split):
    return {normalize_text(text) for text in load("speech-en", split).texts}


def test_all_568_prompts_are_here_and_17_hold_no_speech():
    rows = read_transcripts(FOLDER)
    assert len(rows) == 568
    assert len({row["path"].lower() for row in rows}) == 568  # also on disks that ignore case
    silent = {row["name"] for row in rows if not row["text"]}
    assert len(silent) == 17
    assert {"beep", "silence/10", "tt-monkeys"} <= silent
    assert {row["split"] for row in rows if not row["text"]} == {"none"}


def test_no_file_lies_about_that_the_list_does_not_name():
    listed = {row["path"] for row in read_transcripts(FOLDER)}
    found = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / "clips").rglob("*.*")}
    assert found == listed


@pytest.mark.parametrize("split", SPLITS)
def test_split_has_the_stated_number_of_clips_with_text(split):
    data = load("speech-en", split)
    assert len(data) == SPLITS[split]
    assert all(normalize_text(text) for text in data.texts)
    assert data.sample_rate == 8000


def test_split_is_about_80_10_10_in_clips_and_minutes():
    whole = load("speech-en")
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        part = load("speech-en", split)
        assert len(part) / len(whole) == pytest.approx(share, abs=0.03)
        assert sum(part.seconds) / sum(whole.seconds) == pytest.approx(share, abs=0.03)


def test_no_text_stands_in_two_splits():
    for first, second in itertools.combinations(SPLITS, 2):
        assert not texts_of(first) & texts_of(second)


def test_no_long_text_stands_as_a_variant_in_another_split():
    def trigrams(text):
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)} if len(words) > 5 else set()

    sets = {split: [trigrams(text) for text in texts_of(split)] for split in SPLITS}
    for first, second in itertools.combinations(SPLITS, 2):
        for a, b in itertools.product(sets[first], sets[second]):
            assert len(a & b) <= min(len(a), len(b)) / 2


def test_decoded_clips_have_the_stated_length_type_and_range():
    data = load("speech-en", "validation")
    for waveform, seconds in zip(data.waveforms, data.seconds, strict=True):
        assert waveform.dtype == torch.float32
        assert waveform.ndim == 1
        assert len(waveform) == pytest.approx(seconds * 8000, abs=8)
        assert 0.05 < waveform.abs().max() <= 1
        assert waveform.mean().abs() < 0.01


@pytest.mark.slow
def test_every_clip_decodes():
    data = load_speech(CATALOG["speech-en"], speech_only=False)
    assert len(data) == 568
    for waveform, seconds in zip(data.waveforms, data.seconds, strict=True):
        assert len(waveform) == pytest.approx(seconds * 8000, abs=8)


def test_waveforms_behave_like_a_list_and_decode_once():
    waveforms = load("speech-en", "test").waveforms
    assert len(waveforms) == 61
    assert waveforms[5] is waveforms[5]
    assert waveforms[-1] is waveforms[60]
    assert [w is v for w, v in zip(waveforms[4:7], list(waveforms)[4:7], strict=True)] == [True] * 3
    with pytest.raises(IndexError):
        waveforms[61]


def test_path_is_the_ogg_file_of_the_clip():
    data = load("speech-en")
    index = data.names.index("digits/7")
    assert data.texts[index] == "seven"
    assert data.path(index).name == "7.ogg"
    samples, rate = soundfile.read(data.path(index), dtype="float32")
    assert rate == 8000
    assert torch.equal(torch.from_numpy(samples), data.waveforms[index])
    assert soundfile.info(data.path(index)).subtype == "OPUS"


@pytest.mark.parametrize(
    ("published", "spelled"),
    [
        (
            "Press 1, or # to re-record it; don't wait.",
            "press one or pound to re record it don't wait",
        ),
        ("H.323", "h three two three"),
        ("3D audio", "three d audio"),
        ("dial 500, a 28.8 modem", "dial five hundred a twenty eight point eight modem"),
        ('a polite "don\'t call" menu', "a polite don't call menu"),
        ("'quoted' o'clock", "quoted o'clock"),
        ("A.M.", "a m"),
        ("...", ""),
    ],
)
def test_normalized_text_is_what_the_speaker_says(published, spelled):
    assert normalize_text(published) == spelled
    assert normalize_text(spelled) == spelled


def test_a_file_that_is_no_mono_8_khz_clip_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, torch.zeros(100, 2).numpy(), 16000)
    with pytest.raises(DataFileError, match=r"must be mono at 8000 Hz, got 16000 Hz"):
        read_clip(path)
    path.write_bytes(b"no sound")
    with pytest.raises(DataFileError, match=r"cannot be decoded"):
        read_clip(path)


def test_remarks_are_taken_out_of_published_texts():
    assert source.spoken_text("at [@]") == "at"
    assert source.spoken_text('IAX (note: does not say "2")') == "IAX"
    assert source.spoken_text("<beep ascending>") == ""


def test_variants_of_a_menu_are_one_family_and_short_texts_are_not():
    menu = "press one to mute two to lock three to exit"
    texts = [menu, menu + " the menu", "press one", "press one to mute", "thank you"]
    family = source.families(texts)
    assert family[menu] == family[menu + " the menu"] == menu
    assert len({family[text] for text in texts}) == 4


def test_splits_of_the_list_are_those_that_the_script_chooses():
    rows = read_transcripts(FOLDER)
    splits = source.choose_splits(row["text"] for row in rows)
    assert all(row["split"] == splits[row["text"]] for row in rows)
    assert all(row["text"] == source.spoken_text(row["published"]) for row in rows)


def test_new_serial_number_leaves_a_valid_stream_with_the_same_sound(tmp_path):
    original = (FOLDER / "clips" / "digits" / "2.ogg").read_bytes()
    changed = source.set_serial(original, 12345)
    assert changed != original
    path = tmp_path / "2.ogg"
    path.write_bytes(changed)
    assert torch.equal(read_clip(path), read_clip(FOLDER / "clips" / "digits" / "2.ogg"))
    serial = int.from_bytes(original[14:18], "little")
    assert source.set_serial(changed, serial) == original


def test_encoding_twice_gives_the_same_bytes(tmp_path):
    time = torch.arange(4000) / 8000
    path = tmp_path / "tone.wav"
    soundfile.write(path, (0.3 * torch.sin(2 * torch.pi * 440 * time)).numpy(), 8000)
    first, seconds = source.encode(path, "tone")
    assert first == source.encode(path, "tone")[0]
    assert seconds == 0.5


@pytest.mark.slow
def test_script_rebuilds_the_embedded_clips(source_folder, tmp_path):
    root = source_folder("asterisk-core-sounds-en-1.6.1")
    source.build(root, tmp_path)
    rebuilt, embedded = read_transcripts(tmp_path), read_transcripts(FOLDER)
    for new, old in zip(rebuilt, embedded, strict=True):
        assert {**new, "sha256": ""} == {**old, "sha256": ""}
        if new["sha256"] != old["sha256"]:  # another version of libopus
            a, b = read_clip(tmp_path / new["path"]), read_clip(FOLDER / old["path"])
            assert (a - b).pow(2).mean() < 0.01 * b.pow(2).mean() + 1e-8
