"""Pictures of the generated tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from coursekit.data.tasks import geometry, languages, sequences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Lines = list[tuple[str, str, "np.ndarray | None"]]
BLUE, GRAY = "#0072B2", "#6E6E6E"
_TITLES = {
    "copy": "Random vectors to repeat after a delimiter (Neural Turing Machine)",
    "repeat-copy": "Random vectors to repeat a given number of times, with an end marker",
    "associative-recall": "Shown one item again, the item after it is the answer",
    "priority-sort": "Random vectors to write in the order of their priorities",
    "adding": "The adding problem: the sum of two marked numbers, seen long ago",
    "parity": "Whether the number of ones so far is odd",
    "addition": "Two numbers to add, read digit by digit",
    "memorization": "A string of symbols to repeat",
    "sorting": "Numbers to sort by pointing at them",
    "convex-hull": "Points of the plane and the corners of their convex hull",
    "delaunay": "Points of the plane and their Delaunay triangles",
    "tsp": "Cities and a shortest tour, exact up to 10 cities",
    "formal-languages": "Strings to count or stack, with the symbols that can be predicted",
}


def draw(name: str) -> Figure:
    """Draw a few examples of a generator.

    Args:
        name: The task's name in `coursekit.data.generated`.

    Returns:
        The figure.
    """
    return _PICTURES[name](_TITLES[name])


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure


def _vectors(make: Callable[[], sequences.Sequences], extra: dict[str, list[str]]) -> Any:
    """Draw inputs above targets, black on white; `extra` names the channels after the vectors."""

    def picture(title: str) -> Figure:
        from matplotlib.ticker import MaxNLocator

        data = make()
        figure = _figure(9.6, 4.4, title)
        axes = figure.subplots(2, len(data), squeeze=False)
        for column in range(len(data)):
            steps = int(data.lengths[column])
            asked = data.mask[column, :steps].numpy()
            for axis, kind in zip(axes[:, column], ("inputs", "targets"), strict=True):
                grid = np.stack([_shade(row) for row in getattr(data, kind)[column, :steps].T])
                extent = (-0.5, steps - 0.5, len(grid) - 0.5, -0.5)
                look: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "aspect": "auto"}
                axis.imshow(grid, extent=extent, **look)
                if kind == "targets":
                    axis.imshow(np.where(asked, np.nan, 0.12)[None], extent=extent, **look)
                names = extra[kind]
                bits = len(grid) - len(names)
                places = [(bits - 1) / 2, *range(bits, len(grid))]
                axis.set_yticks(places, ["vector", *names], fontsize=8)
                axis.hlines(np.arange(bits, len(grid)) - 0.5, -0.5, steps - 0.5, color=GRAY, lw=0.5)
                axis.set_title(kind, fontsize=9)
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
                axis.tick_params(labelsize=8, length=2)
            axes[1, column].set_xlabel("step (gray: not asked)", fontsize=8)
        return figure

    return picture


def _shade(channel: Any) -> np.ndarray:
    """Bring a channel of shape (steps,) to [0, 1]; of a real one, what is not 0 to [0.15, 1]."""
    values = channel.numpy()
    if set(np.unique(values)) <= {0, 1}:
        return values
    return np.where(values == 0, 0, 0.15 + 0.85 * (values.clip(-1.6, 1.6) + 1.6) / 3.2)


def _adding(title: str) -> Figure:
    data = sequences.adding(2, 40, seed=3)
    figure = _figure(9.6, 4.6, title)
    for index, axis in enumerate(figure.subplots(2, 1)):
        steps = int(data.lengths[index])
        numbers, markers = data.inputs[index, :steps].T.numpy()
        for marker, color in ((-1, GRAY), (0, "#BBBBBB"), (1, BLUE)):
            places = np.flatnonzero(markers == marker)
            axis.bar(places, numbers[places], color=color, label=f"marker {marker}")
        axis.axhline(0, color="black", lw=0.6)
        axis.set(xlim=(-1, steps), ylim=(-1.1, 1.1), ylabel="number")
        axis.set_title(f"target at the last step: {data.targets[index, steps - 1, 0]:.3f}", size=9)
    axis.set_xlabel("step")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, fontsize=8, loc="outside lower center")
    return figure


def _symbols(make: Callable[[], sequences.Sequences], alphabet: str) -> Any:
    """Write inputs and targets of token tasks under each other."""

    def picture(title: str) -> Figure:
        data = make()
        lines: Lines = []
        for i in range(len(data)):
            steps = int(data.lengths[i])
            read = " ".join(alphabet[symbol] for symbol in data.inputs[i, :steps])
            answers = data.targets[i, :steps].tolist()
            write = " ".join("·" if s == sequences.IGNORE else alphabet[s] for s in answers)
            lines += [("read ", read, None), ("write", write, None), ("", "", None)]
        blank = "\n- is the blank, · is not asked" if alphabet[0] == "-" else ""
        return _lines(lines[:-1], title + blank)

    return picture


def _lines(lines: Lines, title: str) -> Figure:
    """Write a label and a monospaced text a line; a mask makes symbols bold and underlined."""
    start = 0.85 * max(len(line[0]) for line in lines) + 2
    width = start + max(len(line[1]) for line in lines) + 1
    figure = _figure(max(5.0, 0.098 * width), 0.23 * len(lines) + 0.75, title)
    axis = figure.subplots()
    axis.set(xlim=(0, width), ylim=(len(lines), -0.4))
    axis.set_axis_off()
    style: dict[str, Any] = {"fontsize": 8.5, "va": "center", "parse_math": False}
    for row, (label, text, mask) in enumerate(lines):
        axis.text(0, row + 0.5, label, color=GRAY, **style)
        for column, symbol in enumerate(text):
            marked = mask is not None and bool(mask[column])
            look: dict[str, Any] = {"color": BLUE, "weight": "bold"} if marked else {}
            place = start + column + 0.5
            axis.text(place, row + 0.5, symbol, family="monospace", ha="center", **style, **look)
            if marked:
                axis.plot((place - 0.4, place + 0.4), (row + 0.92,) * 2, color=BLUE, lw=0.9)
    return figure


def _languages(title: str) -> Figure:
    lines: Lines = []
    for name, language in languages.LANGUAGES.items():
        data = languages.strings(name, 3, (4, 9), seed=1)
        for i in range(len(data)):
            mask = data.predictable[i, : int(data.lengths[i])].numpy()
            label = f"{name}: {language.title}" if i == 0 else ""
            lines.append((label, data.text(i) + ".", mask))
        lines.append(("", "", None))
    return _lines(lines[:-1], title + "\nbold, underlined: predictable")


def _sorting(title: str) -> Figure:
    data = geometry.sorting(5, (4, 9), seed=0)
    lines: Lines = []
    for i in range(len(data)):
        numbers = data.points[i, : int(data.lengths[i]), 0].tolist()
        targets = data.targets[i, : int(data.target_lengths[i])].tolist()
        lines.append(("numbers", " ".join(f"{number:.2f}" for number in numbers), None))
        lines.append(("targets", " ".join(f"{target:4d}" for target in targets), None))
        lines.append(("", "", None))
    return _lines(lines[:-1], title + "\ntargets count from 1; 0 is END")


def _plane(make: Callable[[], geometry.Pointers], kind: str) -> Any:
    """Draw numbered points with the polygon, triangles or tour of the answer."""

    def picture(title: str) -> Figure:
        data = make()
        figure = _figure(9.6, 3.9, title)
        for i, axis in zip(_spread(data, 3), figure.subplots(1, 3, sharey=True), strict=True):
            points = data.points[i, : int(data.lengths[i])].numpy()
            order = data.order(i)
            parts = [order] if kind != "triangles" else np.reshape(order, (-1, 3)).tolist()
            for part in parts:
                axis.fill(*points[part].T, fc="#DCEAF4" if kind != "tour" else "none", ec=BLUE)
            for number, point in enumerate(points, 1):
                first = kind != "triangles" and number == order[0] + 1
                axis.plot(*point, "s" if first else "o", mfc="white", mec=BLUE, ms=11)
                axis.text(*point, str(number), fontsize=8, ha="center", va="center")
            groups = [" ".join(str(p + 1) for p in part) for part in parts]
            targets = " | ".join(groups) + (" | 0" if len(groups) > 1 else " 0")
            if len(targets) > 40:
                middle = targets.index("|", len(targets) // 2 - 2)
                targets = targets[:middle] + "\n" + targets[middle:]
            axis.set_title(f"targets: {targets}", fontsize=8)
            axis.set(xlim=(-0.08, 1.08), ylim=(-0.08, 1.08), aspect="equal", xlabel="x")
            axis.tick_params(labelsize=8)
        figure.axes[0].set_ylabel("y")
        return figure

    return picture


def _spread(data: geometry.Pointers, count: int) -> list[int]:
    """Choose the examples whose closest points are farthest apart, so that numbers are readable."""
    closest = []
    for i in range(len(data)):
        points = data.points[i, : int(data.lengths[i])]
        apart = (points[:, None] - points).norm(dim=-1).fill_diagonal_(2)
        closest.append(float(apart.min()))
    return sorted(np.argsort(closest)[-count:].tolist())


_LETTERS = "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+="
_PICTURES: dict[str, Callable[[str], Figure]] = {
    "copy": _vectors(
        lambda: sequences.copy(2, (6, 12), seed=1), {"inputs": ["delimiter"], "targets": []}
    ),
    "repeat-copy": _vectors(
        lambda: sequences.repeat_copy(2, (3, 5), (2, 5), seed=4),
        {"inputs": ["delimiter", "repeats"], "targets": ["end"]},
    ),
    "associative-recall": _vectors(
        lambda: sequences.associative_recall(2, (3, 5), seed=0),
        {"inputs": ["item", "query"], "targets": []},
    ),
    "priority-sort": _vectors(
        lambda: sequences.priority_sort(2, 10, 8, seed=0),
        {"inputs": ["priority", "delimiter"], "targets": []},
    ),
    "adding": _adding,
    "parity": _symbols(lambda: sequences.parity(5, (5, 20), seed=0), "01"),
    "addition": _symbols(lambda: sequences.addition(5, (1, 8), seed=2), "-0123456789"),
    "memorization": _symbols(lambda: sequences.memorization(4, (4, 20), seed=0), _LETTERS),
    "sorting": _sorting,
    "convex-hull": _plane(lambda: geometry.convex_hull(60, (7, 12), seed=0), "hull"),
    "delaunay": _plane(lambda: geometry.delaunay(60, (6, 7), seed=0), "triangles"),
    "tsp": _plane(lambda: geometry.tsp(60, (7, 10), seed=0), "tour"),
    "formal-languages": _languages,
}
