"""Area-weighted means: one rule for every coarser lattice, whatever its CRS, axis by axis.

A coarse pixel is the mean of the fine ones under it, each weighted by the part of it that is
covered, missing ones left out. Along an axis that does not become coarser the nearest pixel holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rs_embed.core.crs import ground_lengths, is_geographic, project
from rs_embed.core.grid import Grid

# Steps that differ by less than this are the same: such pixels are not averaged.
SAME_STEP = 0.01
# Parts of a pixel below this are rounding.
_SLIVER = 1e-6


@dataclass(frozen=True)
class Cover:
    """What coarse pixels cover along one axis of the fine ones.

    ``first`` ``(...)`` is the first fine pixel under each coarse one, ``weights`` ``(K, ...)``
    the lengths covered of it and the ``K - 1`` that follow; 0 beyond the ends.
    """

    first: np.ndarray
    weights: np.ndarray

    @property
    def span(self) -> tuple[int, int]:
        """First and last + 1 of the fine pixels that have any weight."""
        used = self.weights.reshape(len(self.weights), -1) > 0
        reach = np.where(used.any(axis=0), used.shape[0] - np.argmax(used[::-1], axis=0), 0)
        start = self.first.ravel() + np.argmax(used, axis=0)
        any_used = reach > 0
        if not any_used.any():
            return 0, 0
        return int(start[any_used].min()), int((self.first.ravel() + reach)[any_used].max())

    def shifted(self, by: int) -> Cover:
        """The same counted from another pixel."""
        return Cover(self.first - by, self.weights)


@lru_cache(maxsize=1024)
def coarser_by(source: Grid, target: Grid) -> tuple[float, float]:
    """How many of the source's pixels make one of the target's down and across; at least 1.

    Steps within 1 % of each other count as 1. In different CRS both are measured in metres on the
    ground at the middle of the source.
    """
    if source.crs == target.crs:
        ratios = [
            abs(t / s)
            for s, t in zip(
                (source.transform.e, source.transform.a),
                (target.transform.e, target.transform.a),
                strict=True,
            )
        ]
    else:
        ratios = _on_the_ground(source, target)
    down, across = (float(r) if r > 1 + SAME_STEP else 1.0 for r in ratios)
    return down, across


def averaged_pixels(ratios: tuple[float, float]) -> float | list[float] | None:
    """What ``meta`` says of `coarser_by`: one number where both axes agree, None where both are 1.

    Numbers within 1 % of a whole one are whole.
    """
    if ratios == (1.0, 1.0):
        return None
    down, across = (round(r) if abs(r / round(r) - 1) <= 0.01 else round(r, 2) for r in ratios)
    return down if abs(down - across) <= 0.01 * across else [down, across]


def _on_the_ground(source: Grid, target: Grid) -> list[float]:
    west, south, east, north = source.bounds
    x, y = (west + east) / 2, (south + north) / 2
    dx, dy = source.resolution
    across, down = ground_lengths(source.crs, x, y, dx)[0], ground_lengths(source.crs, x, y, dy)[1]
    tx, ty = target.resolution
    if is_geographic(target.crs):
        tx, ty = ground_lengths(target.crs, x, y, tx)[0], ground_lengths(target.crs, x, y, ty)[1]
    return [ty / down, tx / across]


def covers(source: Grid, target: Grid, ratios: tuple[float, float]) -> tuple[Cover, Cover]:
    """What each of the target's pixels covers of the source's rows and columns.

    Along axes ``(H,)`` and ``(W,)`` where the CRS is the same; else for each pixel ``(H, W)``:
    there a pixel is taken as a rectangle along the source's axes, about its own centre and as
    wide and high as it is on that lattice.
    """
    s, t = source.transform, target.transform
    if source.crs == target.crs:
        row = (target.y() - s.f) / s.e
        col = (target.x() - s.c) / s.a
        half = abs(t.e / s.e) / 2, abs(t.a / s.a) / 2
        return (
            _cover(row, half[0], ratios[0] > 1, source.height),
            _cover(col, half[1], ratios[1] > 1, source.width),
        )
    row, col, high, wide = _footprints(source, target)
    return (
        _cover(row, high / 2, ratios[0] > 1, source.height),
        _cover(col, wide / 2, ratios[1] > 1, source.width),
    )


def _footprints(source: Grid, target: Grid) -> tuple[np.ndarray, ...]:
    """Row, column, height and width of the target's pixels on the source's lattice, ``(H, W)``."""
    s, t = source.transform, target.transform
    x, y = np.meshgrid(target.x(), target.y())
    half_x, half_y = abs(t.a) / 2, abs(t.e) / 2
    row, col = _places(source, target, x, y)
    east, west = _places(source, target, x + half_x, y), _places(source, target, x - half_x, y)
    up, down = _places(source, target, x, y + half_y), _places(source, target, x, y - half_y)
    wide, high = (
        np.hypot(east[1] - west[1], east[0] - west[0]),
        np.hypot(up[0] - down[0], up[1] - down[1]),
    )
    if is_geographic(source.crs):
        # Where two of them lie on either side of the source's own edge, all turn by 360 degrees.
        wide = np.where(wide > 180 / abs(s.a), np.nan, wide)
    return row, col, high, wide


def _places(
    source: Grid, target: Grid, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column, as real numbers, of points of the target's CRS; NaN where there is none."""
    s = source.transform
    sx, sy = project(x.ravel(), y.ravel(), target.crs, source.crs)
    if is_geographic(source.crs):
        # Longitudes run on eastwards from the source's own edge: 0..360, or across 180. A margin,
        # since the pixel of the first column may reach beyond its edge.
        edge = s.c - min(1.0, (360 - abs(s.a) * source.width) / 2)
        sx = edge + np.mod(sx - edge, 360)
    row, col = (sy - s.f) / s.e, (sx - s.c) / s.a
    bad = ~(np.isfinite(row) & np.isfinite(col))
    row[bad] = col[bad] = np.nan
    return row.reshape(x.shape), col.reshape(x.shape)


