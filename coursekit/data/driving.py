"""Driving: a road seen by a camera, a car that follows it, a loop that measures time on the road.

The car of Bojarski et al., "End to End Learning for Self-Driving Cars" (2016), steers by the
inverse turning radius, in 1/m. Here it is negative to the left and positive to the right, as are
curvatures, offsets and headings. A car is where it is along the center line, beside it and against
its direction, so that every label is exact.

`driving` records what an expert does, `drive` lets any policy drive, and `CarRacing` does both in
the simulator of that name of gymnasium, where that package is installed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from coursekit.data.drawing import image_sheet
from coursekit.errors import UserError

SPACING = 0.5  # m between the points of a center line
HALF_WIDTH = 2.0  # m from the center line to the edge of the road
MARKING = 0.2  # m, width of the white line along each edge
FAR = 60.0  # m, the road is drawn up to here
MAX_STEERING = 0.2  # 1/m: the tightest turn has a radius of 5 m
INTERVENTION_SECONDS = 6.0  # what the paper charges for one
CAMERAS = ("left", "center", "right")
STEEPEST = 0.2  # the road is drawn until its direction is 78 degrees from the car's

_COLORS = {
    "sky": (0.62, 0.76, 0.95),
    "grass": (0.42, 0.60, 0.28),
    "asphalt": (0.34, 0.34, 0.36),
    "marking": (0.95, 0.95, 0.92),
}
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # Rec. 601

Array = NDArray[np.float64]


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the message says which to install."""


