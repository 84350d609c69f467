"""Driving: geometry against brute force, signs, the closed loop, and the simulator's wrapper."""

import builtins
import math

import numpy as np
import pytest
import torch

from coursekit.data.driving import (
    FAR,
    HALF_WIDTH,
    MARKING,
    MAX_STEERING,
    SPACING,
    Camera,
    CarRacing,
    Cars,
    Drive,
    Lighting,
    MissingPackageError,
    Roads,
    draw,
    drive,
    driving,
    expert,
    make_roads,
    render,
)


def place(distance, offset=0.0, heading=0.0, road=0):
    """Put cars on roads; numbers are repeated to the longest list."""
    values = np.broadcast_arrays(*(np.atleast_1d(v) for v in (road, distance, offset, heading)))
    return Cars(values[0].astype(np.int64), *(v.astype(float) for v in values[1:]))


def world(roads, cars):
    """Positions x and y and directions of cars in the plane."""
    direction = roads.at(roads.headings, cars.road, cars.distance)
    center = roads.at(roads.positions, cars.road, cars.distance)
    right = np.stack([np.cos(direction), -np.sin(direction)], axis=-1)
    return center + cars.offset[:, None] * right, direction + cars.heading


def circle(curvature, length=200.0):
    return Roads.from_curvature(np.full((1, round(length / SPACING) + 1), float(curvature)))


@pytest.fixture(scope="module")
def roads():
    return make_roads(6, 400.0, seed=3)


def test_a_road_of_constant_curvature_is_a_circle():
    road = circle(1 / 50)
    distance = np.linalg.norm(road.positions[0] - [50, 0], axis=1)
    assert np.allclose(distance, 50, atol=0.01)
    assert road.positions[0, 20, 0] > 0, "positive curvature turns to the right"


def test_roads_keep_to_the_greatest_curvature_and_turn_to_both_sides():
    curvature = make_roads(20, 500.0, 0.03, seed=1).curvature
    assert 0.029 < curvature.max() <= 0.03 + 1e-12
    assert -0.03 - 1e-12 <= curvature.min() < -0.029
    assert 0.1 < (np.abs(curvature) < 1e-9).mean() < 0.4
    assert np.abs(np.diff(curvature)).max() <= 2 * 0.03 * SPACING / 12 + 1e-12


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    first, second, other = (driving(120, seed=seed) for seed in (5, 5, 6))
    for name in ("frames", "steering", "offsets", "headings", "roads"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.frames, other.frames)
    assert not torch.equal(first.steering, other.steering)


def test_a_car_that_steers_a_constant_command_drives_a_circle_whatever_the_road(roads):
    cars = place([20.0, 90.0, 150.0], [0.5, -1.0, 0.0], [0.1, -0.1, 0.0], [0, 1, 2])
    position, direction = world(roads, cars)
    command, meters = np.array([0.02, -0.05, 0.0]), 12.0
    moved, turned = world(roads, cars.moved(roads, command, meters))
    middle = direction + command * meters / 2
    chord = meters * np.sinc(command * meters / 2 / np.pi)
    expected = position + chord[:, None] * np.stack([np.sin(middle), np.cos(middle)], axis=-1)
    assert np.allclose(moved, expected, atol=0.02)
    assert np.allclose(turned, direction + command * meters, atol=1e-3)


def test_a_car_moved_sideways_looks_the_same_way_from_the_right_place(roads):
    cars = place([20.0, 90.0, 150.0], [0.5, -1.0, 0.0], [0.2, -0.3, 0.0], [0, 1, 2])
    position, direction = world(roads, cars)
    moved, turned = world(roads, cars.displaced(roads, 0.8))
    right = np.stack([np.cos(direction), -np.sin(direction)], axis=-1)
    assert np.allclose(moved, position + 0.8 * right, atol=5e-3)
    assert np.allclose(turned, direction, atol=2e-3)


def test_expert_comes_back_along_the_critically_damped_curve():
    road, r = circle(0.0), 6.0
    cars = place(10.0, 0.5)
    for meters in range(1, 25):
        for _ in range(20):
            cars = cars.moved(road, expert(road, cars, r), 0.05)
        assert cars.offset[0] == pytest.approx(
            0.5 * (1 + meters / r) * math.exp(-meters / r), abs=0.01
        )


def test_expert_on_the_line_steers_the_curvature_of_its_own_circle():
    road = circle(0.04)
    assert expert(road, place(50.0))[0] == pytest.approx(0.04)
    assert expert(road, place(50.0, 2.0), recovery=1e9)[0] == pytest.approx(0.04 / (1 - 0.08))


