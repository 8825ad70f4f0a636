"""What a fetch brings: values, masks, grids, composites, and how few requests it takes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from returns.result import Failure

from rs_embed.core.errors import ProviderError, SpecError
from rs_embed.core.grid import roi_grid
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import PointBuffer
from rs_embed.providers import gee_graph
from rs_embed.providers import requests as limits
from rs_embed.providers.collections import Band
from rs_embed.providers.gee import GeeProvider
from rs_embed.providers.gee_pixels import Reading, _coarsened
from tests.earth_engine import Server
from tests.gee.catalogue import _native
from tests.gee.plans import CORNER, JUNE, S2, fetch_window, levels, plan, requests_of, square

DAY = (("2023-01-05", "2023-01-06"),)


def test_the_median_of_the_clear_scenes_by_band(server: Server) -> None:
    # June has levels 1000, 2000, 3000 and, 80 % cloudy, 9000; band i adds 10 times its position.
    patch = fetch_window(plan(("B4", "B3", "B2")))
    assert levels(patch).tolist() == [[2030, 2020, 2010]]
    assert patch.data.dtype == np.float32
    assert patch.units == ("reflectance_x10000",) * 3
    assert patch.meta["cloud_filter"] == "CLOUDY_PIXEL_PERCENTAGE <= 30"


def test_bands_come_by_name_in_the_asked_order(server: Server) -> None:
    assert levels(fetch_window(plan(("B12", "B2", "B8A")))).tolist() == [[2110, 2010, 2080]]


def test_one_request_for_one_plan_and_no_other(server: Server) -> None:
    fetch_window(plan())
    assert server.counters == {"requests": 1, "compute": 1, "200": 1}


def test_the_cloud_filter_lets_more_scenes_in(server: Server) -> None:
    # 1000, 2000, 3000, 9000: the median of four is the mean of the middle two.
    assert levels(fetch_window(plan(("B2",), cloudy_pct=100))).item() == 2510


def test_a_mosaic_has_the_last_date_on_top(server: Server) -> None:
    assert levels(fetch_window(plan(("B2",), composite="mosaic"))).item() == 3010


def test_the_last_day_of_a_window_is_not_in_it(server: Server) -> None:
    # A scene of level 4000 lies at midnight of 1 July, to the millisecond the end of June.
    window = (("2022-06-30", "2022-07-01"), ("2022-07-01", "2022-07-02"))
    patch = fetch_window(plan(("B2",), intervals=window))
    assert np.isnan(patch.data[0]).all()
    assert np.unique(patch.data[1]).tolist() == [4010]
    assert patch.meta["empty_intervals"] == [0]


def test_a_series_is_one_request_without_a_size_query(server: Server) -> None:
    months = tuple((f"2022-{m:02d}-01", f"2022-{m + 1:02d}-01") for m in range(6, 12))
    patch = fetch_window(plan(("B2", "B11"), intervals=months))
    assert server.counters == {"requests": 1, "compute": 1, "200": 1}
    assert patch.data.shape == (6, 2, 8, 8)
    # June's median, July's one scene, September's 1000 and 2000, October's stripes.
    assert patch.data[0, :, 0, 0].tolist() == [2010, 2100]
    assert patch.data[1, :, 0, 0].tolist() == [4010, 4100]
    assert patch.data[3, :, 0, 0].tolist() == [1510, 1600]
    assert patch.meta["empty_intervals"] == []


def test_masked_pixels_are_nan(server: Server) -> None:
    patch = fetch_window(plan(("B2",), intervals=(("2022-10-01", "2022-10-02"),)))
    masked = np.isnan(patch.data[0, 0])
    assert masked.any()
    assert not masked.all()
    assert np.unique(patch.data[0, 0][~masked]).tolist() == [1510]
    assert patch.meta["valid_fraction"] == pytest.approx(1 - masked.mean())


def test_pixels_beyond_a_scene_are_nan(server: Server) -> None:
    # Eight columns on either side of the east edge of the random scene, 64 pixels of 10 m wide.
    edge = (CORNER[0] + 560, CORNER[1])
    patch = fetch_window(plan(("B2",), intervals=DAY, grid=square(8, corner=edge, width=16)))
    assert np.isfinite(patch.data[..., :8]).all()
    assert np.isnan(patch.data[..., 8:]).all()


@pytest.mark.parametrize("index", range(4), ids=["north", "south", "west of 180", "east of 180"])
def test_native_pixels_come_back_unchanged(server: Server, index: int) -> None:
    scene = _native()[index]
    grid = square(64, corner=(scene.left, scene.top), crs=scene.crs)
    patch = fetch_window(plan(("B4", "B3", "B2"), intervals=DAY, grid=grid))
    stored = {layer.name: layer.values for layer in scene.layers}
    for i, band in enumerate(patch.bands):
        assert np.array_equal(patch.data[0, i], stored[band])


@pytest.mark.parametrize("lon", [179.999, -179.999])
def test_both_sides_of_the_antimeridian(server: Server, lon: float) -> None:
    # Tiles of both zones reach over the line: levels 1000 and 2000, found from either side.
    grid = unwrap_or_raise(roi_grid(PointBuffer(lon, 0.5, 320), 10))
    assert len(grid.hull()) == 2
    patch = fetch_window(plan(("B2",), grid=grid))
    assert np.unique(patch.data).tolist() == [1510]
    (body,) = requests_of(server)
    assert str(body).count("GeometryConstructors.Rectangle") == 2


@pytest.mark.parametrize("lat", [85.0, -85.0, 90.0])
def test_the_poles(server: Server, lat: float) -> None:
    grid = unwrap_or_raise(roi_grid(PointBuffer(0.0, lat, 320), 10))
    assert grid.crs in ("EPSG:32661", "EPSG:32761")
    assert np.isfinite(fetch_window(plan(("B2",), grid=grid)).data).all()


def test_split_and_unsplit_answers_are_identical(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = plan(("B4", "B2"), intervals=DAY, grid=square(64))
    whole = fetch_window(one)
    assert whole.meta["requests"] == 1
    monkeypatch.setattr(limits, "MAX_BYTES", 5 * 2 * 500)
    server.reset()
    parts = fetch_window(one)
    assert parts.meta["requests"] == server.counters["compute"] > 8
    assert np.array_equal(parts.data, whole.data)


def test_a_patch_beyond_the_byte_limit_is_split(server: Server) -> None:
    # 12 bands of 1000 x 1000 are 60 MB with the mask: more than one request may bring.
    bands = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
    patch = fetch_window(plan(bands, grid=square(1000)))
    assert patch.meta["requests"] == 2
    assert server.counters["200"] == 2
    assert np.isfinite(patch.data).all()


def test_too_little_memory_halves_the_tile(server: Server) -> None:
    server.set(memory_pixels=1000)
    patch = fetch_window(plan(("B2",), intervals=DAY, grid=square(64)))
    server.set(memory_pixels=None)
    # 4096 pixels in two, four and eight parts: each part above the limit was asked for once.
    assert patch.meta["requests"] == 1 + 2 + 4 + 8
    whole = fetch_window(plan(("B2",), intervals=DAY, grid=square(64)))
    assert np.array_equal(patch.data, whole.data)


def test_memory_that_never_suffices_is_an_error(server: Server) -> None:
    server.set(memory_pixels=1)
    found = GeeProvider(pause_s=0.01).fetch(plan())
    assert isinstance(found, Failure)
    assert isinstance(found.failure(), ProviderError)
    assert "memory limit" in str(found.failure())
    assert not found.failure().transient


def test_coarser_by_a_whole_factor_is_the_mean_of_the_stored_pixels(server: Server) -> None:
    fine = fetch_window(plan(("B4",), intervals=DAY, grid=square(64)))
    coarse = fetch_window(plan(("B4",), intervals=DAY, grid=square(16, 40)))
    blocks = fine.data[0, 0].reshape(16, 4, 16, 4).mean(axis=(1, 3), dtype=np.float64)
    assert np.array_equal(coarse.data[0, 0], blocks.astype(np.float32))
    assert coarse.meta["reading"] == "area average"
    assert coarse.meta["fetched_m"] == 10


def test_the_finest_band_sets_what_is_fetched(server: Server) -> None:
    # B11 is stored at 20 m: alone on a 20 m grid it is read as it is, beside B4 at 10 m.
    alone = fetch_window(plan(("B11",), grid=square(8, 20)))
    beside = fetch_window(plan(("B4", "B11"), grid=square(8, 20)))
    assert (alone.meta["reading"], alone.meta["fetched_m"]) == ("nearest", 20)
    assert (beside.meta["reading"], beside.meta["fetched_m"]) == ("area average", 10)
    assert np.array_equal(beside.data[:, 1], alone.data[:, 0])


@pytest.mark.parametrize("step", [12, 25])
def test_coarser_by_no_whole_factor_is_the_mean_by_area(server: Server, step: int) -> None:
    # Corners that are no multiples of 10: parts of stored pixels on every side.
    corner = (math.ceil(CORNER[0] / step) * step, math.floor(CORNER[1] / step) * step)
    coarse = fetch_window(plan(("B4",), intervals=DAY, grid=square(8, step, corner=corner)))
    left, top = math.floor(corner[0] / 10) * 10, math.ceil(corner[1] / 10) * 10
    fine = fetch_window(plan(("B4",), intervals=DAY, grid=square(24, corner=(left, top))))
    assert (coarse.meta["reading"], coarse.meta["fetched_m"]) == ("area average", 10)

    def shares(first: float) -> np.ndarray:
        """Metres of each stored pixel in each of the grid's, along one axis."""
        starts, cells = np.arange(24) * 10, first + np.arange(8)[:, None] * step
        return np.clip(np.minimum(starts + 10, cells + step) - np.maximum(starts, cells), 0, None)

    down, across = shares(top - corner[1]), shares(corner[0] - left)
    wanted = down @ fine.data[0, 0].astype(np.float64) @ across.T / step**2
    np.testing.assert_allclose(coarse.data[0, 0], wanted, rtol=1e-6)


