"""The steps from a place to an embedding, and its outputs, with toy models."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from returns.result import Failure

from rs_embed import (
    BBox,
    ModelChoice,
    ModelError,
    OutputSpec,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
)
from rs_embed.core.choice import resolve
from rs_embed.core.crs import project
from rs_embed.core.model import Cadence, InputSpec
from rs_embed.core.plan import SourceInfo
from rs_embed.embedders.runtime import load
from rs_embed.pipeline import embed, encode_inputs, fetch, plan, tiled_input, windows
from rs_embed.pipeline.assemble import assemble_embedding, cell_grid
from rs_embed.plugins.notices import RsEmbedWarning
from tests.places import PROVIDER, SUMMER, TOY, Ended, at, model_of, registered, roi_of, run
from tests.toys import BANDS, FEATURES, day_of, toy

COARSE = toy("toy_30m", scale_m=30)
MONTHLY = toy("toy_monthly", cadence=Cadence("months", 12))
PLAIN = toy("toy_plain", image_vector=None)
LON, LAT, SCALE = (FEATURES.index(name) for name in ("lon", "lat", "scale"))


@pytest.fixture(autouse=True)
def _toys():
    with registered(TOY, COARSE, MONTHLY, PLAIN):
        yield


# --- the steps -----------------------------------------------------------------------------------


def test_every_way_gives_the_same_numbers():
    place = at()
    grid = OutputSpec.grid()
    one = get_embedding("toy", spatial=place, temporal=SUMMER, output=grid, backend="memory").data
    (batch,) = get_embeddings_batch(
        "toy", spatials=[place], temporal=SUMMER, output=grid, backend="memory"
    )
    whole = embed("toy", place, SUMMER, PROVIDER, output=grid).unwrap().data
    steps = run(TOY, place).unwrap().data
    for other in (batch.data, whole, steps):
        np.testing.assert_array_equal(other, one)
        assert other.rio.transform() == one.rio.transform()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_any_batch_size_gives_the_same_numbers(batch_size):
    places = [at(), at(300, 40, 96), at(-90, 500, 40), at()]
    eager = [
        get_embedding("toy", spatial=p, temporal=SUMMER, output=OutputSpec.grid(),
                      backend="memory").data
        for p in places
    ]  # fmt: skip
    batch = get_embeddings_batch(
        "toy", spatials=places, temporal=SUMMER, output=OutputSpec.grid(), backend="memory",
        batch_size=batch_size,
    )  # fmt: skip
    for a, b in zip(eager, batch, strict=True):
        np.testing.assert_array_equal(a, b.data)


def test_windows_carry_bands_units_dates_and_places():
    planned = plan(model_of(), at(side_px=64), SUMMER, PROVIDER).unwrap()
    seen = list(windows(tiled_input(planned, fetch(planned, PROVIDER).unwrap()).unwrap()))
    assert len(seen) == 4
    assert {w.pixels.shape for w in seen} == {(1, 1, 3, 32, 32)}
    assert {w.bands for w in seen} == {BANDS}
    assert {w.intervals for w in seen} == {((("2022-06-01", "2022-09-01"),),)}
    assert {w.scale_m for w in seen} == {10.0}
    lon, lat = np.concatenate([w.lonlat for w in seen]).T
    x, y = project(lon, lat, "EPSG:4326", planned.roi.crs)
    west, _, _, north = planned.roi.bounds
    np.testing.assert_allclose(x - west, [160, 480, 160, 480], atol=1e-3)
    np.testing.assert_allclose(north - y, [160, 160, 480, 480], atol=1e-3)


def test_a_step_can_be_the_readers_own():
    planned = plan(model_of(), at(), SUMMER, PROVIDER).unwrap()
    patch = fetch(planned, PROVIDER).unwrap()
    loaded = load(planned.model).unwrap()

    def red_of(patch):
        field = encode_inputs(loaded, [tiled_input(planned, patch).unwrap()])[0]
        return assemble_embedding(planned, field, OutputSpec.pooled(), {}).unwrap().data[0]

    halved = dataclasses.replace(patch, data=patch.data / 2)
    assert red_of(halved) == pytest.approx(red_of(patch) / 2, rel=1e-6)
    # Bands in another order, and other units, are taken by their names.
    turned = dataclasses.replace(
        patch,
        data=patch.data[:, ::-1] * np.float32(10_000),
        bands=BANDS[::-1],
        units=("reflectance_x10000",) * 3,
    )
    assert red_of(turned) == pytest.approx(red_of(patch), rel=1e-5)
    more = dataclasses.replace(
        patch,
        data=np.concatenate([patch.data[:, :1] * 0, patch.data], axis=1),
        bands=("B8", *BANDS),
        units=("reflectance",) * 4,
    )
    assert red_of(more) == pytest.approx(red_of(patch), rel=1e-6)
    short = dataclasses.replace(patch, data=patch.data[:, :2], bands=BANDS[:2], units=("1", "1"))
    error = tiled_input(planned, short).failure()
    assert type(error) is ModelError
    assert "the patch has no band B2; it has B4, B3" in str(error)
    power = dataclasses.replace(patch, units=("db",) * 3)
    error = tiled_input(planned, power).failure()
    assert type(error) is SpecError
    assert "band B4 is in db, which cannot become reflectance" in str(error)


def test_errors_travel_and_name_what_is_wrong():
    bad = embed("toy", BBox(12, 0, 10, 1), SUMMER, PROVIDER)
    assert isinstance(bad, Failure)
    assert type(bad.failure()) is SpecError
    unknown = embed("toyy", at(), SUMMER, PROVIDER).failure()
    assert type(unknown) is ModelError
    assert "toy" in str(unknown)
    undated = embed("toy", at(), None, PROVIDER).failure()
    assert "imagery needs a temporal" in str(undated)


# --- outputs -------------------------------------------------------------------------------------


def test_pooling_is_the_grids_own_mean_and_max():
    place = at(side_px=96)
    grid = run(TOY, place).unwrap().data.values.astype(np.float64)
    mean = run(TOY, place, output=OutputSpec.pooled()).unwrap().data
    maximum = run(TOY, place, output=OutputSpec.pooled("max")).unwrap().data
    np.testing.assert_allclose(mean, grid.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(maximum, grid.max(axis=(1, 2)), rtol=1e-6)
    assert isinstance(mean, np.ndarray)
    # The pool is over the native grid, before any resampling to scale_m.
    coarse = OutputSpec("pooled", scale_m=320)
    np.testing.assert_array_equal(run(TOY, place, output=coarse).unwrap().data, mean)


def test_pooling_model_is_the_authors_vector_weighted_by_area():
    place = at(side_px=48)
    planned = plan(model_of(), place, SUMMER, PROVIDER).unwrap()
    patch = fetch(planned, PROVIDER).unwrap()
    means = [
        w.pixels.mean(axis=(0, 1, 3, 4)) for w in windows(tiled_input(planned, patch).unwrap())
    ]
    weights = [16, 8, 8, 4]  # cells of the region in each window
    wanted = np.average(means, axis=0, weights=weights)
    vector = run(TOY, place, output=OutputSpec.pooled("model")).unwrap().data
    assert vector.shape == (3,)
    np.testing.assert_allclose(vector, wanted, rtol=1e-5)
    with pytest.raises(ModelError, match="toy_plain defines no image-level vector"):
        get_embedding(
            "toy_plain", spatial=place, temporal=SUMMER, backend="memory",
            output=OutputSpec.pooled("model"),
        )  # fmt: skip


def test_a_window_without_a_pixel_is_out_of_the_authors_vector():
    place = at(side_px=64)
    edge = roi_of(place).bounds[0] + 320
    holed = Ended(None, holes=lambda x, y: x < edge)
    planned = plan(model_of(), place, SUMMER, holed).unwrap()
    patch = fetch(planned, holed).unwrap()
    wanted = patch.data[0, :, :, 32:].mean(axis=(1, 2))
    vector = run(TOY, place, holed, OutputSpec.pooled("model")).unwrap().data
    np.testing.assert_allclose(vector, wanted, rtol=1e-5)


def test_scale_m_resamples_the_cells():
    place = at(side_px=64)
    native = run(TOY, place).unwrap()
    assert native.meta["cell_m"] == 80
    assert "resampled_grid" not in native.meta
    same = run(TOY, place, output=OutputSpec.grid(10)).unwrap()
    np.testing.assert_array_equal(same.data, native.data)
    coarse = run(TOY, place, output=OutputSpec.grid(160)).unwrap()
    blocks = native.data.values.reshape(10, 4, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse.data, blocks, rtol=1e-6)
    assert coarse.data.rio.resolution() == (160, -160)
    assert coarse.meta["resampled_grid"] is True
    assert coarse.meta["cell_m"] == 160
    fine = run(TOY, place, output=OutputSpec.grid(20)).unwrap()
    np.testing.assert_array_equal(fine.data, native.data.values.repeat(4, axis=1).repeat(4, axis=2))
    assert fine.data.rio.bounds() == native.data.rio.bounds()


def test_native_orientation_turns_only_the_output():
    place = at(side_px=64)
    planned = plan(model_of(), place, SUMMER, PROVIDER).unwrap()
    ready = tiled_input(planned, fetch(planned, PROVIDER).unwrap()).unwrap()
    field = encode_inputs(load(planned.model).unwrap(), [ready])[0]
    native = OutputSpec.grid(grid_orientation="native")
    up = assemble_embedding(planned, field, OutputSpec.grid(), {}, flip_rows=True).unwrap()
    down = assemble_embedding(planned, field, native, {}, flip_rows=True).unwrap()
    north = assemble_embedding(planned, field, native, {}).unwrap()
    np.testing.assert_array_equal(down.data.values, up.data.values[:, ::-1])
    np.testing.assert_array_equal(down.data.y, up.data.y[::-1])
    assert down.data.rio.bounds() == up.data.rio.bounds()
    assert down.data.rio.transform() == down.data.rio.transform(recalc=True)
    xr.testing.assert_equal(down.data.sortby("y", ascending=False), up.data)
    # A source that is north-up has nothing to turn.
    np.testing.assert_array_equal(north.data, up.data)


def test_bounds_lie_within_half_a_token_of_the_inputs():
    for side in (29, 64, 70, 100):
        place = at(side_px=side)
        roi = roi_of(place)
        for mine, theirs in zip(
            cell_grid(plan(model_of(), place, SUMMER, PROVIDER).unwrap()).bounds,
            roi.bounds,
            strict=True,
        ):
            assert abs(mine - theirs) <= 40


# --- time, scale, source -------------------------------------------------------------------------


def test_the_model_is_told_the_date_of_its_frames():
    day = FEATURES.index("day")
    vector = run(TOY, at(side_px=32), output=OutputSpec.pooled()).unwrap()
    assert vector.data[day] == pytest.approx(day_of("2022-07-17"), abs=0.5)
    assert vector.meta["input_time"] == "2022-07-17"
    series = run(
        MONTHLY, at(side_px=32), output=OutputSpec.pooled(), temporal=TemporalSpec.year(2022),
        options={"frames": 12},
    ).unwrap()  # fmt: skip
    assert len(series.meta["intervals"]) == 12
    assert series.data[day] == pytest.approx(day_of("2022-07-02"), abs=2)


def test_a_sensors_scale_is_said_once_and_told():
    place = at(side_px=60)
    sensor = SensorSpec("TOY/S2", BANDS)
    with pytest.warns(RsEmbedWarning, match="toy_30m was trained at 30 m; the sensor's scale_m 10"):
        embedding = get_embedding(
            "toy_30m", spatial=place, temporal=SUMMER, sensor=sensor, backend="memory"
        )
    assert embedding.meta["scale_m"] == 10
    assert embedding.meta["model_scale_m"] == 30
    assert "used as given" in embedding.meta["notes"][0]
    # Once only: warnings are errors here.
    again = get_embedding(
        "toy_30m", spatial=place, temporal=SUMMER, sensor=sensor, backend="memory"
    )
    assert again.meta["model_scale_m"] == 30
    assert "model_scale_m" not in get_embedding(
        "toy_30m", spatial=place, temporal=SUMMER, backend="memory"
    ).meta  # fmt: skip


def test_sources_of_two_inputs_share_one_patch():
    both = toy(
        "toy_both",
        modalities={
            "both": (
                InputSpec("s2", ("B4", "B3"), "reflectance", "TOY/S2"),
                InputSpec("dem", ("B2",), "reflectance", "TOY/DEM", static=True),
            )
        },
        cadence=Cadence("months", 12),
    )
    planned = plan(
        resolve(both, ModelChoice("toy_both")).unwrap(), at(side_px=32), SUMMER, PROVIDER
    ).unwrap()
    assert [f.intervals for f in planned.fetch_plans] == [planned.fetch_plans[0].intervals, ()]
    patch = fetch(planned, PROVIDER).unwrap()
    assert patch.data.shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(patch.data[0, 2], patch.data[2, 2])
    assert not np.array_equal(patch.data[0, 0], patch.data[1, 0])
    assert isinstance(PROVIDER.describe(planned.model.inputs[0], None).unwrap(), SourceInfo)
