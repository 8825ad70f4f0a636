"""The grid that a model works on over an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core import crs as projections
from rs_embed.core.area import averaged_pixels
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import MAX_PIXELS, Grid, northing_base
from rs_embed.core.resample import offset_in, whole_factor
from rs_embed.core.result import Outcome
from rs_embed.raster.raster import Raster, pixel_size_m

# A scale that is off by more than this is not metres.
_TRUE = 0.01
_SAME = 1e-3
_FAR = 2.0
_EDGE_POINTS = 33
# An array may become so many times larger however large that is.
_BLOWN_UP = 4


def working_grid(raster: Raster, scale_m: float) -> Outcome[tuple[Grid, dict[str, Any]]]:
    """The pixels of ``scale_m`` over an array, and what was decided.

    An array in metres keeps its corner: its own lattice where the steps agree within 0.1 %, else
    cells of ``scale_m`` from there on. Degrees, and projections whose scale is off by more than
    1 % at the centre or a corner, are warped onto the UTM lattice of the centre
    (``warped_from``): the smallest north-up rectangle that covers the array; what lies outside
    the array stays NaN. Along an axis that becomes coarser pixels are averaged by area
    (`Raster.read`), along one that does not the nearest holds (``resampled``).

    Notes
    -----
    ``area_averaged``: how many pixels a side are averaged, of both axes or ``[down, across]``.
    ``resolution``: said where one pixel of the array is more than twice ``scale_m``, or less than
    half of it.

    Fails with SpecError where a warped array is wider than a UTM zone, or would have more than
    four times as many pixels as the array and more than `core.grid.MAX_PIXELS`.
    """
    if not _true_metres(raster.grid):
        return _warped(raster, scale_m)
    return _bounded(raster, *_on_own_corner(raster, scale_m))


def _bounded(
    raster: Raster, target: Grid, notes: dict[str, Any]
) -> Outcome[tuple[Grid, dict[str, Any]]]:
    """Both as they are; Failure(SpecError) where resampling would blow the array up."""
    have, want = math.prod(raster.grid.shape), math.prod(target.shape)
    if want <= max(MAX_PIXELS, _BLOWN_UP * have):
        return Success((target, notes))
    return Failure(
        SpecError(
            f"the array has {raster.grid.height} x {raster.grid.width} pixels of "
            f"{pixel_size_m(raster.grid):.4g} m, and at the model's {target.resolution[0]:g} m it "
            f"would be {target.height} x {target.width}, more than {MAX_PIXELS:g} pixels made of "
            "fewer; take a model of coarser pixels, finer imagery, or a part of the array"
        )
    )


def _on_own_corner(raster: Raster, scale_m: float) -> tuple[Grid, dict[str, Any]]:
    grid = raster.grid
    dx, dy = grid.resolution
    if all(abs(step / scale_m - 1) <= _SAME for step in (dx, dy)):
        return grid, {}
    factor = whole_factor(scale_m, dx, _SAME)
    if factor > 1 and whole_factor(scale_m, dy, _SAME) == factor:
        return grid.coarsen(factor), {"area_averaged": factor}
    rows = _cells(grid.height * dy / scale_m)
    cols = _cells(grid.width * dx / scale_m)
    t = grid.transform
    target = Grid(grid.crs, Affine(scale_m, 0, t.c, 0, -scale_m, t.f), (rows, cols))
    notes = resampling_notes(raster, target)
    return target, {**notes, **_averaged(raster, target), **_far(raster, scale_m)}


def _warped(raster: Raster, scale_m: float) -> Outcome[tuple[Grid, dict[str, Any]]]:
    x, y = _edges(raster.grid)
    lon, lat = projections.project(x, y, raster.grid.crs, "EPSG:4326")
    centre_lon, centre_lat = raster.grid.centre_lonlat()
    centre_lon = (centre_lon + 180) % 360 - 180
    span = (lon - centre_lon + 180) % 360 - 180 + centre_lon
    crs = projections.crs_for(centre_lon, centre_lat)
    zone = projections.check_zone(float(span.min()), float(span.max()), centre_lon, centre_lat, crs)

    def covered(name: str) -> tuple[Grid, dict[str, Any]]:
        target = _covering(*projections.project(span, lat, "EPSG:4326", name), name, scale_m)
        notes = resampling_notes(raster, target)
        return target, {**notes, **_averaged(raster, target), **_far(raster, scale_m)}

    return zone.map(covered).bind(lambda made: _bounded(raster, *made))


def _covering(x: np.ndarray, y: np.ndarray, crs: str, scale: float) -> Grid:
    """The smallest rectangle of the UTM lattice around points."""
    base = northing_base(crs)
    slack = 1e-6
    left, right = math.floor(x.min() / scale + slack), math.ceil(x.max() / scale - slack)
    bottom = math.floor((y.min() - base) / scale + slack)
    top = math.ceil((y.max() - base) / scale - slack)
    shape = (max(1, top - bottom), max(1, right - left))
    return Grid(crs, Affine(scale, 0, left * scale, 0, -scale, top * scale + base), shape)


def _true_metres(grid: Grid) -> bool:
    """Whether a unit of the CRS is a metre on the ground, at the centre and the corners."""
    if projections.is_geographic(grid.crs):
        return False
    west, south, east, north = grid.bounds
    places = [((west + east) / 2, (south + north) / 2)]
    places += [(x, y) for x in (west, east) for y in (south, north)]
    step = min(grid.resolution)
    return all(projections.scale_error(grid.crs, x, y, step) <= _TRUE for x, y in places)


def _edges(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    west, south, east, north = grid.bounds
    t = np.linspace(0, 1, _EDGE_POINTS)
    xs, ys = west + t * (east - west), south + t * (north - south)
    x = np.concatenate([xs, xs, np.full_like(t, west), np.full_like(t, east)])
    y = np.concatenate([np.full_like(t, south), np.full_like(t, north), ys, ys])
    return x, y


def _cells(exact: float) -> int:
    """Cells whose centre lies inside a length of so many cells; at least one."""
    return max(1, math.ceil(exact - 0.5 - 1e-9))


def resampling_notes(raster: Raster, target: Grid) -> dict[str, Any]:
    """What is told of pixels on a lattice that is not the raster's: ``resampled``, and where the
    CRS is another ``warped_from``. Nothing of the raster's own pixels or whole blocks of them.
    """
    scale = target.resolution[0]
    if raster.grid.crs != target.crs:
        size = f"{pixel_size_m(raster.grid):.4g} m"
        way = f"{_way(raster, target)}, {size} to {scale:g} m"
        return {"warped_from": raster.grid.crs, "resampled": way}
    factors = [round(factor) for factor in raster.coarser_by(target)]
    blocks = factors[0] == factors[1]
    if blocks and offset_in(raster.grid, target.refine(factors[0])) is not None:
        return {}
    size = _metres(*raster.grid.resolution)
    return {"resampled": f"{_way(raster, target)}, {size} to {scale:g} m"}


def _way(raster: Raster, target: Grid) -> str:
    down, across = (one > 1 for one in raster.coarser_by(target))
    if down and across:
        return "area average"
    return "area average along one axis, nearest along the other" if down or across else "nearest"


def _averaged(raster: Raster, target: Grid) -> dict[str, Any]:
    told = averaged_pixels(raster.coarser_by(target))
    return {} if told is None else {"area_averaged": told}


def _far(raster: Raster, scale_m: float) -> dict[str, Any]:
    size = pixel_size_m(raster.grid)
    if 1 / _FAR <= size / scale_m <= _FAR:
        return {}
    much = "coarser" if size > scale_m else "finer"
    return {
        "resolution": f"pixels of {size:.4g} m are more than twice {much} than the {scale_m:g} m "
        "that the model was trained at"
    }


def _metres(dx: float, dy: float) -> str:
    return f"{dx:g} m" if abs(dx - dy) <= _SAME * dx else f"{dx:g} x {dy:g} m"