def test_a_class_band_beside_takes_the_pixel_in_the_middle() -> None:
    bands = (Band("B4", 10, "reflectance"), Band("SCL", 20, "class", averaged="never"))
    target, reading = square(4, 25), Reading(3, "area average", 10)
    stored = reading.lattice(target)
    values = np.random.default_rng(0).integers(0, 12, (1, 2, *stored.shape)).astype(np.float32)
    found = _coarsened(values, stored, target, bands, reading)
    row = np.floor((stored.transform.f - target.y()) / 10).astype(int)
    col = np.floor((target.x() - stored.transform.c) / 10).astype(int)
    assert np.array_equal(found[0, 1], values[0, 1][np.ix_(row, col)])
    assert not np.array_equal(found[0, 0], values[0, 0][np.ix_(row, col)])


def test_server_pyramids_are_an_option(server: Server) -> None:
    one = plan(("B4",), intervals=DAY, grid=square(16, 40), fetch="server")
    patch = fetch_window(one)
    assert patch.meta["reading"] == "earth engine pyramid"
    (body,) = requests_of(server)
    assert body["grid"]["dimensions"] == {"width": 16, "height": 16}
    native = fetch_window(replace(one, sensor=replace(one.sensor, fetch="native")))
    # The service rounds the means of integer bands.
    assert np.allclose(patch.data, native.data, atol=0.51)


