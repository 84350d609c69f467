"""The recorded speech: contents, split by text, decoding on demand, spelling and the script."""

import itertools
import unicodedata

import numpy as np
import pytest
import soundfile
import torch

from coursekit.data import CATALOG, DataFileError, load
from coursekit.data.clips import read_clip
from coursekit.data.sources import ogg
from coursekit.data.sources import speech as source
from coursekit.data.speech import (
    DIGIT_NAMES,
    LETTER_NAMES,
    SAMPLE_RATE,
    Speech,
    draw,
    read_transcripts,
)
from coursekit.data.speech import load as load_speech
from coursekit.data.spelling import ALPHABETS, DIGITS, fold, normalize_text

LANGUAGES = ("en", "fr", "es", "it", "ru")
SPLITS = ("train", "validation", "test")
CLIPS = {"en": 568, "fr": 561, "es": 527, "it": 599, "ru": 575}
TONES = {"beep", "beeperr", "ascending-2tone", "descending-2tone", "tt-monkeys"}
TONES |= {"confbridge-join", "confbridge-leave"} | {f"silence/{k}" for k in range(1, 11)}


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


def folder_of(language):
    return CATALOG[f"speech-{language}"].folder


def texts_of(language, split):
    data = load(f"speech-{language}", split)
    return {fold(normalize_text(text, language)) for text in data.texts}


def test_every_prompt_is_here_and_tones_and_silences_have_no_text(language):
    rows = read_transcripts(folder_of(language))
    assert len(rows) == CLIPS[language]
    assert len({row["path"].lower() for row in rows}) == len(rows)  # also where case is ignored
    silent = {row["name"] for row in rows if not row["text"]}
    assert silent >= TONES
    assert {row["split"] for row in rows if row["name"] in silent} == {"none"}
    assert len(rows) - len(silent) == CATALOG[f"speech-{language}"].examples


def test_english_lacks_no_transcript():
    rows = read_transcripts(folder_of("en"))
    assert {row["name"] for row in rows if not row["text"]} == TONES


def test_no_file_lies_about_that_the_list_does_not_name(language):
    listed = {row["path"] for row in read_transcripts(folder_of(language))}
    folder = folder_of(language)
    found = {path.relative_to(folder).as_posix() for path in (folder / "clips").rglob("*.*")}
    assert found == listed


def test_splits_have_the_stated_sizes_and_text_in_the_letters_of_the_language(language):
    entry = CATALOG[f"speech-{language}"]
    assert len(load(entry.name)) == entry.examples == sum(entry.splits.values())
    for split, count in entry.splits.items():
        data = load(entry.name, split)
        assert len(data) == count
        assert data.sample_rate == SAMPLE_RATE
        assert data.language == language
        for text in data.texts:
            letters = set(normalize_text(text, language))
            assert letters
            assert letters <= {*ALPHABETS[language], " "}


def test_what_spelling_leaves_out_is_punctuation_only(language):
    for row in read_transcripts(folder_of(language)):
        rest = {c for c in row["text"].lower() if c not in ALPHABETS[language]}
        assert not any(c.isalpha() for c in rest), row["name"]
        assert row["text"] == unicodedata.normalize("NFC", row["text"])


def test_split_is_about_80_10_10_in_clips(language):
    entry = CATALOG[f"speech-{language}"]
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert entry.splits[split] / entry.examples == pytest.approx(share, abs=0.04)


def test_no_text_stands_in_two_splits_even_with_other_accents(language):
    for first, second in itertools.combinations(SPLITS, 2):
        assert not texts_of(language, first) & texts_of(language, second)


def test_no_long_text_stands_as_a_variant_in_another_split(language):
    def trigrams(text):
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)} if len(words) > 5 else set()

    sets = {split: [trigrams(text) for text in texts_of(language, split)] for split in SPLITS}
    for first, second in itertools.combinations(SPLITS, 2):
        for a, b in itertools.product(sets[first], sets[second]):
            assert len(a & b) <= min(len(a), len(b)) / 2


def test_digits_say_their_names_in_every_language(language):
    digits = load(f"speech-{language}").pick(DIGIT_NAMES)
    assert tuple(normalize_text(text, language) for text in digits.texts) == DIGITS[language]
    assert all(0.2 < seconds < 1.5 for seconds in digits.seconds)


def test_letters_are_the_26_of_the_telephone_in_every_language(language):
    letters = load(f"speech-{language}").pick(LETTER_NAMES)
    assert len(letters) == 26
    if language != "ru":
        spelled = [normalize_text(text, language) for text in letters.texts]
        assert spelled == list("abcdefghijklmnopqrstuvwxyz")


def test_selected_clips_keep_their_sound_and_are_decoded_once():
    data = load("speech-fr")
    part = data.select("letters/")
    assert isinstance(part, Speech)
    assert all(name.startswith("letters/") for name in part.names)
    index = data.names.index(part.names[3])
    assert part.waveforms[3] is data.waveforms[index]
    assert (part.texts[3], part.seconds[3]) == (data.texts[index], data.seconds[index])
    assert part.path(3) == data.path(index)
    assert part.language == "fr"


def test_names_that_are_not_there_are_refused():
    data = load("speech-es", "train")
    with pytest.raises(ValueError, match=r"prefix must begin one of the 367 names, .* got 'Digit"):
        data.select("Digits/")
    with pytest.raises(ValueError, match=r"got 'digits/4'.* \(4 of 10 are missing\)"):
        data.pick(DIGIT_NAMES)


def test_decoded_clips_have_the_stated_length_type_and_range():
    data = load("speech-en", "validation")
    for waveform, seconds in zip(data.waveforms, data.seconds, strict=True):
        assert waveform.dtype == torch.float32
        assert waveform.ndim == 1
        assert len(waveform) == pytest.approx(seconds * 8000, abs=8)
        assert 0.05 < waveform.abs().max() <= 1
        assert waveform.mean().abs() < 0.01