def _positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0, got {value}")


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the middle of the car, looking ahead and down.

    Attributes:
        rows: Height of a frame in pixels.
        columns: Width of a frame in pixels.
        color: Three channels instead of one.
        elevation: Height above the road in m.
        pitch: Angle below the horizon in rad.
        field_of_view: Horizontal angle of view in rad.

    Raises:
        ValueError: A size is below 4 pixels, or an angle or length is not positive, or the camera
            looks past the vertical.
    """

    rows: int = 20
    columns: int = 40
    color: bool = False
    elevation: float = 1.2
    pitch: float = 0.21
    field_of_view: float = 1.22

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            if getattr(self, name) < 4:
                raise ValueError(f"{name} must be at least 4, got {getattr(self, name)}")
        for name in ("elevation", "pitch", "field_of_view"):
            _positive(name, getattr(self, name))
        if self.field_of_view >= math.pi:
            raise ValueError(f"field_of_view must be below pi, got {self.field_of_view}")
        if self.pitch + math.atan(self.rows / 2 / self.focal_length) >= math.pi / 2:
            raise ValueError(f"pitch must leave the lowest row ahead of the car, got {self.pitch}")

    @property
    def focal_length(self) -> float:
        """Focal length in pixels."""
        return self.columns / 2 / math.tan(self.field_of_view / 2)

    def ground(self, row: Array) -> tuple[Array, Array]:
        """Say where image rows meet the flat ground.

        Args:
            row: Row coordinates; pixel centers are whole numbers.

        Returns:
            Distance ahead in m, infinite at and above the horizon; and the depth, which is m on the
            ground for one focal length in the image.
        """
        slope = (np.asarray(row, float) - (self.rows - 1) / 2) / self.focal_length
        down = math.sin(self.pitch) + slope * math.cos(self.pitch)
        ahead = math.cos(self.pitch) - slope * math.sin(self.pitch)
        depth = np.where(down > 1e-6, self.elevation / np.maximum(down, 1e-6), np.inf)
        return depth * ahead, depth


CAMERA = Camera()


@dataclass(frozen=True)
class Roads:
    """Center lines of equally long roads, sampled every `SPACING` m.

    Attributes:
        curvature: 1/m, positive to the right, of shape (n, points).
        headings: Direction in rad, clockwise from the y axis, of shape (n, points).
        positions: x and y in m, of shape (n, points, 2).
        shade: Brightness of the ground, 1 in the sun, of shape (n, points).
    """

    curvature: Array
    headings: Array
    positions: Array
    shade: Array

    def __len__(self) -> int:
        return len(self.curvature)

    def __repr__(self) -> str:
        return f"Roads({len(self):,} roads of {self.length:.0f} m)"

    @property
    def length(self) -> float:
        """Length in m."""
        return (self.curvature.shape[1] - 1) * SPACING

    @classmethod
    def from_curvature(cls, curvature: Array, shade: Array | None = None) -> Roads:
        """Lay roads of given curvature; they start at the origin in the direction of y.

        Args:
            curvature: 1/m, positive to the right, of shape (n, points), every `SPACING` m.
            shade: Brightness of the ground, of the same shape; all sun if left out.

        Returns:
            The roads.

        Raises:
            ValueError: The shape is another, or a curve is so tight that its inner edge folds.
        """
        curvature = np.asarray(curvature, dtype=np.float64)
        if curvature.ndim != 2 or curvature.shape[1] < 2:
            raise ValueError(f"curvature must have shape (n, points), got {curvature.shape}")
        if not np.abs(curvature).max(initial=0) < 0.5 / HALF_WIDTH:
            raise ValueError(
                f"curvature must stay below {0.5 / HALF_WIDTH} 1/m, got {np.abs(curvature).max()}"
            )
        turn = (curvature[:, :-1] + curvature[:, 1:]) / 2 * SPACING
        headings = np.pad(np.cumsum(turn, axis=1), ((0, 0), (1, 0)))
        middle = (headings[:, :-1] + headings[:, 1:]) / 2
        steps = np.stack([np.sin(middle), np.cos(middle)], axis=-1) * SPACING
        positions = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0), (0, 0)))
        return cls(
            curvature, headings, positions, np.ones_like(curvature) if shade is None else shade
        )

    def mirrored(self) -> Roads:
        """Mirror the roads: every left curve becomes the same curve to the right."""
        return Roads.from_curvature(-self.curvature, self.shade)

    def at(self, values: Array, road: NDArray[np.int64], distance: Array) -> Array:
        """Interpolate values along roads.

        Args:
            values: One of the arrays of the roads, of shape (n, points, …).
            road: Which road, of shape (cars,).
            distance: m along it, of shape (cars,); held within the road.

        Returns:
            Values of shape (cars, …).
        """
        place = np.clip(distance / SPACING, 0, self.curvature.shape[1] - 1)
        first = np.minimum(place.astype(np.int64), self.curvature.shape[1] - 2)
        part = (place - first).reshape(-1, *[1] * (values.ndim - 2))
        result: Array = values[road, first] * (1 - part) + values[road, first + 1] * part
        return result


def make_roads(
    count: int, length: float = 500.0, max_curvature: float = 0.04, *, seed: int
) -> Roads:
    """Lay roads at random: straights and arcs of 20 to 60 m, joined by transitions of 12 m.

    A quarter of the pieces is straight; the others have between a fifth and all of the greatest
    curvature, to either side. Shadows of 1 to 6 m lie across the roads, 20 m apart on average.

    Args:
        count: How many.
        length: m, at least 100.
        max_curvature: 1/m, of the tightest arc.
        seed: Seed of the generator.

    Returns:
        The roads.

    Raises:
        ValueError: An argument is out of range.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 100 <= length < math.inf:
        raise ValueError(f"length must be at least 100 m, got {length}")
    if not 0 <= max_curvature <= 0.1:
        raise ValueError(f"max_curvature must lie in [0, 0.1] 1/m, got {max_curvature}")
    rng = np.random.default_rng(seed)
    points = math.ceil(length / SPACING) + 1
    smooth = round(12 / SPACING)
    curvature, shade = np.empty((count, points)), np.ones((count, points))
    for i in range(count):
        pieces: list[Array] = []
        while sum(map(len, pieces)) < points + smooth:
            bend = 0.0 if rng.random() < 0.25 else rng.choice([-1, 1]) * rng.uniform(0.2, 1)
            pieces.append(np.full(round(rng.uniform(20, 60) / SPACING), bend * max_curvature))
        raw = np.concatenate(pieces)[: points + smooth]
        sums = np.pad(np.cumsum(raw), (1, 0))
        curvature[i] = ((sums[smooth:] - sums[:-smooth]) / smooth)[:points]
        start = rng.exponential(20.0)
        while start < length:
            stop = start + rng.uniform(1, 6)
            shade[i, round(start / SPACING) : round(stop / SPACING)] = rng.uniform(0.5, 0.9)
            start = stop + rng.exponential(20.0)
    return Roads.from_curvature(curvature, shade)


