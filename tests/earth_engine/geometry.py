"""Places: coordinate systems, footprints and geometries, all in degrees within ±180."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely import affinity
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from .errors import ServiceError

Transform = tuple[float, float, float, float, float, float]
"""(x scale, x shear, x origin, y shear, y scale, y origin): Earth Engine's order."""

LONLAT = "EPSG:4326"
SINUSOIDAL = "SR-ORG:6974"
_DEFINITIONS = {SINUSOIDAL: "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"}
_WORLD = box(-180, -90, 180, 90)
_EDGE_POINTS = 33
_WGS84 = pyproj.Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Projection:
    """A coordinate system with the transform of a pixel lattice in it."""

    crs: str
    transform: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @property
    def nominal_scale(self) -> float:
        """The width of a pixel in metres (degrees counted at the equator)."""
        unit = 111319.49079327358 if coordinate_system(self.crs).is_geographic else 1.0
        return abs(self.transform[0]) * unit

    def at_scale(self, metres: float) -> Projection:
        """The same lattice with pixels of `metres`."""
        factor = metres / self.nominal_scale
        a, b, c, d, e, f = self.transform
        return Projection(self.crs, (a * factor, b * factor, c, d * factor, e * factor, f))


def lattice(crs: str, numbers: Iterable[float]) -> Projection:
    """A projection from six numbers in Earth Engine's order."""
    a, b, c, d, e, f = map(float, numbers)
    return Projection(crs, (a, b, c, d, e, f))


DEFAULT_PROJECTION = Projection(LONLAT)
"""What a composite has: one degree, which is no useful lattice."""


@lru_cache(maxsize=256)
def coordinate_system(crs: str) -> pyproj.CRS:
    """The parsed form of a code or of WKT."""
    try:
        return pyproj.CRS.from_user_input(_DEFINITIONS.get(crs, crs))
    except pyproj.exceptions.CRSError:
        raise ServiceError(f"The CRS of a map projection could not be parsed: '{crs}'.") from None


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> pyproj.Transformer:
    """A cached transformer, x (east) before y (north) on both sides."""
    return pyproj.Transformer.from_crs(
        coordinate_system(source), coordinate_system(target), always_xy=True
    )


def within_world(geometry: BaseGeometry) -> BaseGeometry:
    """The same place with the parts beyond ±180 degrees wrapped to the other side."""
    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    turns = range(int(np.floor((west + 180) / 360)), int(np.floor((east + 180) / 360)) + 1)
    parts = [
        affinity.translate(geometry, xoff=-360.0 * turn).intersection(_WORLD) for turn in turns
    ]
    return shapely.unary_union(parts)


def ring_to_lonlat(ring: np.ndarray, crs: str) -> BaseGeometry:
    """The polygon in degrees of a ring `(n, 2)` of projected points.

    Longitudes are unrolled along the ring, so that a ring over the antimeridian stays whole
    and one around a pole is seen by its full turn and closed over the pole.
    """
    lon, lat = transformer(crs, LONLAT).transform(ring[:, 0], ring[:, 1])
    lon = np.rad2deg(np.unwrap(np.deg2rad(lon)))
    turn = lon[-1] - lon[0]
    points = list(zip(lon.tolist(), lat.tolist(), strict=True))
    if abs(turn) > 180:
        pole = 90.0 if np.mean(lat) > 0 else -90.0
        points += [(float(lon[-1]), pole), (float(lon[0]), pole)]
    return within_world(shapely.make_valid(Polygon(points)))


def densified(points: Sequence[Sequence[float]], geodesic: bool) -> np.ndarray:
    """Points `(n, 2)` along the edges through `points`, along great circles when geodesic."""
    pieces = []
    for (x0, y0), (x1, y1) in pairwise(points):
        if geodesic and max(abs(x1 - x0), abs(y1 - y0)) > 0.5:
            inner = _WGS84.npts(x0, y0, x1, y1, _EDGE_POINTS - 2)
            piece = np.array([(x0, y0), *inner])
        else:
            share = np.linspace(0, 1, _EDGE_POINTS)[:-1, None]
            piece = np.array([[x0, y0]]) * (1 - share) + np.array([[x1, y1]]) * share
        pieces.append(piece)
    return np.concatenate([*pieces, np.array([points[-1]], dtype=float)])


