"""Rebuild ``sharealike/scenes`` from the Debian package ``tuxpaint-stamps-default``.

Usage: ``python -m coursekit.data.sources.scenes PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked package (the one that holds ``usr/share/tuxpaint/stamps``).

`CATEGORIES` is the choice of stamps: 20 categories of six or more objects, photographs first. Each
stamp is cropped to what is visible of it and reduced to at most `LONGEST` pixels by Pillow's
Lanczos filter on premultiplied colors; most stamps come as PNG, those listed with ``.svg`` are
rendered by resvg, which only this script needs: ``pip install resvg-py==0.5.0``. The arrays are
those of Pillow 13.0.0 and resvg-py 0.5.0.

The split is by family: stamps that are mirrored or recolored variants of one another, as
`look_alike` finds them, and those that `FAMILIES` ties by eye, stand in one split.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from coursekit.data.catalog import SPLITS
from coursekit.data.sources import main, write_npz

STAMPS = Path("usr/share/tuxpaint/stamps")
LONGEST = 96  # pixels of the longer side
RENDERED = 384  # pixels of an SVG's height before it is reduced
VISIBLE = 24  # alpha of 255 below which a pixel does not count for the crop
TEST_SHARE = VALIDATION_SHARE = 0.2  # of the families of a category

# Folder of the package -> stamps, a category each; ".png" is left out.
CATEGORIES: Mapping[str, Mapping[str, str]] = {
    "bird": {
        "animals/birds": "adelaide-rosella albino_peahen blackbird chicken_profile crow "
        "crowned_crane cuckoo drake duck gander guineafowl helmeted_guineafowl hen heron_greatblue "
        "heron_greatblue_flying lark little-penguin magellanic_penguin magpie nandou ostrich owl "
        "peacock pelican penguin pigeon pink_flamingo quetzal rainbow-lorikeet rooster seagull "
        "silver-gull swallow.svg tucan turkey vulture"  # codespell:ignore tucan
    },
    "fish": {
        "animals/fish": "bluegroper butterflyfish clownfish coraltrout dolphinfish lionfish "
        "moonwrasse stripedfish"
    },
    "cat": {
        "animals/mammals/cats": "lion lion-2 tiger tiger_sumatran cheetah.svg kitten.svg",
        "seasonal/halloween": "blackcat",
    },
    "cow": {"animals/mammals/bovines": "bison bull cow cow_white yak zebu"},
    "rabbit": {
        "animals/mammals": "rabbit_little",
        "animals/mammals/rodents": "rabbit rabbit-2",
        "seasonal/easter": "bunny bunny-egg bunny-head",
    },
    "insect": {
        "animals/insects": "bee fly grasshopper hornet hoverfly mantis xanthia",
        "animals/insects/cartoon": "butterfly dragonfly fly ladybug ladybug-2 monarchbutterfly.svg",
        "seasonal/easter": "butterfly",
    },
    "flower": {
        "plants/flowers": "adeenia anemone_red anthoorium bolsom chemparathi daffodil flower1 "
        "flower10 flower2 flower3 flower5 flower6 flower8 flower9 iris marigold pigface "
        "red-gazania rose whitestar-petunia yellow-flower",
        "plants/flowers/plastic": "chuvanna_plastic_poo",
    },
    "tree": {
        "plants/trees": "birch holm_oak liberia-palm tree336",
        "seasonal/christmas": "Christmas_Tree_photo tree",
    },
    "apple": {
        "food/fruit": "apple_fuji apple_granny_smith apple_green apple_red apple_sierra_beauty",
        "food/fruit/cartoon": "apple",
    },
    "berry": {
        "food/fruit": "Strawberry2 raspberry strawberry",
        "food/fruit/cartoon": "blueberry raspberry strawberry",
    },
    "vegetable": {
        "food/vegetables": "broccoli carrot chilepepper corn eggplant garlic lettuce onion "
        "pattypan_squash pepper potato pumpkin_small redlettuce tomato yam yellowpepper"
    },
    "car": {
        "vehicles/auto": "beetle sedan sportscar.svg sportscar2 sportscar3.svg",
        "vehicles/race": "f1_car.svg indycar",
    },
    "truck": {
        "vehicles": "blue_truck.svg garbagetruck iso_fireengine.svg iso_lorry1.svg iso_lorry2.svg "
        "iso_lorry3.svg iso_lorry4.svg toy_truck.svg",
        "vehicles/auto": "truck",
        "vehicles/construction": "dumper",
        "vehicles/construction/cartoon": "cementMixer terex towTruck",
        "vehicles/emergency": "firetruck",
        "vehicles/emergency/cartoon": "fire_engine",
    },
    "boat": {
        "vehicles/ship": "chineseJunk sail_boat1.svg sail_boat2.svg walnutBoat",
        "vehicles/ship/cartoon": "bathyscape tugboat",
    },
    "train": {
        "vehicles/locomotive": "white_train.svg",
        "vehicles/locomotive/cartoon": "boxcar caboose carriage tanker tender toy_train",
    },
    "ball": {
        "sports": "australian_rules_football basketball cricketball football soccer tennis_ball",
        "sports/cartoon": "volleyball",
    },
    "hat": {
        "clothes": "t_baseballcap",
        "clothes/hats": "blue_fedora brownhat.svg brownhat2.svg cowboy_hat.svg elfhat.svg "
        "feathered_hat green_fedora greenhat.svg hardhat.svg propeller_hat purplehat.svg sombrero "
        "tophat wizardhat.svg",
        "seasonal/christmas": "elfhat.svg santahat santahat2.svg",
    },
    "sign": {
        "town/roadsigns": "arrow crossroads dead_end_sign give_way_sign hospital no_entry_sign "
        "no_uturn roundabout school_sign stop t-junction toilets xing_ped xing_school yield",
        "vehicles/locomotive/cartoon": "trainSign",
    },
    "house": {
        "town/houses/cartoon": "blacksmith cityhouse farm hunter inn jailhouse pinkhome stables "
        "swisshome tavern townhall warehouse wooden_cottage"
    },
    "planet": {
        "space/planets": "1_mercury 2_venus 3_earth 4_mars 5_jupiter 6_saturn 7_uranus 8_neptune"
    },
}

# Stamps that show the same thing although their outlines differ.
FAMILIES: Sequence[str] = (
    "animals/birds/heron_greatblue animals/birds/heron_greatblue_flying",
    "animals/birds/guineafowl animals/birds/helmeted_guineafowl",
    "animals/birds/drake animals/birds/duck",
    "animals/insects/fly animals/insects/cartoon/fly",
    "animals/insects/cartoon/ladybug animals/insects/cartoon/ladybug-2",
    "plants/flowers/chemparathi plants/flowers/flower10",
    "vehicles/iso_lorry1 vehicles/iso_lorry2 vehicles/iso_lorry3 vehicles/iso_lorry4",
    "vehicles/construction/cartoon/cementMixer vehicles/construction/cartoon/towTruck",
    "clothes/hats/blue_fedora clothes/hats/green_fedora",
    "clothes/hats/brownhat clothes/hats/brownhat2",
    "seasonal/christmas/elfhat seasonal/christmas/santahat seasonal/christmas/santahat2",
    "town/roadsigns/give_way_sign town/roadsigns/yield",
    "town/roadsigns/xing_ped town/roadsigns/xing_school",
)


@dataclass(frozen=True)
class Stamp:
    """A cut-out of the package.

    Attributes:
        path: Path below the folder of the stamps, with suffix.
        category: One of `CATEGORIES`.
        caption: English caption as published.
        pixels: uint8 of shape (height, width, 4): red, green, blue, alpha.
    """

    path: str
    category: str
    caption: str
    pixels: np.ndarray

    @property
    def stem(self) -> str:
        """The path without its suffix, as `FAMILIES` names it."""
        return self.path.rpartition(".")[0]

    @property
    def key(self) -> str:
        """SHA-256 of the size and pixels, by which stamps are ordered."""
        head = f"{self.pixels.shape[0]} {self.pixels.shape[1]} ".encode()
        return hashlib.sha256(head + self.pixels.tobytes()).hexdigest()


def read_package(package: Path) -> list[Stamp]:
    """Read the chosen stamps.

    Args:
        package: The unpacked package.

    Returns:
        The stamps, in the order of `Stamp.key`.
    """
    stamps = []
    for category, folders in CATEGORIES.items():
        for folder, names in folders.items():
            for name in names.split():
                path = f"{folder}/{name if name.endswith('.svg') else name + '.png'}"
                file = package / STAMPS / path
                text = file.with_suffix(".txt").read_text(encoding="utf-8")
                caption = text.splitlines()[0].strip()
                stamps.append(Stamp(path, category, caption, reduce(open_stamp(file))))
    return sorted(stamps, key=lambda stamp: stamp.key)


def open_stamp(path: Path) -> Image.Image:
    """Open a stamp.

    Args:
        path: A PNG or SVG.

    Returns:
        An image of mode RGBA; an SVG is rendered `RENDERED` pixels high.

    Raises:
        ModuleNotFoundError: It is an SVG and resvg-py is not installed; the message says how.
    """
    if path.suffix == ".png":
        return Image.open(path).convert("RGBA")
    try:
        resvg = importlib.import_module("resvg_py")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path.name} is rendered by resvg: pip install resvg-py==0.5.0"
        ) from error
    png = resvg.svg_to_bytes(svg_path=str(path), height=RENDERED, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def reduce(image: Image.Image) -> np.ndarray:
    """Crop to what is visible and reduce to `LONGEST` pixels; smaller images keep their size.

    Args:
        image: An image of mode RGBA.

    Returns:
        uint8 of shape (height, width, 4); colors are 0 where alpha is 0.
    """
    alpha = np.asarray(image.getchannel("A")) >= VISIBLE
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    image = image.crop(
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    ).convert("RGBa")  # premultiplied, so that invisible pixels do not color the edge
    scale = min(1.0, LONGEST / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.array(image.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def signature(pixels: np.ndarray, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Describe the outline and the shading of a cut-out, whatever its colors.

    Args:
        pixels: uint8 of shape (height, width, 4).
        side: The cut-out is stretched to side x side.

    Returns:
        Outline, bool of shape (side, side), and luminance, float64 of the same shape.
    """
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    small = np.asarray(image).astype(float)
    return small[..., 3] >= 128, small[..., :3] @ np.array([0.299, 0.587, 0.114])


