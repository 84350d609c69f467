"""The whole catalog, walked with the network blocked."""

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coursekit.data import (
    CATALOG,
    DataFileError,
    FullDataUnavailable,
    catalog,
    load,
    normalize_text,
    samples,
)
from coursekit.data.generated import GENERATORS
from coursekit.data.splits import check_disjoint

ROOT = Path(__file__).parents[2]
NAMES = sorted(CATALOG)
EMBEDDED = [name for name in NAMES if CATALOG[name].package is None]
SPLIT = [name for name in NAMES if CATALOG[name].splits]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Copy an entry's files to where they can be damaged, and read its card from there."""

    def copy(name):
        entry = CATALOG[name]
        folder = tmp_path.joinpath(*entry.card.parent.parts[-4:])
        shutil.copytree(entry.card.parent, folder)
        moved = catalog.read_card(folder / "CARD.md")
        monkeypatch.setattr(catalog, "CATALOG", {**CATALOG, name: moved})
        catalog.check_files.cache_clear()
        return folder

    yield copy
    catalog.check_files.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_entry_loads_with_the_number_of_examples_it_states(name):
    assert len(load(name)) == CATALOG[name].examples


@pytest.mark.parametrize("name", SPLIT)
def test_splits_have_the_sizes_they_state_and_add_up_to_the_whole(name):
    counts = CATALOG[name].splits
    assert {split: len(load(name, split)) for split in counts} == dict(counts)
    assert sum(counts.values()) == CATALOG[name].examples


# What the numbers of each field are: a type and a range.
RANGES = {
    "images": (torch.float32, 0, 1),
    "labels": (torch.int64, 0, 99),
    "waveforms": (torch.float32, -1, 1),
    "tensors": (torch.float32, -1e4, 1e4),
    "vectors": (torch.float32, -1, 1),
    "scores": (torch.float32, -4, 10),
    "deviations": (torch.float32, 0, 4),
    "rates": (torch.int64, 80, 450),
    "pitches": (torch.int64, 0, 99),
}
# What must stand in one split only: a field, or a function of the data.
GROUPS = {
    "images": "images",
    "objects": "families",
    "sounds": "names",
    "pairs": lambda data: getattr(data, "ids", None) or data.names,
    "text": "texts",
    "lexicon": lambda data: getattr(data, "words", None) or data.names,
    "speech": lambda data: (
        data.voices
        if hasattr(data, "voices")
        else [normalize_text(text, data.language) for text in data.texts]
    ),
}
# Examples of the most frequent class for one of the rarest; 1.4 where it is not said.
BALANCE = {"scenes": 9.0, "names": 12.0}
# Where a text may be missing, as the cards say: objects without a single color, verses that the
# second translation lacks.
GAPS = {("scenes", "colors"), ("verses", "references")}


