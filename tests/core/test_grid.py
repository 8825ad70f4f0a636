from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from returns.result import Failure

from rs_embed.core import crs as projections
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid, cells_inside, northing_base, roi_grid
from rs_embed.core.specs import BBox, PointBuffer
from tests.strategies import latitudes, longitudes, small_boxes, utm_latitudes

GEOD = Geod(ellps="WGS84")
UPS = (projections.UPS_NORTH, projections.UPS_SOUTH)


def grid_of(spatial, scale=10.0):
    return roi_grid(spatial, scale).unwrap()


# --- which projection ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [
        (-180.0, 0.0, "EPSG:32601"),
        (180.0, 0.0, "EPSG:32601"),
        (179.999, 0.0, "EPSG:32660"),
        (179.99999999999997, 0.0, "EPSG:32601"),  # + 180 is 360 in floating point
        (-0.001, 51.5, "EPSG:32630"),
        (0.0, 51.5, "EPSG:32631"),
        (5.999, -33.9, "EPSG:32731"),
        (6.0, -0.001, "EPSG:32732"),
        (6.0, 0.0, "EPSG:32632"),
        # 32V is widened to the west at the cost of 31V.
        (2.999, 60.0, "EPSG:32631"),
        (3.0, 60.0, "EPSG:32632"),
        (5.3, 60.4, "EPSG:32632"),
        (3.0, 55.999, "EPSG:32631"),
        (3.0, 56.0, "EPSG:32632"),
        (3.0, 63.999, "EPSG:32632"),
        (3.0, 64.0, "EPSG:32631"),
        (11.999, 60.0, "EPSG:32632"),
        (12.0, 60.0, "EPSG:32633"),
        # Svalbard has no 32X, 34X, 36X.
        (8.999, 75.0, "EPSG:32631"),
        (9.0, 75.0, "EPSG:32633"),
        (15.6, 78.2, "EPSG:32633"),
        (20.999, 75.0, "EPSG:32633"),
        (21.0, 75.0, "EPSG:32635"),
        (33.0, 75.0, "EPSG:32637"),
        (41.999, 75.0, "EPSG:32637"),
        (42.0, 75.0, "EPSG:32638"),
        (9.0, 71.999, "EPSG:32632"),
        (9.0, 84.0, "EPSG:32633"),
        (9.0, 84.001, "EPSG:32661"),
        (9.0, -80.0, "EPSG:32732"),
        (9.0, -80.001, "EPSG:32761"),
        (0.0, 90.0, "EPSG:32661"),
        (0.0, -90.0, "EPSG:32761"),
    ],
)
def test_zone_of_the_centre_with_the_exceptions(lon, lat, crs):
    assert projections.crs_for(lon, lat) == crs
    assert grid_of(PointBuffer(lon, lat, 640)).crs == crs


@given(longitudes, latitudes, st.floats(0.5, 2400), st.sampled_from((0.5, 10.0, 20.0, 30.0)))
def test_equal_buffers_have_one_shape_anywhere(lon, lat, buffer_m, scale):
    grid = grid_of(PointBuffer(lon, lat, buffer_m), scale)
    side = math.ceil(2 * buffer_m / scale)
    assert grid.shape == (side, side)
    assert grid.resolution == (scale, scale)
    assert grid.north_up


@given(longitudes, latitudes, st.floats(0.5, 2560), st.sampled_from((10.0, 20.0, 30.0, 60.0)))
def test_corners_lie_on_the_lattice(lon, lat, buffer_m, scale):
    grid = grid_of(PointBuffer(lon, lat, buffer_m), scale)
    assert grid.transform.c % scale == 0
    assert (grid.transform.f - northing_base(grid.crs)) % scale == 0
    assert northing_base(grid.crs) == (1e7 if grid.crs.startswith("EPSG:327") and lat >= -80 else 0)


@given(longitudes, latitudes, st.floats(0.5, 2560), st.sampled_from((10.0, 20.0)))
def test_the_point_is_as_central_as_the_lattice_allows(lon, lat, buffer_m, scale):
    grid = grid_of(PointBuffer(lon, lat, buffer_m), scale)
    x, y = projections.project(lon, lat, "EPSG:4326", grid.crs)
    west, south, east, north = grid.bounds
    assert abs((west + east) / 2 - x) <= scale / 2 + 1e-6
    assert abs((south + north) / 2 - y) <= scale / 2 + 1e-6


def test_northings_are_counted_from_the_equator_in_both_hemispheres():
    # The corner of the bundled scene: on the 20 m and 30 m lattices only when counted from the
    # equator, 10,000,000.
    assert (4_700_020 - northing_base("EPSG:32719")) % 30 == 0
    assert 4_700_020 % 30 != 0
    south = grid_of(PointBuffer(-72.5, -47.83, 600), 30)
    assert south.crs == "EPSG:32718"
    assert (south.transform.f - 1e7) % 30 == 0
    north = grid_of(PointBuffer(5.0, 52.0, 600), 30)
    assert north.transform.f % 30 == 0


