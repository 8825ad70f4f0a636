"""Which projection a place gets, and where points land in it. Needs pyproj; no I/O."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome

if TYPE_CHECKING:
    from pyproj import Geod, Transformer

UPS_NORTH, UPS_SOUTH = "EPSG:32661", "EPSG:32761"
# A zone is six degrees wide; half a degree beyond either edge is still within 0.15 % of true scale.
ZONE_SLACK_DEG = 0.5


def utm_zone(lon: float, lat: float) -> int:
    """Zone number of a point, with the MGRS exceptions of Norway (32V) and Svalbard (31X..37X).

    Examples
    --------
    >>> utm_zone(5.3, 60.4), utm_zone(5.3, 52.0), utm_zone(15.6, 78.2), utm_zone(180.0, 0.0)
    (32, 31, 33, 1)
    """
    if 56 <= lat < 64 and 3 <= lon < 12:
        return 32
    if 72 <= lat <= 84 and 0 <= lon < 42:
        return 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
    return int((lon + 180) // 6) % 60 + 1


def crs_for(lon: float, lat: float) -> str:
    """``EPSG:326zz`` or ``EPSG:327zz``, or UPS beyond 84 N and 80 S."""
    if lat > 84:
        return UPS_NORTH
    if lat < -80:
        return UPS_SOUTH
    return f"EPSG:{326 if lat >= 0 else 327}{utm_zone(lon, lat):02d}"


def zone_limits(lon: float, lat: float) -> tuple[float, float]:
    """West and east edge of the zone that serves a point, degrees, slack included.

    A zone that the exceptions widen keeps its own edges. Longitudes may pass ±180.
    """
    zone = utm_zone(lon, lat)
    west, east = zone * 6.0 - 186, zone * 6.0 - 180
    if 56 <= lat < 64 and zone == 32:
        west, east = 3.0, 12.0
    elif 72 <= lat <= 84 and 0 <= lon < 42:
        west, east = {31: (0.0, 9.0), 33: (9.0, 21.0), 35: (21.0, 33.0), 37: (33.0, 42.0)}[zone]
    turn = 360.0 if zone == 1 and lon > 0 else 0.0  # the meridian 180 belongs to zone 1
    return west + turn - ZONE_SLACK_DEG, east + turn + ZONE_SLACK_DEG


def check_zone(west: float, east: float, lon: float, lat: float, crs: str) -> Outcome[str]:
    """The crs, if the span west..east lies in the zone of its centre; else Failure(SpecError)."""
    if crs in (UPS_NORTH, UPS_SOUTH):
        return Success(crs)
    low, high = zone_limits(lon, lat)
    if west < low or east > high:
        return Failure(
            SpecError(
                f"the region spans longitudes {west:.4g}..{east:.4g}, more than 3.5 degrees from "
                f"the central meridian of its zone ({crs}, {low:g}..{high:g}), where a pixel is no "
                "longer its stated size; split it into boxes of at most 6 degrees, or make the "
                "buffer smaller"
            )
        )
    return Success(crs)


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """The pyproj transformer between two CRS, x before y on both sides."""
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)


def project(
    x: np.ndarray | float, y: np.ndarray | float, source: str, target: str
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in another CRS, x before y; points that have none come back infinite."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if source == target:
        return x, y
    # What pyproj makes of an array of one point depends on numpy's release; of numbers it does not.
    points = (x.item(), y.item()) if x.size == y.size == 1 else (x, y)
    out = transformer(source, target).transform(*points)
    return np.reshape(out[0], x.shape), np.reshape(out[1], y.shape)


@lru_cache(maxsize=256)
def is_geographic(crs: str) -> bool:
    """Whether the coordinates of a CRS are degrees."""
    from pyproj import CRS

    return bool(CRS.from_user_input(crs).is_geographic)


def ground_lengths(crs: str, x: float, y: float, step: float) -> tuple[float, float]:
    """Metres on the WGS 84 ellipsoid of ``step`` units eastward and northward about a point."""
    half = step / 2
    lon, lat = project(
        np.array([x - half, x, x + half, x]), np.array([y, y - half, y, y + half]), crs, "EPSG:4326"
    )
    _, _, metres = _wgs84().inv(lon[:2], lat[:2], lon[2:], lat[2:])
    return float(metres[0]), float(metres[1])


@lru_cache(maxsize=1024)
def scale_error(crs: str, x: float, y: float, step: float) -> float:
    """Largest relative error of ``step`` metres of a projection at a point, against the ellipsoid.

    0 where one unit of the CRS is one metre on the ground.
    """
    return max(abs(length / step - 1) for length in ground_lengths(crs, x, y, step))


@lru_cache(maxsize=1)
def _wgs84() -> Geod:
    from pyproj import Geod

    return Geod(ellps="WGS84")
