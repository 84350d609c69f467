"""Photos and paintings: contents, credits, and the script that reads resource files of Qt."""

import csv
import struct
import zlib

import pytest
import torch

from coursekit.data import CATALOG, DataFileError, catalog, load, photos
from coursekit.data.sources import paintings as paintings_source
from coursekit.data.sources import photos as source
from coursekit.data.sources.photos import read_resources

NAMES = ["photos", "paintings"]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_color_tensors_of_the_sizes_in_the_card(name):
    data = load(name)
    card = catalog.card(name)
    for picture, short in zip(data.images, data.names, strict=True):
        channels, height, width = picture.shape
        assert channels == 3
        assert picture.dtype == torch.float32
        assert 0 <= picture.min() < 0.1
        assert 0.9 < picture.max() <= 1
        row = next(line for line in card.splitlines() if line.startswith(f"| {short} |"))
        assert f"| {height} × {width} |" in row


def test_pictures_show_their_colors_and_not_a_permutation_of_them():
    data = load("photos")
    sky = data["castle"][:, 5:40, 5:40].mean((1, 2))
    suit = data["astronaut"][:, 300:340, 110:150].mean((1, 2))
    assert sky[2] > sky[0], "the sky is bluer than red"
    assert suit[0] > suit[1] > suit[2], "the suit is orange"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_listed_with_author_and_license(name):
    entry = CATALOG[name]
    here = {path.name for path in entry.folder.iterdir()} - {"CARD.md", "LICENSE"}
    assert here == set(entry.files)
    with (entry.folder / "pictures.tsv").open(encoding="utf-8") as listing:
        rows = list(csv.DictReader(listing, delimiter="\t"))
    assert here == {row["file"] for row in rows} | {"pictures.tsv"}
    notice = (entry.folder / "LICENSE").read_text(encoding="utf-8")
    for row, credit in zip(rows, load(name).credits, strict=True):
        assert credit == f"{row['author']}, {row['license']}"
        assert row["author"].split(";")[0] in notice
        assert row["license"] in {"public domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0"}
        expected = (
            "LicenseRef-public-domain" if row["license"] == "public domain" else row["license"]
        )
        assert expected in entry.license.split(" AND ")


def test_a_picture_is_found_by_its_name():
    data = load("photos")
    assert torch.equal(data["cat"], data.images[data.names.index("cat")])
    with pytest.raises(ValueError, match=r"name must be one of astronaut, .*castle, got 'dog'"):
        data["dog"]


def test_frame_of_the_starry_night_is_cut_off_as_the_card_says():
    night = load("paintings")["starry-night"].mean(0)
    assert max(night[:4].max(), night[-4:].max(), night[:, :4].max(), night[:, -4:].max()) < 0.1
    inner = night[14:-14, 14:-16]
    edges = (inner[0], inner[-1], inner[:, 0], inner[:, -1])
    assert min(edge.mean() for edge in edges) > 0.25


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_file_that_is_no_picture_is_named(content, tmp_path, monkeypatch):
    (tmp_path / "pictures.tsv").write_text(
        "name\tfile\ttitle\tauthor\tlicense\torigin\na\ta.png\ta\ta\ta\ta\n"
    )
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.setattr(photos.Entry, "folder", tmp_path)
    with pytest.raises(DataFileError, match=r"a\.png cannot be read"):
        photos.load(CATALOG["photos"])


def resource_file(files, version=3, flags=None):
    """Write a resource file of Qt with one folder."""
    size = 14 if version == 1 else 22
    names, data, nodes = b"", b"", []
    for name in ("folder", *files):
        nodes.append([len(names), 0, 0])
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    tree = struct.pack(">IHII", 0, 2, 1, 1).ljust(size, b"\0")
    tree += struct.pack(">IHII", nodes[0][0], 2, len(files), 2).ljust(size, b"\0")
    for (offset, _, _), (name, content) in zip(nodes[1:], files.items(), strict=True):
        flag = (flags or {}).get(name, 0)
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if flag & 1 else content
        tree += struct.pack(">IHHHI", offset, flag, 0, 1, len(data)).ljust(size, b"\0")
        data += struct.pack(">I", len(stored)) + stored
    start = 24
    head = struct.pack(">4I", version, start, start + len(tree), start + len(tree) + len(data))
    return (b"qres" + head).ljust(start, b"\0") + tree + data + names


@pytest.mark.parametrize("version", [1, 2, 3])
def test_resource_file_is_read_plain_and_compressed(version, tmp_path):
    files = {"plain.txt": b"one", "packed.txt": b"two" * 100, "naïve.txt": b""}
    path = tmp_path / "a.rcc"
    path.write_bytes(resource_file(files, version, {"packed.txt": 1}))
    assert dict(read_resources(path)) == {f"folder/{name}": v for name, v in files.items()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no resource", "must begin with qres"),
        (resource_file({}, version=9), "version 1 to 3, got 9"),
        (resource_file({"a": b"x"}, flags={"a": 4}), "compressed by zstd"),
    ],
)
def test_other_files_are_refused(content, says, tmp_path):
    path = tmp_path / "a.rcc"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        list(read_resources(path))


@pytest.mark.slow
@pytest.mark.parametrize("script", [source, paintings_source], ids=NAMES)
def test_script_rebuilds_the_embedded_files(script, source_folder, tmp_path):
    for needed in ("gcompris-qt-data", "opencv-doc", "skimage", "sklearn"):
        root = source_folder(needed).parent
    script.build(root, tmp_path)
    entry = CATALOG[script.__name__.rpartition(".")[2]]
    for file, sha256 in entry.files.items():
        assert catalog.sha256_file(tmp_path / file) == sha256