def test_a_point_on_the_scenes_corner_meets_its_pixels():
    x, y = 599_980.0 + 10 * 64, 4_700_020.0 - 10 * 64
    lon, lat = projections.project(x, y, "EPSG:32718", "EPSG:4326")
    grid = grid_of(PointBuffer(float(lon), float(lat), 640))
    assert (grid.transform.c, grid.transform.f) == (599_980.0, 4_700_020.0)


# --- true metres --------------------------------------------------------------------------------


@given(longitudes, utm_latitudes)
def test_a_ten_metre_pixel_is_ten_metres_on_the_ground(lon, lat):
    grid = grid_of(PointBuffer(lon, lat, 50))
    west, south, east, north = grid.window(5, 5, 1, 1).bounds
    x, y = np.array([west, east, west, west]), np.array([south, south, south, north])
    lons, lats = projections.project(x, y, grid.crs, "EPSG:4326")
    _, _, across = GEOD.inv(lons[0], lats[0], lons[1], lats[1])
    _, _, down = GEOD.inv(lons[2], lats[2], lons[3], lats[3])
    assert abs(across - 10) <= 0.015
    assert abs(down - 10) <= 0.015


@given(longitudes, st.one_of(st.floats(84.01, 90), st.floats(-90, -80.01)))
def test_scale_error_beyond_the_zones_is_what_the_ellipsoid_says(lon, lat):
    grid = grid_of(PointBuffer(lon, lat, 500))
    assert grid.crs in UPS
    west, south, east, north = grid.bounds
    x, y = (west + east) / 2, (south + north) / 2
    error = projections.scale_error(grid.crs, x, y, 10.0)
    # UPS is 0.994 at the pole and true near 81 degrees.
    assert error <= 0.0061
    if abs(lat) > 89.9:
        assert error == pytest.approx(1 / 0.994 - 1, abs=1e-5)
    lons, lats = projections.project([x - 5, x + 5], [y, y], grid.crs, "EPSG:4326")
    _, _, across = GEOD.inv(lons[0], lats[0], lons[1], lats[1])
    assert abs(across / 10 - 1) <= error + 1e-9


# --- boxes --------------------------------------------------------------------------------------


def dense_edges(box, crs, n=2001):
    t = np.linspace(0, 1, n)
    lons, lats = (
        box.minlon + t * (box.maxlon - box.minlon),
        box.minlat + t * (box.maxlat - box.minlat),
    )
    lon = np.concatenate([lons, lons, np.full(n, box.minlon), np.full(n, box.maxlon)])
    lat = np.concatenate([np.full(n, box.minlat), np.full(n, box.maxlat), lats, lats])
    return projections.project(lon, lat, "EPSG:4326", crs)


def covers_and_is_smallest(box, scale):
    grid = roi_grid(box, scale, max_pixels=math.inf).unwrap()
    x, y = dense_edges(box, grid.crs)
    west, south, east, north = grid.bounds
    tiny = 1e-4  # metres: the projection's own rounding
    assert west <= x.min() + tiny
    assert x.max() - tiny <= east
    assert south <= y.min() + tiny
    assert y.max() - tiny <= north
    # A row or column less would cut the edges off (0.5 m of slack for edges sampled in between).
    assert west + scale > x.min() - 0.5
    assert east - scale < x.max() + 0.5
    assert south + scale > y.min() - 0.5
    assert north - scale < y.max() + 0.5
    assert grid.transform.c % scale == 0
    assert (grid.transform.f - northing_base(grid.crs)) % scale == 0


@given(small_boxes(), st.sampled_from((10.0, 30.0)))
def test_a_box_is_covered_by_the_smallest_rectangle(box, scale):
    covers_and_is_smallest(box, scale)


@pytest.mark.parametrize(
    "box",
    [
        BBox(0.01, 49, 5.98, 50),  # bends most on the central meridian, between sampled points
        BBox(0.01, -50, 5.3, -49),
        BBox(0.01, -1, 5.9, 2),  # widest on the equator
        BBox(-170, 85, 170, 89),  # reaches furthest on the quarter turns about the pole
        BBox(-180, 85, 180, 90),
        BBox(13, -89, 200 - 25, -82),
    ],
)
def test_wide_boxes_are_covered_where_their_edges_bend(box):
    covers_and_is_smallest(box, 10.0)


@pytest.mark.parametrize(
    "box", [BBox(0, 0, 7.1, 1), BBox(-180, -1, 180, 1), BBox(2.4, 50, 9.6, 51), BBox(5, 0, 12, 1)]
)
def test_a_box_too_wide_for_a_zone_says_split_it(box):
    error = roi_grid(box, 1000).failure()
    assert type(error) is SpecError
    assert "3.5 degrees from the central meridian" in str(error)
    assert "split it" in str(error)


def test_a_box_may_reach_half_a_degree_beyond_its_zone():
    # Zone 31 is 0..6 with the central meridian 3.
    assert grid_of(BBox(-0.5, 10, 6.5, 10.1), 100).crs == "EPSG:32631"
    assert isinstance(roi_grid(BBox(-0.51, 10, 6.51, 10.1), 100), Failure)