def test_bilinear_reads_between_pixels(server: Server) -> None:
    # A grid shifted by half a pixel: each value is the mean of the four pixels around a corner.
    fine = fetch_window(plan(("B4",), intervals=DAY, grid=square(9))).data[0, 0]
    shifted = square(8, corner=(CORNER[0] + 5, CORNER[1] - 5))
    patch = fetch_window(plan(("B4",), intervals=DAY, grid=shifted, resampling="bilinear"))
    expected = (fine[:8, :8] + fine[1:, :8] + fine[:8, 1:] + fine[1:, 1:]) / 4
    assert np.allclose(patch.data[0, 0], expected, atol=0.01)


@pytest.mark.parametrize(
    ("mask", "level"), [("none", 2010), ("scl", 2010), ("cloud_score_plus", 2010)]
)
def test_cloud_masks_off_the_cloud(server: Server, mask: str, level: float) -> None:
    grid = square(8, corner=(550000.0, 4540000.0))
    assert levels(fetch_window(plan(("B2",), grid=grid, cloud_mask=mask))).item() == level


def test_scl_drops_cloudy_pixels(server: Server) -> None:
    # The cloud of 11 June (level 2000) lies over the tile's upper left: 1000 and 3000 remain,
    # and the wholly cloudy scene of 16 June, let in by cloudy_pct, goes too.
    grid = square(8, corner=(510000.0, 4590000.0))
    plain = fetch_window(plan(("B2",), grid=grid, cloudy_pct=100))
    masked = fetch_window(plan(("B2",), grid=grid, cloudy_pct=100, cloud_mask="scl"))
    assert levels(plain).item() == 2510
    assert levels(masked).item() == 2010
    only = plan(("B2",), grid=grid, cloud_mask="scl", intervals=(("2022-06-11", "2022-06-12"),))
    assert np.isnan(fetch_window(only).data).all()


