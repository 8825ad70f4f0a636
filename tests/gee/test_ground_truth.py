"""A 10 m pixel that Earth Engine is asked for is 10 m on the ground, from 80 S to 80 N."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Geod, Transformer

from rs_embed import (
    PointBuffer,
    SensorSpec,
    TemporalSpec,
    get_embedding,
    open_roi,
    sample_scene,
)
from rs_embed.core.grid import roi_grid
from rs_embed.core.result import unwrap_or_raise
from rs_embed.providers.gee_graph import grid_request
from tests.earth_engine import Server
from tests.gee.plans import requests_of

ON_GROUND = Geod(ellps="WGS84")


def sides(request: dict) -> tuple[float, float]:
    """Metres along a row and down a column of the middle pixel of a request, on the ellipsoid."""
    t, size = request["affineTransform"], request["dimensions"]
    x = t["translateX"] + t["scaleX"] * (size["width"] // 2)
    y = t["translateY"] + t["scaleY"] * (size["height"] // 2)
    to_degrees = Transformer.from_crs(request["crsCode"], "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform([x, x + t["scaleX"], x], [y, y, y + t["scaleY"]])
    along = ON_GROUND.inv(lon[0], lat[0], lon[1], lat[1])[2]
    down = ON_GROUND.inv(lon[0], lat[0], lon[2], lat[2])[2]
    return along, down


@pytest.mark.parametrize("lat", range(-80, 81, 10))
def test_ten_metres_are_ten_metres(lat: int) -> None:
    # Middles and edges of zones, both sides of the antimeridian.
    for lon in (-179.99, -123.0, -60.01, 0.0, 2.99, 9.0, 31.7, 177.0, 179.99):
        grid = unwrap_or_raise(roi_grid(PointBuffer(lon, lat, 1280), 10))
        for side in sides(grid_request(grid)):
            assert abs(side / 10 - 1) <= 0.0015, (lon, lat, side)


@pytest.mark.parametrize("lat", [85.0, -85.0])
def test_at_the_poles_meta_tells_the_error(server: Server, lat: float) -> None:
    when = TemporalSpec.range("2022-06-01", "2022-07-01")
    found = get_embedding("mosaiks", spatial=PointBuffer(0.0, lat, 320), temporal=when)
    (body,) = requests_of(server)
    measured = max(abs(side / 10 - 1) for side in sides(body["grid"]))
    assert found.meta["scale_error"] == pytest.approx(measured, rel=0.05)


def test_a_real_scene_comes_back_bit_for_bit(server: Server) -> None:
    """Sentinel-2's own pixels over Patagonia, through a median, on the grid of a place in them."""
    scene = sample_scene()
    when = TemporalSpec.range("2020-01-01", "2020-02-01")
    bands = tuple(scene.band.values.tolist())
    place = PointBuffer(-67.645, -47.852, 640)
    pixels = open_roi(place, when, SensorSpec("COPERNICUS/S2_SR_HARMONIZED", bands)).compute()
    assert pixels.shape == (6, 128, 128)
    stored = scene.sel(x=pixels.x, y=pixels.y)  # by coordinate: exact, or a KeyError
    assert np.array_equal(pixels, stored)
    assert len(np.unique(pixels)) > 1000


def test_a_place_is_where_it_was_asked_for() -> None:
    for lon, lat in ((121.5, 31.2), (-68.5, -33.9), (179.999, -16.5)):
        grid = unwrap_or_raise(roi_grid(PointBuffer(lon, lat, 640), 10))
        found = grid.centre_lonlat()
        assert ON_GROUND.inv(lon, lat, *found)[2] <= 5 * np.sqrt(2) + 0.1