def test_a_tiny_box_is_one_pixel():
    x, y = projections.project(500_105.0, 5_000_105.0, "EPSG:32631", "EPSG:4326")
    lon, lat = float(x), float(y)
    grid = grid_of(BBox(lon - 1e-6, lat - 1e-6, lon + 1e-6, lat + 1e-6))
    assert grid.shape == (1, 1)
    assert grid.bounds == (500_100.0, 5_000_100.0, 500_110.0, 5_000_110.0)


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lon", [-180.0, -179.999, 179.999, 180.0])
@pytest.mark.parametrize("lat", [-65.0, 0.0, 52.0, 85.0, -88.0])
def test_a_point_near_the_antimeridian_has_two_boxes(lon, lat):
    grid = grid_of(PointBuffer(lon, lat, 2560))
    assert grid.shape == (512, 512)
    hull = grid.hull()
    assert len(hull) == 2
    (west_a, south_a, east_a, north_a), (west_b, south_b, east_b, north_b) = hull
    assert east_a == 180.0
    assert west_b == -180.0
    assert (south_a, north_a) == (south_b, north_b)
    assert 0 < 180 - west_a < 3
    assert 0 < east_b + 180 < 3


@given(longitudes, st.floats(-89.9, 89.9), st.floats(50, 2560))
def test_hull_holds_every_pixel(lon, lat, buffer_m):
    grid = grid_of(PointBuffer(lon, lat, buffer_m), buffer_m / 8)
    x, y = np.meshgrid(grid.x(), grid.y())
    lons, lats = projections.project(x.ravel(), y.ravel(), grid.crs, "EPSG:4326")
    inside = np.zeros(lons.shape, dtype=bool)
    for west, south, east, north in grid.hull():
        assert -180 <= west < east <= 180
        assert -90 <= south < north <= 90
        inside |= (west <= lons) & (lons <= east) & (south <= lats) & (lats <= north)
    assert inside.all()


def test_hull_over_a_pole_spans_all_longitudes():
    assert grid_of(PointBuffer(0, 90, 2560)).hull()[0][::2] == (-180.0, 180.0)
    assert grid_of(PointBuffer(0, 90, 2560)).hull()[0][3] == 90.0
    assert grid_of(PointBuffer(77, -90, 2560)).hull()[0][1] == -90.0


def test_too_many_pixels_names_the_size():
    error = roi_grid(PointBuffer(5, 52, 60_000), 10).failure()
    assert type(error) is SpecError
    assert "12000 x 12000 pixels at 10 m, more than the 1e+08 allowed" in str(error)
    error = roi_grid(BBox(5, 52, 6, 53), 1).failure()
    assert "pixels at 1 m" in str(error)
    assert isinstance(roi_grid(PointBuffer(5, 52, 640), 10, max_pixels=128 * 128 - 1), Failure)
    assert roi_grid(PointBuffer(5, 52, 640), 10, max_pixels=128 * 128).unwrap().shape == (128, 128)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-12])
def test_pixels_without_end_are_a_spec_error(scale):
    for spatial in (PointBuffer(5, 52, 640), BBox(5, 52, 5.1, 52.1)):
        assert "more than the 1e+08 allowed" in str(roi_grid(spatial, scale).failure())


def test_an_invalid_place_is_the_check_s_own_error():
    error = roi_grid(BBox(12, 0, 10, 1), 10).failure()
    assert str(error).startswith("minlon 12 must be < maxlon 10")
    assert "must be BBox(...) or PointBuffer(...)" in str(roi_grid((1, 2), 10).failure())


def test_a_buffer_over_the_edge_of_a_zone_is_a_spec_error_where_pixels_lose_their_size():
    assert isinstance(roi_grid(PointBuffer(5.9, 0, 100_000), 100), Failure)
    assert roi_grid(PointBuffer(5.9, 0, 50_000), 100).unwrap().shape == (1000, 1000)


# --- the value ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "cell", "cells"),
    [(1, 16, 1), (7, 16, 1), (8, 16, 1), (23, 16, 1), (24, 16, 1), (25, 16, 2), (40, 16, 2),
     (41, 16, 3), (512, 16, 32), (1, 1, 1), (10, 1, 10)],
)  # fmt: skip
def test_cells_whose_centre_is_inside(pixels, cell, cells):
    assert cells_inside(pixels, cell) == cells
    centres = [(i + 0.5) * cell for i in range(cells + 3)]
    # A centre exactly on the far edge is outside.
    assert cells == max(1, sum(centre < pixels for centre in centres))


def test_grid_compares_and_hashes_by_value():
    a = Grid("EPSG:32631", Affine(10, 0, 0, 0, -10, 0), (3, 4))
    assert a == Grid("EPSG:32631", Affine(10.0, 0, 0, 0, -10.0, 0), (3, 4))
    assert hash(a) == hash(a.window(0, 0, 3, 4))
    assert (a.height, a.width, a.resolution, a.north_up) == (3, 4, (10.0, 10.0), True)
    assert not a.flip_rows().north_up
