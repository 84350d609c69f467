"""Tasks whose answer is a list of input positions: sorting, hulls, triangulations, short tours.

They follow Vinyals, Fortunato and Jaitly, "Pointer Networks" (2015), section 3. All return
`Pointers`: a target is the number of an input, counted from 1, and 0 (`END`) closes the list. A
network that puts a learned END vector before the encoded inputs can point at both, and cropping
or padding a batch changes no target. ``data.order(i)`` gives positions counted from 0.

Points are float32 multiples of 2⁻²⁴ in the unit square, so differences and products of
coordinates are exact in float64 and so is the side of a line on which a point lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from coursekit.data.tasks.sequences import IGNORE, Lengths, check_least, check_range

END = 0
LARGEST_TOUR = 10  # cities; the table of Held and Karp doubles with each
Points = NDArray[np.float32] | NDArray[np.float64]
Orders = list[list[int]]


@dataclass(frozen=True)
class Pointers:
    """A batch of padded inputs with the positions to point at.

    Attributes:
        task: Name of the task.
        points: float32 of shape (n, max_points, dimensions) in [0, 1), zero behind an example's
            length; one dimension for sorting, two for points of the plane.
        lengths: Points of each example, int64 of shape (n,).
        targets: int64 of shape (n, max_outputs): points counted from 1, then END = 0, then -100,
            which cross_entropy leaves out.
        target_lengths: Outputs of each example with END, int64 of shape (n,).
    """

    task: str
    points: Float[Tensor, "n max_points dimensions"]
    lengths: Int[Tensor, " n"]
    targets: Int[Tensor, "n max_outputs"]
    target_lengths: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        low, high = int(self.lengths.min()), int(self.lengths.max())
        return f"Pointers({len(self):,} examples of {self.task}, {low} to {high} points)"

    def order(self, index: int) -> list[int]:
        """Give the answer of an example as positions.

        Args:
            index: Number of the example.

        Returns:
            Positions in ``points[index]``, counted from 0, without END.
        """
        end = int(self.target_lengths[index]) - 1
        return (self.targets[index, :end] - 1).tolist()


def sorting(examples: int, lengths: Lengths = (5, 10), *, seed: int) -> Pointers:
    """Draw the sorting task: point at the numbers from the smallest to the largest.

    Args:
        examples: Number of examples.
        lengths: Smallest and largest count of numbers, uniform in [0, 1).
        seed: The same seed gives the same bytes.

    Returns:
        Points of one dimension; equal numbers, one in millions, keep their order.

    Raises:
        ValueError: An argument is out of its range.
    """

    def answer(points: Points) -> Orders:
        return np.argsort(points[..., 0], axis=1, kind="stable").tolist()

    return _draw("sorting", examples, lengths, 1, answer, seed, dimensions=1)


def convex_hull(
    examples: int, points: Lengths = (5, 10), *, sort_by_x: bool = False, seed: int
) -> Pointers:
    """Draw planar convex hulls: point at the corners counter-clockwise.

    The list starts at the corner of the lowest number. Points are uniform in the unit square.

    Args:
        examples: Number of examples.
        points: Smallest and largest number of points; the paper takes 5 to 50, tests up to 500.
        sort_by_x: Number the points from left to right, which makes learning faster.
        seed: The same seed gives the same bytes.

    Returns:
        The points and the corners.

    Raises:
        ValueError: An argument is out of its range.

    Source: Vinyals et al. (2015), section 3.1.
    """
    return _draw("convex hull", examples, points, 3, hulls, seed, sort_by_x=sort_by_x)


def delaunay(
    examples: int, points: Lengths = (5, 5), *, sort_by_x: bool = False, seed: int
) -> Pointers:
    """Draw Delaunay triangulations: point at the three corners of each triangle.

    The canonical order of the paper: within a triangle numbers increase, and triangles are
    ordered by their incenter, first by x, then by y. Points are uniform in the unit square.

    Args:
        examples: Number of examples.
        points: Smallest and largest number of points; the paper takes 5, 10 and 50.
        sort_by_x: Number the points from left to right.
        seed: The same seed gives the same bytes.

    Returns:
        The points and the corners, three a triangle in a row.

    Raises:
        ValueError: An argument is out of its range.

    Source: Vinyals et al. (2015), section 3.2; triangles by scipy.spatial.Delaunay.
    """

    def answer(group: Points) -> Orders:
        return [triangulate(row) for row in group]

    return _draw("Delaunay triangulation", examples, points, 3, answer, seed, sort_by_x=sort_by_x)


def tsp(examples: int, cities: Lengths = (5, 5), *, sort_by_x: bool = False, seed: int) -> Pointers:
    """Draw traveling-salesman tours: point at the cities along a shortest closed tour.

    The list starts at the first city and takes the direction in which the second city of the
    list has a lower number than the last. Cities are uniform in the unit square.

    Args:
        examples: Number of examples.
        cities: Smallest and largest number of cities, at most 10 (exact tours).
        sort_by_x: Number the cities from left to right.
        seed: The same seed gives the same bytes.

    Returns:
        The cities and the tour; the way back to the first city is not repeated.

    Raises:
        ValueError: An argument is out of its range.

    Source: Vinyals et al. (2015), section 3.3; tours by Held and Karp (1962).
    """
    check_range("cities", cities, 3, LARGEST_TOUR)
    return _draw("shortest tour", examples, cities, 3, shortest_tours, seed, sort_by_x=sort_by_x)


def _draw(
    task: str,
    examples: int,
    sizes: Lengths,
    least: int,
    answer: Callable[[Points], Orders],
    seed: int,
    dimensions: int = 2,
    sort_by_x: bool = False,
) -> Pointers:
    """Draw points, and answer all examples of one size together."""
    check_least("examples", examples, 1)
    check_range("lengths" if dimensions == 1 else "points", sizes, least)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(sizes[0], sizes[1], size=examples, endpoint=True)
    points = rng.random((examples, int(lengths.max()), dimensions), dtype=np.float32)
    points *= (np.arange(points.shape[1]) < lengths[:, None])[..., None]
    orders: Orders = [[]] * examples
    for size in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == size)
        group = points[rows, :size]
        if sort_by_x:
            by_x = np.argsort(group[..., 0], axis=1, kind="stable")
            group = np.take_along_axis(group, by_x[..., None], axis=1)
            points[rows, :size] = group
        for row, order in zip(rows.tolist(), answer(group), strict=True):
            orders[row] = order
    counts = np.array([len(order) for order in orders])
    targets = np.full((examples, counts.max() + 1), IGNORE)
    for example, order in enumerate(orders):
        targets[example, : len(order)] = order
    targets[targets != IGNORE] += 1
    targets[np.arange(examples), counts] = END
    arrays = (points, lengths, targets, counts + 1)
    return Pointers(task, *(torch.from_numpy(array) for array in arrays))


def hulls(points: Points) -> Orders:
    """Find convex hulls by gift wrapping, many sets at once.

    Args:
        points: Shape (n, points, 2), at least two a set.

    Returns:
        Positions of each set's corners, counter-clockwise, the lowest first. Points on an edge
        between two corners are no corners.
    """
    plane = points.astype(np.float64)
    rows, size = np.arange(len(plane)), plane.shape[1]
    start = np.lexsort((plane[..., 1], plane[..., 0]))[:, 0]  # leftmost, then lowest
    chains = [start]
    current, open_ = start, np.ones(len(plane), bool)
    for _ in range(size):  # a hull has no more corners, even where rounding misleads
        here = plane[rows, current]
        following = np.where(current == 0, 1, 0)
        for candidate in range(size):
            edge, other = plane[rows, following] - here, plane[:, candidate] - here
            side = edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]
            farther = (other**2).sum(axis=1) > (edge**2).sum(axis=1)
            better = (side < 0) | ((side == 0) & farther)  # the candidate lies to the right
            following = np.where(better & (candidate != current), candidate, following)
        open_ &= following != start
        chains.append(np.where(open_, following, -1))
        current = np.where(open_, following, current)
        if not open_.any():
            break
    found = []
    for chain in np.stack(chains, axis=1).tolist():
        corners = [corner for corner in chain if corner >= 0]
        first = corners.index(min(corners))
        found.append(corners[first:] + corners[:first])
    return found


def triangulate(points: ArrayLike) -> list[int]:
    """Triangulate a set of points by Delaunay's criterion.

    Args:
        points: Shape (points, 2), at least three, not all on a line.

    Returns:
        Positions, three a triangle in a row, in the order that `delaunay` describes.
    """
    from scipy.spatial import Delaunay

    plane = np.asarray(points, np.float64)
    triangles = np.sort(Delaunay(plane).simplices, axis=1)
    corners = plane[triangles]  # (triangles, 3, 2)
    # The incenter weights each corner by the length of the side opposite to it.
    sides = np.linalg.norm(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]], axis=-1)
    incenters = (sides[..., None] * corners).sum(axis=1) / sides.sum(axis=1, keepdims=True)
    return triangles[np.lexsort((incenters[:, 1], incenters[:, 0]))].ravel().tolist()


def shortest_tours(points: Points) -> Orders:
    """Find shortest closed tours by dynamic programming over sets of cities.

    Args:
        points: Shape (n, cities, 2), 3 to 10 cities.

    Returns:
        Positions along each tour, in the order that `tsp` describes.

    Raises:
        ValueError: There are fewer or more cities.

    Source: Held and Karp, "A dynamic programming approach to sequencing problems" (1962).
    """
    if not 3 <= points.shape[1] <= LARGEST_TOUR:
        raise ValueError(f"points must hold 3 to {LARGEST_TOUR} cities, got {points.shape[1]}")
    tours: Orders = []
    for start in range(0, len(points), 500):  # bounds the table to some 20 MB
        tours += _held_karp(points[start : start + 500].astype(np.float64))
    return tours


def _held_karp(plane: NDArray[np.float64]) -> Orders:
    examples, cities = plane.shape[:2]
    others = cities - 1  # city 0 is the start; city j + 1 is bit j of a set
    distance = np.linalg.norm(plane[:, :, None] - plane[:, None], axis=-1)
    between, home = distance[:, 1:, 1:], distance[:, 0, 1:]
    full = 2**others - 1
    cost = np.full((full + 1, others, examples), np.inf)  # of a way through a set to its last
    came = np.zeros((full + 1, others, examples), np.int64)
    for last in range(others):
        cost[1 << last, last] = home[:, last]
    for cities_seen in range(1, full + 1):
        members = [j for j in range(others) if cities_seen >> j & 1]
        for last in members if len(members) > 1 else []:
            ways = cost[cities_seen ^ (1 << last)] + between[:, :, last].T  # (others, n)
            came[cities_seen, last] = ways.argmin(axis=0)
            cost[cities_seen, last] = ways.min(axis=0)
    rows = np.arange(examples)
    last = (cost[full] + home.T).argmin(axis=0)
    remaining, tour = np.full(examples, full), []
    for _ in range(others):
        tour.append(last + 1)
        remaining, last = remaining ^ (1 << last), came[remaining, last, rows]
    orders = np.stack(tour, axis=1)
    backwards = orders[:, 0] > orders[:, -1]
    orders[backwards] = orders[backwards, ::-1]
    return [[0, *order] for order in orders.tolist()]


def tour_length(points: ArrayLike, order: Sequence[int]) -> float:
    """Measure a closed tour.

    Args:
        points: Shape (cities, 2).
        order: Positions along the tour; the way back to the first is added.

    Returns:
        The length, in the unit of the points.

    Raises:
        ValueError: `order` does not visit each city once.

    >>> tour_length([[0, 0], [0, 1], [1, 1], [1, 0]], [0, 1, 2, 3])
    4.0
    """
    plane = np.asarray(points, np.float64)
    if sorted(order) != list(range(len(plane))):
        raise ValueError(f"order must visit each of {len(plane)} cities once, got {list(order)}")
    way = plane[list(order)]
    return float(np.linalg.norm(way - np.roll(way, -1, axis=0), axis=1).sum())


def polygon_area(corners: ArrayLike) -> float:
    """Compute the signed area of a polygon.

    Args:
        corners: Shape (corners, 2), in order.

    Returns:
        The area, positive where the corners run counter-clockwise.

    >>> polygon_area([[0, 0], [1, 0], [1, 1], [0, 1]])
    1.0
    """
    x, y = np.asarray(corners, np.float64).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def is_simple(corners: ArrayLike) -> bool:
    """Say whether a polygon has at least three different corners and does not cross itself.

    Args:
        corners: Shape (corners, 2), in order.

    Returns:
        False also where an edge only touches another that is not its neighbor.

    >>> is_simple([[0, 0], [1, 1], [1, 0], [0, 1]])
    False
    """
    plane = np.asarray(corners, np.float64).reshape(-1, 2)
    size = len(plane)
    if size < 3 or len(np.unique(plane, axis=0)) < size:
        return False
    ends = np.roll(plane, -1, axis=0)
    first, second = np.triu_indices(size, 2)
    apart = (first > 0) | (second < size - 1)  # the last edge is a neighbor of the first
    a, b, c, d = plane[first], ends[first], plane[second], ends[second]
    crossing = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0)
    overlap = (np.maximum(a, b) >= np.minimum(c, d)) & (np.maximum(c, d) >= np.minimum(a, b))
    touching = (crossing & overlap.all(axis=1))[apart].any()
    folded = (_side(plane, ends, np.roll(plane, -2, axis=0)) == 0) & (
        ((ends - plane) * (np.roll(plane, -2, axis=0) - ends)).sum(axis=1) < 0
    )
    return not touching and not folded.any()


def _side(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give 1 where c lies to the left of the line from a to b, -1 to its right, 0 on it."""
    edge, other = b - a, c - a
    return np.sign(edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0])


def area_coverage(points: ArrayLike, predicted: Sequence[int]) -> float | None:
    """Measure how much of the convex hull a predicted polygon covers.

    Args:
        points: Shape (points, 2).
        predicted: Positions of the corners in order, counted from 0, without END.

    Returns:
        Area of the polygon by that of the hull, in [0, 1]; None if the polygon is not simple,
        which the paper reports as FAIL where it happens in over 1 % of the examples.

    Raises:
        ValueError: A position does not exist, or the points lie on a line.

    Source: Vinyals et al. (2015), section 4.2.

    >>> area_coverage([[0, 0], [1, 0], [1, 1], [0, 1]], [0, 1, 2])
    0.5
    """
    plane = np.asarray(points, np.float64)
    wrong = [position for position in predicted if not 0 <= position < len(plane)]
    if wrong:
        raise ValueError(f"predicted must hold positions 0 to {len(plane) - 1}, got {wrong[0]}")
    whole = polygon_area(plane[hulls(plane[None])[0]])
    if whole <= 0:
        raise ValueError(f"points must not lie on a line, got {len(plane)} that do")
    corners = plane[list(predicted)]
    if not is_simple(corners):
        return None
    return abs(polygon_area(corners)) / whole