@dataclass(frozen=True)
class Cars:
    """Where cars are, each on a road.

    Attributes:
        road: Index of the road, of shape (cars,).
        distance: m along the center line, of shape (cars,).
        offset: m to the right of the center line, of shape (cars,).
        heading: rad to the right of the road's direction, of shape (cars,).
    """

    road: NDArray[np.int64]
    distance: Array
    offset: Array
    heading: Array

    def __len__(self) -> int:
        return len(self.road)

    def moved(self, roads: Roads, steering: Array, meters: float) -> Cars:
        """Drive on with a constant steering command.

        The car is a bicycle model whose steering command is the curvature of its path. In the
        coordinates of the road, a meter of driving changes the distance by cos ψ / (1 - κ d), the
        offset d by sin ψ, and the heading ψ by the command less κ times the change of the distance.
        Integrated by the classical Runge-Kutta method in steps of at most 1 m.

        Args:
            roads: The roads.
            steering: 1/m, positive to the right, of shape (cars,).
            meters: How far.

        Returns:
            The cars further on.
        """
        steps = max(1, math.ceil(meters))
        state = np.stack([self.distance, self.offset, self.heading])

        def change(state: Array) -> Array:
            curvature = roads.at(roads.curvature, self.road, state[0])
            along = np.cos(state[2]) / np.maximum(1 - curvature * state[1], 0.1)
            return np.stack([along, np.sin(state[2]), steering - curvature * along])

        size = meters / steps
        for _ in range(steps):
            a = change(state)
            b = change(state + size / 2 * a)
            c = change(state + size / 2 * b)
            d = change(state + size * c)
            state = state + size / 6 * (a + 2 * b + 2 * c + d)
        return Cars(self.road, *state)

    def displaced(self, roads: Roads, shift: float) -> Cars:
        """Move the cars sideways, at right angles to their own direction.

        Args:
            roads: The roads.
            shift: m to the right.

        Returns:
            Cars that look the same way; exact where the curvature is constant.
        """
        curvature = roads.at(roads.curvature, self.road, self.distance)
        across = 1 - curvature * (self.offset + shift * np.cos(self.heading))
        along = -curvature * shift * np.sin(self.heading)
        radius = np.hypot(across, along)
        bent = np.abs(curvature) > 1e-9
        safe = np.where(bent, curvature, 1.0)
        turn = np.arctan2(along, across)
        straight = self.offset + shift * np.cos(self.heading)
        return Cars(
            self.road,
            self.distance + np.where(bent, turn / safe, -shift * np.sin(self.heading)),
            np.where(bent, (1 - radius) / safe, straight),
            self.heading - turn,
        )


def expert(roads: Roads, cars: Cars, recovery: float = 6.0) -> Array:
    """Steer as a driver does who knows the road: follow its curve and come back to its center.

    On a straight road the offset d follows d'' + 2 d' / r + d / r² = 0 along the way: the
    critically damped return to the center with the length r.

    Args:
        roads: The roads.
        cars: Where the cars are.
        recovery: The length r in m.

    Returns:
        Steering commands in 1/m, positive to the right, of shape (cars,), within `MAX_STEERING`.

    Raises:
        ValueError: `recovery` is not positive.
    """
    _positive("recovery", recovery)
    curvature = roads.at(roads.curvature, cars.road, cars.distance)
    follow = curvature * np.cos(cars.heading) / np.maximum(1 - curvature * cars.offset, 0.1)
    back = -cars.offset / recovery**2 - 2 * np.sin(cars.heading) / recovery
    return np.clip(follow + back, -MAX_STEERING, MAX_STEERING)


@dataclass(frozen=True)
class Lighting:
    """Exposure of frames: pixels become gain · pixel + bias + slope · u, u from -1 (left) to 1.

    Attributes:
        gain: Of shape (frames,).
        bias: Of shape (frames,).
        slope: Of shape (frames,).
        noise: Standard deviation of the noise of each pixel.
    """

    gain: Array
    bias: Array
    slope: Array
    noise: float = 0.04

    @classmethod
    def sample(cls, frames: int, rng: np.random.Generator, noise: float = 0.04) -> Lighting:
        """Draw gains of 0.7 to 1.3, biases within 0.05 and slopes within 0.1.

        Args:
            frames: How many.
            rng: The generator.
            noise: Standard deviation of the noise of each pixel.

        Returns:
            The lighting.
        """
        draw = rng.uniform(-1, 1, (3, frames))
        return cls(1 + 0.3 * draw[0], 0.05 * draw[1], 0.1 * draw[2], noise)


def _center_lines(roads: Roads, cars: Cars, shift: float, ahead: Array) -> tuple[Array, ...]:
    """Find the road in each image row.

    Returns:
        For each frame and row, of shape (frames, rows): how far right the center line is in m, its
        direction against the car's in rad, its curvature in 1/m, and the brightness of the ground;
        the first is not a number where no road is drawn.
    """
    count = math.ceil(FAR * 1.5)  # points a meter apart: a bend of 78 degrees needs 1.25 times FAR
    stride = round(1 / SPACING)
    start = np.clip((cars.distance / SPACING).astype(np.int64) - 2 * stride, 0, None)
    index = start[:, None] + stride * np.arange(count)
    beyond = index >= roads.curvature.shape[1]
    index = np.minimum(index, roads.curvature.shape[1] - 1)
    road = cars.road[:, None]
    own = roads.at(roads.headings, cars.road, cars.distance)
    direction = own + cars.heading
    center = roads.at(roads.positions, cars.road, cars.distance)
    right = np.stack([np.cos(own), -np.sin(own)], axis=-1)
    relative = roads.positions[road, index] - (center + cars.offset[:, None] * right)[:, None]
    sine, cosine = np.sin(direction)[:, None], np.cos(direction)[:, None]
    forward = relative[..., 0] * sine + relative[..., 1] * cosine
    lateral = relative[..., 0] * cosine - relative[..., 1] * sine - shift
    turned = roads.headings[road, index] - direction[:, None]
    # Points in front of the first sharp bend, in the order of their distance ahead.
    sharp = (np.cos(turned) < STEEPEST) & (np.arange(count) > 2) | beyond
    forward = np.where(np.logical_or.accumulate(sharp, axis=1), np.inf, forward)
    before = (forward[:, None, :] <= ahead[:, None]).sum(-1) - 1  # (frames, rows)
    first = np.clip(before, 0, count - 2)
    near, far = (np.take_along_axis(forward, first + k, axis=1) for k in (0, 1))
    seen = (before >= 0) & np.isfinite(far)
    part = np.where(seen, (ahead - near) / np.where(seen, far - near, 1), 0)

    def between(values: Array) -> Array:
        left, right = (np.take_along_axis(values, first + k, axis=1) for k in (0, 1))
        return left + part * (right - left)

    curvature, shade = roads.curvature[road, index], roads.shade[road, index]
    lateral = np.where(seen, between(lateral), np.nan)
    return lateral, between(turned), between(curvature), np.where(seen, between(shade), 1.0)


