"""Pointer tasks against scipy's hulls and triangulations, and tours against all permutations."""

import itertools
import time

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay

from coursekit.data import tasks
from coursekit.data.tasks.geometry import hulls, shortest_tours, triangulate

DRAWS = {
    "sorting": lambda n, seed: tasks.sorting(n, seed=seed),
    "convex hull": lambda n, seed: tasks.convex_hull(n, seed=seed),
    "delaunay": lambda n, seed: tasks.delaunay(n, (5, 8), seed=seed),
    "tsp": lambda n, seed: tasks.tsp(n, (3, 7), seed=seed),
}
every = pytest.mark.parametrize("name", DRAWS)


def examples(data):
    """Give the points and the answer of each example."""
    for i, length in enumerate(data.lengths.tolist()):
        yield data.points[i, :length].numpy(), data.order(i)


@every
def test_same_seed_same_bytes_and_another_seed_other_bytes(name):
    first, second, other = (DRAWS[name](50, seed) for seed in (3, 3, 4))
    for field in ("points", "lengths", "targets", "target_lengths"):
        assert torch.equal(getattr(first, field), getattr(second, field))
    assert first.points.numpy().tobytes() != other.points.numpy().tobytes()


@every
def test_targets_are_positions_from_one_then_end_then_padding(name):
    data = DRAWS[name](200, 0)
    for i, end in enumerate((data.target_lengths - 1).tolist()):
        row = data.targets[i].tolist()
        assert all(1 <= target <= data.lengths[i] for target in row[:end])
        assert row[end] == tasks.END
        assert set(row[end + 1 :]) <= {tasks.IGNORE}
        assert data.order(i) == [target - 1 for target in row[:end]]
    behind = torch.arange(data.points.shape[1]) >= data.lengths[:, None]
    assert not data.points[behind].any()
    assert (data.points >= 0).all()
    assert (data.points < 1).all()


@every
def test_sizes_fill_their_range(name):
    data = DRAWS[name](300, 0)
    low, high = int(data.lengths.min()), int(data.lengths.max())
    assert set(data.lengths.tolist()) == set(range(low, high + 1))
    assert high > low


def test_sorting_points_at_ascending_numbers():
    for points, order in examples(tasks.sorting(300, (1, 12), seed=0)):
        assert points[order, 0].tolist() == sorted(points[:, 0].tolist())


def test_ten_thousand_sorting_examples_take_less_than_a_second():
    start = time.process_time()
    tasks.sorting(10_000, seed=0)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("sizes", [(3, 3), (5, 10), (40, 50), (500, 500)])
def test_hull_is_scipy_s_counter_clockwise_from_the_lowest_corner(sizes):
    data = tasks.convex_hull(300 if sizes[1] < 100 else 10, sizes, seed=1)
    for points, order in examples(data):
        expected = ConvexHull(points).vertices.tolist()  # counter-clockwise in the plane
        first = expected.index(min(expected))
        assert order == expected[first:] + expected[:first]
        assert tasks.polygon_area(points[order]) > 0


def test_points_on_an_edge_are_no_corners():
    grid = np.array([[x, y] for x in range(3) for y in range(3)], np.float32)
    assert hulls(grid[None]) == [[0, 6, 8, 2]]


def test_hull_of_equal_points_ends():
    assert hulls(np.zeros((1, 4, 2), np.float32)) == [[0, 1]]


def test_sorted_points_ascend_in_x_and_have_the_same_hull():
    plain = tasks.convex_hull(50, seed=0)
    by_x = tasks.convex_hull(50, sort_by_x=True, seed=0)
    for (points, order), (moved, reordered) in zip(examples(plain), examples(by_x), strict=True):
        assert (np.diff(moved[:, 0]) >= 0).all()
        assert {tuple(p) for p in points[order]} == {tuple(p) for p in moved[reordered]}


def test_triangles_are_scipy_s_in_the_canonical_order():
    for points, order in examples(tasks.delaunay(200, (3, 12), seed=0)):
        triangles = np.reshape(order, (-1, 3)).tolist()
        assert all(triangle == sorted(triangle) for triangle in triangles)
        expected = {tuple(sorted(simplex)) for simplex in Delaunay(points).simplices.tolist()}
        assert {tuple(triangle) for triangle in triangles} == expected
        assert len(triangles) == len(expected)
        centers = [incenter(points[triangle].astype(float)) for triangle in triangles]
        assert centers == sorted(centers)


def incenter(corners):
    """Meet two bisectors of the angles, where the library weights corners by sides."""
    directions = []
    for k in (0, 1):
        left, right = corners[(k + 1) % 3] - corners[k], corners[(k + 2) % 3] - corners[k]
        directions.append(left / np.linalg.norm(left) + right / np.linalg.norm(right))
    matrix = np.stack([directions[0], -directions[1]], axis=1)
    along = np.linalg.solve(matrix, corners[1] - corners[0])[0]
    return tuple((corners[0] + along * directions[0]).round(9))


def test_no_point_lies_inside_the_circle_through_a_triangle():
    for points, order in examples(tasks.delaunay(50, (8, 8), seed=2)):
        plane = points.astype(float)
        for triangle in np.reshape(order, (-1, 3)):
            a, b, c = plane[triangle]
            matrix = 2 * np.stack([b - a, c - a])
            center = np.linalg.solve(matrix, [(b**2 - a**2).sum(), (c**2 - a**2).sum()])
            radius = np.linalg.norm(a - center)
            assert np.linalg.norm(plane - center, axis=1).min() > radius - 1e-9


