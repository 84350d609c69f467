"""The whole catalog, walked with the network blocked."""

import dataclasses
import shutil
import subprocess
import sys

import pytest
import torch

from coursekit.data import CATALOG, DataFileError, FullDataUnavailable, catalog, load

NAMES = sorted(CATALOG)
SPLITS = ("train", "validation", "test")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Copy an entry's embedded files to where they can be damaged."""

    def copy(name):
        folder = tmp_path / "files"
        shutil.copytree(CATALOG[name].folder, folder / name)
        monkeypatch.setattr(catalog, "FILES", folder)
        return folder / name

    return copy


@pytest.mark.parametrize("name", NAMES)
def test_entry_loads_with_the_number_of_examples_it_states(name):
    assert len(load(name)) == CATALOG[name].examples


@pytest.mark.parametrize("name", NAMES)
def test_splits_add_up_to_the_whole(name):
    assert sum(len(load(name, split)) for split in SPLITS) == len(load(name))


@pytest.mark.parametrize("name", NAMES)
def test_two_loads_are_equal(name):
    first, second = load(name, "test"), load(name, "test")
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        elif field.name == "waveforms":
            assert all(map(torch.equal, a, b))
        else:
            assert a == b


@pytest.mark.parametrize("name", NAMES)
def test_every_embedded_file_has_the_recorded_checksum(name):
    entry = CATALOG[name]
    for path, sha256 in entry.files.items():
        assert catalog.sha256_file(entry.folder / path) == sha256


@pytest.mark.parametrize("name", NAMES)
def test_card_states_license_source_checksum_and_how_to_rebuild(name):
    entry, card = CATALOG[name], catalog.card(name)
    assert card.startswith(f"# {name}\n")
    assert entry.license in card
    for sha256 in entry.files.values():
        assert sha256 in card
    assert f"python -m coursekit.data.sources.{name.replace('-', '_')}" in card
    assert (entry.folder / "LICENSE").is_file()
    assert entry.source.split()[1] in card


def test_embedded_files_keep_to_the_budget():
    assert sum(entry.size for entry in CATALOG.values()) < 80e6


def test_table_has_a_row_an_entry():
    rows = {row["name"]: row for row in catalog.table()}
    assert sorted(rows) == NAMES
    assert all(row["here"] == "yes" for row in rows.values())
    assert rows["digits"]["size"] == "1.6 MB"
    assert rows["speech-en"]["size"] == "4.6 MB"


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_drawn_into_a_png(name, tmp_path):
    path = catalog.draw_samples(name, tmp_path / "samples.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"digits, speech-en, got 'digit'"):
        load("digit")
    with pytest.raises(ValueError, match=r"digits, speech-en, got ''"):
        catalog.card("")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_split_lists_the_splits(name):
    with pytest.raises(ValueError, match=r"train, validation, test or None, got 'dev'"):
        load(name, "dev")


@pytest.mark.parametrize("name", NAMES)
def test_missing_file_says_what_to_do(name, copied):
    folder = copied(name)
    (folder / next(iter(CATALOG[name].files))).unlink()
    with pytest.raises(DataFileError, match=r"is missing; reinstall coursekit"):
        load(name)


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_byte_is_detected(name, copied):
    path = copied(name) / next(iter(CATALOG[name].files))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"is damaged.*git checkout -- .*{name}"):
        load(name)


def test_truncated_clip_is_detected(copied):
    path = copied("speech-en") / "clips" / "digits" / "1.ogg"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataFileError, match=r"1\.ogg is damaged"):
        load("speech-en")


def test_full_set_without_network_names_the_offline_default(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    with pytest.raises(FullDataUnavailable, match=r'use the 10,000 digits.*load\("digits"\)') as e:
        load("digits", full=True)
    assert "\n" not in str(e.value)


def test_full_speech_is_refused_because_the_extract_is_all():
    with pytest.raises(FullDataUnavailable, match=r'no fuller set.*load\("speech-en"\)'):
        load("speech-en", full=True)


def test_listing_imports_neither_torch_nor_matplotlib():
    script = (
        "import sys; from coursekit.data import load, catalog; catalog.table(); "
        "catalog.card('digits'); print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
