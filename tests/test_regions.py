"""Where tokens land: small, odd and large regions, sources that end, missing pixels, resize."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio

from rs_embed import (
    BBox,
    OutputSpec,
    PointBuffer,
    ProviderError,
    SensorSpec,
    get_embedding,
)
from rs_embed.core.crs import project
from rs_embed.embedders.runtime import load
from rs_embed.pipeline import encode_inputs, fetch, plan, tiled_input, windows
from rs_embed.plugins.notices import RsEmbedWarning
from tests.places import PROVIDER, SUMMER, TOY, Ended, at, model_of, registered, roi_of, run
from tests.toys import BANDS, FEATURES, toy

PLACED = toy("toy_place", encode="tests.toys:place_encode", shows_windows=True)
LON, LAT, SCALE = (FEATURES.index(name) for name in ("lon", "lat", "scale"))


@pytest.fixture(autouse=True)
def _toys():
    with registered(TOY, PLACED):
        yield


# --- where tokens land ---------------------------------------------------------------------------


def test_a_cell_is_the_mean_of_its_own_pixels_on_its_own_ground():
    place = at(side_px=64)
    planned = plan(model_of(), place, SUMMER, PROVIDER).unwrap()
    patch = fetch(planned, PROVIDER).unwrap()
    grid = run(TOY, place).unwrap().data
    assert grid.dims == ("feature", "y", "x")
    assert grid.dtype == np.float32
    for row, col in itertools.product(range(8), range(8)):
        own = patch.data[0, :, row * 8 : row * 8 + 8, col * 8 : col * 8 + 8]
        np.testing.assert_allclose(grid[:3, row, col], own.mean(axis=(1, 2)), rtol=1e-5)
    x, y = planned.roi.x(), planned.roi.y()
    np.testing.assert_allclose(grid.x, x.reshape(8, 8).mean(axis=1))
    np.testing.assert_allclose(grid.y, y.reshape(8, 8).mean(axis=1))
    assert grid.rio.crs.to_epsg() == 32631


@pytest.mark.parametrize("overlap", [0, 2, 4])
def test_a_shift_by_whole_windows_gives_equal_inner_tokens(overlap):
    a = run(TOY, at(side_px=128), overlap=overlap).unwrap().data
    b = run(TOY, at(32, 64, side_px=128), overlap=overlap).unwrap().data
    # The same ground by its coordinates, away from the edge where overlapping windows differ.
    both = a.sel(x=a.x[a.x >= float(b.x[0])], y=a.y[a.y <= float(b.y[0])])
    theirs = b.sel(x=both.x, y=both.y)
    assert both.shape == (10, 12, 8)
    # Window means and centres differ from window to window, but are the same for the same ground.
    np.testing.assert_allclose(both, theirs, rtol=1e-6)


def test_nothing_about_a_window_depends_on_the_region():
    small = run(TOY, at(32, 64, side_px=32)).unwrap().data
    large = run(TOY, at(0, 0, side_px=128)).unwrap().data
    np.testing.assert_array_equal(small, large[:, 4:8, 8:12])


def test_overlap_averages_the_windows_that_see_a_token():
    place = at(side_px=64)
    single = run(TOY, place).unwrap().data.values
    double = run(TOY, place, overlap=2).unwrap().data.values
    # A token's own pixels are the same in every window.
    np.testing.assert_allclose(double[:3], single[:3], rtol=1e-5)
    # What is told of the window is the mean over the four windows around a token.
    lons = run(TOY, place, overlap=2).unwrap().data
    planned = plan(model_of(), place, SUMMER, PROVIDER, overlap=2).unwrap()
    rows, cols = planned.tiling.rows.offsets, planned.tiling.cols.offsets
    assert rows == cols == (-16, 0, 16, 32, 48)
    x, y = np.meshgrid(
        [planned.roi.transform.c + 10 * (c + 16) for c in cols],
        [planned.roi.transform.f - 10 * (r + 16) for r in rows],
    )
    lon, lat = project(x, y, planned.roi.crs, "EPSG:4326")
    for row, col in itertools.product(range(8), range(8)):
        seen = (slice(row // 2, row // 2 + 2), slice(col // 2, col // 2 + 2))
        assert float(lons[LON, row, col]) == pytest.approx(lon[seen].mean(), abs=1e-6)
        assert float(lons[LAT, row, col]) == pytest.approx(lat[seen].mean(), abs=1e-5)


def test_overlap_cures_windows_that_show():
    place = at(side_px=128)
    with pytest.warns(RsEmbedWarning, match="show their place in the window"):
        bare = run(PLACED, place).unwrap()
    cured = run(PLACED, place, overlap=4).unwrap()
    assert bare.meta["position_share"] > 0.5
    assert cured.meta["position_share"] < bare.meta["position_share"] / 4
    assert bare.meta["seam_ratio"] > 1.3
    # Said once.
    run(PLACED, place).unwrap()


# --- small, odd and large regions ----------------------------------------------------------------


def test_three_by_three_pixels_are_one_cell_centred_on_them():
    place = at(side_px=3)
    embedding = run(TOY, place).unwrap()
    assert embedding.data.shape == (10, 1, 1)
    planned = plan(model_of(), place, SUMMER, PROVIDER).unwrap()
    assert planned.roi.shape == (3, 3)
    west, south, east, north = planned.roi.bounds
    assert abs(float(embedding.data.x[0]) - (west + east) / 2) <= 5
    assert abs(float(embedding.data.y[0]) - (south + north) / 2) <= 5
    # It has a whole window of real surroundings.
    assert planned.fetch_plans[0].grid.shape == (32, 32)
    assert embedding.meta["padded_fraction"] == 0


def test_rectangular():
    box = BBox(5.0, 52.0, 5.03, 52.004)
    embedding = run(TOY, box).unwrap()
    roi = plan(model_of(), box, SUMMER, PROVIDER).unwrap().roi
    assert roi.width > 4 * roi.height
    _, h, w = embedding.data.shape
    assert (h, w) == tuple(math.ceil(n / 8 - 0.5) for n in roi.shape)
    for mine, theirs in zip(embedding.data.rio.bounds(), roi.bounds, strict=True):
        assert abs(mine - theirs) <= 40


def test_two_thousand_pixels():
    embedding = run(TOY, at(side_px=2000)).unwrap()
    assert embedding.data.shape == (10, 250, 250)
    assert np.isfinite(embedding.data).all()
    assert embedding.meta["windows"] == 63 * 63


@pytest.mark.parametrize(("lon", "lat"), [(179.9995, 10.0), (-179.9995, -40.0), (33.0, 89.5)])
def test_odd_corners_of_the_earth(lon, lat):
    embedding = get_embedding(
        "toy", spatial=PointBuffer(lon, lat, 640), temporal=SUMMER, backend="memory",
        output=OutputSpec.grid(),
    )  # fmt: skip
    assert embedding.data.shape == (10, 16, 16)
    assert embedding.meta["scale_error"] <= (0.0061 if lat > 84 else 0.0015)


# --- sources that end ----------------------------------------------------------------------------


def test_the_last_window_moves_back_inside():
    place = at(side_px=80)
    ended = Ended(roi_of(place))
    mine = run(TOY, place, ended).unwrap()
    free = run(TOY, place).unwrap()
    assert mine.meta["padded_fraction"] == 0
    assert mine.data.shape == free.data.shape == (10, 10, 10)
    np.testing.assert_allclose(mine.data[:3], free.data[:3], rtol=1e-6)
    # The first two windows are as they were; the third saw other surroundings.
    np.testing.assert_array_equal(mine.data[:, :8, :8], free.data[:, :8, :8])
    assert not np.allclose(mine.data[LON, :, 8:], free.data[LON, :, 8:], atol=1e-7, rtol=0)


def test_less_than_a_window_is_padded_and_told():
    place = at(side_px=16)
    ended = Ended(roi_of(place))
    mine = run(TOY, place, ended).unwrap()
    assert mine.meta["padded_fraction"] == pytest.approx(1 - 16 * 16 / (32 * 32))
    assert mine.data.shape == (10, 2, 2)
    np.testing.assert_allclose(mine.data[:3], run(TOY, place).unwrap().data[:3], rtol=1e-6)


@pytest.mark.parametrize(("pad", "at_16"), [("mirror", 15), ("reflect", 14)])
def test_padding_follows_the_authors_rule(pad, at_16):
    spec = toy(f"toy_{pad}", pad=pad)
    place = at(side_px=16)
    planned = plan(model_of(spec), place, SUMMER, Ended(roi_of(place))).unwrap()
    patch = fetch(planned, PROVIDER).unwrap()
    (window,) = windows(tiled_input(planned, patch).unwrap())
    pixels = window.pixels[0, 0]
    np.testing.assert_array_equal(pixels[:, :16, :16], patch.data[0])
    np.testing.assert_array_equal(pixels[:, 16, :16], patch.data[0][:, at_16])
    np.testing.assert_array_equal(pixels[:, :16, 16], patch.data[0][:, :, at_16])


def test_padded_tokens_never_leave():
    # Zeros in every real pixel: whatever is not zero would come from beyond them.
    place = at(side_px=20)
    ended = Ended(roi_of(place))
    planned = plan(model_of(), place, SUMMER, ended).unwrap()
    embedding = run(TOY, place, ended).unwrap()
    assert embedding.data.shape[1:] == planned.tiling.cells == (2, 2)
    west, south, east, north = planned.roi.bounds
    assert (embedding.data.x > west).all()
    assert (embedding.data.x < east).all()
    assert (embedding.data.y > south).all()
    assert (embedding.data.y < north).all()


# --- missing pixels ------------------------------------------------------------------------------


def test_a_token_without_a_valid_pixel_is_nan_and_out_of_the_pool():
    place = at(side_px=64)
    roi = roi_of(place)
    edge = roi.bounds[0] + 160
    holed = Ended(None, holes=lambda x, y: x < edge)
    embedding = run(TOY, place, holed).unwrap()
    missing = np.isnan(embedding.data.values)
    assert missing[:, :, :2].all()
    assert not missing[:, :, 2:].any()
    assert embedding.meta["valid_fraction"] == 0.75
    assert embedding.meta["missing_fraction"] == 0.25
    for how, reduce in (("mean", np.mean), ("max", np.max)):
        pooled = run(TOY, place, holed, OutputSpec.pooled(how)).unwrap().data
        assert pooled.shape == (10,)
        assert pooled.dtype == np.float32
        np.testing.assert_allclose(
            pooled, reduce(embedding.data.values[:, :, 2:], axis=(1, 2), dtype=np.float64)
            if how == "mean" else reduce(embedding.data.values[:, :, 2:], axis=(1, 2)), rtol=1e-6,
        )  # fmt: skip


def test_a_partly_missing_token_stays():
    place = at(side_px=32)
    edge = roi_of(place).bounds[0] + 10
    embedding = run(TOY, place, Ended(None, holes=lambda x, y: x < edge)).unwrap()
    assert embedding.meta["valid_fraction"] == 1
    assert embedding.meta["missing_fraction"] == pytest.approx(1 / 32)
    assert np.isfinite(embedding.data).all()


def test_none_valid_at_all_is_a_provider_error():
    planned = plan(model_of(), at(), SUMMER, PROVIDER).unwrap()
    empty = Ended(None, holes=lambda x, y: np.ones(x.shape, dtype=bool))
    error = tiled_input(planned, fetch(planned, empty).unwrap()).failure()
    assert type(error) is ProviderError
    assert "TOY/S2 holds no valid pixel" in str(error)
    # Valid pixels that lie outside of the region do not count.
    place = at(side_px=16)
    west, south, east, north = roi_of(place).bounds
    around = Ended(
        None, holes=lambda x, y: (x > west) & (x < east) & (y > south) & (y < north)
    )  # fmt: skip
    error = run(TOY, place, around).failure()
    assert type(error) is ProviderError
    assert "no valid pixel" in str(error)


def test_the_fill_is_the_authors_unless_a_sensor_says():
    place = at(side_px=32)
    edge = roi_of(place).bounds[0] + 40
    holed = Ended(None, holes=lambda x, y: x < edge)
    planned = plan(model_of(), place, SUMMER, holed).unwrap()
    (own,) = windows(tiled_input(planned, fetch(planned, holed).unwrap()).unwrap())
    assert np.isnan(own.pixels[..., :4]).all()  # left to the family's prepare
    for given, seen in ((0.25, 0.25), (0.0, 0.0)):
        sensor = SensorSpec("TOY/S2", BANDS, fill_value=given)
        planned = plan(model_of(), place, SUMMER, holed, sensor=sensor).unwrap()
        (window,) = windows(tiled_input(planned, fetch(planned, holed).unwrap()).unwrap())
        assert (window.pixels[..., :4] == np.float32(seen)).all()
    sensor = SensorSpec("TOY/S2", BANDS, fill_value=math.nan)
    planned = plan(model_of(), place, SUMMER, holed, sensor=sensor).unwrap()
    (window,) = windows(tiled_input(planned, fetch(planned, holed).unwrap()).unwrap())
    assert np.isnan(window.pixels[..., :4]).all()


def test_a_fill_is_in_the_units_of_the_source():
    place = at(side_px=32)
    edge = roi_of(place).bounds[0] + 40
    holed = Ended(None, holes=lambda x, y: x < edge)
    sensor = SensorSpec("TOY/S2", BANDS, fill_value=2500.0)
    planned = plan(model_of(), place, SUMMER, holed, sensor=sensor).unwrap()
    patch = fetch(planned, holed).unwrap()
    counts = dataclasses.replace(
        patch, data=patch.data * np.float32(10_000), units=("reflectance_x10000",) * 3
    )
    (window,) = windows(tiled_input(planned, counts).unwrap())
    np.testing.assert_allclose(window.pixels[..., :4], 0.25, rtol=1e-6)
    # Filled or not, a token without a pixel is missing.
    loaded = load(planned.model).unwrap()
    wide = Ended(None, holes=lambda x, y: x < edge + 40)
    field = encode_inputs(loaded, [tiled_input(planned, fetch(planned, wide).unwrap()).unwrap()])[0]
    assert np.isnan(field.cells[:, 0]).all()
    assert np.isfinite(field.cells[:, 1:]).all()


# --- resize --------------------------------------------------------------------------------------


def test_resize_is_one_window_over_a_square():
    box = BBox(5.0, 52.0, 5.02, 52.006)
    embedding = run(TOY, box, input_prep="resize").unwrap()
    planned = plan(model_of(), box, SUMMER, PROVIDER, input_prep="resize").unwrap()
    assert planned.roi.height == planned.roi.width
    assert embedding.data.shape == (10, 4, 4)
    assert embedding.meta["windows"] == 1
    # The transform says what a cell covers.
    side = planned.roi.width * 10 / 4
    assert embedding.data.rio.resolution() == pytest.approx((side, -side))
    assert embedding.data.rio.bounds() == pytest.approx(planned.roi.bounds)
    assert embedding.meta["cell_m"] == pytest.approx(side)
    # A pixel that the model saw is larger than one of the grid, and the model is told so.
    assert float(embedding.data[SCALE, 0, 0]) == pytest.approx(planned.roi.width * 10 / 32)
    # It is the whole square's mean, not a crop's.
    patch = fetch(planned, PROVIDER).unwrap()
    np.testing.assert_allclose(
        embedding.data[3:6, 0, 0], patch.data[0].mean(axis=(1, 2)), rtol=0.02
    )


def test_resize_of_a_window_is_native():
    place = at(side_px=32)
    a, b = run(TOY, place).unwrap(), run(TOY, place, input_prep="resize").unwrap()
    np.testing.assert_allclose(a.data, b.data, rtol=1e-6)
    assert a.data.rio.transform() == b.data.rio.transform()
