"""From one lattice of pixels to another: nearest, area average, and a resize for whole images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.area import coarser_by, covers, weighted_mean
from rs_embed.core.crs import is_geographic, project
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import MAX_PIXELS, Grid
from rs_embed.core.result import Outcome
from rs_embed.core.specs import OutputSpec
from rs_embed.core.units import NEVER_AVERAGED

# Beyond this many parts of a pixel two lattices are not the same one.
_SAME_PX = 1e-3
# Values of a grid that are averaged at once: 16 MB of float32.
_BLOCK_VALUES = 4_000_000


def area_average(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Means of ``factor x factor`` blocks over the last two axes, missing (NaN) pixels left out.

    ``(..., H, W)`` to ``(..., H / factor, W / factor)``; both are multiples of the factor. A block
    without any valid pixel is NaN.
    """
    if factor == 1:
        return pixels
    *lead, height, width = pixels.shape
    blocks = pixels.reshape(*lead, height // factor, factor, width // factor, factor)
    valid = np.isfinite(blocks)
    if valid.all():
        mean = blocks.mean(axis=(-3, -1), dtype=np.float64)
        return np.asarray(mean, dtype=np.float32)
    count = valid.sum(axis=(-3, -1))
    total = np.where(valid, blocks, 0).sum(axis=(-3, -1), dtype=np.float64)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.asarray(mean, dtype=np.float32)


def whole_factor(coarse: float, fine: float, tolerance: float = 0.01) -> int:
    """How many fine pixels make a coarse one, if that is a whole number above 1; else 1."""
    factor = round(coarse / fine)
    return factor if factor > 1 and abs(coarse / fine / factor - 1) <= tolerance else 1


def offset_in(source: Grid, target: Grid) -> tuple[int, int] | None:
    """Row and column of the target's first pixel in the source, if their lattices are one.

    Both must have the same CRS, step and row direction, and corners whole pixels apart.
    """
    s, t = source.transform, target.transform
    if source.crs != target.crs:
        return None
    extent = max(*source.shape, *target.shape)
    if abs(s.a - t.a) * extent > _SAME_PX * abs(s.a) or abs(s.e - t.e) * extent > _SAME_PX * abs(
        s.e
    ):
        return None
    col, row = (t.c - s.c) / s.a, (t.f - s.f) / s.e
    if abs(col - round(col)) > _SAME_PX or abs(row - round(row)) > _SAME_PX:
        return None
    return round(row), round(col)


def nearest_indices(source: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Row and column in the source of the pixel nearest to each target centre.

    Two integer arrays ``(H, W)``; -1 in both where the target lies outside the source.
    """
    if source.crs == target.crs:
        rows = np.floor((target.y() - source.transform.f) / source.transform.e + 1e-9)
        cols = np.floor((target.x() - source.transform.c) / source.transform.a + 1e-9)
        row, col = (a.astype(np.int64) for a in np.meshgrid(rows, cols, indexing="ij"))
    else:
        x, y = np.meshgrid(target.x(), target.y())
        sx, sy = project(x.ravel(), y.ravel(), target.crs, source.crs)
        if is_geographic(source.crs):
            # Longitudes run on eastwards from the source's own edge: 0..360, or across 180.
            sx = source.transform.c + np.mod(sx - source.transform.c, 360)
        ok = np.isfinite(sx) & np.isfinite(sy)
        r = np.full(sx.shape, -1.0)
        c = np.full(sx.shape, -1.0)
        r[ok] = np.floor((sy[ok] - source.transform.f) / source.transform.e)
        c[ok] = np.floor((sx[ok] - source.transform.c) / source.transform.a)
        row = r.astype(np.int64).reshape(target.shape)
        col = c.astype(np.int64).reshape(target.shape)
    inside = (row >= 0) & (row < source.height) & (col >= 0) & (col < source.width)
    return np.where(inside, row, -1), np.where(inside, col, -1)


def gather(pixels: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """``(..., H, W)`` pixels at row and column indices; NaN where an index is -1."""
    out = pixels[..., rows, cols].astype(np.float32, copy=False)
    missing = rows < 0
    if missing.any():
        out[..., missing] = np.nan
    return out


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """The last two axes resampled to ``size x size`` with a triangle filter, NaN left out.

    Linear interpolation when enlarging, an antialiased triangle when shrinking; pixel centres
    keep their place. A result none of whose sources is valid is NaN.
    """
    *_, height, width = pixels.shape
    if (height, width) == (size, size):
        return pixels
    down, across = _triangle(height, size), _triangle(width, size)
    valid = np.isfinite(pixels)
    filled = np.where(valid, pixels, 0).astype(np.float32)
    total = down @ filled @ across.T
    if valid.all():
        return np.asarray(total, dtype=np.float32)
    weight = down @ valid.astype(np.float32) @ across.T
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), np.nan).astype(np.float32)


def resize_bands(pixels: np.ndarray, size: int, units: Sequence[str]) -> np.ndarray:
    """`resize` of ``(..., C, H, W)`` by the units of each band: of classes the nearest pixel."""
    classes = [i for i, unit in enumerate(units) if unit in NEVER_AVERAGED]
    height, width = pixels.shape[-2:]
    if not classes or (height, width) == (size, size):
        return resize(pixels, size)
    rows, cols = (((np.arange(size) + 0.5) * n / size).astype(np.int64) for n in (height, width))
    nearest = pixels[..., classes, :, :][..., rows[:, None], cols[None, :]]
    if len(classes) == len(units):
        return nearest
    values = [i for i in range(len(units)) if i not in classes]
    out = np.empty((*pixels.shape[:-2], size, size), dtype=np.float32)
    out[..., values, :, :] = resize(pixels[..., values, :, :], size)
    out[..., classes, :, :] = nearest
    return out


def resize_and_crop(
    pixels: np.ndarray, size: int, short: int, *, antialias: bool = False
) -> np.ndarray:
    """Images as a square of ``size``: their shorter side resized to ``short``, then the middle.

    What torchvision's ``Resize(short)`` (bicubic, of tensors) and ``CenterCrop(size)`` do.

    Parameters
    ----------
    pixels : ndarray
        ``(..., H, W)``, none of them missing.
    size, short : int
        Pixels a side of the result, and of the image that it is the middle of.
    antialias : bool
        False: cubic convolution with a = -0.75 of the four nearest pixels, edges repeated, which
        is what torchvision did before 0.17. True: a = -0.5, widened where the image shrinks.

    Returns
    -------
    ndarray
        ``(..., size, size)`` float32.
    """
    height, width = pixels.shape[-2:]
    least = min(height, width)
    tall, wide = short * height // least, short * width // least
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    down = _cubic(height, tall, antialias)[top : top + size]
    across = _cubic(width, wide, antialias)[left : left + size]
    return np.asarray(down @ pixels @ across.T, dtype=np.float32)


def _cubic(source: int, target: int, antialias: bool) -> np.ndarray:
    """``(target, source)`` weights of cubic convolution, each row summing to one."""
    scale = source / target
    centres = ((np.arange(target) + 0.5) * scale - 0.5)[:, None]
    if antialias:
        weights = _convolution((np.arange(source) - centres) / max(scale, 1.0), -0.5)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    near = np.floor(centres).astype(int) + np.arange(-1, 3)
    weights = np.zeros((target, source))
    rows = np.arange(target)[:, None]
    np.add.at(weights, (rows, near.clip(0, source - 1)), _convolution(near - centres, -0.75))
    return weights


def _convolution(distance: np.ndarray, a: float) -> np.ndarray:
    """The cubic kernel of Keys (1981) at distances in pixels; nothing from two on."""
    x = np.abs(distance)
    inner = ((a + 2) * x - (a + 3)) * x**2 + 1
    outer = ((x - 5) * x + 8) * x * a - 4 * a
    return np.asarray(np.where(x <= 1, inner, np.where(x < 2, outer, 0.0)))


def _triangle(source: int, target: int) -> np.ndarray:
    """``(target, source)`` weights, each row summing to one."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def scaled_grid(grid: Grid, scale_m: float) -> Grid:
    """The lattice of square cells of ``scale_m`` from the same corner, those inside by half."""
    from affine import Affine

    t = grid.transform
    rows = max(1, math.ceil(grid.height * abs(t.e) / scale_m - 0.5))
    cols = max(1, math.ceil(grid.width * abs(t.a) / scale_m - 0.5))
    return Grid(
        grid.crs, Affine(scale_m, 0, t.c, 0, math.copysign(scale_m, t.e), t.f), (rows, cols)
    )


def check_cells(ground: Grid, output: OutputSpec) -> Outcome[Grid]:
    """The ground itself; Failure(SpecError) where the cells asked for on it are too many."""
    if output.cell_m is None:
        return Success(ground)
    (step_x, step_y), (height, width) = ground.resolution, ground.shape
    rows, cols = height * step_y / output.cell_m, width * step_x / output.cell_m
    if rows * cols <= MAX_PIXELS:
        return Success(ground)
    return Failure(
        SpecError(
            f"OutputSpec.scale_m {output.cell_m:g} makes {rows:.3g} x {cols:.3g} cells of the "
            f"region, more than the {MAX_PIXELS:g} allowed; ask for coarser cells, or for a "
            "smaller region"
        )
    )


def resample_cells(cells: np.ndarray, grid: Grid, cell_m: float) -> tuple[np.ndarray, Grid]:
    """A grid of embeddings ``(D, H, W)`` at cells of ``cell_m``: means if coarser, else nearest.

    Coarser cells are the area-weighted mean of the valid cells they overlap, axis by axis; the
    new lattice starts at the same corner. Works through the features in blocks.
    """
    out_grid = scaled_grid(grid, cell_m)
    ratios = coarser_by(grid, out_grid)
    by_row, by_col = covers(grid, out_grid, ratios)
    if ratios == (1.0, 1.0):
        return cells[:, by_row.first[:, None], by_col.first[None, :]], out_grid
    out = np.empty((len(cells), *out_grid.shape), dtype=np.float32)
    factor = round(ratios[0])
    whole = all(abs(ratio - factor) < _SAME_PX for ratio in ratios)
    step = max(1, _BLOCK_VALUES // (grid.height * grid.width))
    for i in range(0, len(cells), step):
        block = cells[i : i + step]
        out[i : i + step] = (
            area_average(_to_size(block, factor, out_grid.shape), factor)
            if whole
            else weighted_mean(block, by_row, by_col)
        )
    return out, out_grid


def _to_size(cells: np.ndarray, factor: int, shape: tuple[int, int]) -> np.ndarray:
    """Cells cut, or widened by missing ones, to whole blocks of ``factor``."""
    rows, cols = shape[0] * factor, shape[1] * factor
    cells = cells[:, :rows, :cols]
    short = rows - cells.shape[1], cols - cells.shape[2]
    if short == (0, 0):
        return cells
    return np.pad(cells, ((0, 0), (0, short[0]), (0, short[1])), constant_values=np.nan)
