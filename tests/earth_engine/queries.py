"""What tests ask for: explicit grids, small places, Sentinel-2 over a place and a time."""

from __future__ import annotations

from typing import Any

import ee

from .catalogue import PLACES

Grid = dict[str, Any]


def make_grid(
    x: float,
    y: float,
    width: int = 8,
    height: int = 8,
    scale: float = 10,
    crs: str = "EPSG:32631",
) -> Grid:
    """A north-up grid with its outer corner at x, y."""
    return {
        "dimensions": {"width": width, "height": height},
        "affineTransform": {
            "scaleX": scale,
            "shearX": 0,
            "translateX": x,
            "shearY": 0,
            "scaleY": -scale,
            "translateY": y,
        },
        "crsCode": crs,
    }


MAIN = make_grid(550000, 4540000)
"""Eight by eight pixels of 10 m near the main place, on Sentinel-2's lattice."""


def around(place: str, half: float = 0.01) -> ee.Geometry:
    """A small planar rectangle around a place of the catalogue."""
    lon, lat = PLACES[place]
    box = [lon - half, lat - half, lon + half, lat + half]
    return ee.Geometry.Rectangle(box, "EPSG:4326", False)


def sentinel2(place: str = "main", start: str = "2022-06-01", end: str = "2022-07-01") -> Any:
    """Sentinel-2 scenes over a place and a time."""
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
    return scenes.filterBounds(around(place)).filterDate(start, end)
