"""The pixels of one plan: cut into requests, read at the stored resolution, put together."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core.area import SAME_STEP, coarser_by, covers, weighted_mean
from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.grid import Grid, northing_base
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan
from rs_embed.core.resample import area_average, gather, nearest_indices, whole_factor
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.providers import gee_graph
from rs_embed.providers.collections import Band, finest_m, in_stated_units
from rs_embed.providers.gee_errors import TooMuchError
from rs_embed.providers.gee_graph import SENTINEL, Query
from rs_embed.providers.gee_session import MAX_IN_FLIGHT, Settings, compute_pixels
from rs_embed.providers.requests import Part, halves, split
from rs_embed.providers.waiting import threads

# Of a grid this much coarser than the stored pixels Earth Engine would read a pyramid level.
_PYRAMID_FROM = 1.9
# Parts of a pixel below this are rounding.
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Reading:
    """How the pixels of a plan are read: ``factor`` a side, at most, for one, then ``rule``.

    ``rule`` is "nearest", "area average" or "earth engine pyramid". ``stored_m`` is the step of
    the lattice that is read where it is not the plan's own cut into ``factor``: the stored pixels
    that cover the plan's.
    """

    factor: int
    rule: str
    stored_m: float | None = None

    def lattice(self, grid: Grid) -> Grid:
        """The pixels that are read for those of ``grid``."""
        return grid.refine(self.factor) if self.stored_m is None else covering(grid, self.stored_m)

    def fetched_m(self, grid: Grid) -> float:
        """Metres a pixel that is read."""
        return self.stored_m or grid.resolution[0] / self.factor


def covering(grid: Grid, step: float) -> Grid:
    """The lattice of whole steps, counted from the equator, over all of a grid in metres."""
    west, south, east, north = grid.bounds
    base = northing_base(grid.crs)
    left, right = math.floor(west / step + _SLACK), math.ceil(east / step - _SLACK)
    bottom = math.floor((south - base) / step + _SLACK)
    top = math.ceil((north - base) / step - _SLACK)
    corner = Affine(step, 0, left * step, 0, -step, top * step + base)
    return Grid(grid.crs, corner, (top - bottom, right - left))


def read(query: Query, plan: FetchPlan, settings: Settings) -> Outcome[Patch]:
    """The pixels of a plan, in as few requests as the limits allow; halved where they are too many.

    NaN where Earth Engine has none, also everywhere.
    """
    reading = read_rule(plan, query.bands)
    intervals = len(query.windows)
    parts = split(plan.grid.shape, intervals, len(query.bands), factor=reading.factor)
    out = np.empty((intervals, len(query.bands), *plan.grid.shape), dtype=np.float32)
    sent: list[Part] = []
    broken: list[RsEmbedError] = []

    def bring(part: Part) -> Outcome[None]:
        """One part into its place, in halves where the service cannot do it whole."""
        if broken:  # what is left of a plan that cannot be had is not asked for
            return Failure(broken[0])
        sent.append(part)
        found = _part(query, plan, part, reading, settings)
        if isinstance(found, Success):
            rows = slice(part.row, part.row + part.height)
            cols = slice(part.col, part.col + part.width)
            out[part.first : part.first + part.intervals, :, rows, cols] = found.unwrap()
            return Success(None)
        smaller = halves(part) if isinstance(found.failure(), TooMuchError) else None
        if smaller is None:
            broken.append(found.failure())
            return Failure(found.failure())
        return collect(bring(half) for half in smaller).map(lambda _: None)

    if len(parts) == 1:
        brought = bring(parts[0])
    else:
        with threads(min(len(parts), MAX_IN_FLIGHT)) as pool:
            brought = collect(list(pool.map(bring, parts))).map(lambda _: None)
    return brought.map(lambda _: _patch(query, plan, out, reading, len(sent)))


def read_rule(plan: FetchPlan, bands: Sequence[Band]) -> Reading:
    """How a plan's pixels are read, from its grid and the stored pixels of its bands."""
    # Classes beside values change nothing in how these are read.
    averaged = [band for band in bands if band.averaged != "never"]
    finest = finest_m(averaged or bands)
    ratio = plan.grid.resolution[0] / finest
    if plan.sensor.fetch == "server":
        return Reading(1, "earth engine pyramid" if ratio >= _PYRAMID_FROM else "nearest")
    if math.isnan(ratio):
        return Reading(1, "nearest, or earth engine pyramid where the source is finer")
    factor = whole_factor(plan.grid.resolution[0], finest)
    if factor > 1 and averaged:
        return Reading(factor, "area average")
    if averaged and ratio > 1 + SAME_STEP:
        return Reading(math.ceil(ratio), "area average", finest)
    if ratio < _PYRAMID_FROM:
        return Reading(1, "nearest")
    # An odd number, so that one pixel lies in the middle, and small enough to be read unaveraged.
    return Reading(math.ceil(ratio / _PYRAMID_FROM) // 2 * 2 + 1, "nearest")


def _part(
    query: Query, plan: FetchPlan, part: Part, reading: Reading, settings: Settings
) -> Outcome[np.ndarray]:
    """``(frames, C, height, width)`` of one request, in the row's stated units."""
    last = part.first + part.intervals
    some = replace(query, intervals=query.intervals[part.first : last])
    target = plan.grid.window(part.row, part.col, part.height, part.width)
    grid = reading.lattice(target)
    names = gee_graph.band_ids(some)
    request = {
        "expression": gee_graph.encoded(some),
        "fileFormat": "NPY",
        "grid": gee_graph.grid_request(grid),
    }

    def stacked(flat: np.ndarray) -> np.ndarray:
        values = flat.reshape(part.intervals, len(some.bands), *grid.shape)
        return in_stated_units(_coarsened(values, grid, target, some.bands, reading), some.bands)

    return compute_pixels(request, lambda data: decode(data, names, grid.shape), settings).map(
        stacked
    )


def _coarsened(
    values: np.ndarray, grid: Grid, target: Grid, bands: Sequence[Band], reading: Reading
) -> np.ndarray:
    """``(T, C, H, W)`` of the target from the pixels of ``grid``; of classes the middle one."""
    if reading.factor == 1:
        return values
    middle = slice(reading.factor // 2, None, reading.factor)
    if reading.rule != "area average":
        return values[..., middle, middle]
    classes = [i for i, band in enumerate(bands) if band.averaged == "never"]
    if reading.stored_m is None:
        out = area_average(values, reading.factor)
        out[:, classes] = values[:, classes][..., middle, middle]
        return out
    out = weighted_mean(values, *covers(grid, target, coarser_by(grid, target)))
    if classes:
        out[:, classes] = gather(values[:, classes], *nearest_indices(grid, target))
    return out


def decode(data: bytes, names: Sequence[str], shape: tuple[int, int]) -> Outcome[np.ndarray]:
    """An NPY answer as ``(bands, H, W)`` float32, by name; NaN where a pixel was masked.

    Fails with a transient ProviderError where bytes, bands or pixels are missing.
    """
    try:
        table = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        return Failure(_damaged(f"{len(data)} bytes that are no whole array ({error})", error))
    found = table.dtype.names or ()
    if table.shape != shape or set(names) - set(found):
        return Failure(_damaged(f"{table.shape} pixels of {', '.join(found)}"))
    out = np.empty((len(names), *shape), dtype=np.float32)
    for i, name in enumerate(names):
        out[i] = table[name]
    out[out == np.float32(SENTINEL)] = np.nan
    return Success(out)


def _damaged(what: str, cause: BaseException | None = None) -> RsEmbedError:
    error = ProviderError(f"Earth Engine's answer was damaged: {what}", transient=True)
    return error if cause is None else caused(error, by=cause)


def _patch(
    query: Query, plan: FetchPlan, data: np.ndarray, reading: Reading, requests: int
) -> Patch:
    sensor, row = query.sensor, query.row
    there = np.isfinite(data)
    cloud = row.cloud_property
    meta = {
        "provider": "earth engine",
        "collection": plan.collection,
        "composite": row.composite or sensor.composite,
        "averaged_in": "linear power" if any(b.averaged == "power" for b in query.bands) else None,
        "cloud_filter": None if cloud is None else f"{cloud} <= {sensor.cloudy_pct}",
        "cloud_mask": sensor.cloud_mask,
        "orbit": sensor.orbit,
        "resampling": sensor.resampling,
        "reading": reading.rule,
        "fetched_m": reading.fetched_m(plan.grid),
        "requests": requests,
        "valid_fraction": float(there.any(axis=1).mean()),
        "empty_intervals": [i for i in range(len(data)) if not there[i].any()],
    }
    return Patch(data, plan.bands, plan.units, plan.grid, plan.intervals, meta)