def rectangle_ring(left: float, bottom: float, right: float, top: float) -> list[list[float]]:
    """The closed ring of a rectangle."""
    return [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]


def extent_footprint(crs: str, bounds: tuple[float, float, float, float]) -> BaseGeometry:
    """The footprint of a raster with `bounds` (left, bottom, right, top) in `crs`."""
    return ring_to_lonlat(densified(rectangle_ring(*bounds), False), crs)


def polygon(
    rings: Sequence[Sequence[Sequence[float]]], projection: Projection | None, geodesic: bool | None
) -> BaseGeometry:
    """A polygon with holes from coordinates in `projection` (degrees by default)."""
    crs = projection.crs if projection else LONLAT
    geographic = coordinate_system(crs).is_geographic
    outlines = []
    for ring in rings:
        closed = [list(map(float, point)) for point in ring]
        if closed[0] != closed[-1]:
            closed.append(closed[0])
        if projection is not None and projection.transform != DEFAULT_PROJECTION.transform:
            a, b, c, d, e, f = projection.transform
            closed = [[a * x + b * y + c, d * x + e * y + f] for x, y in closed]
        dense = geographic and geodesic is not False
        points = densified(closed, dense) if dense or not geographic else np.array(closed)
        outlines.append(points)
    if geographic:
        return within_world(shapely.make_valid(Polygon(outlines[0], outlines[1:])))
    shell = ring_to_lonlat(outlines[0], crs)
    return shell.difference(
        shapely.unary_union([ring_to_lonlat(hole, crs) for hole in outlines[1:]])
    )


def rectangle(
    coordinates: Sequence[Any], projection: Projection | None, geodesic: bool | None
) -> BaseGeometry:
    """A rectangle from [west, south, east, north] or from two corners."""
    flat = [float(v) for item in coordinates for v in (item if isinstance(item, list) else [item])]
    if len(flat) != 4:
        raise ServiceError("GeometryConstructors.Rectangle: Expected 4 coordinates.")
    return polygon([rectangle_ring(*flat)], projection, geodesic)


def point(coordinates: Sequence[float], projection: Projection | None) -> BaseGeometry:
    """A point, in degrees unless a projection is given."""
    x, y = map(float, coordinates)
    if projection is not None:
        x, y = transformer(projection.crs, LONLAT).transform(x, y)
    return within_world(Point(x, y))


def line(coordinates: Sequence[Sequence[float]]) -> BaseGeometry:
    """A line in degrees."""
    return within_world(LineString(coordinates))


def buffered(geometry: BaseGeometry, metres: float) -> BaseGeometry:
    """Everything within `metres`, measured around the centroid."""
    centre = geometry.centroid
    local = f"+proj=aeqd +lon_0={centre.x} +lat_0={centre.y} +datum=WGS84"
    to_local = transformer(LONLAT, local)
    plane = shapely.transform(
        geometry, lambda xy: np.column_stack(to_local.transform(xy[:, 0], xy[:, 1]))
    )
    grown = plane.buffer(metres, quad_segs=16)
    parts = grown.geoms if isinstance(grown, MultiPolygon) else [grown]
    return shapely.unary_union(
        [ring_to_lonlat(np.array(part.exterior.coords), local) for part in parts]
    )


def contains(footprints: Iterable[BaseGeometry], lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Where points lie inside any of the footprints, `(h, w)` bool."""
    lon, lat = np.broadcast_arrays(lon, lat)
    inside = np.zeros(lon.shape, bool)
    for geometry in footprints:
        west, south, east, north = geometry.bounds
        near = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north) & ~inside
        if near.any():
            inside[near] = shapely.contains_xy(geometry, lon[near], lat[near])
    return inside


def geojson(geometry: BaseGeometry) -> dict[str, object]:
    """GeoJSON as the service writes it: lists, no tuples."""

    def plain(value: object) -> object:
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value

    document = shapely.geometry.mapping(geometry)
    if "geometries" in document:
        return {"type": document["type"], "geometries": [geojson(g) for g in geometry.geoms]}
    return {"type": document["type"], "coordinates": plain(document["coordinates"])}