def _cover(position: NDArray[np.float32], size: NDArray[np.float32], half: float) -> Any:
    """Say which part of each pixel, `size` wide, lies within `half` of the center line."""
    ends = (np.clip(position + sign * size / 2, -half, half) for sign in (1, -1))
    return np.subtract(*ends) / size


def render(
    roads: Roads,
    cars: Cars,
    camera: Camera = CAMERA,
    shift: float = 0.0,
    lighting: Lighting | None = None,
    rng: np.random.Generator | None = None,
) -> Float[Tensor, " cars *frame"]:
    """Draw what cameras see.

    The ground is flat. In every row the center line stands where the row meets the ground, and the
    distance of a pixel from it is that from its circle of curvature there. Edges are smoothed over
    the pixel. The road is not drawn where it lies beyond `FAR` or behind a bend of 78 degrees.

    Args:
        roads: The roads.
        cars: The cars that carry the cameras.
        camera: The kind of camera.
        shift: m by which it is mounted right of the middle.
        lighting: Exposure and noise of the frames; even light without noise if left out.
        rng: Source of the noise; needed if there is any.

    Returns:
        float32 frames in [0, 1] of shape (cars, rows, columns), or (cars, 3, rows, columns) in
        color.

    Raises:
        ValueError: There is noise but no `rng`.
    """
    rows = np.arange(camera.rows, dtype=float)
    ahead, depth = camera.ground(rows)
    ground = ahead < FAR * 20
    ahead, depth = ahead[ground], depth[ground]
    below, above = camera.ground(rows[ground] + 0.5)[0], camera.ground(rows[ground] - 0.5)[0]
    thickness = np.minimum(above, 2 * ahead - below) - below  # m of ground in a row
    columns = np.arange(camera.columns) - (camera.columns - 1) / 2
    lateral, turned, curvature, shade = _center_lines(roads, cars, shift, ahead)
    wide = depth / camera.focal_length
    size = wide * np.abs(np.cos(turned)) + thickness * np.abs(np.sin(turned))

    def rowwise(values: Array) -> NDArray[np.float32]:
        return values.astype(np.float32)[..., None]

    reach = 2 * HALF_WIDTH / STEEPEST
    across = np.clip(rowwise(wide) * columns.astype(np.float32) - rowwise(lateral), -reach, reach)
    normal = across * rowwise(np.cos(turned))
    sag = across * rowwise(np.sin(turned))
    bend = rowwise(curvature)
    normal = normal - bend * sag * sag / (2 * np.maximum(1 - bend * normal, 0.3))
    seen = ~np.isnan(normal)  # there is road in this row
    footprint = rowwise(size)
    road = np.where(seen, _cover(normal, footprint, HALF_WIDTH), 0)
    inner = np.where(seen, _cover(normal, footprint, HALF_WIDTH - MARKING), 0)
    light = rowwise(shade)

    channels = 3 if camera.color else 1
    frames = np.empty((len(cars), channels, camera.rows, camera.columns), np.float32)
    for channel in range(channels):
        sky, grass, asphalt, marking = (
            np.float32(color[channel] if camera.color else _LUMINANCE @ color)
            for color in _COLORS.values()
        )
        frames[:, channel, ~ground] = sky
        part = grass + (marking - grass) * road + (asphalt - marking) * inner
        frames[:, channel, ground] = part * light
    if lighting is not None:
        side = (columns / columns[-1]).astype(np.float32)
        gain, bias, slope = (
            value.astype(np.float32)[:, None, None, None]
            for value in (lighting.gain, lighting.bias, lighting.slope)
        )
        frames = frames * gain + bias + slope * side
        if lighting.noise > 0:
            if rng is None:
                raise ValueError(
                    "rng must be a generator where lighting.noise is above 0, got None"
                )
            noise = rng.standard_normal(frames.shape, dtype=np.float32)
            frames += np.float32(lighting.noise) * noise
        frames = frames.clip(0, 1)
    return torch.from_numpy(frames if camera.color else frames[:, 0])