def numbers(data):
    """Yield the tensors of a data set with the name of their field; of clips, a few."""
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if isinstance(value, torch.Tensor):
            yield field.name, value
        elif isinstance(value, Mapping):
            yield from ((field.name, v) for v in value.values() if isinstance(v, torch.Tensor))
        elif field.name in ("images", "waveforms"):
            yield from ((field.name, value[k]) for k in range(0, len(value), len(value) // 4))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_have_the_type_and_the_range_they_should(name):
    for field, tensor in numbers(load(name)):
        dtype, low, high = RANGES[field]
        if name == "scenes" and field == "images":
            dtype, high = torch.uint8, 255
        assert tensor.dtype == dtype, field
        assert tensor.numel()
        assert torch.isfinite(tensor).all()
        assert low <= tensor.min() <= tensor.max() <= high, field


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_there_and_clean(name):
    for field in dataclasses.fields(data := load(name)):
        value = getattr(data, field.name)
        if (name, field.name) in GAPS:
            continue
        if isinstance(value, list | tuple) and value and isinstance(value[0], str):
            assert len(value) in (len(data), len(getattr(data, "classes", ())), 2)
            assert all(text.strip() for text in value), field.name
            assert not any("\N{REPLACEMENT CHARACTER}" in text for text in value), field.name


@pytest.mark.parametrize("name", [name for name in SPLIT if CATALOG[name].kind in GROUPS])
def test_nothing_stands_in_two_splits(name):
    group = GROUPS[CATALOG[name].kind]
    parts = {split: load(name, split) for split in CATALOG[name].splits}
    if isinstance(group, str):
        check_disjoint({split: getattr(data, group) for split, data in parts.items()})
    else:
        check_disjoint({split: group(data) for split, data in parts.items()})


def test_every_kind_with_splits_says_what_must_not_be_divided():
    assert {CATALOG[name].kind for name in SPLIT} == set(GROUPS)


@pytest.mark.parametrize("name", [name for name in SPLIT if hasattr(load(name), "labels")])
def test_classes_are_balanced_as_far_as_stated_in_every_split(name):
    for split in CATALOG[name].splits:
        data = load(name, split)
        counts = torch.bincount(data.labels, minlength=len(data.classes))
        assert counts.min() > 0
        assert counts.max() <= BALANCE.get(name, 1.4) * counts.min(), (split, counts)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_the_recorded_checksum(name):
    entry = CATALOG[name]
    assert entry.files
    for path, sha256 in entry.files.items():
        assert catalog.sha256_file(entry.folder / path) == sha256


@pytest.mark.parametrize("name", NAMES)
def test_card_states_license_source_checksum_and_biases(name):
    entry, card = CATALOG[name], catalog.card(name)
    assert card.startswith(f"# {name}\n")
    for fact in (entry.license, entry.source, entry.attribution, *entry.files.values()):
        assert fact in card
    for section in ("Format", "Counts", "Biases and traps"):
        assert f"\n## {section}\n" in card
    assert any(character.isdigit() for character in entry.source), "the source names a version"


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_entry_has_its_license_and_a_script_that_rebuilds_it(name):
    entry = CATALOG[name]
    assert (entry.card.parent / "LICENSE").is_file()
    module = entry.rebuild.split()[2]
    assert module.startswith("coursekit.data.sources.")
    assert importlib.util.find_spec(module)


def test_copyleft_data_stand_in_the_folder_that_the_package_leaves_out():
    for entry in CATALOG.values():
        if entry.package is None:
            copyleft = any(mark in entry.license for mark in ("-SA", "GPL", "LAL"))
            assert entry.sharealike == copyleft, entry.name


def test_embedded_files_keep_to_the_budget():
    assert sum(CATALOG[name].size for name in EMBEDDED) < 80e6


def test_table_has_a_row_an_entry():
    rows = {row["name"]: row for row in catalog.table()}
    assert sorted(rows) == NAMES
    assert all(row["here"] == "yes" for row in rows.values())
    assert rows["digits"]["size"] == "1.6 MB"
    assert rows["speech-en"]["size"] == "4.6 MB"


@pytest.mark.parametrize("name", [*NAMES, *GENERATORS])
def test_samples_are_drawn_with_ink(name, tmp_path):
    samples.draw(name).savefig(tmp_path / "samples.png", dpi=50)
    with Image.open(tmp_path / "samples.png") as picture:
        gray = np.asarray(picture.convert("L"))
    assert max(gray.shape) < 1600
    assert (gray < 128).mean() > 0.003


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_is_described_by_its_docstring(name):
    assert samples.card(name).startswith(f"# {name}\n\nGenerated by `coursekit.data.")
    assert len(samples.card(name)) > 200


def test_a_notebook_shows_the_picture_and_the_card_without_headings():
    assert samples.show_samples("digits").data.startswith(b"\x89PNG")
    card = samples.show_card("digits").data
    assert card.startswith("**digits**\n")
    assert "\n**Biases and traps**\n" in card
    assert not any(line.startswith("#") for line in card.splitlines())


@pytest.mark.parametrize(
    ("page", "names", "table"),
    [
        ("data", NAMES, samples.show_catalog),
        ("generated-data", list(GENERATORS), samples.show_generators),
    ],
)
def test_the_book_shows_samples_and_card_of_each(page, names, table):
    text, rows = (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8"), table().data
    for name in names:
        assert f"\n### {name}\n" in text
        assert f'\nshow_samples("{name}")\n' in text
        assert f'\nshow_card("{name}")\n' in text
        assert f"| {name} |" in rows


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"digits, .*speech-en, .*got 'digit'"):
        load("digit")
    with pytest.raises(ValueError, match=r"digits, .*, got ''"):
        samples.card("")
    with pytest.raises(ValueError, match=r"digits, .*, got 'digit'"):
        samples.draw("digit")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_split_lists_the_splits(name):
    names = ", ".join(CATALOG[name].splits)
    says = f"{names} or None, got 'dev'" if names else "has no splits: .* got 'dev'"
    with pytest.raises(ValueError, match=says):
        load(name, "dev")


@pytest.mark.parametrize("name", EMBEDDED)
def test_missing_file_says_what_to_do(name, copied):
    folder = copied(name)
    (folder / next(iter(CATALOG[name].files))).unlink()
    remedy = "rebuild it: python -m" if CATALOG[name].sharealike else "reinstall coursekit"
    with pytest.raises(DataFileError, match=rf"is missing; .*{remedy}"):
        load(name)


@pytest.mark.parametrize("name", EMBEDDED)
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


def test_data_left_out_by_the_package_are_found_in_the_cache(copied, tmp_path, monkeypatch):
    folder = copied("speech-en")
    cache = tmp_path / "cache"
    monkeypatch.setenv("COURSEKIT_CACHE", str(cache))
    shutil.copytree(folder, cache / "sharealike" / "speech-en")
    (folder / "transcripts.tsv").unlink()
    assert len(load("speech-en", "test")) == CATALOG["speech-en"].splits["test"]


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOG[name].full])
def test_full_set_without_network_names_the_offline_default(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    with pytest.raises(FullDataUnavailable, match=rf'load\("{name}"\)') as error:
        load(name, full=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in NAMES if not CATALOG[name].full])
def test_full_set_is_refused_where_the_extract_is_all(name):
    with pytest.raises(FullDataUnavailable, match=rf'no fuller set.*load\("{name}"\)'):
        load(name, full=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# digits\n", "must begin with a front matter"),
        ("---\nname: [\n---\n# digits\n", "cannot be read"),
        ("---\nname: digits\n---\n# digits\n", "missing .* required"),
    ],
)
def test_damaged_card_is_named(text, says, tmp_path):
    path = tmp_path / "digits" / "CARD.md"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataFileError, match=says) as error:
        catalog.read_card(path)
    assert str(path) in str(error.value)


def test_listing_imports_neither_torch_nor_matplotlib():
    script = (
        "import sys; from coursekit.data import load, catalog; catalog.table(); "
        "catalog.card('digits'); print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