def brute_force(road, cars, camera, shift=0.0, fine=6):
    """Part of road and of marking in each pixel, from the nearest point of a fine center line."""
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    rows = (np.arange(camera.rows)[:, None] + steps).reshape(-1)
    columns = (np.arange(camera.columns)[:, None] + steps).reshape(-1) - (camera.columns - 1) / 2
    focal = camera.columns / 2 / math.tan(camera.field_of_view / 2)
    slope = (rows - (camera.rows - 1) / 2) / focal
    down = math.sin(camera.pitch) + slope * math.cos(camera.pitch)
    ahead = math.cos(camera.pitch) - slope * math.sin(camera.pitch)
    scale = np.where(down > 0, camera.elevation / np.maximum(down, 1e-9), np.inf)
    position, direction = world(road, cars)
    sine, cosine = math.sin(direction[0]), math.cos(direction[0])
    scale = np.minimum(scale, 1e6)  # the horizon
    z = (scale * ahead)[:, None]
    x = scale[:, None] * columns / focal + shift
    seen = np.broadcast_to((z > 0) & (z < FAR), x.shape)
    points = np.stack([x * cosine + z * sine, -x * sine + z * cosine], axis=-1)[seen] + position[0]
    place_ = np.arange(cars.distance[0] - 3, cars.distance[0] + 80, 0.1)
    line = road.at(road.positions, np.zeros(len(place_), np.int64), place_)
    nearest = np.concatenate(
        [
            np.sqrt(((part[:, None] - line) ** 2).sum(-1).min(1))
            for part in np.array_split(points, len(points) // 2000 + 1)
        ]
    )
    result = []
    for low, high in ((0.0, HALF_WIDTH), (HALF_WIDTH - MARKING, HALF_WIDTH)):
        inside = np.zeros(x.shape)
        inside[seen] = (nearest >= low) & (nearest < high)
        result.append(inside.reshape(camera.rows, fine, camera.columns, fine).mean((1, 3)))
    return result


@pytest.mark.parametrize(
    ("curvature", "offset", "heading", "shift"),
    [(0.0, 0.0, 0.0, 0.0), (0.03, -0.5, 0.05, 0.8), (-0.04, 0.8, -0.1, 0.0), (0.02, 0, 0.3, -0.8)],
)
def test_picture_agrees_with_the_distance_of_every_ray_from_the_center_line(
    curvature, offset, heading, shift
):
    camera, road, cars = Camera(rows=30, columns=40), circle(curvature), place(40, offset, heading)
    drawn = render(road, cars, camera, shift)[0].numpy()
    inside, marking = brute_force(road, cars, camera, shift)
    ground = camera.ground(np.arange(30.0) - 0.5)[0] < FAR  # rows that lie below FAR as a whole
    grass, asphalt, white = 0.50972, 0.34228, 0.94658  # luminance of the colors
    expected = grass + (asphalt - grass) * inside + (white - asphalt) * marking
    difference = np.abs(drawn - expected)[ground]
    assert difference.mean() < 0.008
    assert (difference < 0.12).mean() > 0.985


def test_the_mirrored_road_gives_the_mirrored_picture_and_the_opposite_command(roads):
    camera = Camera(rows=40, columns=80, color=True)
    cars = place(np.linspace(20, 300, 40), 0.4, -0.05, np.arange(40) % 6)
    other = Cars(cars.road, cars.distance, -cars.offset, -cars.heading)
    mirrored = roads.mirrored()
    for shift in (-0.8, 0.0, 0.8):
        frames = render(roads, cars, camera, shift)
        assert torch.equal(render(mirrored, other, camera, -shift), frames.flip(-1))
    assert np.array_equal(expert(mirrored, other), -expert(roads, cars))


def test_no_road_is_drawn_behind_a_sharp_bend_and_after_the_end():
    camera = Camera(rows=40, columns=40)
    ahead = camera.ground(np.arange(40.0))[0]
    u_turn = render(circle(0.1, 100), place(30.0), camera)[0]
    assert torch.allclose(u_turn[(ahead > 13) & (ahead < 500)], torch.tensor(0.5097), atol=1e-4)
    end = render(circle(0.0, 100), place(80.0), camera)[0]
    grass = end[(ahead > 22) & (ahead < 500)]
    assert torch.allclose(grass, torch.tensor(0.5097), atol=1e-4)
    assert (end[(ahead > 8) & (ahead < 18)] != grass[0, 0]).any(1).all()


def test_flipping_a_recording_twice_gives_it_back_and_once_changes_every_sign():
    data = driving(40, seed=2)
    flipped = data.flipped()
    assert torch.equal(flipped.steering[:, 1], -data.steering[:, 1])
    assert torch.equal(flipped.frames[:, 0], data.frames[:, 2].flip(-1))
    assert torch.equal(flipped.offsets[:, 2], -data.offsets[:, 0])
    assert torch.equal(flipped.flipped().frames, data.frames)
    assert torch.equal(flipped.flipped().headings, data.headings)


@pytest.mark.parametrize("color", [False, True])
def test_recording_has_the_stated_shapes_and_ranges(color):
    data = driving(130, Camera(color=color), seed=0)
    assert data.frames.shape == ((130, 3, 3, 20, 40) if color else (130, 3, 20, 40))
    assert data.frames.dtype == data.steering.dtype == torch.float32
    assert data.roads.dtype == torch.int64
    assert data.roads.bincount().tolist() == [65, 65]
    assert data.frames.min() >= 0
    assert data.frames.max() <= 1
    assert data.steering.abs().max() <= MAX_STEERING


def test_outer_cameras_stand_beside_and_are_labelled_to_lead_back():
    data = driving(300, seed=1)
    assert torch.allclose(data.offsets[:, 0], data.offsets[:, 1] - 0.8, atol=2e-3)
    assert torch.allclose(data.offsets[:, 2], data.offsets[:, 1] + 0.8, atol=2e-3)
    assert (data.steering[:, 0] > data.steering[:, 1] + 0.015).all(), "left camera: go right"
    assert (data.steering[:, 2] < data.steering[:, 1] - 0.015).all()


def test_outer_camera_sees_what_a_car_there_would_see(roads):
    cars = place([50.0, 120.0], 0.2, 0.03, [0, 1])
    there = cars.displaced(roads, 0.8)
    assert torch.allclose(render(roads, cars, shift=0.8), render(roads, there), atol=0.03)


def test_steering_can_be_read_from_the_picture():
    train, test = driving(600, seed=1, noise=0.01), driving(200, seed=2, noise=0.01)
    inputs = [
        torch.nn.functional.pad(d.frames.flatten(2).flatten(0, 1), (0, 1), value=1.0)
        for d in (train, test)
    ]
    targets = [d.steering.flatten() for d in (train, test)]
    ridge = 3.0 * torch.eye(inputs[0].shape[1])
    weights = torch.linalg.solve(inputs[0].T @ inputs[0] + ridge, inputs[0].T @ targets[0])
    error = (inputs[1] @ weights - targets[1]).square().mean()
    assert error < 0.2 * targets[1].var()


def test_expert_stays_on_the_road_and_needs_nobody(roads):
    result = drive("expert", roads, seed=0)
    assert result.time_on_road == 1
    assert result.autonomy == 1
    assert result.mean_offset < 0.2
    assert result.offsets.shape == (6, 335)


def test_a_policy_that_never_turns_leaves_the_road(roads):
    with_help = drive(lambda frames: torch.zeros(len(frames)), roads, seed=0)
    alone = drive(lambda frames: torch.zeros(len(frames)), roads, seed=0, takeover=False)
    assert with_help.interventions.sum() > 20
    assert alone.interventions.sum() == 6
    assert alone.time_on_road < 0.5 < with_help.time_on_road < 0.97
    assert with_help.autonomy == 0


def test_a_policy_sees_frames_that_a_controller_can_steer_by(roads):
    def towards_the_dark(frames):
        """Steer to where the asphalt is: brightness of the left against the right half."""
        assert frames.shape == (6, 20, 40)
        assert frames.dtype == torch.float32
        return 0.6 * (frames[:, 8:, :20].mean((1, 2)) - frames[:, 8:, 20:].mean((1, 2)))

    options = {"seed": 0, "noise": 0.0, "gust": 0.0, "takeover": False}
    blind = drive(lambda frames: torch.zeros(len(frames)), roads, **options)
    assert drive(towards_the_dark, roads, **options).time_on_road > blind.time_on_road + 0.1


def test_commands_are_limited_and_recorded(roads):
    result = drive(lambda frames: torch.full((len(frames),), 9.0), roads, seed=0)
    assert (result.steering == MAX_STEERING).all()


def test_measures_follow_their_definitions():
    offsets = torch.tensor([[0.0, 1.0, 2.5, 3.0]] * 50)
    interventions = torch.zeros(50, 4, dtype=torch.bool)
    interventions[0, 3] = True
    result = Drive(offsets, offsets, offsets, interventions, seconds=0.5)
    assert result.time_on_road == 0.5
    assert result.autonomy == pytest.approx(1 - 6 / 100)
    assert result.mean_offset == pytest.approx(1.625)
    assert repr(result) == "Drive(50 cars of 2 s, 50.0% on the road, 1 interventions)"


def test_light_changes_pixels_as_stated(roads):
    cars = place([50.0, 120.0])
    plain = render(roads, cars)
    light = Lighting(np.array([0.5, 1.0]), np.array([0.1, 0.0]), np.array([0.0, 0.1]), noise=0.0)
    frames = render(roads, cars, lighting=light)
    assert torch.allclose(frames[0], 0.5 * plain[0] + 0.1, atol=1e-6)
    side = torch.linspace(-1, 1, 40)
    assert torch.allclose(frames[1], (plain[1] + 0.1 * side).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Camera(rows=2), "rows must be at least 4, got 2"),
        (lambda: Camera(pitch=-1), "pitch must be above 0, got -1"),
        (lambda: Camera(pitch=1.5), "lowest row ahead"),
        (lambda: Camera(field_of_view=4), "field_of_view must be below pi, got 4"),
        (lambda: make_roads(0, seed=0), "count must be at least 1, got 0"),
        (lambda: make_roads(1, 50, seed=0), "length must be at least 100 m, got 50"),
        (lambda: make_roads(1, max_curvature=1, seed=0), r"max_curvature must lie in .*, got 1"),
        (lambda: Roads.from_curvature(np.zeros(9)), r"shape \(n, points\), got \(9,\)"),
        (lambda: Roads.from_curvature(np.ones((1, 9))), r"stay below 0.25 1/m, got 1.0"),
        (lambda: driving(0, seed=0), "examples must be at least 1, got 0"),
        (lambda: driving(1, seed=0, jitter=-1), "jitter must be at least 0, got -1"),
        (lambda: driving(1, seed=0, camera_shift=0), "camera_shift must be above 0, got 0"),
        (lambda: expert(circle(0), place(1.0), 0), "recovery must be above 0, got 0"),
        (lambda: drive("expert", circle(0, 60), seed=0), "roads must be longer than 66.0 m"),
        (lambda: drive("expert", circle(0), seed=0, speed=0), "speed must be above 0, got 0"),
        (lambda: drive("expert", circle(0), seed=0, gust=math.nan), "gust must be .* got nan"),
        (lambda: drive("me", circle(0), seed=0), "callable or \"expert\", got 'me'"),
        (lambda: drive(lambda f: f, circle(0), seed=0), r"shape \(1,\), got \(1, 20, 40\)"),
        (lambda: drive(lambda f: [math.inf], circle(0), seed=0), "must return finite commands"),
        (lambda: render(circle(0), place(9), lighting=Lighting(*np.ones((3, 1)))), "rng must be"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.slow
def test_sheet_shows_three_cameras():
    figure = draw("driving")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "left",
        "center",
        "right",
    ]


@pytest.mark.slow
def test_simulator_is_recorded_and_driven():
    pytest.importorskip("Box2D", reason="gymnasium[box2d] is not installed")
    race = CarRacing(rows=21, columns=24)
    data = race.record(60, seed=1, per_track=40)
    assert data.frames.shape == (60, 21, 24)
    assert 0 <= data.frames.min() < data.frames.max() <= 1
    assert data.steering.abs().max() <= 1
    assert data.steering.std() > 0.1
    assert data.tracks.bincount().tolist() == [40, 20]
    again = race.record(60, seed=1, per_track=40)
    assert torch.equal(data.frames, again.frames)
    assert torch.equal(data.steering, again.steering)
    assert race.drive("expert", seed=2, steps=200) == 1
    assert race.drive(lambda frames: torch.ones(1), seed=2, steps=200) < 0.5
    with pytest.raises(ValueError, match=r"shape \(1,\), got \(\)"):
        race.drive(lambda frames: torch.tensor(0.0), seed=2)


def test_missing_simulator_says_what_to_install(monkeypatch):
    imports = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("gymnasium"):
            raise ModuleNotFoundError("No module named 'gymnasium'")
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match=r'pip install "gymnasium\[box2d\]'):
        CarRacing()


def test_simulator_refuses_frames_larger_than_its_picture():
    with pytest.raises(ValueError, match=r"rows must lie in \[4, 84\], got 96"):
        CarRacing(rows=96)