def look_alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two cut-outs are variants of one picture: equal, mirrored or recolored.

    Args:
        first: uint8 of shape (height, width, 4).
        second: Likewise.

    Returns:
        Whether their proportions agree within 8 %, their outlines by an intersection over union
        above 0.93 and the patterns of light and dark inside by a correlation above 0.8.
    """
    ratio = first.shape[0] * second.shape[1] / (first.shape[1] * second.shape[0])
    if not 0.92 < ratio < 1 / 0.92:
        return False
    outline, light = signature(first)
    for candidate in (second, second[:, ::-1]):
        other, other_light = signature(candidate)
        inside = outline & other
        if inside.sum() / (outline | other).sum() <= 0.93:
            continue
        a, b = (
            light[inside] - light[inside].mean(),
            other_light[inside] - other_light[inside].mean(),
        )
        if (a * b).sum() > 0.8 * np.sqrt((a * a).sum() * (b * b).sum()):
            return True
    return False


def families(stamps: Sequence[Stamp]) -> list[str]:
    """Group the variants of one thing.

    Args:
        stamps: The stamps.

    Returns:
        The family of each: the smallest stem of its members.
    """
    parent = list(range(len(stamps)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    tied = [set(line.split()) for line in FAMILIES]
    for i, first in enumerate(stamps):
        for j in range(i):
            second = stamps[j]
            by_eye = any({first.stem, second.stem} <= group for group in tied)
            if by_eye or look_alike(first.pixels, second.pixels):
                parent[root(i)] = root(j)
    roots = [root(i) for i in range(len(stamps))]
    return [
        min(stamp.stem for stamp, other in zip(stamps, roots, strict=True) if other == mine)
        for mine in roots
    ]


def divide(stamps: Sequence[Stamp], family: Sequence[str]) -> list[str]:
    """Choose the split of each stamp: 20 % of each category's families for validation and test.

    Args:
        stamps: The stamps, in the order of `Stamp.key`.
        family: The family of each.

    Returns:
        The split of each.
    """
    split = {}
    for category in CATEGORIES:
        members = [f for s, f in zip(stamps, family, strict=True) if s.category == category]
        order = sorted(set(members), key=lambda f: hashlib.sha256(f.encode()).hexdigest())
        test = max(1, round(TEST_SHARE * len(order)))
        validation = max(1, round(VALIDATION_SHARE * len(order)))
        for place, name in enumerate(order):
            split[name] = SPLITS[2 if place < test else 1 if place < test + validation else 0]
    return [split[name] for name in family]


def build(package: Path, output: Path) -> None:
    """Write ``objects.npz`` and ``objects.tsv``.

    Args:
        package: The unpacked package.
        output: The folder to write to.
    """
    stamps = read_package(package)
    family = families(stamps)
    rows = zip(stamps, family, divide(stamps, family), strict=True)
    with (output / "objects.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        writer.writerow(["path", "category", "split", "family", "caption"])
        for stamp, name, split in rows:
            writer.writerow([stamp.path, stamp.category, split, name, stamp.caption])
    arrays = {
        "pixels": np.concatenate([stamp.pixels.reshape(-1, 4) for stamp in stamps]),
        "sizes": np.array([stamp.pixels.shape[:2] for stamp in stamps], dtype=np.int32),
    }
    write_npz(output / "objects.npz", arrays)


if __name__ == "__main__":
    sys.exit(
        main("scenes", build, "the unpacked Debian package tuxpaint-stamps-default 2022.06.04-1")
    )
