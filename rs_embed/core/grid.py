"""Pixels on the ground: `Grid`, the one value that every georeferenced thing hangs on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core import crs as projections
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.core.specs import BBox, PointBuffer, SpatialSpec, check_spatial

# Pixels that may be held at once: one fetch, or one window of a whole image.
MAX_PIXELS = 100_000_000
# Pixels of a region that is read part by part: no more than its coordinates can name.
MAX_STREAMED = 1e12
STREAM = "open_roi(spatial, temporal, model).rsembed.embed(model), which holds a part at a time"
_EDGE_POINTS = 33
# Fractions of a pixel below this are rounding of the projection, not a wish for another pixel.
_TOLERANCE_PX = 1e-6


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of pixels: a CRS, the transform of its corner, and its rows and columns.

    Parameters
    ----------
    crs : str
        ``"EPSG:…"`` or WKT.
    transform : Affine
        Pixel (column, row) to (x, y); (0, 0) is the outer corner of the first pixel. No rotation.
    shape : tuple of int
        (rows, columns).
    """

    crs: str
    transform: Affine
    shape: tuple[int, int]

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[1]

    @property
    def resolution(self) -> tuple[float, float]:
        """(x, y) units a pixel, both positive."""
        return abs(self.transform.a), abs(self.transform.e)

    @property
    def north_up(self) -> bool:
        """Whether row 0 is the northern one."""
        return self.transform.e < 0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in CRS units."""
        x0, y0 = self.transform.c, self.transform.f
        x1 = x0 + self.transform.a * self.width
        y1 = y0 + self.transform.e * self.height
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def x(self) -> np.ndarray:
        """Centre of each column, ``(W,)``."""
        return self.transform.c + self.transform.a * (np.arange(self.width) + 0.5)

    def y(self) -> np.ndarray:
        """Centre of each row, ``(H,)``."""
        return self.transform.f + self.transform.e * (np.arange(self.height) + 0.5)

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The part (or the surroundings) of the lattice from ``row, col``; both may be negative."""
        t = self.transform
        moved = Affine(t.a, t.b, t.c + t.a * col, t.d, t.e, t.f + t.e * row)
        return Grid(self.crs, moved, (height, width))

    def coarsen(self, factor: int) -> Grid:
        """Cells of ``factor`` pixels from the same corner, those whose centre is inside."""
        rows, cols = (cells_inside(n, factor) for n in self.shape)
        t = self.transform
        return Grid(self.crs, Affine(t.a * factor, 0, t.c, 0, t.e * factor, t.f), (rows, cols))

    def refine(self, factor: int) -> Grid:
        """The lattice of pixels ``factor`` times finer over the same ground."""
        t = self.transform
        finer = Affine(t.a / factor, 0, t.c, 0, t.e / factor, t.f)
        return Grid(self.crs, finer, (self.height * factor, self.width * factor))

    def flip_rows(self) -> Grid:
        """The same ground with the rows counted from the other side."""
        t = self.transform
        return Grid(self.crs, Affine(t.a, 0, t.c, 0, -t.e, t.f + t.e * self.height), self.shape)

    def centre_lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, degrees."""
        west, south, east, north = self.bounds
        lon, lat = projections.project(
            (west + east) / 2, (south + north) / 2, self.crs, "EPSG:4326"
        )
        return float(lon), float(lat)

    def hull(self) -> tuple[tuple[float, float, float, float], ...]:
        """Boxes (west, south, east, north) in degrees that cover the grid.

        One box, or two where it crosses the antimeridian. A grid over a pole spans all longitudes.
        """
        lon, lat = _edges_lonlat(self)
        if self._holds_pole():
            south, north = float(lat.min()), float(lat.max())
            return ((-180.0, -90.0 if south < 0 else south, 180.0, north if south < 0 else 90.0),)
        centre = self.centre_lonlat()[0]
        span = (lon - centre + 180) % 360 - 180 + centre
        west, east = float(span.min()), float(span.max())
        south, north = float(lat.min()), float(lat.max())
        if west < -180:
            return ((west + 360, south, 180.0, north), (-180.0, south, east, north))
        if east > 180:
            return ((west, south, 180.0, north), (-180.0, south, east - 360, north))
        return ((west, south, east, north),)

    def _holds_pole(self) -> bool:
        if self.crs not in (projections.UPS_NORTH, projections.UPS_SOUTH):
            return False
        west, south, east, north = self.bounds
        return west <= 2_000_000 <= east and south <= 2_000_000 <= north

    def to_json(self) -> dict[str, Any]:
        """Plain data that `grid_from_json` reads back."""
        return {
            "crs": self.crs,
            "transform": [float(v) for v in tuple(self.transform)[:6]],
            "shape": list(self.shape),
        }


def grid_from_json(data: dict[str, Any]) -> Grid:
    """The grid that `Grid.to_json` described."""
    rows, cols = data["shape"]
    return Grid(data["crs"], Affine(*data["transform"]), (int(rows), int(cols)))


def cells_inside(pixels: int, cell: int) -> int:
    """How many cells of ``cell`` pixels, from 0 on, have their centre inside; at least one.

    A centre exactly on the far edge is outside.
    """
    return max(1, math.ceil(pixels / cell - 0.5))


def roi_grid(
    spatial: SpatialSpec, scale_m: float, *, max_pixels: float = MAX_PIXELS
) -> Outcome[Grid]:
    """The pixels of a ROI: north-up, on the UTM lattice that Sentinel-2's own pixels lie on.

    Eastings are multiples of ``scale_m``; northings are multiples counted from the equator.

    Fails with SpecError for an invalid spec, a box too wide for one zone, or too many pixels.
    """
    return check_spatial(spatial).bind(
        lambda spec: (
            _point_grid(spec, scale_m, max_pixels)
            if isinstance(spec, PointBuffer)
            else _box_grid(spec, scale_m, max_pixels)
        )
    )


def _point_grid(point: PointBuffer, scale: float, maximum: float) -> Outcome[Grid]:
    crs = projections.crs_for(point.lon, point.lat)
    too_many = _too_many(2 * point.buffer_m / scale, 2 * point.buffer_m / scale, scale, maximum)
    if too_many:
        return Failure(too_many)
    side = math.ceil(2 * point.buffer_m / scale)
    x, y = projections.project(point.lon, point.lat, "EPSG:4326", crs)
    half = side * scale / 2
    left = math.floor((float(x) - half) / scale + 0.5) * scale
    base = northing_base(crs)
    top = math.floor((float(y) + half - base) / scale + 0.5) * scale + base
    grid = Grid(crs, Affine(scale, 0, left, 0, -scale, top), (side, side))
    return _within_zone(grid, point.lon, point.lat)


def _box_grid(box: BBox, scale: float, maximum: float) -> Outcome[Grid]:
    lon, lat = (box.minlon + box.maxlon) / 2, (box.minlat + box.maxlat) / 2
    crs = projections.crs_for(lon, lat)
    zone = projections.check_zone(box.minlon, box.maxlon, lon, lat, crs)
    if isinstance(zone, Failure):
        return zone
    edge_lon, edge_lat = _box_edges(box, crs)
    x, y = projections.project(edge_lon, edge_lat, "EPSG:4326", crs)
    base = northing_base(crs)
    too_many = _too_many(float(np.ptp(y)) / scale, float(np.ptp(x)) / scale, scale, maximum)
    if too_many:
        return Failure(too_many)
    left = math.floor(x.min() / scale + _TOLERANCE_PX)
    right = math.ceil(x.max() / scale - _TOLERANCE_PX)
    bottom = math.floor((y.min() - base) / scale + _TOLERANCE_PX)
    top = math.ceil((y.max() - base) / scale - _TOLERANCE_PX)
    shape = (max(1, top - bottom), max(1, right - left))
    too_many = _too_many(*shape, scale, maximum)
    if too_many:
        return Failure(too_many)
    return Success(Grid(crs, Affine(scale, 0, left * scale, 0, -scale, top * scale + base), shape))


def _box_edges(box: BBox, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes along the four edges of a box, where it may reach furthest.

    Besides evenly spaced points: the equator, and the meridians on which a parallel of the
    projection turns (the central one of a zone, every quarter turn about a pole).
    """
    if crs in (projections.UPS_NORTH, projections.UPS_SOUTH):
        turns = np.array([-180.0, -90.0, 0.0, 90.0, 180.0])
    else:
        turns = np.array([int(crs[-2:]) * 6.0 - 183])
    turns = turns[(turns > box.minlon) & (turns < box.maxlon)]
    equator = [0.0] if box.minlat < 0 < box.maxlat else []
    lons = np.concatenate([np.linspace(box.minlon, box.maxlon, _EDGE_POINTS), turns])
    lats = np.concatenate([np.linspace(box.minlat, box.maxlat, _EDGE_POINTS), equator])
    lon = [lons, lons, np.full_like(lats, box.minlon), np.full_like(lats, box.maxlon)]
    lat = [np.full_like(lons, box.minlat), np.full_like(lons, box.maxlat), lats, lats]
    return np.concatenate(lon), np.concatenate(lat)


