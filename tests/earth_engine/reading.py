"""From native pixels to the target grid: pyramids, nearest and bilinear sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .errors import ServiceError, unsupported
from .geometry import DEFAULT_PROJECTION, Projection, Transform, extent_footprint
from .images import Band, Grid, Image, Pixels, Target
from .scenes import Constant, Layer, Scene, Values

MAX_WINDOW_PIXELS = 1 << 25
"""What a reprojection may need of its input before the service would run out of memory."""

MAX_BLOCK_SIDE = 32
"""Coarser pyramid pixels are the mean of this many evenly spaced ones a side, not of all."""

# A pixel centre that falls on a border between source pixels, give or take a rounding error of
# the projection, belongs to the right-hand and lower one.
_NUDGE = 1e-6


@lru_cache(maxsize=4096)
def scene_image(scene: Scene) -> Image:
    """The lazy image of a scene; the same object every time, so that caches work."""
    bounds = (scene.left, scene.top - scene.height, scene.left + scene.width, scene.top)
    properties = {"system:index": scene.index, "system:time_start": milliseconds(scene.start)}
    if scene.end:
        properties["system:time_end"] = milliseconds(scene.end)
    return Image(
        tuple(layer_band(scene, layer) for layer in scene.layers),
        {**properties, **scene.properties},
        (extent_footprint(scene.crs, bounds),),
        scene.id,
    )


def milliseconds(date: str) -> int:
    """Milliseconds since 1970 of an ISO date or date-time in UTC."""
    try:
        return int(np.datetime64(date.removesuffix("Z"), "ms").astype("int64"))
    except ValueError:
        raise ServiceError(f"Date: Bad date/time '{date}'.") from None


def layer_band(scene: Scene, layer: Layer) -> Band:
    """A scene's layer as a band read on demand."""
    rows, cols = scene.shape(layer)

    def pixels(target: Target) -> Pixels:
        return _read_layer(scene, layer, target)

    projection = Projection(scene.crs, scene.transform(layer))
    return Band(layer.name, layer.dtype, pixels, projection, (cols, rows), layer.pyramid)


def pyramid_level(target: Target, projection: Projection) -> int:
    """The coarsest level whose pixels are not coarser than the target's.

    One per cent is granted, since a zone's neighbour measures the same pixel slightly
    differently.
    """
    a, b, _, d, e, _ = projection.transform
    ratio = target.pixel_size(projection.crs) / math.sqrt(abs(a * e - b * d))
    return max(0, math.floor(math.log2(ratio * 1.01))) if ratio > 0 else 0


def _indices(target: Target, projection: Projection, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (row, column) of the target's pixel centres on a lattice coarsened by `step`."""
    a, _, c, _, e, f = projection.transform
    x, y = target.coordinates(projection.crs)
    return (y - f) / (e * step), (x - c) / (a * step)


def _whole(index: np.ndarray) -> np.ndarray:
    """Integers below `index`; what lies outside the projection becomes a far index."""
    return np.floor(np.nan_to_num(index, nan=-1e15, posinf=1e15, neginf=-1e15)).astype(np.int64)


def _read_layer(scene: Scene, layer: Layer, target: Target) -> Pixels:
    projection = Projection(scene.crs, scene.transform(layer))
    step = 1 << pyramid_level(target, projection)
    row, col = (_whole(index + _NUDGE) for index in _indices(target, projection, step))
    shape = scene.shape(layer)
    rows, cols = (math.ceil(n / step) for n in shape)
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    if not inside.any():
        return target.empty(layer.dtype)
    row, col = np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1)
    values, valid = _level_pixels(layer, shape, row, col, step)
    mask = np.broadcast_to(inside & valid, target.shape)
    return Pixels(np.broadcast_to(values, target.shape).astype(layer.dtype, copy=False), mask)


