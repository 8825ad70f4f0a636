"""Each row of the table end to end: from an expression to numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from returns.result import Failure, Success

from rs_embed.core.bands import common_name
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.model import InputSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import SensorSpec
from rs_embed.core.units import MEANINGS
from rs_embed.providers.collection_checks import check_frames
from rs_embed.providers.collections import (
    COLLECTIONS,
    find_collection,
    own_bands,
    own_row,
    serve_bands,
)
from rs_embed.providers.gee import GeeProvider
from tests.earth_engine import Server
from tests.gee.plans import JUNE, fetch_window, levels, plan, requests_of, square

YEAR = (("2022-01-01", "2023-01-01"),)

# collection, bands, scale, frames, what the local scenes make of it by hand, units.
ROWS = [
    ("COPERNICUS/S2_SR_HARMONIZED", ("B1", "B8A"), 10, (JUNE,), (2000, 2080), "reflectance_x10000"),
    # Level 1C is served 100 above level 2A, with B10 as the thirteenth band.
    ("COPERNICUS/S2_HARMONIZED", ("B10", "B1"), 10, (JUNE,), (2220, 2100), "reflectance_x10000"),
    ("COPERNICUS/S2_CLOUD_PROBABILITY", ("probability",), 10, (JUNE,), (7,), "percent"),
    ("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", ("cs_cdf",), 10, (JUNE,), (0.9,), "probability"),
    # Three scenes: the median in decibels is that in power.
    ("COPERNICUS/S1_GRD", ("VH", "VV"), 10, (JUNE,), (-17, -10), "db"),
    ("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"), 10, (JUNE,), (10**-1.0, 10**-1.7), "linear"),
    # Two scenes of 0.1 and 0.2 plus a thousandth a band.
    ("NASA/HLS/HLSS30/v002", ("B8A", "B2"), 30, (JUNE,), (0.158, 0.151), "reflectance"),
    ("NASA/HLS/HLSL30/v002", ("B5", "B7"), 30, (JUNE,), (0.304, 0.306), "reflectance"),
    ("LANDSAT/LC08/C02/T1_L2", ("SR_B4",), 30, (JUNE,), (10400 * 2.75e-5 - 0.2,), "reflectance"),
    ("LANDSAT/LC09/C02/T1_L2", ("ST_B10",), 30, (JUNE,), (44000 * 0.00341802 + 149,), "kelvin"),
    ("LANDSAT/LE07/C02/T1_L2", ("SR_B7",), 30, (JUNE,), (10700 * 2.75e-5 - 0.2,), "reflectance"),
    ("LANDSAT/LT05/C02/T1_L2", ("ST_B6",), 30, (JUNE,), (44000 * 0.00341802 + 149,), "kelvin"),
    # The mean of 1000 and 2000, plus ten a band.
    ("MODIS/061/MOD09GA", ("sur_refl_b01",), 500, (JUNE,), (1510,), "reflectance_x10000"),
    ("MODIS/061/MOD09GA", ("SolarZenith",), 500, (JUNE,), (25,), "degrees"),
    ("MODIS/061/MOD21A1D", ("LST_1KM", "Emis_31"), 1000, (JUNE,), (295.5, 0.98), None),
    ("ECMWF/ERA5_LAND/MONTHLY_AGGR", ("temperature_2m",), 10, (JUNE,), (286,), "kelvin"),
    ("ECMWF/ERA5_LAND/MONTHLY_AGGR", ("total_precipitation_sum",), 10, (JUNE,), (0.06,), "metres"),
    ("IDAHO_EPSCOR/TERRACLIMATE", ("aet", "def"), 10, (JUNE,), (562, 657), "1"),
    ("NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG", ("avg_rad",), 10, (JUNE,), (1.5,), "1"),
    ("GOOGLE/DYNAMICWORLD/V1", ("built", "water"), 10, (JUNE,), (0.6, 0.05), "probability"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("collection", "bands", "scale", "intervals", "expected", "units"),
    ROWS,
    ids=[f"{row[0].split('/')[-1]}-{row[1][0]}" for row in ROWS],
)
def test_a_row(server: Server, collection, bands, scale, intervals, expected, units) -> None:
    patch = fetch_window(plan(bands, collection, intervals=intervals, grid=square(4, scale)))
    assert patch.data.shape == (1, len(bands), 4, 4)
    for i, value in enumerate(expected):
        assert np.allclose(patch.data[0, i], value, rtol=1e-6), patch.data[0, i, 0, 0]
    if units:
        assert set(patch.units) == {units}


def test_elevation_has_no_time_and_is_a_mosaic(server: Server) -> None:
    # 100 m plus the row of a one-degree tile of 3600 rows; the first lies at 41 N.
    patch = fetch_window(
        plan(("DEM",), "COPERNICUS/DEM/GLO30_2024_1", intervals=(), grid=square(8, 30))
    )
    assert patch.meta["composite"] == "mosaic"
    assert patch.units == ("metres",)
    down = np.diff(patch.data[0, 0], axis=0)
    assert set(np.unique(down)) <= {0, 1}
    assert down.sum() > 0


def test_annual_embeddings_are_unit_vectors(server: Server) -> None:
    bands = tuple(f"A{i:02d}" for i in range(64))
    collection = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
    patch = fetch_window(plan(bands, collection, intervals=YEAR, grid=square(8)))
    assert np.allclose(np.linalg.norm(patch.data[0], axis=0), 1)
    assert set(np.unique(patch.data)) == {-0.125, 0.125}


def test_every_row_is_fetched_somewhere_above() -> None:
    here = {row[0] for row in ROWS} | {
        "COPERNICUS/DEM/GLO30_2024_1", "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL",
    }  # fmt: skip
    assert here == set(COLLECTIONS)


def test_radar_is_averaged_in_power(server: Server) -> None:
    # Descending: -10 and -12 dB. The median of two is their mean, of powers, not of decibels.
    patch = fetch_window(plan(("VV",), "COPERNICUS/S1_GRD", orbit="DESCENDING"))
    expected = 10 * math.log10((10**-1.0 + 10**-1.2) / 2)
    assert np.allclose(patch.data, expected, atol=1e-5)
    assert not np.allclose(patch.data, -11, atol=1e-2)
    assert patch.meta["averaged_in"] == "linear power"


def test_radar_takes_one_orbit_and_the_wide_swath(server: Server) -> None:
    ascending = fetch_window(plan(("VV",), "COPERNICUS/S1_GRD", orbit="ASCENDING"))
    assert np.allclose(ascending.data, -8, atol=1e-5)
    (body,) = requests_of(server)
    text = str(body)
    for name in ("instrumentMode", "resolution_meters", "transmitterReceiverPolarisation"):
        assert name in text


def test_radar_is_coarsened_in_power(server: Server) -> None:
    native = fetch_window(plan(("VV",), "COPERNICUS/S1_GRD", grid=square(16)))
    coarse = fetch_window(plan(("VV",), "COPERNICUS/S1_GRD", grid=square(4, 40)))
    assert coarse.meta["reading"] == "area average"
    power = (10 ** (native.data.astype(float) / 10)).reshape(4, 4, 4, 4).mean(axis=(1, 3))
    assert np.allclose(coarse.data[0, 0], 10 * np.log10(power), atol=1e-5)


def test_the_angle_of_radar_is_no_power(server: Server) -> None:
    patch = fetch_window(plan(("VV", "angle"), "COPERNICUS/S1_GRD"))
    assert np.allclose(patch.data[0, 1], 38.5)
    assert patch.units == ("db", "degrees")


def test_landsat_cover_that_was_not_computed_is_left_out(server: Server) -> None:
    # The second scene of 65535 says -1; it would double the median.
    one = plan(("SR_B1",), "LANDSAT/LE07/C02/T1_L2", cloudy_pct=100, grid=square(4, 30))
    assert np.allclose(fetch_window(one).data, 10100 * 2.75e-5 - 0.2)


def test_classes_are_never_averaged(server: Server) -> None:
    patch = fetch_window(plan(("SCL",), grid=square(4, 60)))
    assert patch.meta["reading"] == "nearest"
    assert set(np.unique(patch.data)) <= {4.0}


@pytest.mark.parametrize(
    ("crs", "axis", "x"), [("EPSG:32631", 0, 752000), ("EPSG:32632", 1, 248000)]
)
def test_a_zone_border_prefers_the_grids_own_zone(server: Server, crs, axis, x) -> None:
    bands = ("A00", "A01", "A02")
    grid = square(16, corner=(float(x), 4543000.0), crs=crs)
    collection = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
    patch = fetch_window(
        plan(bands, collection, intervals=(("2020-01-01", "2021-01-01"),), grid=grid)
    )
    assert levels(patch)[0].tolist() == [float(k == axis) for k in range(3)]


def test_an_unknown_collection_with_units_of_the_caller(server: Server) -> None:
    sensor = SensorSpec("users/someone/drone", ("red", "nir"), units="reflectance_x10000")
    item = InputSpec("two", ("B8", "B4"), "reflectance", None)
    source = unwrap_or_raise(GeeProvider().describe(item, sensor))
    assert source.bands == ("nir", "red")
    assert source.units == ("reflectance_x10000",) * 2
    assert source.dated


def test_an_unknown_image_without_a_date(server: Server) -> None:
    provider = GeeProvider()
    sensor = SensorSpec("users/someone/one", ("height",), units="metres")
    found = provider.describe(InputSpec("h", ("height",), "metres"), sensor)
    assert isinstance(found, Success)


def test_a_collection_that_does_not_exist(server: Server) -> None:
    sensor = SensorSpec("users/nobody/nothing", ("red",), units="reflectance")
    found = GeeProvider().describe(InputSpec("r", ("red",), "reflectance"), sensor)
    assert isinstance(found, Failure)
    assert "does not know it" in str(found.failure())


def _described(item: InputSpec, sensor: SensorSpec | None = None):
    return GeeProvider(url="http://127.0.0.1:9").describe(item, sensor)


@pytest.mark.parametrize(
    ("item", "sensor", "kind", "words"),
    [
        (InputSpec("x", ("B4",), "reflectance", "A/B"), None, ModelError, "A/B is not in"),
        (InputSpec("x", ("B4",), "reflectance"), None, ModelError, "cannot serve the input 'x'"),
        (
            InputSpec("x", ("B4",), "kelvin", "COPERNICUS/S2_HARMONIZED"), None, ModelError,
            "cannot become kelvin",
        ),
        (
            InputSpec("x", ("B4", "B8"), "reflectance"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",)), ModelError, "no band B8",
        ),
        (
            InputSpec("x", ("B4",), "reflectance"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4", "B77")), SpecError, "no band B77",
        ),
        (
            InputSpec("x", ("VV",), "db"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",)), ModelError,
            "COPERNICUS/S2_HARMONIZED has no band VV",
        ),
        (
            InputSpec("x", ("B4",), "reflectance"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",), units="reflectance"), SpecError,
            "are known (reflectance_x10000)",
        ),
        (
            InputSpec("x", ("B4",), "reflectance"), SensorSpec("MY/C", ("B4",)), SpecError,
            "units of MY/C are not known",
        ),
        (
            InputSpec("x", ("B4",), "reflectance"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",), cloud_mask="scl"), SpecError,
            "it takes 'none', 'cloud_score_plus'",
        ),
        (
            InputSpec("x", ("B4",), "reflectance"),
            SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",), orbit="ASCENDING"), SpecError,
            "has no orbit",
        ),
        (
            InputSpec("x", ("SCL",), "class"),
            SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("SCL",), resampling="bilinear"), SpecError,
            "cannot be interpolated",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_told_before_any_request(item, sensor, kind, words) -> None:
    found = _described(item, sensor)
    assert isinstance(found, Failure)
    assert type(found.failure()) is kind
    assert words in str(found.failure())


def test_side_layers_keep_their_own_collection_under_a_sensor() -> None:
    dem = InputSpec("dem", ("elevation",), "metres", "COPERNICUS/DEM/GLO30_2024_1", static=True)
    sensor = SensorSpec("COPERNICUS/S2_HARMONIZED", ("B4",))
    source = unwrap_or_raise(_described(dem, sensor))
    assert (source.collection, source.bands) == ("COPERNICUS/DEM/GLO30_2024_1", ("DEM",))
    assert not source.dated


def test_side_layers_are_not_masked_by_a_sensor_of_another_kind(server: Server) -> None:
    more = {"cloud_mask": "scl", "orbit": "ASCENDING", "resampling": "bilinear"}
    dem = "COPERNICUS/DEM/GLO30_2024_1"
    patch = fetch_window(plan(("DEM",), dem, intervals=(), grid=square(8, 30), **more))
    assert np.isfinite(patch.data).all()
    assert (patch.meta["cloud_mask"], patch.meta["orbit"]) == ("none", None)
    classes = fetch_window(plan(("WBM",), dem, intervals=(), grid=square(8, 30), **more))
    assert classes.meta["resampling"] == "nearest"


def test_annual_layers_take_whole_years_they_have() -> None:
    row = COLLECTIONS["GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"]
    assert isinstance(check_frames(row, YEAR), Success)
    for intervals, words in [
        ((("2022-06-01", "2022-09-01"),), r"TemporalSpec.year(2022)"),
        ((("2022-01-01", "2024-01-01"),), r"TemporalSpec.year(2022)"),
        ((("2016-01-01", "2017-01-01"),), "2017 to 2025, not 2016"),
    ]:
        found = check_frames(row, intervals)
        assert isinstance(found, Failure)
        assert isinstance(found.failure(), SpecError)
        assert words in str(found.failure())


def test_rows_are_whole() -> None:
    for row in COLLECTIONS.values():
        assert len(set(row.names)) == len(row.names)
        answers = [row.common.get(name) or common_name(name) for name in row.names]
        assert len(set(answers)) == len(answers), row.id
        for band in row.bands:
            assert band.units in MEANINGS
            assert band.native_m > 0
        assert unwrap_or_raise(own_bands(row, row.names)) == row.names


def test_ids_of_images_lead_to_their_collection() -> None:
    row = find_collection("COPERNICUS/S2_SR_HARMONIZED/20220611T105631_20220611T105631_T31TEF")
    assert row is not None
    assert row.id == "COPERNICUS/S2_SR_HARMONIZED"
    assert find_collection("COPERNICUS/S2_SR_HARMONIZED2") is None
    assert find_collection("") is None


def test_an_own_row_averages_nothing(server: Server) -> None:
    assert math.isnan(own_row("A/B", ("x",), ("1",), static=False).bands[0].native_m)


def test_names_differ_between_sensors() -> None:
    l30 = COLLECTIONS["NASA/HLS/HLSL30/v002"]
    wanted = ("B2", "B3", "B4", "B8A", "B11", "B12")
    assert unwrap_or_raise(serve_bands(l30, wanted)) == ("B2", "B3", "B4", "B5", "B6", "B7")