@dataclass(frozen=True)
class Driving:
    """What three cameras saw while the expert drove, with what is to be done in each place.

    The middle column belongs to the camera in the middle of the car and to what the expert did.
    The outer columns say what the expert would do if the car were where that camera is: labels that
    lead back to the center.

    Attributes:
        frames: float32 in [0, 1] of shape (n, 3, rows, columns), or (n, 3, 3, rows, columns) in
            color; the second axis is `cameras`.
        steering: Inverse turning radius in 1/m, positive to the right, of shape (n, 3).
        offsets: m to the right of the center line, of shape (n, 3).
        headings: rad to the right of the road's direction, of shape (n, 3).
        roads: int64, which road, of shape (n,). Split by it: frames of one road are alike.
        cameras: Names of the cameras.
    """

    frames: Float[Tensor, "n cameras *frame"]
    steering: Float[Tensor, "n cameras"]
    offsets: Float[Tensor, "n cameras"]
    headings: Float[Tensor, "n cameras"]
    roads: Int[Tensor, " n"]
    cameras: tuple[str, ...] = CAMERAS

    def __len__(self) -> int:
        return len(self.roads)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.frames.shape[2:]))
        count = int(self.roads.max()) + 1
        return f"Driving({len(self):,} examples, 3 cameras of {shape}, {count:,} roads)"

    def flipped(self) -> Driving:
        """Mirror the frames left to right: cameras change places, every sign changes."""
        return Driving(
            self.frames.flip(-1).flip(1),
            -self.steering.flip(1),
            -self.offsets.flip(1),
            -self.headings.flip(1),
            self.roads,
            self.cameras,
        )


@dataclass(frozen=True)
class _Disturbances:
    """What pushes cars off their course: jitter at every step, and gusts."""

    jitter: float
    gust: float
    every: int

    def kick(self, step: int, cars: int, rng: np.random.Generator) -> Array:
        """Draw changes of the headings in rad, of shape (cars,)."""
        kick = self.jitter * rng.standard_normal(cars)
        if step % self.every == self.every - 1:
            kick += self.gust * rng.choice([-1.0, 1.0], cars)
        return kick