def test_triangle_is_its_own_triangulation():
    assert triangulate([[0, 0], [1, 0], [0, 1]]) == [0, 1, 2]


@pytest.mark.parametrize("cities", [3, 4, 5, 6, 7])
def test_tour_is_the_shortest_of_all_permutations(cities):
    for points, order in examples(tasks.tsp(40, (cities, cities), seed=cities)):
        ways = [[0, *rest] for rest in itertools.permutations(range(1, cities))]
        lengths = np.array(ways)
        closed = points.astype(float)[np.concatenate([lengths, lengths[:, :1]], axis=1)]
        totals = np.linalg.norm(np.diff(closed, axis=1), axis=-1).sum(axis=1)
        assert tasks.tour_length(points, order) == pytest.approx(totals.min(), abs=1e-12)
        assert order[0] == 0
        assert order[1] < order[-1]
        assert order in ways


def test_no_exchange_of_two_edges_shortens_a_tour_of_ten():
    for points, order in examples(tasks.tsp(30, (10, 10), seed=0)):
        best = tasks.tour_length(points, order)
        for i, j in itertools.combinations(range(1, 11), 2):
            other = order[:i] + order[i:j][::-1] + order[j:]
            assert tasks.tour_length(points, other) >= best - 1e-12


def test_a_batch_of_tours_is_solved_as_each_alone():
    data = tasks.tsp(20, (8, 8), seed=1)
    for points, order in examples(data):
        assert shortest_tours(points[None]) == [order]


def test_tour_length_refuses_a_way_that_leaves_a_city_out():
    with pytest.raises(
        ValueError, match=r"order must visit each of 3 cities once, got \[0, 1, 1\]"
    ):
        tasks.tour_length([[0, 0], [1, 0], [1, 1]], [0, 1, 1])


SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.25]]


@pytest.mark.parametrize(
    ("predicted", "coverage"),
    [
        ([0, 1, 2, 3], 1.0),
        ([3, 2, 1, 0], 1.0),
        ([0, 1, 2], 0.5),
        ([0, 4, 1, 2, 3], 0.875),
        ([0, 2, 1, 3], None),
        ([0, 1], None),
        ([], None),
        ([0, 1, 2, 0], None),
    ],
)
def test_area_coverage_of_polygons_measured_by_hand(predicted, coverage):
    assert tasks.area_coverage(SQUARE, predicted) == coverage


@pytest.mark.parametrize("position", [-1, 5])
def test_area_coverage_refuses_a_position_that_does_not_exist(position):
    with pytest.raises(ValueError, match=f"positions 0 to 4, got {position}"):
        tasks.area_coverage(SQUARE, [0, 1, position])


def test_area_coverage_refuses_points_on_a_line():
    with pytest.raises(ValueError, match="points must not lie on a line"):
        tasks.area_coverage([[0, 0], [1, 1], [2, 2]], [0, 1, 2])


def test_true_hull_covers_everything_and_a_subset_less():
    for points, order in examples(tasks.convex_hull(100, (6, 20), seed=3)):
        assert tasks.area_coverage(points, order) == 1.0
        if len(order) > 3:
            assert 0 < tasks.area_coverage(points, order[1:]) < 1.0


def test_simple_polygons_agree_with_crossings_found_by_solving_for_them():
    rng = np.random.default_rng(0)
    kinds = {True: 0, False: 0}
    for _ in range(400):
        corners = rng.random((rng.integers(3, 7), 2))
        expected = not crosses(corners)
        assert tasks.is_simple(corners) == expected
        kinds[expected] += 1
    assert min(kinds.values()) > 100


def crosses(corners):
    """Solve for the meeting point of every two edges that are no neighbors."""
    size = len(corners)
    for i, j in itertools.combinations(range(size), 2):
        if (j - i) % size in (1, size - 1):
            continue
        a, b, c, d = corners[i], corners[(i + 1) % size], corners[j], corners[(j + 1) % size]
        s, t = np.linalg.solve(np.stack([b - a, c - d], axis=1), c - a)
        if 0 <= s <= 1 and 0 <= t <= 1:
            return True
    return False


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0], [2, 0], [1, 0]],  # folds back on itself
        [[0, 0], [2, 0], [2, 2], [1, 0]],  # a corner on another edge
        [[0, 0], [1, 0], [0, 0], [0, 1]],  # twice the same corner
    ],
)
def test_degenerate_polygons_are_not_simple(corners):
    assert not tasks.is_simple(corners)


def test_corner_on_a_straight_edge_keeps_a_polygon_simple():
    assert tasks.is_simple([[0, 0], [1, 0], [2, 0], [2, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tasks.sorting(0, seed=0), "examples must be at least 1, got 0"),
        (lambda: tasks.sorting(1, (0, 3), seed=0), "lengths must be"),
        (lambda: tasks.convex_hull(1, (2, 5), seed=0), r"points must be .* at least 3"),
        (lambda: tasks.delaunay(1, (2, 5), seed=0), "points must be"),
        (
            lambda: tasks.tsp(1, (5, 11), seed=0),
            r"cities must be .* within 3 and 10, got \(5, 11\)",
        ),
        (lambda: shortest_tours(np.zeros((1, 11, 2))), "points must hold 3 to 10 cities, got 11"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_repr_says_how_many_and_how_large():
    text = repr(tasks.convex_hull(2, (5, 5), seed=0))
    assert text == "Pointers(2 examples of convex hull, 5 to 5 points)"
