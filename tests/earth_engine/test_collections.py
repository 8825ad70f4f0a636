"""Filters, properties, dates, and what getInfo shows."""

from __future__ import annotations

import ee
import pytest

from tests.earth_engine.queries import MAIN, around, make_grid, sentinel2

DAY = 86400000
JUNE_1 = 1654041600000  # 2022-06-01T00:00:00Z


def days(collection: ee.ImageCollection) -> list[int]:
    return collection.aggregate_array("day").getInfo()


def stack() -> ee.ImageCollection:
    return ee.ImageCollection("HAND/STACK")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda f: f.eq("day", 2), [2]),
        (lambda f: f.neq("day", 2), [1, 3, 4]),
        (lambda f: f.gt("day", 2), [3, 4]),
        (lambda f: f.gte("day", 2), [2, 3, 4]),
        (lambda f: f.lt("day", 2), [1]),
        (lambda f: f.lte("day", 2), [1, 2]),
        (lambda f: f.eq("absent", 2), []),
        (lambda f: f.listContains("tags", "odd"), [1, 3]),
        (lambda f: f.inList("day", [1, 4, 9]), [1, 4]),
        (lambda f: f.And(f.gt("day", 1), f.lt("day", 4)), [2, 3]),
        (lambda f: f.Or(f.eq("day", 1), f.eq("day", 4)), [1, 4]),
        (lambda f: f.listContains("tags", "odd").Not(), [2, 4]),
        (lambda f: f.notNull(["day"]), [1, 2, 3, 4]),
        (lambda f: f.notNull(["absent"]), []),
        (lambda f: f.calendarRange(2, 3, "day_of_month"), [2, 3]),
        (lambda f: f.calendarRange(6, 6, "month"), []),
        (lambda f: f.date("2022-01-02", "2022-01-04"), [2, 3]),
        (lambda f: f.date("2022-01-02"), [2]),
        (lambda f: f.stringEndsWith("system:index", "3"), [3]),
    ],
)
def test_filters(server, make, expected):
    assert days(stack().filter(make(ee.Filter))) == expected


def test_dates_are_half_open(server):
    midnight = "2022-07-01"  # one scene starts at exactly that instant
    assert sentinel2("main", "2022-06-22", midnight).size().getInfo() == 0
    assert sentinel2("main", midnight, "2022-07-02").size().getInfo() == 1
    assert sentinel2("main", "2022-06-01", midnight).size().getInfo() == 4


@pytest.mark.parametrize(
    ("box", "crs", "count"),
    [
        ([3.1, 41.0, 3.2, 41.1], "EPSG:4326", 4),
        ([2.98, 41.0, 2.995, 41.1], "EPSG:4326", 0),  # just west of the tile's edge at 3.0
        ([2.98, 41.0, 3.001, 41.1], "EPSG:4326", 4),
        ([550000, 4540000, 550100, 4540100], "EPSG:32631", 4),
        ([390000, 5010000, 391000, 5011000], "EPSG:3857", 4),
    ],
)
def test_bounds(server, box, crs, count):
    place = ee.Geometry.Rectangle(box, crs, False)
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(place)
    assert scenes.filterDate("2022-06-01", "2022-07-01").size().getInfo() == count


def test_bounds_of_points_and_buffers(server):
    point = ee.Geometry.Point([2.99, 41.0])  # 840 m west of the tile
    june = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2022-06-01", "2022-07-01")
    assert june.filterBounds(point).size().getInfo() == 0
    assert june.filterBounds(point.buffer(500).bounds()).size().getInfo() == 0
    assert june.filterBounds(point.buffer(1000)).size().getInfo() == 4
    assert june.filterBounds(ee.Feature(point.buffer(1000), {})).size().getInfo() == 4
    polygon = ee.Geometry.Polygon([[2.98, 41.0], [3.01, 41.0], [3.0, 41.1]])
    assert june.filterBounds(polygon).size().getInfo() == 4


@pytest.mark.parametrize(
    ("place", "count"),
    [
        (lambda g: g.Rectangle([3.1, 41.0, 3.2, 41.1]), 4),  # geodesic, sent as a polygon
        (lambda g: g.BBox(3.1, 41.0, 3.2, 41.1), 4),
        (lambda g: g.BBox(179, 41.0, -179, 41.1), 0),
        (lambda g: g.BBox(2.9, 41.0, 2.99, 41.1), 0),
        (
            lambda g: g.MultiPolygon([[[[0, 0], [1, 0], [0, 1]]], [[[3.1, 41], [4, 41], [4, 40]]]]),
            4,
        ),
        (lambda g: g.Rectangle([3.1, 41.0, 3.2, 41.1]).buffer(1000).bounds(), 4),
        (lambda g: g.LineString([[2.9, 41.0], [3.1, 41.0]]), 4),
    ],
)
def test_forms_of_geometry(server, place, count):
    june = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2022-06-01", "2022-07-01")
    assert june.filterBounds(place(ee.Geometry)).size().getInfo() == count


