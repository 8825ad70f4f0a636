"""Where pixels come from: projections, resampling, pyramids, places at the world's edges."""

from __future__ import annotations

import ee
import numpy as np
import pyproj
import pytest

from tests.earth_engine import PLACES
from tests.earth_engine.queries import MAIN, around, make_grid, sentinel2

RAMP = "HAND/RAMP/one"


def test_nearest_is_the_default_and_bilinear_on_request(fetch):
    shifted = make_grid(500005, 4600000, 7, 8)  # half a pixel to the east
    image = ee.Image(RAMP).select("col")
    assert fetch(image, shifted)["col"][0].tolist() == [10, 20, 30, 40, 50, 60, 70]
    smooth = fetch(image.resample("bilinear"), shifted)["col"]
    assert smooth[0].tolist() == [5, 15, 25, 35, 45, 55, 65]
    quarter = make_grid(500002.5, 4600000, 4, 8)
    assert fetch(image.resample("bilinear"), quarter)["col"][3].tolist() == [2.5, 12.5, 22.5, 32.5]


def test_bilinear_goes_before_the_composite(fetch):
    collection = ee.ImageCollection("HAND/RAMP").select("col")
    shifted = make_grid(500005, 4600000, 4, 4)
    before = collection.map(lambda image: image.resample("bilinear")).median()
    assert fetch(before, shifted)["col"][0].tolist() == [5, 15, 25, 35]
    after = collection.median().resample("bilinear")
    assert fetch(after, shifted)["col"][0].tolist() == [10, 20, 30, 40]


def test_coarser_requests_read_a_mean_pyramid(fetch):
    image = ee.Image(RAMP).select("col")  # columns 0, 10, … 70
    at_20 = fetch(image, make_grid(500000, 4600000, 4, 4, 20))["col"]
    assert at_20[0].tolist() == [5, 25, 45, 65]
    at_40 = fetch(image, make_grid(500000, 4600000, 2, 2, 40))["col"]
    assert at_40[0].tolist() == [15, 55]
    # 30 m reads the 20 m level: centres at 15 and 45 m fall into its pixels 0 and 2.
    at_30 = fetch(image, make_grid(500000, 4600000, 2, 2, 30))["col"]
    assert at_30[0].tolist() == [5, 45]
    # Integers stay integers: rows 0 and 1 average to 0.5, rounded up.
    assert fetch(ee.Image(RAMP).select("row"), make_grid(500000, 4600000, 4, 4, 20))["row"][
        :, 0
    ].tolist() == [1, 3, 5, 7]


def test_masked_pixels_do_not_count_in_the_pyramid(fetch):
    # Of every four columns the first is masked; the others are 1500 at any level.
    images = sentinel2("main", "2022-10-01", "2022-10-02").select("B1")
    grid = make_grid(550020, 4540020, 4, 4, 240)
    assert np.all(fetch(images.mosaic(), grid)["B1"] == 1500)


def test_classes_keep_to_the_most_frequent(fetch):
    at_20 = fetch(ee.Image("HAND/CLASSES/one"), make_grid(500000, 4600000, 4, 4, 20))["classes"]
    assert at_20[0].tolist() == [4, 4, 4, 9]  # columns 4 and 5 are 4 and 9: the smaller of equals


def test_south_up_grid_and_wkt(fetch):
    grid = make_grid(500000, 4600000)
    grid["affineTransform"] |= {"scaleY": 10, "translateY": 4600000 - 80}
    image = ee.Image(RAMP).select("row")
    assert fetch(image, grid)["row"][:, 0].tolist() == list(range(7, -1, -1))
    grid = make_grid(500000, 4600000)
    grid["crsWkt"] = pyproj.CRS.from_epsg(32631).to_wkt()
    del grid["crsCode"]
    assert fetch(image, grid)["row"][:, 0].tolist() == list(range(8))