@pytest.mark.slow
def test_every_clip_decodes(language):
    data = load_speech(CATALOG[f"speech-{language}"], speech_only=False)
    assert len(data) == CLIPS[language]
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


def test_loading_decodes_nothing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a clip was decoded")

    monkeypatch.setattr(soundfile, "read", refuse)
    data = load("speech-ru").select("digits/")
    with pytest.raises(AssertionError):
        data.waveforms[0]


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


@pytest.mark.parametrize(
    ("language", "published", "spelled"),
    [
        (
            "fr",
            "Entrez votre numéro d'agent\u00a0; dix-sept, puis *.",
            "entrez votre numéro d'agent dix sept puis étoile",
        ),
        ("fr", "l’aide… À 3 heures", "l'aide à trois heures"),
        ("fr", "De\u0301sole\u0301", "désolé"),
        ("es", "¿Contraseña? Marque 1.", "contraseña marque uno"),
        ("it", "C’è un'altra: 9 o #", "c'è un'altra nove o cancelletto"),
        ("ru", "Нажмите «решётку», ещё 2 – ABC!", "нажмите решётку ещё два"),
        ("ru", "И\u0306од", "йод"),
    ],
)
def test_each_language_keeps_its_letters(language, published, spelled):
    assert normalize_text(published, language) == spelled
    assert normalize_text(spelled, language) == spelled


def test_a_language_without_an_alphabet_is_refused():
    with pytest.raises(ValueError, match=r"language must be one of en, fr, es, it, ru, got 'de'"):
        normalize_text("Guten Tag", "de")


def test_folding_takes_accents_off():
    assert fold("ещё señor café") == "еще senor cafe"


def test_a_file_that_is_no_mono_clip_of_the_rate_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, torch.zeros(100, 2).numpy(), 16000)
    with pytest.raises(DataFileError, match=r"must be mono at 8000 Hz, got 16000 Hz"):
        read_clip(path, 8000)
    path.write_bytes(b"no sound")
    with pytest.raises(DataFileError, match=r"cannot be decoded"):
        read_clip(path, 8000)


def test_remarks_are_taken_out_of_published_texts():
    assert source.spoken_text("at [@]") == "at"
    assert source.spoken_text('IAX (note: does not say "2")') == "IAX"
    assert source.spoken_text("<beep ascending>") == ""


def test_lines_of_other_clips_are_cut_off():
    clips = {"vm-options", "vm-saved"}
    line = "premere uno. vm-options: premere due"
    assert source._own_line(line, "vm-saved", clips) == "premere uno."
    assert source._own_line("vm-saved: fatto", "vm-saved", clips) == "fatto"
    assert source._own_line("dopo il tono: parlare", "vm-saved", clips) == "dopo il tono: parlare"


def test_mended_accents_are_italian_words():
    rows = {row["name"]: row for row in read_transcripts(folder_of("it"))}
    assert rows["conf-full"]["published"] == "La conferenza ? piena."
    assert rows["conf-full"]["text"] == "La conferenza è piena."
    assert rows["vm-login"]["text"].endswith("Casella di posta?")


def test_variants_of_a_menu_are_one_family_and_short_texts_are_not():
    menu = "press one to mute two to lock three to exit"
    texts = [menu, menu + " the menu", "press one", "press one to mute", "thank you"]
    family = source.families(texts)
    assert family[menu] == family[menu + " the menu"] == menu
    assert len({family[text] for text in texts}) == 4


def test_splits_of_the_list_are_those_that_the_script_chooses(language):
    rows = read_transcripts(folder_of(language))
    splits = source.choose_splits((row["text"] for row in rows), language)
    for row in rows:
        assert row["split"] == splits[row["text"]]
        assert row["text"] == source.spoken_text(row["published"], language, row["name"])


def test_new_serial_number_leaves_a_valid_stream_with_the_same_sound(tmp_path):
    clip = folder_of("en") / "clips" / "digits" / "2.ogg"
    original = clip.read_bytes()
    changed = ogg.set_serial(original, 12345)
    assert changed != original
    path = tmp_path / "2.ogg"
    path.write_bytes(changed)
    assert torch.equal(read_clip(path, 8000), read_clip(clip, 8000))
    serial = int.from_bytes(original[14:18], "little")
    assert ogg.set_serial(changed, serial) == original


def test_encoding_twice_gives_the_same_bytes():
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)).astype(np.int16)
    assert ogg.encode(tone, 8000, "tone") == ogg.encode(tone, 8000, "tone")
    assert ogg.encode(tone, 8000, "tone") != ogg.encode(tone, 8000, "other")


def test_samples_are_drawn_with_their_transcripts():
    figure = draw("speech-ru")
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert len(titles) == 8
    assert any(set("абвгдежз") & set(title) for title in titles)


@pytest.mark.slow
def test_script_rebuilds_the_embedded_clips(source_folder, tmp_path, language):
    root = source_folder(f"asterisk-core-sounds-{language}-1.6.1")
    source.build(root, tmp_path, language)
    rebuilt, embedded = read_transcripts(tmp_path), read_transcripts(folder_of(language))
    for new, old in zip(rebuilt, embedded, strict=True):
        assert {**new, "sha256": ""} == {**old, "sha256": ""}
        if new["sha256"] != old["sha256"]:  # another version of libopus
            a = read_clip(tmp_path / new["path"], 8000)
            b = read_clip(folder_of(language) / old["path"], 8000)
            assert (a - b).pow(2).mean() < 0.01 * b.pow(2).mean() + 1e-8