def test_sort_limit_first_merge(server):
    newest = stack().sort("system:time_start", False)
    assert days(newest) == [4, 3, 2, 1]
    assert days(newest.limit(2)) == [4, 3]
    assert days(stack().limit(2, "day", False)) == [4, 3]
    assert newest.first().get("day").getInfo() == 4
    merged = stack().limit(1).merge(stack().limit(2))
    assert merged.size().getInfo() == 3
    expected = ["1_day1", "2_day1", "2_day2"]
    assert merged.aggregate_array("system:index").getInfo() == expected


def test_aggregates(server):
    assert stack().aggregate_array("system:time_start").getInfo()[0] == 1640995200000
    assert stack().aggregate_max("day").getInfo() == 4
    assert stack().aggregate_mean("day").getInfo() == 2.5
    assert stack().aggregate_sum("day").getInfo() == 10
    assert stack().aggregate_count("absent").getInfo() == 0


def test_map_sets_properties_and_keeps_the_index(server):
    doubled = stack().map(
        lambda image: image.multiply(2).set("double", ee.Number(image.get("day")).multiply(2))
    )
    assert doubled.aggregate_array("double").getInfo() == [2, 4, 6, 8]
    assert doubled.aggregate_array("system:index").getInfo() == ["day1", "day2", "day3", "day4"]
    # Arithmetic loses the other properties.
    assert doubled.aggregate_array("day").getInfo() == []


def test_lists_iteration_and_columns(server):
    names = ee.List(stack().toList(2, 1)).map(lambda image: ee.Image(image).get("day"))
    assert names.getInfo() == [2, 3]
    total = stack().iterate(lambda image, sum_: ee.Number(sum_).add(image.get("day")), 0)
    assert total.getInfo() == 10
    columns = stack().reduceColumns(ee.Reducer.toList().repeat(2), ["system:index", "day"])
    assert columns.getInfo() == {"list": [["day1", "day2", "day3", "day4"], [1, 2, 3, 4]]}
    assert stack().reduceColumns(ee.Reducer.mean(), ["day"]).getInfo() == {"mean": 2.5}


def test_image_description(server):
    image = ee.Image("HAND/RAMP/one").getInfo()
    assert image["id"] == "HAND/RAMP/one"
    assert image["properties"] == {"system:index": "one", "system:time_start": 1640995200000}
    assert image["bands"][1] == {
        "id": "col",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [8, 8],
        "crs": "EPSG:32631",
        "crs_transform": [10, 0, 500000, 0, -10, 4600000],
    }
    composite = stack().median().getInfo()
    assert composite["bands"][0] == {
        "id": "B1",
        "data_type": {"type": "PixelType", "precision": "double"},
        "crs": "EPSG:4326",
        "crs_transform": [1, 0, 0, 0, 1, 0],
    }
    whole = stack().getInfo()
    assert whole["id"] == "HAND/STACK"
    assert [feature["properties"]["day"] for feature in whole["features"]] == [1, 2, 3, 4]


def test_other_values(server):
    image = ee.Image("HAND/STACK/day2")
    values = ee.Dictionary(
        {
            "names": image.bandNames(),
            "date": image.date().format("YYYY-MM-dd"),
            "ms": ee.Date("2022-06-01").advance(1, "month").millis(),
            "year": ee.Date(JUNE_1).get("year"),
            "index": image.get("system:index"),
            "id": image.get("system:id"),
            "scale": image.select(0).projection().nominalScale(),
            "text": ee.String("a").cat("b"),
            "number": ee.Number(7).divide(2).floor(),
            "list": ee.List([3, 1, 2]).sort().slice(1),
            "zone": image.select("B1").projection().crs(),
            "range": ee.DateRange("2022-06-01", "2022-06-02").start().millis(),
        }
    )
    assert values.getInfo() == {
        "names": ["B1", "Q"],
        "date": "2022-01-02",
        "ms": JUNE_1 + 30 * DAY,
        "year": 2022,
        "index": "day2",
        "id": "HAND/STACK/day2",
        "scale": 10,
        "text": "ab",
        "number": 3,
        "list": [2, 3],
        "zone": "EPSG:32631",
        "range": JUNE_1,
    }
    assert ee.Image("HAND/RAMP/one").projection().getInfo()["transform"][2] == 500000
    assert ee.Date("2022-06-01").getInfo() == {"type": "Date", "value": JUNE_1}
    corners = around("main").getInfo()["coordinates"][0]
    assert corners[0] == pytest.approx([3.59, 40.99])
    metadata = image.metadata("day")
    assert metadata.bandNames().getInfo() == ["day"]