def _cover(centre: np.ndarray, half: np.ndarray | float, average: bool, size: int) -> Cover:
    lost = ~np.isfinite(centre + half)
    centre = np.where(lost, -1e9, centre)
    if not average:
        first = np.floor(centre + 1e-9).astype(np.int64)
        inside = (first >= 0) & (first < size)
        return Cover(np.where(inside, first, 0), inside[None].astype(np.float64))
    half = np.where(lost, 0.5, half)
    low, high = _snapped(centre - half), _snapped(centre + half)
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    first = np.minimum(np.floor(low).astype(np.int64), size - 1)
    count = max(1, int((np.ceil(high) - first).max()))
    at = first + np.arange(count).reshape(-1, *[1] * first.ndim)
    weights = np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, None)
    return Cover(first, weights)


def _snapped(edges: np.ndarray) -> np.ndarray:
    """Edges that are a pixel's own but for rounding, as that."""
    whole = np.round(edges)
    return np.where(np.abs(edges - whole) < _SLIVER, whole, edges)


def weighted_mean(pixels: np.ndarray, rows: Cover, cols: Cover) -> np.ndarray:
    """Means of ``(..., H, W)`` pixels under each cover, float32; NaN where none is valid.

    Sums run over the pixels under a cover in their order, so that a result does not depend on
    what is computed beside it.
    """
    valid = np.isfinite(pixels)
    whole = bool(valid.all())
    filled = pixels if whole else np.where(valid, pixels, np.float32(0))
    total = _summed(filled, rows, cols)
    if whole:
        lead = (1,) * (pixels.ndim - 2)
        weight = _summed(np.ones((*lead, *pixels.shape[-2:]), np.float32), rows, cols)
    else:
        weight = _summed(valid, rows, cols)
    there = np.broadcast_to(weight > 0, total.shape)
    mean = np.divide(total, weight, out=np.full(total.shape, np.nan), where=there)
    return np.asarray(mean, dtype=np.float32)


def _summed(values: np.ndarray, rows: Cover, cols: Cover) -> np.ndarray:
    """Weighted sums, float64: axis by axis where covers are of axes, else pixel by pixel."""
    height, width = values.shape[-2:]
    out: np.ndarray
    if rows.first.ndim == 1:
        down = np.zeros((*values.shape[:-2], len(rows.first), width))
        for k, weight in enumerate(rows.weights):
            at = np.clip(rows.first + k, 0, height - 1)
            down += values[..., at, :] * weight[:, None]
        out = np.zeros((*values.shape[:-2], len(rows.first), len(cols.first)))
        for k, weight in enumerate(cols.weights):
            out += down[..., np.clip(cols.first + k, 0, width - 1)] * weight
        return out
    out = np.zeros((*values.shape[:-2], *rows.first.shape))
    for i, high in enumerate(rows.weights):
        row = np.clip(rows.first + i, 0, height - 1)
        for j, wide in enumerate(cols.weights):
            weight = high * wide
            if weight.any():
                out += values[..., row, np.clip(cols.first + j, 0, width - 1)] * weight
    return out
