"""The cut-outs and the scenes composed of them: split by object, exact labels, true captions."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes

from coursekit.data import CATALOG, DataFileError, load, scenes
from coursekit.data.scenes import CLASSES, COLORS, GROUPS, color_name, compose, holds, plural
from coursekit.data.sources import scenes as source

SPLITS = {"train": 141, "validation": 47, "test": 42}


@pytest.fixture(scope="module")
def objects():
    return load("scenes", "train")


@pytest.fixture(scope="module")
def composed(objects):
    return compose(objects, examples=300, seed=0)


# The objects


@pytest.mark.parametrize("split", SPLITS)
def test_split_holds_every_category(split):
    data = load("scenes", split)
    assert len(data) == SPLITS[split]
    assert set(data.categories) == set(CLASSES)
    assert [CLASSES[label] for label in data.labels] == data.categories


def test_every_category_has_six_cut_outs():
    assert torch.bincount(load("scenes").labels, minlength=20).min() >= 6


def test_images_are_rgba_of_at_most_96_pixels_cropped_to_what_is_visible():
    for image in load("scenes").images:
        assert image.dtype == torch.uint8
        assert image.shape[0] == 4
        assert max(image.shape[1:]) <= 96
        assert (image[3] >= 128).sum() > 100
        for edge in (image[3, 0], image[3, -1], image[3, :, 0], image[3, :, -1]):
            assert edge.max() > 0
        assert image[:3, image[3] == 0].sum() == 0


def test_no_family_and_no_picture_stands_in_two_splits():
    parts = [load("scenes", split) for split in SPLITS]
    for first, second in itertools.combinations(parts, 2):
        assert not set(first.families) & set(second.families)
        for a, b in itertools.product(first.images, second.images):
            assert not source.look_alike(a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy())


def test_mirrored_and_recolored_variants_look_alike_and_others_do_not(objects):
    pixels = [image.permute(1, 2, 0).numpy() for image in objects.images]
    for one in pixels[:20]:
        assert source.look_alike(one, one[:, ::-1])
    apples = load("scenes").choose(["apple"])
    by_name = {
        name: image.permute(1, 2, 0).numpy()
        for name, image in zip(apples.names, apples.images, strict=True)
    }
    red, green = by_name["food/fruit/apple_red.png"], by_name["food/fruit/apple_green.png"]
    assert source.look_alike(red, green)
    assert not source.look_alike(red, by_name["food/fruit/apple_fuji.png"])


def test_captions_name_what_the_publisher_says():
    data = load("scenes")
    captions = dict(zip(data.names, data.captions, strict=True))
    assert captions["animals/mammals/cats/tiger.png"] == "A tiger."
    assert len(set(data.names)) == len(data) == 230
    assert all("apple" in caption for caption in load("scenes").choose(["apple"]).captions)


def test_categories_can_be_chosen(objects):
    chosen = objects.choose(["cat", "hat"])
    assert set(chosen.categories) == {"cat", "hat"}
    assert chosen.classes == CLASSES
    assert len(chosen) == len(chosen.images) == len(chosen.labels) == 17
    with pytest.raises(ValueError, match=r"categories must be among bird, .*got 'dog'"):
        objects.choose(["cat", "dog"])


@pytest.mark.parametrize(
    ("pixel", "name"),
    [
        ((10, 10, 12), "black"),
        ((250, 250, 246), "white"),
        ((128, 128, 130), "gray"),
        ((110, 70, 30), "brown"),
        ((210, 20, 25), "red"),
        ((250, 150, 20), "orange"),
        ((245, 225, 40), "yellow"),
        ((40, 160, 50), "green"),
        ((30, 60, 200), "blue"),
        ((130, 30, 190), "purple"),
        ((250, 60, 180), "pink"),
    ],
)
def test_color_of_a_plain_object_is_named(pixel, name):
    image = torch.tensor([*pixel, 255], dtype=torch.uint8).view(4, 1, 1).expand(4, 5, 5)
    assert color_name(image) == name


def test_object_of_two_colors_has_none_and_transparent_pixels_do_not_count():
    image = torch.zeros(4, 2, 10, dtype=torch.uint8)
    image[0], image[3] = 220, 255
    image[:3, 0] = torch.tensor([20, 40, 220])[:, None]
    assert color_name(image) is None
    image[3, 0] = 0
    assert color_name(image) == "red"


def test_known_objects_have_their_color():
    data = load("scenes")
    colors = dict(zip(data.names, data.colors, strict=True))
    assert colors["town/roadsigns/stop.png"] == "red"
    assert colors["clothes/hats/tophat.png"] == "black"
    assert colors["sports/basketball.png"] == "orange"
    assert colors["sports/tennis_ball.png"] == "green"
    assert colors["space/planets/3_earth.png"] is None


def test_file_that_cannot_be_read_is_named(tmp_path):
    folder = tmp_path / "sharealike" / "scenes"
    folder.mkdir(parents=True)
    for name in CATALOG["scenes"].files:
        (folder / name).write_bytes(b"nothing")
    entry = dataclasses.replace(CATALOG["scenes"], card=folder / "CARD.md")
    with pytest.raises(DataFileError, match=r"objects\.npz cannot be read"):
        scenes.load(entry)


# The scenes


def test_scenes_have_the_stated_shapes_and_types(composed):
    assert composed.images.shape == (300, 3, 64, 64)
    assert composed.images.dtype == torch.float32
    assert 0 <= composed.images.min() < composed.images.max() <= 1
    counts = [len(labels) for labels in composed.labels]
    assert set(counts) == {1, 2, 3, 4}
    for i, k in enumerate(counts):
        assert composed.boxes[i].shape == composed.amodal_boxes[i].shape == (k, 4)
        assert composed.masks[i].shape == (k, 64, 64)
        assert composed.depths[i].tolist() == list(range(k))[::-1]
        assert len(composed.sizes[i]) == len(composed.colors[i]) == k
        assert len(composed.categories(i)) == k


def test_same_seed_gives_the_same_bytes_and_another_seed_another_scene(objects, composed):
    torch.manual_seed(1)
    again = compose(objects, examples=300, seed=0)
    assert again.images.numpy().tobytes() == composed.images.numpy().tobytes()
    assert again.captions == composed.captions
    for field in ("boxes", "amodal_boxes", "masks", "labels", "visible", "objects", "mirrored"):
        assert all(map(torch.equal, getattr(again, field), getattr(composed, field)))
    assert not torch.equal(compose(objects, 1, seed=1).images, composed.images[:1])


def test_first_scenes_do_not_depend_on_how_many_follow(objects, composed):
    assert torch.equal(compose(objects, examples=7, seed=0).images, composed.images[:7])


def paint(background, placed, size):
    """Recompose a scene pixel by pixel: its image, the owner of each pixel, all pixels of each."""
    image = [[background[y, x].tolist() for x in range(size)] for y in range(size)]
    owner = [[-1] * size for _ in range(size)]
    whole = [set() for _ in placed]
    for number, item in enumerate(placed):
        height, width = item.sprite.mask.shape
        for y in range(height):
            for x in range(width):
                through = float(item.sprite.through[y, x, 0])
                at_y, at_x = item.y + y, item.x + x
                for c in range(3):
                    color = float(item.sprite.color[y, x, c])
                    image[at_y][at_x][c] = image[at_y][at_x][c] * through + color
                if 1 - through >= 128 / 255 - 1e-6:
                    owner[at_y][at_x] = number
                    whole[number].add((at_y, at_x))
    return image, owner, whole


def box_of(pixels):
    rows, columns = [y for y, _ in pixels], [x for _, x in pixels]
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def test_labels_agree_with_a_scene_recomposed_pixel_by_pixel(objects, monkeypatch):
    drawn = []
    make, describe = scenes._background, scenes._describe
    monkeypatch.setattr(
        scenes, "_background", lambda *a: drawn.append([make(*a)]) or drawn[-1][0].copy()
    )
    monkeypatch.setattr(scenes, "_describe", lambda p, *a: drawn[-1].append(p) or describe(p, *a))
    made = compose(objects, examples=12, seed=3, size=40, min_objects=2, max_objects=5)
    hidden = 0
    for i, (background, placed) in enumerate(drawn):
        image, owner, whole = paint(background, placed, 40)
        expected = (torch.tensor(image).permute(2, 0, 1) / 255).clamp(0, 1)
        assert (made.images[i] - expected).abs().max() <= 0.5 / 255 + 1e-5
        for k, every in enumerate(whole):
            seen = {(y, x) for y, x in every if owner[y][x] == k}
            assert {tuple(p) for p in made.masks[i][k].nonzero().tolist()} == seen
            assert made.boxes[i][k].tolist() == box_of(seen)
            assert made.amodal_boxes[i][k].tolist() == box_of(every)
            assert made.visible[i][k].item() == pytest.approx(len(seen) / len(every))
            hidden += seen != every
    assert hidden > 3


def test_amodal_box_holds_the_visible_box_and_the_scene_holds_both(composed):
    for visible, amodal in zip(composed.boxes, composed.amodal_boxes, strict=True):
        assert (amodal[:, :2] <= visible[:, :2]).all()
        assert (amodal[:, 2:] >= visible[:, 2:]).all()
        assert amodal.min() >= 0
        assert amodal.max() <= 64
        assert (visible[:, 2:] > visible[:, :2]).all()


def test_boxes_are_those_of_torchvision_with_exclusive_ends(composed):
    for masks, boxes in zip(composed.masks, composed.boxes, strict=True):
        inclusive = masks_to_boxes(masks)
        assert torch.equal(boxes, inclusive + torch.tensor([0.0, 0, 1, 1]))


def test_masks_of_a_scene_do_not_overlap_and_the_nearest_object_is_whole(composed):
    for masks, visible in zip(composed.masks, composed.visible, strict=True):
        assert masks.sum(0).max() == 1
        assert visible[-1] == 1
        assert visible.min() >= 0.6


def test_sizes_are_apart_and_signs_are_not_mirrored(composed):
    sides = {"small": [], "large": []}
    mirrored = []
    for i, boxes in enumerate(composed.amodal_boxes):
        for k, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            sides[composed.sizes[i][k]].append(max(x2 - x1, y2 - y1))
            if composed.categories(i)[k] == "sign":
                assert not composed.mirrored[i][k]
            else:
                mirrored.append(bool(composed.mirrored[i][k]))
    assert max(sides["small"]) < min(sides["large"])
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.06)


def test_mirroring_can_be_left_out(objects):
    assert not torch.cat(compose(objects, 30, seed=0, mirror=False).mirrored).any()


def test_categories_are_drawn_evenly(objects):
    labels = torch.cat(compose(objects, 500, seed=1, size=32).labels)
    share = torch.bincount(labels, minlength=20) / len(labels)
    assert share.min() > 0.03
    assert share.max() < 0.08


def test_objects_repeat_as_often_as_asked(objects):
    def repeats(repeat):
        made = compose(objects, 60, seed=2, min_objects=3, max_objects=3, repeat=repeat)
        return np.mean([len(labels.unique()) < 3 for labels in made.labels])

    assert repeats(0.0) < 0.25 < 0.5 < repeats(0.6)
    assert repeats(1.0) == 1


def test_photographs_can_be_the_background(objects):
    plain = torch.full((3, 80, 90), 0.25)
    made = compose(objects, 5, seed=0, backgrounds=[plain])
    for i in range(5):
        corner_free = ~made.masks[i].any(0)
        values = made.images[i][:, corner_free]
        assert (values - 64 / 255).abs().median() < 1e-6
    ramp = torch.linspace(0, 1, 100).expand(3, 100, 100)
    crops = compose(objects, 20, seed=0, backgrounds=[ramp]).images[:, 0, 0, 0]
    assert len(crops.unique()) > 5


def test_scene_is_an_example_for_torchvisions_detectors(composed):
    image, target = composed[3]
    assert torch.equal(image, composed.images[3])
    assert torch.equal(target["labels"], composed.labels[3] + 1)
    assert target["masks"].dtype == torch.uint8
    assert len(list(composed)) == len(composed) == 300
    with pytest.raises(IndexError, match="index must be from 0 to 299, got 300"):
        composed[300]


# The captions

NUMBER = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}
RELATION = "to the left of|to the right of|above|below"
OPENING = r"^(there (is|are)|a picture of|this image shows|a scene with) "
SINGULAR = {plural(name): name for name in CLASSES} | {name: name for name in CLASSES}


def read_phrase(text):
    """Parse a noun phrase into number, category, size and color."""
    number, *words, noun = text.split()
    size = words.pop(0) if words and words[0] in ("small", "large") else None
    color = words.pop(0) if words else None
    assert not words
    assert color is None or color in COLORS
    name = SINGULAR[noun]
    assert noun == (name if NUMBER[number] == 1 else plural(name))
    assert number != "an" or text[3] in "aeiou"
    assert number != "a" or text[2] not in "aeiou"
    return NUMBER[number], name, size, color


def read_caption(text):
    """Parse a caption into its noun phrases and, of the first two, the relation."""
    text = re.sub(OPENING, "", text)
    head, _, rest = text.partition(", with ")
    parts = re.split(rf" (?:is |are )?({RELATION}) ", head)
    relation = parts[1] if len(parts) == 3 else None
    lists = [parts[0], parts[2], rest] if relation else [text]
    phrases = [p for part in lists if part for p in re.split(r", | and ", part)]
    return [read_phrase(phrase) for phrase in phrases], relation


def test_every_caption_is_true_of_its_scene(composed):
    related = described = 0
    for i, texts in enumerate(composed.captions):
        names = composed.categories(i)
        centers = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in composed.boxes[i].tolist()]
        assert len(set(texts)) == len(texts) == 5
        for text in texts:
            phrases, relation = read_caption(text)
            assert {name: number for number, name, _, _ in phrases} == {
                name: names.count(name) for name in names
            }
            for _, name, size, color in phrases:
                members = [k for k, other in enumerate(names) if other == name]
                assert size is None or {composed.sizes[i][k] for k in members} == {size}
                assert color is None or {composed.colors[i][k] for k in members} == {color}
                described += color is not None
            if relation is not None:
                related += 1
                word = relation.split()[-2] if " " in relation else relation
                for a, b in itertools.product(
                    *([k for k, n in enumerate(names) if n == p[1]] for p in phrases[:2])
                ):
                    (ax, ay), (bx, by) = centers[a], centers[b]
                    gap = {"left": bx - ax, "right": ax - bx, "above": by - ay, "below": ay - by}
                    assert gap[word] > 0.08 * 64
    assert related > 300
    assert described > 150


def test_relation_needs_a_margin_and_looks_at_one_axis():
    assert holds("above", (50, 10), (3, 40), size=64)
    assert not holds("below", (50, 10), (3, 40), size=64)
    assert not holds("left", (10, 10), (15, 10), size=64)
    assert holds("left", (10, 10), (15.2, 10), size=64)


def test_groups_do_not_share_categories():
    members = [name for group in GROUPS.values() for name in group]
    assert len(set(members)) == len(members)
    assert set(members) < set(CLASSES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": -1}, "examples must be 0 or more, got -1"),
        ({"size": 16}, "size must be 32 pixels or more, got 16"),
        ({"min_objects": 0}, "min_objects and max_objects must satisfy .* got 0 and 4"),
        ({"min_objects": 5}, "got 5 and 4"),
        ({"max_objects": 11}, "got 1 and 11"),
        ({"min_visible": 0.0}, r"min_visible must be in \(0, 1\], got 0.0"),
        ({"repeat": 1.5}, r"repeat must be in \[0, 1\], got 1.5"),
        (
            {"backgrounds": [torch.zeros(3, 20, 90)]},
            r"backgrounds must be of shape .*\(3, 20, 90\)",
        ),
        ({"backgrounds": [torch.full((3, 64, 64), 2.0)]}, r"floating-point images in \[0, 1\]"),
        ({"backgrounds": []}, "backgrounds must hold at least one image"),
        (
            {"min_objects": 10, "max_objects": 10, "min_visible": 1.0},
            "max_objects=10 do not fit 64 x 64 pixels with min_visible=1.0: lower one of them",
        ),
    ],
)
def test_bad_arguments_are_named(objects, arguments, message):
    with pytest.raises(ValueError, match=message):
        compose(objects, **{"examples": 1, "seed": 0} | arguments)


def test_no_objects_are_refused(objects):
    with pytest.raises(ValueError, match="objects must hold at least one cut-out, got none"):
        compose(objects.choose([]), examples=1, seed=0)


def test_no_scenes_can_be_asked_for(objects):
    none = compose(objects, examples=0, seed=0)
    assert len(none) == 0
    assert none.images.shape == (0, 3, 64, 64)
    assert none.captions == none.boxes == []


def test_sheets_show_every_category_and_captions():
    sheet = scenes.draw("scenes")
    assert [text.get_text() for text in sheet.axes[0].get_yticklabels()] == list(CLASSES)
    sheet = scenes.draw("composed-scenes")
    assert len([axis for axis in sheet.axes if axis.get_xlabel() and axis.patches]) == 8
    with pytest.raises(ValueError, match="name must be scenes or composed-scenes, got 'cats'"):
        scenes.draw("cats")


@pytest.mark.slow
def test_script_rebuilds_the_embedded_files(source_folder, tmp_path):
    package = source_folder("tuxpaint-stamps-default")
    pytest.importorskip("resvg_py", reason="pip install resvg-py==0.5.0 renders the SVG stamps")
    source.build(package, tmp_path)
    folder = CATALOG["scenes"].folder
    assert (tmp_path / "objects.tsv").read_bytes() == (folder / "objects.tsv").read_bytes()
    with np.load(tmp_path / "objects.npz") as a, np.load(folder / "objects.npz") as b:
        assert sorted(a) == sorted(b) == ["pixels", "sizes"]
        assert all(np.array_equal(a[name], b[name]) for name in a)