def test_assets(server):
    collection = ee.data.getAsset("HAND/STACK")
    assert collection["type"] == "IMAGE_COLLECTION"
    image = ee.data.getAsset("HAND/RAMP/one")
    assert image["startTime"] == "2022-01-01T00:00:00.000000Z"
    assert image["bands"][0]["dataType"] == {
        "precision": "INT",
        "range": {"min": -32768, "max": 32767},
    }
    listed = ee.data.listAssets({"parent": "HAND/STACK", "pageSize": 2})
    assert [asset["id"] for asset in listed["assets"]] == ["HAND/STACK/day1", "HAND/STACK/day2"]
    with pytest.raises(ee.EEException, match="not found"):
        ee.data.getAsset("HAND/NOTHING")


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of xee
def test_reading_through_xarray(server):
    import xarray as xr

    scenes = sentinel2().filter(ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", 30)).select(["B2", "B3"])
    data = xr.open_dataset(
        scenes,
        engine="ee",
        crs="EPSG:32631",
        crs_transform=(10, 0, 550000, 0, -10, 4540000),
        shape_2d=(6, 8),
        ee_init_if_necessary=False,
    )
    assert dict(data.sizes) == {"time": 3, "y": 8, "x": 6}
    assert str(data.time.values[1])[:10] == "2022-06-11"
    assert data.B3.isel(time=2).values.tolist() == [[3020.0] * 6] * 8
    assert data.B2.median("time").values[0, 0] == 2010
    striped = xr.open_dataset(
        sentinel2("main", "2022-10-01", "2022-10-02").select("B2"),
        engine="ee",
        crs="EPSG:32631",
        crs_transform=(10, 0, 550020, 0, -10, 4540020),
        shape_2d=(4, 2),
        ee_init_if_necessary=False,
    )
    row = striped.B2.isel(time=0).values[0]
    assert str(row.tolist()) == "[nan, 1510.0, 1510.0, 1510.0]"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ee.ImageCollection("X/Y").median(),
            "ImageCollection.load: ImageCollection asset 'X/Y' not found "
            "(does not exist or caller does not have access).",
        ),
        (
            lambda: ee.Image("HAND/STACK/none"),
            "Image.load: Image asset 'HAND/STACK/none' not found "
            "(does not exist or caller does not have access).",
        ),
        (
            lambda: ee.Image("HAND/STACK/day1").select("B99"),
            "Image.select: Band pattern 'B99' did not match any bands. Available bands: [B1, Q]",
        ),
        (
            lambda: stack().filter(ee.Filter.eq("day", 99)).median().select("B1"),
            "Image.select: Band pattern 'B1' was applied to an Image with no bands. "
            "See https://developers.google.com/earth-engine/guides/debugging#no-bands",
        ),
        (
            lambda: stack().map(lambda image: image.select("B99")).median(),
            "Error in map(ID=day1):\nImage.select: Band pattern 'B99' did not match any bands. "
            "Available bands: [B1, Q]",
        ),
        (
            lambda: stack().filter(ee.Filter.eq("day", 99)).median(),
            "Image must have at least one band.",
        ),
        (
            lambda: ee.Image("HAND/STACK/day1").entropy(ee.Kernel.square(1)),
            "Kernel.square: not supported by the local Earth Engine server.",
        ),
        (
            lambda: ee.Image("HAND/STACK/day1").resample("bicubic"),
            "Image.resample with mode 'bicubic': not supported by the local Earth Engine server.",
        ),
        (
            lambda: ee.Image("HAND/STACK/day1").rename(["a"]),
            "Image.rename: The number of names (1) must match the number of bands (2).",
        ),
        (
            lambda: (
                ee.Image.cat([ee.Image("HAND/STACK/day1"), sentinel2().first()])
                .select(["Q", "B2"])
                .reproject(
                    ee.Image.cat([ee.Image("HAND/RAMP/one"), sentinel2().first()]).projection()
                )
            ),
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick a single band.",
        ),
    ],
)
def test_errors_name_the_cause(fetch, make, message):
    with pytest.raises(ee.EEException) as caught:
        fetch(make(), MAIN)
    assert str(caught.value) == message
    assert caught.value.__context__.resp.status == (404 if "not found" in message else 400)


def test_unknown_band_among_the_requested(fetch):
    with pytest.raises(ee.EEException, match="Band pattern 'B7' did not match any bands"):
        fetch(ee.Image("HAND/STACK/day1"), make_grid(500000, 4600000), ["B1", "B7"])
