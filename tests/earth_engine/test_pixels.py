"""Values of composites, masks, types and formats, against numbers known by hand."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from tests.earth_engine import S2_BANDS
from tests.earth_engine.queries import MAIN, around, make_grid, sentinel2

HAND = make_grid(500000, 4600000)


def stack() -> ee.ImageCollection:
    return ee.ImageCollection("HAND/STACK").select("B1")


def clear(pct: float = 30) -> ee.Filter:
    return ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", pct)


def quadrants(array: np.ndarray) -> list[float]:
    """The four corners of an 8 x 8 array, each standing for its quadrant."""
    return [float(array[r, c]) for r in (0, 7) for c in (0, 7)]


def test_median_of_every_band(fetch):
    bands = [name for name in S2_BANDS if name != "B10"]
    pixels = fetch(sentinel2().filter(clear()).select(bands).median(), MAIN, bands)
    assert pixels.dtype.names == tuple(bands)
    for name in bands:
        assert pixels.dtype[name] == np.float64
        assert np.all(pixels[name] == 2000 + 10 * S2_BANDS.index(name))


def test_even_count_is_the_mean_of_the_two_middle_values(fetch):
    pixels = fetch(sentinel2("main", "2022-09-01", "2022-10-01").select("B2").median(), MAIN)
    assert np.all(pixels["B2"] == 1510)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Per quadrant (upper left, upper right, lower left, lower right) the valid values are
        # [1, 20], [1, 2, 20], [1, 10, 20] and [1, 2, 10, 20].
        ("median", [10.5, 2, 10, 6]),
        ("mean", [10.5, 23 / 3, 31 / 3, 33 / 4]),
        ("min", [1, 1, 1, 1]),
        ("max", [20, 20, 20, 20]),
        ("count", [2, 3, 3, 4]),
        ("sum", [21, 23, 31, 33]),
        ("mode", [1, 1, 1, 1]),
    ],
)
def test_masked_inputs_are_skipped_per_pixel(fetch, name, expected):
    composite = getattr(stack(), name)()
    assert quadrants(fetch(composite, HAND)["B1"]) == pytest.approx(expected)
    reduced = stack().reduce(getattr(ee.Reducer, name)())
    assert quadrants(fetch(reduced, HAND)[f"B1_{name}"]) == pytest.approx(expected)


def test_mosaic_puts_the_last_image_on_top(fetch):
    first_three = stack().filter(ee.Filter.lt("day", 4))
    assert quadrants(fetch(first_three.mosaic(), HAND)["B1"]) == [1, 2, 10, 10]
    newest_last = sentinel2().filter(clear()).select("B1")
    assert np.all(fetch(newest_last.sort("system:time_start").mosaic(), MAIN)["B1"] == 3000)
    assert np.all(fetch(newest_last.sort("system:time_start", False).mosaic(), MAIN)["B1"] == 1000)


def test_quality_mosaic_and_to_bands(fetch):
    images = ee.ImageCollection("HAND/STACK").filter(ee.Filter.gt("day", 1))
    # Quality is 3, 2, 1 by day, so the earliest valid scene wins.
    assert quadrants(fetch(images.qualityMosaic("Q"), HAND)["B1"]) == [20, 2, 10, 2]
    bands = fetch(images.select("B1").toBands(), HAND)
    assert bands.dtype.names == ("day2_B1", "day3_B1", "day4_B1")


def test_masked_pixels_are_zero_and_unmask_fills_them(fetch):
    image = ee.Image("HAND/STACK/day2").select("B1")
    assert quadrants(fetch(image, HAND)["B1"]) == [0, 2, 0, 2]
    filled = image.toFloat().unmask(-9999, False)
    assert quadrants(fetch(filled, HAND)["B1"]) == [-9999, 2, -9999, 2]


def test_unmask_leaves_the_footprint_only_when_told(fetch):
    image = ee.Image("HAND/STACK/day2").select("B1").toFloat()
    beside = make_grid(500000 - 40, 4600000)  # the left half lies outside the scene
    same = fetch(image.unmask(-1), beside)["B1"]
    assert same[0].tolist() == [0, 0, 0, 0, -1, -1, -1, -1]
    beyond = fetch(image.unmask(-1, False), beside)["B1"]
    assert np.all(beyond == -1)
    composite = fetch(stack().median().unmask(-1), beside)["B1"]
    assert composite[0].tolist() == [0, 0, 0, 0, 10.5, 10.5, 10.5, 10.5]


def test_striped_scene(fetch):
    pixels = fetch(sentinel2("main", "2022-10-01", "2022-10-02").select("B2").mosaic(), MAIN)
    # The tile's left edge is at 499980, so 550000 is column 5002 = 4 * 1250 + 2.
    assert pixels["B2"][0].tolist() == [1510, 1510, 0, 1510, 1510, 1510, 0, 1510]


def test_scene_classification_mask_by_remap(fetch):
    def masked(image):
        keep = image.select("SCL").remap([3, 8, 9, 10], [0, 0, 0, 0], 1)
        return image.updateMask(keep).select("B1")

    images = sentinel2("main", "2022-06-01", "2022-06-12")
    under_cloud = make_grid(500000, 4600000)
    box = ee.Geometry.Rectangle([3.0, 41.5, 3.01, 41.52], "EPSG:4326", False)
    images = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(box)
    images = images.filterDate("2022-06-01", "2022-06-12")
    assert np.all(fetch(images.select("B1").median(), under_cloud)["B1"] == 1500)
    assert np.all(fetch(images.map(masked).median(), under_cloud)["B1"] == 1000)
    clear_of_it = make_grid(600000, 4540000)
    assert np.all(fetch(images.map(masked).median(), clear_of_it)["B1"] == 1500)


def test_remap_without_default_masks_what_is_not_listed(fetch):
    remapped = ee.Image("HAND/CLASSES/one").remap([4], [40]).unmask(-1, False)
    assert fetch(remapped, HAND)["remapped"][0].tolist() == [40] * 5 + [-1] * 3


def test_cloud_score_mask_by_linked_collection(fetch):
    scores = ee.ImageCollection("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED")

    def masked(image):
        linked = image.linkCollection(scores, ["cs_cdf"])
        return linked.updateMask(linked.select("cs_cdf").gte(0.6)).select("B1")

    assert np.all(fetch(sentinel2().select("B1").median(), MAIN)["B1"] == 2500)
    assert np.all(fetch(sentinel2().map(masked).median(), MAIN)["B1"] == 2000)
    unmatched = sentinel2("main", "2022-09-01", "2022-10-01").map(masked).median()
    assert np.all(fetch(unmatched.unmask(-1, False), MAIN)["B1"] == -1)


def test_landsat_and_sentinel_merged_under_common_names(fetch):
    def tidy(bands):
        def one(image):
            clear = image.select("Fmask").bitwiseAnd(0b1110).eq(0)
            return image.updateMask(clear).select(bands, ["nir", "swir"])

        return one

    def near(name, bands):
        return ee.ImageCollection(name).filterBounds(around("main")).map(tidy(bands))

    s30 = near("NASA/HLS/HLSS30/v002", ["B8A", "B11"])
    l30 = near("NASA/HLS/HLSL30/v002", ["B5", "B6"])
    under_cloud = make_grid(510000, 4590000, scale=30)
    clear = make_grid(600000, 4540020, scale=30)
    merged = s30.merge(l30).median()
    assert fetch(merged, clear)["nir"][0, 0] == pytest.approx(0.208)
    assert fetch(merged, under_cloud)["nir"][0, 0] == pytest.approx((0.108 + 0.304) / 2)


def test_radar_filters_and_linear_average(fetch):
    scenes = (
        ee.ImageCollection("COPERNICUS/S1_GRD")
        .filterBounds(around("main"))
        .filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
        .filter(ee.Filter.eq("resolution_meters", 10))
    )
    down = scenes.filter(ee.Filter.eq("orbitProperties_pass", "DESCENDING")).select(["VV", "VH"])
    assert down.size().getInfo() == 2
    assert fetch(down.mean(), MAIN)["VH"][0, 0] == -18
    power = down.map(lambda image: ee.Image(10).pow(image.divide(10))).mean()
    decibel = power.log10().multiply(10)
    expected = 10 * np.log10((10**-1.0 + 10**-1.2) / 2)
    pixels = fetch(decibel.rename(["VV", "VH"]), MAIN)
    assert pixels["VV"][0, 0] == pytest.approx(expected)


def test_arithmetic_and_logic(fetch):
    b = ee.Image("HAND/RAMP/one").select("col")  # 0, 10, … 70
    cases = {
        "add": (b.add(5), [5, 15, 25]),
        "subtract": (b.subtract(15), [-15, -5, 5]),
        "multiply": (b.multiply(7000), [0, 70000, 140000]),
        "divide": (b.divide(4), [0, 2.5, 5]),
        "by_zero": (ee.Image(1).divide(b), [0, 0.1, 0.05]),
        "pow": (b.pow(2), [0, 100, 400]),
        "sqrt": (b.add(6).sqrt(), [6**0.5, 4, 26**0.5]),
        "log": (b.log(), [0, np.log(10), np.log(20)]),  # the logarithm of 0 is masked
        "exp": (b.divide(10).exp(), [1, np.e, np.e**2]),
        "abs": (b.subtract(15).abs(), [15, 5, 5]),
        "gt": (b.gt(10), [0, 0, 1]),
        "lte": (b.lte(10), [1, 1, 0]),
        "neq": (b.neq(10), [1, 0, 1]),
        "and": (b.And(b.lt(20)), [0, 1, 0]),
        "or": (b.Or(ee.Image(0)), [0, 1, 1]),
        "not": (b.Not(), [1, 0, 0]),
        "bitwise": (b.bitwiseAnd(2), [0, 2, 0]),
        "right": (b.rightShift(1), [0, 5, 10]),
        "left": (b.leftShift(1), [0, 20, 40]),
        "clamp": (b.clamp(5, 15), [5, 10, 15]),
        "where": (b.where(b.eq(10), 99), [0, 99, 20]),
        "mask": (b.updateMask(b.gt(0)).mask(), [0, 1, 1]),
    }
    images = [image.rename(name) for name, (image, _) in cases.items()]
    pixels = fetch(ee.Image.cat(images), HAND)
    for name, (_, expected) in cases.items():
        assert pixels[name][0, :3].tolist() == pytest.approx(expected, rel=1e-6), name


def test_types(fetch):
    ramp = ee.Image("HAND/RAMP/one")
    col = ramp.select("col")
    kinds = {
        "uint16": col,
        "int16": ramp.select("row"),
        "float32": ramp.select("mixed"),
        "float64": col.toDouble(),
        "uint8": col.multiply(100).toUint8(),
        "int32": col.add(1),
    }
    pixels = fetch(ee.Image.cat([image.rename(kind) for kind, image in kinds.items()]), HAND)
    assert {name: str(pixels.dtype[name]) for name in kinds} == {name: name for name in kinds}
    assert pixels["uint8"][0, :2].tolist() == [0, 255]
    cast = fetch(stack().median().toFloat(), HAND)
    assert cast.dtype["B1"] == np.float32
    assert fetch(col.divide(2), HAND).dtype["col"] == np.float32
    assert fetch(ramp.select("mixed").multiply(-1).toInt16(), HAND)["mixed"][1, 0] == -100


def test_bands_renamed_added_and_constant(fetch):
    image = ee.Image("HAND/STACK/day1").addBands(ee.Image("HAND/STACK/day4").select("B1"))
    image = image.addBands(ee.Image.constant([1, 2.5]))
    names = image.bandNames().getInfo()
    assert names == ["B1", "Q", "B1_1", "constant_0", "constant_1"]
    pixels = fetch(image, HAND, ["constant_1", "B1_1", "B1"])
    assert pixels.dtype.names == ("constant_1", "B1_1", "B1")
    assert pixels[0, 0].tolist() == (2.5, 20, 1)
    over = ee.Image("HAND/STACK/day1").addBands(ee.Image("HAND/STACK/day4"), None, True)
    assert fetch(over, HAND)["B1"][0, 0] == 20
    assert image.select("B.*").bandNames().getInfo() == ["B1", "B1_1"]
    assert image.select([0, "Q"], ["a", "b"]).bandNames().getInfo() == ["a", "b"]


def test_clip(fetch):
    half = ee.Geometry.Rectangle([500000, 4599000, 500040, 4600100], "EPSG:32631", False)
    clipped = ee.Image("HAND/STACK/day1").select("B1").clip(half)
    assert fetch(clipped, HAND)["B1"][0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_geotiff(server):
    from rasterio.io import MemoryFile

    image = ee.Image("HAND/RAMP/one").select(["row", "col"])
    data = ee.data.computePixels({"expression": image, "fileFormat": "GEO_TIFF", "grid": HAND})
    with MemoryFile(data) as memory, memory.open() as dataset:
        assert dataset.descriptions == ("row", "col")
        assert dataset.crs.to_epsg() == 32631
        assert tuple(dataset.transform)[:6] == (10, 0, 500000, 0, -10, 4600000)
        assert dataset.read(2)[0].tolist() == list(range(0, 80, 10))


def test_pixels_of_an_asset(server):
    request = {"assetId": "HAND/RAMP/one", "fileFormat": "NUMPY_NDARRAY", "grid": HAND}
    pixels = ee.data.getPixels({**request, "bandIds": ["row"]})
    assert pixels.dtype.names == ("row",)
    assert pixels["row"][:, 0].tolist() == list(range(8))


def test_real_scenes_are_served(fetch):
    grid = make_grid(600000, 4700020, 4, 4, crs="EPSG:32719")
    box = ee.Geometry.Rectangle([600000, 4699000, 601000, 4700020], "EPSG:32719", False)
    images = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(box)
    if not images.size().getInfo():
        pytest.skip("no real scene beside this checkout")
    pixels = fetch(images.median(), grid)
    assert pixels.dtype.names == ("B2", "B3", "B4", "B8", "B11", "B12")
    assert 0 < pixels["B4"].min() <= pixels["B4"].max() < 20000
    assert pixels["B11"][0, 0] == pixels["B11"][1, 1]  # 20 m pixels repeated


def test_embeddings_are_unit_vectors(fetch):
    scenes = ee.ImageCollection("GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL")
    year = scenes.filterBounds(around("main")).filterDate("2022-01-01", "2023-01-01")
    assert year.aggregate_array("UTM_ZONE").getInfo() == ["31N"]
    pixels = fetch(year.mosaic(), MAIN)
    vectors = np.stack([pixels[name] for name in pixels.dtype.names])
    assert len(vectors) == 64
    assert np.all(np.linalg.norm(vectors, axis=0) == 1)