def driving(
    examples: int,
    camera: Camera = CAMERA,
    *,
    seed: int,
    max_curvature: float = 0.04,
    camera_shift: float = 0.8,
    jitter: float = 0.004,
    noise: float = 0.04,
) -> Driving:
    """Record an expert on random roads, a hundred frames a road, 4 m apart.

    Three cameras look at every place: one in the middle of the car, and one on each side whose
    label leads back to the center, as after Bojarski et al. (2016). The ground is flat, the road
    has one lane between two white lines, shadows lie across it, and the exposure differs from road
    to road. There are no other cars, no slopes, no crossings; speed is constant and plays no part.

    Args:
        examples: How many triples of frames.
        camera: The kind of camera.
        seed: Seed of the generator: other seeds give other roads.
        max_curvature: 1/m, of the tightest arc.
        camera_shift: m from the middle of the car to the outer cameras.
        jitter: Standard deviation in rad of the random change of the heading every meter; it is why
            the expert has anything to correct.
        noise: Standard deviation of the noise of each pixel.

    Returns:
        The recording.

    Raises:
        ValueError: An argument is out of range.

    >>> driving(50, seed=1)
    Driving(50 examples, 3 cameras of 20 x 40, 1 roads)
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    _positive("camera_shift", camera_shift)
    for name, value in (("jitter", jitter), ("noise", noise)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, got {value}")
    count, meters = math.ceil(examples / 100), 4
    rng = np.random.default_rng([seed, 1])
    per_road = math.ceil(examples / count)
    roads = make_roads(count, per_road * meters + 2 * FAR, max_curvature, seed=seed)
    push = _Disturbances(jitter, 0.0, 1)
    lighting = Lighting.sample(count, rng, noise)
    cars = Cars(np.arange(count), np.full(count, 5.0), np.zeros(count), np.zeros(count))
    frames, labels = [], []
    for step in range(per_road * meters):
        if step % meters == 0:
            views, values = [], []
            for shift in (-camera_shift, 0.0, camera_shift):
                views.append(render(roads, cars, camera, shift, lighting, rng))
                there = cars.displaced(roads, shift) if shift else cars
                values.append(np.stack([expert(roads, there), there.offset, there.heading]))
            frames.append(torch.stack(views, dim=1))  # (roads, cameras, …)
            labels.append(np.stack(values, axis=-1))  # (3, roads, cameras)
        cars = cars.moved(roads, expert(roads, cars), 1.0)
        cars = replace(cars, heading=cars.heading + push.kick(step, count, rng))
    sheet = torch.stack(frames, dim=1).flatten(0, 1)[:examples]  # road by road
    steering, offsets, headings = (
        torch.from_numpy(part).float().flatten(0, 1)[:examples]
        for part in np.stack(labels, axis=2)  # (3, roads, steps, cameras)
    )
    return Driving(
        sheet,
        steering,
        offsets,
        headings,
        torch.arange(count).repeat_interleave(per_road)[:examples],
    )


Policy = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Drive:
    """How a policy drove.

    Attributes:
        offsets: m to the right of the center line, of shape (cars, steps).
        headings: rad to the right of the road's direction, of shape (cars, steps).
        steering: Commands in 1/m after limiting, of shape (cars, steps).
        interventions: Where somebody had to take over, of shape (cars, steps).
        seconds: Length of a step.
    """

    offsets: Float[Tensor, "cars steps"]
    headings: Float[Tensor, "cars steps"]
    steering: Float[Tensor, "cars steps"]
    interventions: Bool[Tensor, "cars steps"]
    seconds: float

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return (
            f"Drive({len(self)} cars of {self.offsets.shape[1] * self.seconds:.0f} s, "
            f"{self.time_on_road:.1%} on the road, "
            f"{int(self.interventions.sum())} interventions)"
        )

    @cached_property
    def time_on_road(self) -> float:
        """Part of the time in which the middle of the car was on the road, in [0, 1]."""
        return (self.offsets.abs() <= HALF_WIDTH).float().mean().item()

    @cached_property
    def autonomy(self) -> float:
        """1 - 6 s · interventions / time, at least 0: the measure of Bojarski et al."""
        time = self.offsets.numel() * self.seconds
        return max(0.0, 1 - INTERVENTION_SECONDS * int(self.interventions.sum()) / time)

    @cached_property
    def mean_offset(self) -> float:
        """Mean distance from the center line in m."""
        return self.offsets.abs().mean().item()


def drive(
    policy: Policy | Literal["expert"],
    roads: Roads,
    camera: Camera = CAMERA,
    *,
    seed: int,
    speed: float = 10.0,
    frame_rate: float = 10.0,
    jitter: float = 0.004,
    gust: float = 0.1,
    gust_seconds: float = 4.0,
    noise: float = 0.04,
    takeover: bool = True,
) -> Drive:
    """Let a policy drive one car on each road, up to 60 m before its end.

    A car is off the road when its middle is beyond the edge. Half a meter further somebody takes
    over and puts it back on the center line; without `takeover` it stays where it is, and the rest
    of the time counts as off the road.

    Args:
        policy: Takes float32 frames of shape (cars, rows, columns), or (cars, 3, rows, columns) in
            color, and returns commands in 1/m of shape (cars,). Called without gradients. "expert"
            drives by the labels.
        roads: The roads.
        camera: The kind of camera.
        seed: Seed of lighting, noise and disturbances.
        speed: m/s, constant.
        frame_rate: Commands a second.
        jitter: Standard deviation in rad of the change of the heading at every step.
        gust: rad by which every gust turns the car, to either side.
        gust_seconds: Time from one gust to the next.
        noise: Standard deviation of the noise of each pixel.
        takeover: Put cars back that left the road.

    Returns:
        The drive.

    Raises:
        ValueError: An argument is out of range, or the policy returns another shape, or what is
            not finite.
    """
    for name, value in (
        ("speed", speed),
        ("frame_rate", frame_rate),
        ("gust_seconds", gust_seconds),
    ):
        _positive(name, value)
    for name, value in (("jitter", jitter), ("gust", gust), ("noise", noise)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, got {value}")
    count, meters, start = len(roads), speed / frame_rate, 5.0
    steps = int((roads.length - FAR - start) / meters)
    if steps < 1:
        raise ValueError(
            f"roads must be longer than {FAR + start + meters} m, got {roads.length} m"
        )
    rng = np.random.default_rng([seed, 2])
    lighting = Lighting.sample(count, rng, noise)
    push = _Disturbances(jitter, gust, max(1, round(gust_seconds * frame_rate)))
    cars = Cars(np.arange(count), np.full(count, start), np.zeros(count), np.zeros(count))
    running = np.ones(count, bool)
    history: list[Array] = []
    for step in range(steps):
        if policy == "expert":
            command = expert(roads, cars)
        else:
            command = _command(policy, render(roads, cars, camera, 0.0, lighting, rng))
        lost = (np.abs(cars.offset) > HALF_WIDTH + 0.5) & running
        history.append(np.stack([cars.offset, cars.heading, command, lost]))
        if takeover:
            cars = Cars(
                cars.road,
                cars.distance,
                np.where(lost, 0.0, cars.offset),
                np.where(lost, 0.0, cars.heading),
            )
            command = np.where(lost, expert(roads, cars), command)
        else:
            running &= ~lost
        there = cars.moved(roads, command, meters)
        turned = there.heading + push.kick(step, count, rng)
        cars = Cars(
            cars.road,
            np.where(running, there.distance, cars.distance),
            np.where(running, there.offset, cars.offset),
            np.where(running, turned, cars.heading),
        )
    offsets, headings, commands, lost = np.stack(history, axis=-1)
    return Drive(
        torch.from_numpy(offsets).float(),
        torch.from_numpy(headings).float(),
        torch.from_numpy(commands).float(),
        torch.from_numpy(lost > 0),
        1 / frame_rate,
    )


def _command(policy: Policy | str, frames: Tensor, limit: float = MAX_STEERING) -> Array:
    """Ask a policy, check its answer and limit it."""
    if not callable(policy):
        raise ValueError(f'policy must be callable or "expert", got {policy!r}')
    with torch.no_grad():
        answer = torch.as_tensor(policy(frames)).detach().cpu().double()
    if answer.shape != frames.shape[:1]:
        raise ValueError(
            f"policy must return commands of shape ({len(frames)},), got {tuple(answer.shape)}"
        )
    if not answer.isfinite().all():
        raise ValueError("policy must return finite commands, got some that are not")
    return answer.clamp(-limit, limit).numpy()


@dataclass(frozen=True)
class Race:
    """What the camera of `CarRacing` saw while its expert drove.

    Attributes:
        frames: float32 in [0, 1] of shape (n, rows, columns), or (n, 3, rows, columns) in color.
        steering: Commands from -1 (left) to 1 (right), of shape (n,).
        tracks: int64, which track, of shape (n,). Split by it: frames of one track are alike.
    """

    frames: Float[Tensor, " n *frame"]
    steering: Float[Tensor, " n"]
    tracks: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.steering)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.frames.shape[1:]))
        return f"Race({len(self):,} frames of {shape}, {int(self.tracks.max()) + 1:,} tracks)"


class CarRacing:
    """gymnasium's CarRacing-v3, seen from above: recordings and a drive, without a window.

    The frame is the simulator's picture of 96 x 96 pixels without the instruments at its foot,
    averaged down. The steering command is the simulator's, from -1 to 1. Speed is held by the
    wrapper, because the chapter is about steering alone.

    Args:
        rows: Height of a frame in pixels.
        columns: Width of a frame in pixels.
        color: Three channels instead of one.
        speed: Target in the simulator's units a second; 30 is slow enough for its sharpest bends.

    Raises:
        MissingPackageError: gymnasium or its simulator is not installed.
        ValueError: An argument is out of range.
    """

    def __init__(
        self, rows: int = 21, columns: int = 24, color: bool = False, speed: float = 30.0
    ) -> None:
        for name, value, most in (("rows", rows, 84), ("columns", columns, 96)):
            if not 4 <= value <= most:
                raise ValueError(f"{name} must lie in [4, {most}], got {value}")
        _positive("speed", speed)
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, no display needed
        try:
            import gymnasium
            from gymnasium.envs.box2d import car_racing

            # The simulator says by an error of its own that Box2D or pygame is missing.
            self._environment = gymnasium.make("CarRacing-v3", max_episode_steps=-1)
        except Exception as error:
            if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
                raise MissingPackageError(
                    f'CarRacing needs gymnasium with its simulator ({error}): pip install "'
                    'gymnasium[box2d]>=1.4"; with no such package use '
                    "coursekit.data.driving.driving"
                ) from error
            raise
        self._half_width: float = car_racing.TRACK_WIDTH
        self._shape, self._color, self._speed = (rows, columns), color, speed

    def record(self, examples: int, *, seed: int, per_track: int = 250) -> Race:
        """Record an expert that knows the track, every second frame.

        Twice a second a random command of a fifth of a second pushes the car off its line. Those
        frames are not recorded; the way back is.

        Args:
            examples: How many frames.
            seed: Seed of tracks and disturbances.
            per_track: How many frames at most from one track.

        Returns:
            The recording.

        Raises:
            ValueError: A number is below 1.
        """
        for name, value in (("examples", examples), ("per_track", per_track)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        rng = np.random.default_rng(seed)
        frames: list[Tensor] = []
        steering: list[float] = []
        tracks: list[int] = []
        track = 0
        while len(frames) < examples:
            picture = self._start(seed, track)
            wanted, step = len(frames) + min(per_track, examples - len(frames)), 0
            while len(frames) < wanted:
                phase = step % 25
                if phase == 0:
                    push = rng.uniform(-0.6, 0.6)
                command = push if phase < 10 else self._expert()
                if phase >= 10 and phase % 2 == 0:
                    frames.append(self._frame(picture))
                    steering.append(command)
                    tracks.append(track)
                picture, over = self._step(command)
                step += 1
                if over:
                    break
            track += 1
        return Race(
            torch.stack(frames), torch.tensor(steering, dtype=torch.float32), torch.tensor(tracks)
        )

    def drive(
        self, policy: Policy | Literal["expert"], *, seed: int, steps: int = 500, tracks: int = 1
    ) -> float:
        """Let a policy steer and measure the part of the time that it is on the track.

        Nobody puts a car back that leaves the track. A track ends early when its lap is complete;
        when the car leaves the playing field, the rest of the time counts as off the track.

        Args:
            policy: Takes frames of shape (1, rows, columns), or (1, 3, rows, columns) in color, and
                returns a command from -1 to 1 of shape (1,). Called without gradients. "expert"
                drives by the track.
            seed: Seed of the tracks.
            steps: Steps on each track, fifty a second.
            tracks: How many.

        Returns:
            Part of the steps in which the middle of the car was on the track, in [0, 1].

        Raises:
            ValueError: A number is below 1, or the policy returns another shape, or what is not
                finite.
        """
        for name, value in (("steps", steps), ("tracks", tracks)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        on_road = counted = 0
        for track in range(tracks):
            picture, over, step = self._start(seed, track), False, 0
            while step < steps and not over:  # over: lap complete, or off the playing field
                if policy == "expert":
                    command = self._expert()
                else:
                    command = float(_command(policy, self._frame(picture)[None], limit=1.0)[0])
                on_road += self._place()[2] <= self._half_width
                picture, over = self._step(command)
                step += 1
            counted += step if self._place()[2] <= self._half_width else steps
        return on_road / counted

    def _start(self, seed: int, track: int) -> NDArray[np.uint8]:
        """Lay a track and let the picture zoom in, which takes the first second."""
        number = int(np.random.default_rng([seed, track]).integers(2**31))
        picture, _ = self._environment.reset(seed=number)
        for _ in range(50):
            picture, _ = self._step(self._expert())
        return picture

    def _step(self, command: float) -> tuple[NDArray[np.uint8], bool]:
        """Steer and hold the speed; returns the picture, and whether the lap is over."""
        car = self._environment.unwrapped.car  # type: ignore[attr-defined]
        speed = math.hypot(*car.hull.linearVelocity)
        gas, brake = (0.15, 0.0) if speed < self._speed else (0.0, 0.1)
        action = np.array([command, gas, brake], dtype=np.float32)
        picture, _, terminated, truncated, _ = self._environment.step(action)
        return picture, terminated or truncated

    def _place(self) -> tuple[Array, int, float]:
        """Say where the car is: the center line, its nearest point, the distance from the line."""
        state: Any = self._environment.unwrapped
        line = np.array([point[2:4] for point in state.track])
        away = line - np.array(state.car.hull.position)
        nearest = int((away**2).sum(1).argmin())
        piece = line[(nearest + 1) % len(line)] - line[nearest - 1]
        side = piece[0] * away[nearest, 1] - piece[1] * away[nearest, 0]
        return line, nearest, abs(side) / math.hypot(*piece)

    def _expert(self) -> float:
        """Steer towards the point of the center line four tiles ahead (pure pursuit)."""
        state: Any = self._environment.unwrapped
        line, nearest, _ = self._place()
        x, y = line[(nearest + 4) % len(line)] - np.array(state.car.hull.position)
        angle = state.car.hull.angle  # counterclockwise from the y axis
        right = x * math.cos(angle) + y * math.sin(angle)
        ahead = -x * math.sin(angle) + y * math.cos(angle)
        return float(np.clip(1.5 * math.atan2(right, ahead), -1, 1))

    def _frame(self, picture: NDArray[np.uint8]) -> Tensor:
        """Cut off the instruments and average down; (rows, columns) or (3, rows, columns)."""
        pixels = torch.from_numpy(picture[:84].copy()).permute(2, 0, 1).float().div_(255)
        small = torch.nn.functional.adaptive_avg_pool2d(pixels, self._shape)
        if self._color:
            return small
        return torch.einsum("c,chw->hw", torch.from_numpy(_LUMINANCE).float(), small)


def draw(name: str) -> Figure:
    """Draw what the three cameras see in places from the sharpest left turn to the sharpest right.

    Args:
        name: "driving".

    Returns:
        The figure.
    """
    data = driving(300, Camera(rows=60, columns=80, color=True), seed=0)
    order = data.steering[:, 1].argsort()
    places = order[torch.linspace(0, len(data) - 1, 8).long()].tolist()
    rows = [[data.frames[place, k] for place in places] for k in range(len(CAMERAS))]
    commands = ", ".join(f"{data.steering[place, 1]:+.3f}" for place in places)
    title = f"{name}: three cameras; the car steers {commands} 1/m"
    return image_sheet(rows, CAMERAS, title, cell=1.2)