def northing_base(crs: str) -> float:
    """Northing of the equator: 10,000,000 in the southern UTM zones, else 0."""
    southern = crs.startswith("EPSG:327") and crs != projections.UPS_SOUTH
    return 10_000_000.0 if southern else 0.0


def _within_zone(grid: Grid, lon: float, lat: float) -> Outcome[Grid]:
    if grid.crs in (projections.UPS_NORTH, projections.UPS_SOUTH):
        return Success(grid)
    edge_lon, _ = _edges_lonlat(grid)
    span = (edge_lon - lon + 180) % 360 - 180 + lon
    zone = projections.check_zone(float(span.min()), float(span.max()), lon, lat, grid.crs)
    return zone.map(lambda _: grid)


def _edges_lonlat(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    west, south, east, north = grid.bounds
    t = np.linspace(0, 1, 9)
    xs, ys = west + t * (east - west), south + t * (north - south)
    x = np.concatenate([xs, xs, np.full_like(t, west), np.full_like(t, east)])
    y = np.concatenate([np.full_like(t, south), np.full_like(t, north), ys, ys])
    return projections.project(x, y, grid.crs, "EPSG:4326")


def _too_many(rows: float, cols: float, scale: float, maximum: float) -> SpecError | None:
    if rows * cols <= maximum:
        return None
    return SpecError(
        f"the region is {rows:.0f} x {cols:.0f} pixels at {scale:g} m, more than the {maximum:g} "
        f"allowed at once; stream it: {STREAM}; or make it smaller, split it, or ask for coarser "
        "pixels"
    )