def test_cloud_score_plus_drops_what_is_below_the_threshold(server: Server) -> None:
    # Scores are 0.9, and 0.1 for the scene of 16 June.
    every = {"cloudy_pct": 100, "cloud_mask": "cloud_score_plus"}
    assert levels(fetch_window(plan(("B2",), **every))).item() == 2010
    assert levels(fetch_window(plan(("B2",), **every, cloud_threshold=0.05))).item() == 2510
    assert np.isnan(fetch_window(plan(("B2",), **every, cloud_threshold=0.95)).data).all()


def test_an_image_id_is_that_image(server: Server) -> None:
    image = f"{S2}/20220611T105631_20220611T105631_T31TEF"
    assert levels(fetch_window(plan(("B2",), image))).item() == 2010
    found = GeeProvider().fetch(plan(("B2",), image, intervals=(("2021-01-01", "2022-01-01"),)))
    assert isinstance(found, Failure)
    assert "filter: dates" in str(found.failure())


def test_scenes_of_many_plans_in_one_request(server: Server) -> None:
    provider = GeeProvider()
    plans = [plan(("B2",)), plan(("B2",), intervals=(("2022-07-01", "2022-07-02"),))]
    first, second = unwrap_or_raise(provider.scenes(plans))
    assert first["dates"] == ["2022-06-01", "2022-06-11", "2022-06-21"]
    assert second["dates"] == ["2022-07-01"]
    assert second["ids"] == ["20220701T000000_20220701T000000_T31TEF"]
    assert server.counters["value"] == 1


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (plan(grid=square(8, corner=(550000.0, 2000000.0))), "filter: bounds"),
        (plan(intervals=(("2021-06-01", "2021-07-01"),)), "filter: dates"),
        (plan(intervals=(("2022-06-16", "2022-06-17"),)), "filter: clouds"),
        (plan(("HH",), "COPERNICUS/S1_GRD"), "filter: bands HH"),
    ],
)
def test_an_empty_collection_names_the_filter(server: Server, one, words: str) -> None:
    found = GeeProvider().fetch(one)
    assert isinstance(found, Failure)
    error = found.failure()
    assert isinstance(error, ProviderError)
    assert words in str(error)
    assert not error.transient


def test_parameters_that_cannot_be() -> None:
    with pytest.raises(SpecError, match=r"1\.\.10"):
        GeeProvider(workers=11)
    with pytest.raises(SpecError, match="at least 1"):
        GeeProvider(tries=0)
    with pytest.raises(SpecError, match="more than 0 s"):
        GeeProvider(request_s=0)


def test_the_callers_workload_tag_travels(server: Server) -> None:
    import ee

    ee.data.setWorkloadTag("of-mine")
    try:
        fetch_window(plan())
    finally:
        ee.data.setWorkloadTag("")
    fetch_window(plan())
    tagged, plain = requests_of(server)
    assert tagged["workloadTag"] == "of-mine"
    assert "workloadTag" not in plain


def test_crs_of_the_request_is_the_plans(server: Server) -> None:
    fetch_window(plan(grid=square(4)))
    (body,) = requests_of(server)
    assert body["grid"]["crsCode"] == "EPSG:32631"
    assert body["grid"]["affineTransform"] == {
        "scaleX": 10, "shearX": 0, "translateX": CORNER[0],
        "shearY": 0, "scaleY": -10, "translateY": CORNER[1],
    }  # fmt: skip
    assert body["fileFormat"] == "NPY"
    assert JUNE == ("2022-06-01", "2022-07-01")


@pytest.mark.parametrize("lon", [3.6, 179.9995])
def test_what_is_sent_is_what_the_client_encodes(server: Server, lon: float) -> None:
    """Built once for a collection and given its boxes later, or built for the place: the same."""
    import ee

    grid = unwrap_or_raise(roi_grid(PointBuffer(lon, 0.5, 320), 10))
    one = plan(("B4", "B3"), grid=grid, cloud_mask="cloud_score_plus")
    query = unwrap_or_raise(GeeProvider()._query(one))
    assert gee_graph.encoded(query) == ee.serializer.encode(gee_graph.pixels(query))
