"""Pixels that lie in an xarray object: read on any grid, window by window.

`Raster` is what the accessor and the local source share: an array with its grid, bands, units and
dates, which may be lazy. Reading resamples by one rule: area-weighted means along an axis that
becomes coarser, the nearest pixel along one that does not; classes are never averaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from rs_embed.core.area import coarser_by, covers, weighted_mean
from rs_embed.core.bands import REMEDY, match_bands
from rs_embed.core.errors import RsEmbedError, SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.patch import Interval
from rs_embed.core.resample import area_average, gather, nearest_indices, offset_in
from rs_embed.core.result import Outcome
from rs_embed.core.units import MISSING_NUMBER, NEVER_AVERAGED, convert
from rs_embed.core.values import ValueLook

# Values held at once where all of an array is read: 16 MB of float32.
_STRIP_VALUES = 4_000_000

Load = Callable[[int, int, int, int], np.ndarray]
Narrow = Callable[[Sequence[int], Sequence[int]], Load]


@dataclass(frozen=True)
class Raster:
    """A georeferenced array that is read in parts.

    Parameters
    ----------
    load : callable
        ``load(row, column, height, width)``: ``(T, C, height, width)`` float32 of a part that lies
        inside the grid; NaN marks missing pixels.
    grid : Grid
        North-up.
    bands, units : tuple of str
    frames : tuple of Frame
        The dates of each T; empty for an undated array.
    content_hash : str
        Tells one content from another.
    notes : dict
        What was decided while the array was read, for ``meta``.
    substitutes : mapping
        Wanted band to the band that the caller puts in its place; see `core.bands.match_bands`.
    common : mapping
        Band to common name, where its own would mean another one.
    narrow : callable or None
        ``narrow(bands, steps)``: a ``load`` of these bands and steps of time alone, by index.
    """

    load: Load
    grid: Grid
    bands: tuple[str, ...]
    units: tuple[str, ...]
    intervals: tuple[Interval, ...] = ()
    content_hash: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    substitutes: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, str] = field(default_factory=dict)
    narrow: Narrow | None = None

    def places_of(
        self,
        wanted: Sequence[str],
        *,
        error: type[RsEmbedError] = SpecError,
        where: str = "the array",
        remedy: str = REMEDY,
    ) -> Outcome[tuple[int, ...]]:
        """Where each wanted band is; see `rs_embed.core.bands.match_bands`."""
        return match_bands(
            wanted, self.bands, substitutes=self.substitutes, common=self.common,
            error=error, where=where, remedy=remedy,
        )  # fmt: skip

    def only(self, bands: Sequence[int], steps: Sequence[int] | None = None) -> Raster:
        """The raster with these bands, and these steps of time, alone; the others are not read."""
        times = list(range(max(1, len(self.intervals))) if steps is None else steps)
        picked = list(bands)
        narrow = self.narrow or _sliced(self.load)
        return replace(
            self,
            load=narrow(picked, times),
            bands=tuple(self.bands[i] for i in picked),
            units=tuple(self.units[i] for i in picked),
            intervals=tuple(self.intervals[i] for i in times) if self.intervals else (),
            narrow=lambda b, t: narrow([picked[i] for i in b], [times[i] for i in t]),
        )

    def read(self, target: Grid) -> np.ndarray:
        """``(T, C, H, W)`` float32 on the target grid; NaN beyond the array.

        Along an axis that becomes coarser a pixel is the area-weighted mean of the valid ones that
        it covers, else the nearest. Classes are always the nearest.
        """
        coarser = self.coarser_by(target)
        classes = [i for i, unit in enumerate(self.units) if unit in NEVER_AVERAGED]
        if coarser == (1.0, 1.0) or len(classes) == len(self.units):
            return self._nearest(target)
        if not classes:
            return self._averaged(target, coarser)
        out = self._averaged(target, coarser)
        out[:, classes] = self._nearest(target)[:, classes]
        return out

    def looked_at(self, look: ValueLook) -> Raster:
        """The same raster whose values are seen by ``look`` as they are read, before any mean."""
        load, narrow = self.load, self.narrow or _sliced(self.load)
        return replace(self, load=lambda *part: look.see(load(*part)), narrow=narrow)

    def declared(self, units: str) -> Raster:
        """The same raster, all bands in these units; a number that is missing in them is NaN."""
        missing = MISSING_NUMBER.get(units)
        same = replace(self, units=(units,) * len(self.bands))
        if missing is None or set(self.units) == {units}:
            return same
        narrow = self.narrow or _sliced(self.load)
        return replace(
            same,
            load=_without(self.load, missing),
            narrow=lambda bands, steps: _without(narrow(bands, steps), missing),
        )

    def in_power(self, bands: Sequence[int]) -> Raster:
        """The same raster with these bands, in decibel, as linear power."""
        if not bands:
            return self
        load, narrow = self.load, self.narrow or _sliced(self.load)
        units = tuple("linear" if i in bands else unit for i, unit in enumerate(self.units))
        return replace(
            self, units=units, load=_in_power_of(load, bands),
            narrow=lambda b, t: _in_power_of(narrow(b, t), [b.index(i) for i in bands if i in b]),
        )  # fmt: skip

    def coarser_by(self, target: Grid) -> tuple[float, float]:
        """How many pixels of the array make one of the target's, down and across; at least 1."""
        return coarser_by(self.grid, target)

    def _averaged(self, target: Grid, coarser: tuple[float, float]) -> np.ndarray:
        """Means, in parts that hold a bounded number of the array's pixels at once."""
        height, width = target.shape
        rows = min(height * coarser[0], self.grid.height)
        cols = min(width * coarser[1], self.grid.width)
        each = max(1, len(self.intervals)) * len(self.bands)
        if rows * cols * each > _STRIP_VALUES and height * width > 1:
            tall = height >= width
            half = max(height, width) // 2
            size = (half, width) if tall else (height, half)
            first = target.window(0, 0, *size)
            rest = (
                target.window(half, 0, height - half, width)
                if tall
                else target.window(0, half, height, width - half)
            )
            means = [self._averaged(part, coarser) for part in (first, rest)]
            return np.concatenate(means, axis=-2 if tall else -1)
        factor = round(coarser[0])
        if factor == round(coarser[1]) and offset_in(self.grid, target.refine(factor)) is not None:
            return area_average(self._nearest(target.refine(factor)), factor)
        by_row, by_col = covers(self.grid, target, coarser)
        (top, bottom), (left, right) = by_row.span, by_col.span
        if bottom <= top or right <= left:
            return self._blank(target.shape)
        part = self.load(top, left, bottom - top, right - left)
        return weighted_mean(part, by_row.shifted(top), by_col.shifted(left))

    def row_blocks(self) -> Iterator[np.ndarray]:
        """All pixels from north to south, ``(T, C, h, W)`` in strips of bounded size."""
        each = max(1, len(self.intervals)) * len(self.bands) * self.grid.width
        rows = max(1, _STRIP_VALUES // each)
        for row in range(0, self.grid.height, rows):
            yield self.load(row, 0, min(rows, self.grid.height - row), self.grid.width)

    def _nearest(self, target: Grid) -> np.ndarray:
        place = offset_in(self.grid, target)
        if place is not None:
            return self._window(*place, *target.shape)
        rows, cols = nearest_indices(self.grid, target)
        inside = rows >= 0
        if not inside.any():
            return self._blank(target.shape)
        top, left = int(rows[inside].min()), int(cols[inside].min())
        part = self.load(
            top, left, int(rows[inside].max()) - top + 1, int(cols[inside].max()) - left + 1
        )
        return gather(part, np.where(inside, rows - top, -1), np.where(inside, cols - left, -1))

    def _window(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        r0, c0 = max(row, 0), max(col, 0)
        r1, c1 = min(row + height, self.grid.height), min(col + width, self.grid.width)
        if r1 <= r0 or c1 <= c0:
            return self._blank((height, width))
        part = self.load(r0, c0, r1 - r0, c1 - c0)
        if part.shape[-2:] == (height, width):
            return part
        out = self._blank((height, width))
        out[..., r0 - row : r1 - row, c0 - col : c1 - col] = part
        return out

    def _blank(self, shape: tuple[int, int]) -> np.ndarray:
        lead = (max(1, len(self.intervals)), len(self.bands))
        return np.full((*lead, *shape), np.nan, dtype=np.float32)

    def with_content(self, content_hash: str) -> Raster:
        """The same raster under another content mark."""
        return replace(self, content_hash=content_hash)


def in_decibel(values: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    """``(T, C, H, W)`` with these bands, in linear power, as decibel; the same array if none is."""
    return _converted(values, bands, "linear", "db") if bands else values


def _without(load: Load, missing: float) -> Load:
    def without(*part: int) -> np.ndarray:
        values = load(*part)
        there = values != np.float32(missing)
        return values if there.all() else np.where(there, values, np.float32(np.nan))

    return without


def _in_power_of(load: Load, bands: Sequence[int]) -> Load:
    return lambda *part: _converted(load(*part), bands, "db", "linear")


def _converted(values: np.ndarray, bands: Sequence[int], given: str, wanted: str) -> np.ndarray:
    if len(bands) == values.shape[1]:
        return convert(values, given, wanted)
    out = values.copy()
    out[:, list(bands)] = convert(values[:, list(bands)], given, wanted)
    return out


def _sliced(load: Load) -> Narrow:
    """Bands and steps of a ``load`` that cannot read them apart."""

    def narrow(bands: Sequence[int], steps: Sequence[int]) -> Load:
        return lambda *window: load(*window)[np.ix_(steps, bands)]

    return narrow


def content_of(raster: Raster) -> str:
    """SHA-256 of a raster's values and of what they are; reads every value, in strips."""
    facts = {
        "grid": raster.grid.to_json(),
        "bands": raster.bands,
        "units": raster.units,
        "intervals": raster.intervals,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for strip in raster.row_blocks():
        # One bit pattern for every NaN, and little-endian everywhere.
        clean = np.where(np.isnan(strip), np.float32(np.nan), strip).astype("<f4")
        digest.update(clean.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def pixel_size_m(grid: Grid) -> float:
    """Metres on the ground of one pixel at the middle of a grid: geometric mean of both sides."""
    from pyproj import Geod

    from rs_embed.core.crs import project

    west, south, east, north = grid.bounds
    x, y = (west + east) / 2, (south + north) / 2
    dx, dy = grid.resolution[0] / 2, grid.resolution[1] / 2
    lon, lat = project(
        np.array([x - dx, x + dx, x, x]), np.array([y, y, y - dy, y + dy]), grid.crs, "EPSG:4326"
    )
    geod = Geod(ellps="WGS84")
    _, _, across = geod.inv(lon[0], lat[0], lon[1], lat[1])
    _, _, down = geod.inv(lon[2], lat[2], lon[3], lat[3])
    return float(np.sqrt(across * down))