def test_native_twenty_metre_pixels_are_repeated(fetch):
    images = sentinel2("main", "2022-08-05", "2022-08-06")
    pixels = fetch(images.mosaic().select(["B4", "B5"]), make_grid(550020, 4540020))
    # B4 is 30 + row + column of the 10 m lattice; B5 is 40 + row + column of the 20 m one.
    row, col = np.mgrid[0:8, 0:8]
    first = (4600020 - 4540020) // 10 + (550020 - 499980) // 10
    assert np.array_equal(pixels["B4"], (30 + first + row + col) % 10000)
    assert np.array_equal(pixels["B5"], (40 + first // 2 + row // 2 + col // 2) % 10000)


def test_checkerboard_meets_the_native_lattice(fetch):
    images = sentinel2("main", "2022-11-01", "2022-11-02").select("B2")
    row, col = np.mgrid[0:8, 0:8]
    expected = np.where((row + col) % 2 == 0, 1000, 3000)
    assert np.array_equal(fetch(images.mosaic(), make_grid(550020, 4540020))["B2"], expected)
    assert np.all(fetch(images.mosaic(), make_grid(550020, 4540020, scale=20))["B2"] == 2000)


def test_reproject_forces_its_own_pixels(fetch):
    image = ee.Image(RAMP).select("col").reproject("EPSG:32631", [20, 0, 500000, 0, -20, 4600000])
    pixels = fetch(image, make_grid(500000, 4600000))["col"]
    assert pixels[0].tolist() == [5, 5, 25, 25, 45, 45, 65, 65]


def test_neighbouring_zones_are_joined(fetch):
    images = sentinel2("between_zones").select("B1")
    assert images.size().getInfo() == 2
    to_31 = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:32631", always_xy=True)
    x, y = to_31.transform(199980, 4550000)  # the left edge of the tile in zone 32
    grid = make_grid(round(x) - 40, round(y))
    row = fetch(images.mosaic(), grid)["B1"][0]
    assert row[0] == 1000
    assert row[-1] == 2000
    assert np.all(np.diff(row.astype(int)) >= 0)
    in_32 = make_grid(200000, 4550000, crs="EPSG:32632")
    assert np.all(fetch(images.median(), in_32)["B1"] == 1500)


def test_sinusoidal_source(fetch):
    grid = make_grid(300000, 4560000, 4, 40, 500)
    pixels = fetch(ee.Image("HAND/SINUSOIDAL/one").select("row"), grid)["row"]
    sphere = "+proj=sinu +R=6371007.181 +units=m"
    to_sinusoidal = pyproj.Transformer.from_crs("EPSG:32631", sphere, always_xy=True)
    i, j = np.meshgrid(np.arange(4) + 0.5, np.arange(40) + 0.5)
    x, y = to_sinusoidal.transform(300000 + 500 * i, 4560000 - 500 * j)
    inside = (x > 53000) & (x < 153000)
    expected = np.where(inside, np.floor((4600000 - y) / 1000), 0)
    assert 0 < inside.mean() < 1
    assert np.array_equal(pixels, expected)
    days = ee.ImageCollection("MODIS/061/MOD09GA").filterBounds(around("main"))
    assert np.all(fetch(days.select("sur_refl_b01").median(), MAIN)["sur_refl_b01"] == 1510)
    heat = ee.ImageCollection("MODIS/061/MOD21A1D").filterBounds(around("main"))
    assert np.all(fetch(heat.select("LST_1KM").mean(), MAIN)["LST_1KM"] == 295.5)


@pytest.mark.parametrize(
    ("place", "crs", "level"),
    [
        ("south", "EPSG:32719", 2000),
        ("antimeridian_west", "EPSG:32660", 1000),
        ("antimeridian_east", "EPSG:32601", 2000),
        ("arctic", "EPSG:32661", 1000),
        ("antarctic", "EPSG:32761", 1000),
    ],
)
def test_edges_of_the_world(fetch, place, crs, level):
    lon, lat = PLACES[place]
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    images = sentinel2(place)
    tile = images.sort("CLOUDY_PIXEL_PERCENTAGE")
    grid = make_grid(x - 40, y + 40, crs=crs)
    zone = {"EPSG:32660": "60NZF", "EPSG:32601": "01NAA"}.get(crs)
    if zone:
        tile = images.filter(ee.Filter.eq("MGRS_TILE", zone))
    assert np.all(fetch(tile.select("B1").median(), grid)["B1"] == level)


def test_two_rectangles_over_the_antimeridian(fetch):
    west = ee.Geometry.Rectangle([179.99, 0.4, 180, 0.6], "EPSG:4326", False)
    east = ee.Geometry.Rectangle([-180, 0.4, -179.99, 0.6], "EPSG:4326", False)
    both = ee.Geometry.MultiPolygon([west.getInfo()["coordinates"], east.getInfo()["coordinates"]])
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
    either = ee.Filter.Or(ee.Filter.bounds(west), ee.Filter.bounds(east))
    tiles = ["60NZF", "01NAA"]
    assert scenes.filter(either).aggregate_array("MGRS_TILE").getInfo() == tiles
    assert scenes.filterBounds(both).aggregate_array("MGRS_TILE").getInfo() == tiles
    to_60 = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32660", always_xy=True)
    x, y = to_60.transform(180, 0.5)
    pixels = fetch(
        scenes.filter(either).select("B1").mosaic(), make_grid(x - 40, y, crs="EPSG:32660")
    )
    assert np.all(pixels["B1"] == 2000)  # both tiles reach over the line; the last is on top


def test_the_pole_is_inside_its_scene(fetch):
    pole = ee.Geometry.Rectangle([-180, 89.9, 180, 90], "EPSG:4326", False)
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(pole).select("B1")
    assert scenes.size().getInfo() == 1
    grid = make_grid(1999960, 2000040, crs="EPSG:32661")
    assert np.all(fetch(scenes.mosaic(), grid)["B1"] == 2000)


def test_elevation_and_slope_on_a_degree_grid(fetch):
    step = 1 / 3600
    grid = make_grid(3.5, 41.0 + 4 * step, 8, 8, step, "EPSG:4326")
    dem = ee.ImageCollection("COPERNICUS/DEM/GLO30_2024_1").filterBounds(around("main"))
    elevation = dem.select("DEM").mosaic()
    pixels = fetch(elevation.addBands(ee.Terrain.slope(elevation)), grid)
    # Rows 3596 … 3599 of the northern tile, then rows 0 … 3 of the southern one.
    assert pixels["DEM"][:, 0].tolist() == [3696, 3697, 3698, 3699, 100, 101, 102, 103]
    metres = 111319.49079327358 / 3600
    assert pixels["slope"][1, 1] == pytest.approx(np.degrees(np.arctan(1 / metres)), rel=1e-5)


def test_monthly_climate_is_masked_at_sea(fetch):
    months = ee.ImageCollection("ECMWF/ERA5_LAND/MONTHLY_AGGR").filterDate(
        "2022-07-01", "2022-08-01"
    )
    image = months.first().select("temperature_2m")
    assert np.all(fetch(image, MAIN)["temperature_2m"] == 287)
    sea = make_grid(-40, 30, 4, 4, 0.1, "EPSG:4326")
    assert np.all(fetch(image.unmask(-1, False), sea)["temperature_2m"] == -1)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_large_request_equals_its_parts(fetch, mode):
    """Strips of the server do not show, whatever the resampling and the pyramid level."""
    images = sentinel2("main", "2022-08-05", "2022-08-06").select("B4")
    if mode == "bilinear":
        images = images.map(lambda image: image.resample("bilinear"))
    corner = (200.0, 4900000.0)
    whole = make_grid(*corner, 300, 300, 23, "EPSG:3857")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(3.6, 41)
    whole["affineTransform"] |= {"translateX": x, "translateY": y}
    part = {**whole, "dimensions": {"width": 40, "height": 40}}
    part["affineTransform"] = whole["affineTransform"] | {"translateY": y - 260 * 23}
    large = fetch(images.mosaic(), whole)["B4"]
    assert np.array_equal(large[260:, :40], fetch(images.mosaic(), part)["B4"])