def _at(values: Values, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    return values[row, col] if isinstance(values, np.ndarray) else values(row, col)


def _level_pixels(
    layer: Layer, shape: tuple[int, int], row: np.ndarray, col: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values and validity of a layer's pyramid at rows and columns of one level."""
    flat = isinstance(layer.values, Constant) and layer.valid is None
    if step == 1 or flat or layer.pyramid == "sample":
        row, col = row * step, col * step
        valid = np.True_ if layer.valid is None else _at(layer.valid, row, col) != 0
        return _at(layer.values, row, col), valid
    aggregate = _mode if layer.pyramid == "mode" else _mean
    return aggregate(layer, shape, row, col, step)


def _block(
    layer: Layer, shape: tuple[int, int], row: np.ndarray, col: np.ndarray, step: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(values, valid) of the native pixels under a coarse one, in row order."""
    offsets = range(0, step, max(1, step // MAX_BLOCK_SIDE))
    for dy in offsets:
        for dx in offsets:
            r, c = row * step + dy, col * step + dx
            valid = (r < shape[0]) & (c < shape[1])
            r, c = np.minimum(r, shape[0] - 1), np.minimum(c, shape[1] - 1)
            if layer.valid is not None:
                valid = valid & (_at(layer.valid, r, c) != 0)
            yield _at(layer.values, r, c), valid


def _mean(
    layer: Layer, shape: tuple[int, int], row: np.ndarray, col: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the valid native pixels, rounded half up where the layer is of integers."""
    total, count = np.float64(0), np.int64(0)
    for values, valid in _block(layer, shape, row, col, step):
        total = total + np.where(valid, values, 0)
        count = count + valid
    mean = total / np.maximum(count, 1)
    if np.dtype(layer.dtype).kind in "iu":
        mean = np.floor(mean + 0.5)
    return mean, count > 0


def _mode(
    layer: Layer, shape: tuple[int, int], row: np.ndarray, col: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent valid native value, the smallest of equals."""
    block = [
        np.broadcast_arrays(values.astype(layer.dtype), valid)
        for values, valid in _block(layer, shape, row, col, step)
    ]
    values, valid = np.stack([v for v, _ in block]), np.stack([m for _, m in block])
    best, best_count = np.zeros(values.shape[1:]), np.zeros(values.shape[1:], int)
    for candidate in np.unique(values[valid]):
        count = ((values == candidate) & valid).sum(axis=0)
        better = count > best_count
        best, best_count = np.where(better, candidate, best), np.maximum(best_count, count)
    return best, best_count > 0


def resample(image: Image, mode: str) -> Image:
    """The image read with `mode` instead of nearest; composites have no lattice to use it on."""
    if mode != "bilinear":
        raise unsupported(f"Image.resample with mode '{mode}'")
    return replace(image, bands=tuple(_resampled(band) for band in image.bands))


def _resampled(band: Band) -> Band:
    if band.projection == DEFAULT_PROJECTION:
        return band

    def pixels(target: Target) -> Pixels:
        step = 1 << pyramid_level(target, band.projection)
        return _through(target, band, step, _bilinear)

    return replace(band, pixels=pixels, dtype="float64" if band.dtype != "float32" else "float32")


def reproject(image: Image, projection: Projection) -> Image:
    """Every band computed in `projection`, then read from there with nearest."""

    def forced(band: Band) -> Band:
        source = replace(band, projection=projection, size=None)
        return replace(source, pixels=lambda target: _through(target, source, 1, _nearest))

    return replace(image, bands=tuple(forced(band) for band in image.bands))


def default_projection(image: Image, projection: Projection) -> Image:
    """The image with another lattice of its own, its pixels unchanged."""
    return replace(
        image, bands=tuple(replace(b, projection=projection, size=None) for b in image.bands)
    )


Sampler = Callable[[Pixels, np.ndarray, np.ndarray], Pixels]


def _through(target: Target, band: Band, step: int, sampler: Sampler) -> Pixels:
    """The band computed on its own lattice, coarsened by `step`, and sampled at the target."""
    row, col = _indices(target, band.projection, step)
    size = tuple(math.ceil(n / step) for n in band.size) if band.size else None
    top, height = _span(row, size[1] if size else None)
    left, width = _span(col, size[0] if size else None)
    if height <= 0 or width <= 0:
        return target.empty(band.dtype)
    if height * width > MAX_WINDOW_PIXELS:
        raise ServiceError("User memory limit exceeded.")
    a, b, c, d, e, f = band.projection.transform
    coarse: Transform = (a * step, b, c, d, e * step, f)
    whole = Grid.of(Projection(band.projection.crs, coarse), 1, 1)
    part = whole.window(top, left, height, width).projection
    window = target.nested(Grid.of(part, width, height))
    return sampler(window.read(band), row - top, col - left)


def _span(index: np.ndarray, end: int | None) -> tuple[int, int]:
    """(first, number) of lattice rows or columns needed, one spare on each side."""
    good = index[np.isfinite(index)]
    if not good.size:
        return 0, 0
    first, last = math.floor(good.min()) - 1, math.floor(good.max()) + 2
    if end is not None:
        first, last = max(first, -1), min(last, end + 1)
    return first, last - first


def _pick(window: Pixels, row: np.ndarray, col: np.ndarray) -> Pixels:
    height, width = window.values.shape
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    row, col = np.clip(row, 0, height - 1), np.clip(col, 0, width - 1)
    return Pixels(window.values[row, col], window.mask[row, col] & inside)


def _nearest(window: Pixels, row: np.ndarray, col: np.ndarray) -> Pixels:
    return _pick(window, _whole(row + _NUDGE), _whole(col + _NUDGE))


def _bilinear(window: Pixels, row: np.ndarray, col: np.ndarray) -> Pixels:
    """Four neighbours by distance; one that counts and is masked masks the result."""
    row, col = row - 0.5, col - 0.5
    top, left = _whole(row + _NUDGE), _whole(col + _NUDGE)
    down, right = np.maximum(row - top, 0), np.maximum(col - left, 0)
    total, mask = np.float64(0), np.True_
    for dy, across in ((0, 1 - down), (1, down)):
        for dx, along in ((0, 1 - right), (1, right)):
            near, weight = _pick(window, top + dy, left + dx), across * along
            total = total + np.where(near.mask, near.values, 0) * weight
            mask = mask & (near.mask | (weight < _NUDGE))
    kind = "float32" if window.values.dtype == np.float32 else "float64"
    return Pixels(total.astype(kind), mask)
