"""What is taken on trust of Earth Engine: facts of its catalogue, and names of its client.

The facts are those of Google's catalogue, read 2026-08. Not verified live: how the service treats
scenes that lack a filter's property, and the lattices of Landsat and MODIS.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import ee
import numpy as np
import pytest

from rs_embed import ModelChoice, OutputSpec, PointBuffer, SensorSpec, TemporalSpec, get_embedding
from rs_embed.core.bands import common_name
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.parity import write_checkpoint
from rs_embed.providers import gee_graph
from rs_embed.providers.collections import COLLECTIONS
from tests.earth_engine import Server
from tests.gee.plans import fetch_window, plan, requests_of, square

ROOT = Path(__file__).parents[2]
# Sentinel-2's scene classification, and whether the ground is to be seen there.
SCL = {
    0: ("no data", False), 1: ("saturated or defective", False), 2: ("dark area", True),
    3: ("cloud shadow", False), 4: ("vegetation", True), 5: ("bare soil", True),
    6: ("water", True), 7: ("unclassified", True), 8: ("cloud, medium probability", False),
    9: ("cloud, high probability", False), 10: ("thin cirrus", False), 11: ("snow or ice", True),
}  # fmt: skip
# The wavelength bands of MODIS in the order of their numbers: red and near infrared come first.
MODIS = {1: "red", 2: "nir", 3: "blue", 4: "green", 5: None, 6: "swir16", 7: "swir22"}
NATIVE_M = {
    "COPERNICUS/S2_SR_HARMONIZED": {
        10: ("B2", "B3", "B4", "B8", "AOT", "WVP"),
        20: ("B5", "B6", "B7", "B8A", "B11", "B12", "SCL", "MSK_CLDPRB"),
        60: ("B1", "B9", "QA60"),
    },
    "COPERNICUS/S1_GRD": {10: ("VV", "VH", "HH", "HV")},
    "NASA/HLS/HLSS30/v002": {30: ("B2", "B8A", "B12", "Fmask")},
    "NASA/HLS/HLSL30/v002": {30: ("B2", "B5", "B7", "Fmask")},
    "LANDSAT/LC08/C02/T1_L2": {30: ("SR_B2", "SR_B7", "ST_B10", "QA_PIXEL")},
    "COPERNICUS/DEM/GLO30_2024_1": {30: ("DEM",)},
    "GOOGLE/DYNAMICWORLD/V1": {10: ("water", "label")},
    "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL": {10: ("A00", "A63")},
}


def test_the_classes_that_are_masked_are_those_without_ground() -> None:
    assert {number for number, (_, seen) in SCL.items() if not seen} == {*gee_graph.SCL_DROPPED}


def test_modis_bands_are_in_the_order_of_their_numbers() -> None:
    row = COLLECTIONS["MODIS/061/MOD09GA"]
    for number, colour in MODIS.items():
        assert row.common.get(f"sur_refl_b{number:02d}") == colour
    assert common_name(row.common["sur_refl_b01"]) == "red"


@pytest.mark.parametrize("collection", NATIVE_M)
def test_native_sizes(collection: str) -> None:
    row = COLLECTIONS[collection]
    for metres, names in NATIVE_M[collection].items():
        assert {band.native_m for band in row.pick(names)} == {metres}


def test_modis_and_climate_pixels_are_their_own_size() -> None:
    # The sinusoidal grid has 2400 pixels of 500 m to a tile of 10 degrees: pi R / 18 / 2400.
    tile_m = np.pi * 6371007.181 / 18
    assert COLLECTIONS["MODIS/061/MOD09GA"].bands[0].native_m == pytest.approx(tile_m / 2400)
    # TerraClimate is stored at 1/24 of a degree, ERA5-Land at a tenth.
    degree_m = 2 * np.pi * 6378137 / 360
    terra = COLLECTIONS["IDAHO_EPSCOR/TERRACLIMATE"]
    assert [band.native_m for band in terra.bands] == pytest.approx([degree_m / 24] * 3, abs=0.1)
    era5 = COLLECTIONS["ECMWF/ERA5_LAND/MONTHLY_AGGR"]
    assert [band.native_m for band in era5.bands] == pytest.approx([degree_m / 10] * 3, abs=0.1)


def test_terraclimate_is_read_as_stored() -> None:
    """Galileo was trained on the stored integers, tenths of a millimetre."""
    row = COLLECTIONS["IDAHO_EPSCOR/TERRACLIMATE"]
    assert row.names == ("def", "soil", "aet")
    assert {(band.scale, band.offset, band.units) for band in row.bands} == {(1.0, 0.0, "1")}


def test_clouds_are_told_by_each_collections_own_property() -> None:
    told = {row.id: row.cloud_property for row in COLLECTIONS.values() if row.cloud_property}
    assert told == {
        "COPERNICUS/S2_SR_HARMONIZED": "CLOUDY_PIXEL_PERCENTAGE",
        "COPERNICUS/S2_HARMONIZED": "CLOUDY_PIXEL_PERCENTAGE",
        "NASA/HLS/HLSS30/v002": "CLOUD_COVERAGE",
        "NASA/HLS/HLSL30/v002": "CLOUD_COVERAGE",
        **{f"LANDSAT/{sat}/C02/T1_L2": "CLOUD_COVER" for sat in ("LC08", "LC09", "LE07", "LT05")},
    }


def test_the_cloud_limit_itself_is_let_through(server: Server) -> None:
    """``lte`` travels as "not greater than", so that a scene of exactly the limit passes."""
    fetch_window(plan(("B4",), cloudy_pct=30))
    text = str(requests_of(server)[-1]["expression"])
    assert "Filter.greaterThan" in text
    assert "Filter.not" in text
    assert "CLOUDY_PIXEL_PERCENTAGE" in text


# Classes beside values


@pytest.mark.parametrize("classes", ["SCL", "QA60"])
@pytest.mark.parametrize("metres", [20, 60, 120])
def test_a_class_band_changes_nothing_in_how_others_are_read(
    server: Server, classes: str, metres: float
) -> None:
    for sensor in ({}, {"resampling": "bilinear"}):
        grid = square(4, metres)
        alone = fetch_window(plan(("B4", "B11"), grid=grid, **sensor))
        beside = fetch_window(plan(("B4", classes, "B11"), grid=grid, **sensor))
        assert beside.meta["reading"] == alone.meta["reading"]
        assert beside.meta["resampling"] == alone.meta["resampling"]
        np.testing.assert_array_equal(beside.data[:, [0, 2]], alone.data)
        own = fetch_window(plan((classes,), grid=grid))
        np.testing.assert_array_equal(beside.data[:, 1:2], own.data)


def test_side_inputs_of_galileo_work_beside_a_sensor(server: Server, tmp_path: Path) -> None:
    options = {"era5": True, "tc": True, "viirs": True, "dw": True}
    spec = unwrap_or_raise(find_model("galileo:nano")).spec
    path = tmp_path / "galileo.pt"
    write_checkpoint((spec, "nano"), path)
    choice = ModelChoice("galileo:nano", options=options, weights=str(path))
    bands = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    found = get_embedding(
        choice, spatial=PointBuffer(3.6, 41.0, 160), output=OutputSpec.pooled(),
        temporal=TemporalSpec.range("2022-06-01", "2022-07-01"), device="cpu",
        sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", bands),
    )  # fmt: skip
    assert np.isfinite(found.data).all()
    asked = {one for body in requests_of(server) for one in COLLECTIONS if one in str(body)}
    assert asked == {
        "COPERNICUS/S2_SR_HARMONIZED", "ECMWF/ERA5_LAND/MONTHLY_AGGR",
        "IDAHO_EPSCOR/TERRACLIMATE", "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG", "GOOGLE/DYNAMICWORLD/V1",
    }  # fmt: skip


# The client's private names

PRIVATE = {
    "ee.data._get_state", "ee.data._get_projects_path", "ee.data._get_cloud_projects",
    "ee.data._get_cloud_projects_raw", "ee._cloud_api_utils.convert_asset_id_to_asset_name",
    "ee.ApiFunction._api",
}  # fmt: skip


def names_used() -> set[str]:
    """Every dotted name under ``ee`` in the package that has a private part."""
    found = set()
    for path in (ROOT / "rs_embed").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            dotted = ast.unparse(node)
            if dotted.startswith("ee.") and "._" in dotted and "(" not in dotted:
                found.add(dotted)
    return {one for one in found if not any(o != one and o.startswith(f"{one}.") for o in found)}


def test_each_private_name_of_the_client_is_known_and_there() -> None:
    assert names_used() == PRIVATE
    for dotted in PRIVATE:
        place = ee
        for part in dotted.split(".")[1:]:
            assert hasattr(place, part), f"earthengine-api {ee.__version__} has no {dotted}"
            place = getattr(place, part)


def test_what_is_read_of_the_clients_state_is_there() -> None:
    fields = set(ee.data._get_state().__dataclass_fields__)
    assert fields >= {
        "max_retries", "user_agent", "deadline_ms", "workload_tag", "http_transport",
        "requests_session", "cloud_api_base_url",
    }  # fmt: skip


def test_the_client_has_an_upper_bound() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any("<2" in item for item in extras["optional-dependencies"]["gee"])
