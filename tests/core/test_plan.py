from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from affine import Affine
from hypothesis import given
from returns.result import Failure

from rs_embed import BBox, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.grid import Grid, roi_grid
from rs_embed.core.model import Cadence, ModelChoice
from rs_embed.core.plan import (
    FetchPlan,
    SourceInfo,
    bounding_square,
    fingerprint,
    input_time,
    midpoint,
    pixel_margins,
    plan_intervals,
    plan_roi,
)
from rs_embed.export.serial import to_json
from tests.strategies import around, fetch_plans
from tests.toys import BANDS, toy

DATED = SourceInfo("S2", BANDS, ("reflectance",) * 3)
UNDATED = dataclasses.replace(DATED, collection="scene", dated=False)
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
POINT = PointBuffer(5.0, 52.0, 640)
MODEL = resolve(toy(), ModelChoice("toy")).unwrap()


def planned(spatial=POINT, temporal=SUMMER, *sources, model=MODEL, **keywords):
    return plan_roi(model, spatial, temporal, sources or [DATED], **keywords)


# --- time ---------------------------------------------------------------------------------------


def test_a_single_date_model_gets_one_composite_of_the_window():
    assert plan_intervals(Cadence(), SUMMER, [DATED]).unwrap() == (("2022-06-01", "2022-09-01"),)
    year = plan_intervals(Cadence(), TemporalSpec.year(2022), [DATED]).unwrap()
    assert year == (("2022-01-01", "2023-01-01"),)


def test_calendar_months_and_their_ragged_ends():
    cadence = Cadence("months", 12)
    months = plan_intervals(cadence, TemporalSpec.year(2020), [DATED]).unwrap()
    assert len(months) == 12
    assert months[0] == ("2020-01-01", "2020-02-01")
    assert months[1] == ("2020-02-01", "2020-03-01")
    assert months[11] == ("2020-12-01", "2021-01-01")
    span = TemporalSpec.range("2021-11-15", "2022-02-02")
    assert plan_intervals(cadence, span, [DATED]).unwrap() == (
        ("2021-11-15", "2021-12-01"),
        ("2021-12-01", "2022-01-01"),
        ("2022-01-01", "2022-02-01"),
        ("2022-02-01", "2022-02-02"),
    )
    day = TemporalSpec.range("2022-06-30", "2022-07-01")
    assert plan_intervals(cadence, day, [DATED]).unwrap() == (("2022-06-30", "2022-07-01"),)


def test_too_many_months_is_a_spec_error():
    error = plan_intervals(
        Cadence("months", 12), TemporalSpec.range("2021-01-31", "2022-02-01"), [DATED]
    ).failure()
    assert type(error) is SpecError
    assert "spans 13 months; the model takes at most 12; shorten the temporal" in str(error)


def test_equal_bins_leave_no_day_out():
    bins = plan_intervals(Cadence("equal", 4), TemporalSpec.year(2022), [DATED]).unwrap()
    assert (bins[0][0], bins[-1][1]) == ("2022-01-01", "2023-01-01")
    assert all(a[1] == b[0] for a, b in pairwise(bins))
    days = [(dt.date.fromisoformat(b) - dt.date.fromisoformat(a)).days for a, b in bins]
    assert sum(days) == 365
    assert max(days) - min(days) <= 1


def test_bins_shorter_than_a_day_are_a_spec_error():
    span = TemporalSpec.range("2022-06-01", "2022-06-04")
    assert len(plan_intervals(Cadence("equal", 3), span, [DATED]).unwrap()) == 3
    error = plan_intervals(Cadence("equal", 4), span, [DATED]).failure()
    assert type(error) is SpecError
    assert "3 days cannot be cut into 4 bins; widen the temporal" in str(error)


def test_imagery_without_a_temporal_is_a_spec_error():
    error = planned(POINT, None).failure()
    assert type(error) is SpecError
    assert "imagery needs a temporal" in str(error)
    assert "TemporalSpec.year(2022)" in str(error)


def test_an_undated_source_needs_no_temporal_and_takes_none():
    plan = planned(POINT, None, UNDATED).unwrap()
    assert plan.fetch_plans[0].intervals == ()
    assert input_time(plan) is None
    error = planned(POINT, SUMMER, UNDATED).failure()
    assert type(error) is SpecError
    assert "scene has no dates, so it cannot honour temporal; leave temporal out" in str(error)


def test_a_model_without_time_takes_no_temporal():
    assert plan_intervals(Cadence("none"), None, [DATED]).unwrap() == ()
    error = plan_intervals(Cadence("none"), SUMMER, [DATED]).failure()
    assert "the model has no dates" in str(error)


def test_an_invalid_temporal_is_the_checks_own_error():
    for temporal, words in (
        (TemporalSpec.year("2022"), "year must be a whole number"),
        (TemporalSpec.range("2022-09-01", "2022-06-01"), "must be before end"),
        ("2022", "temporal must be TemporalSpec.year(...)"),
    ):
        for source in (DATED, UNDATED):
            error = planned(POINT, temporal, source).failure()
            assert type(error) is SpecError
            assert words in str(error)


def test_midpoint_of_a_year_is_the_second_of_july():
    assert midpoint(("2022-01-01", "2023-01-01")) == dt.date(2022, 7, 2)
    assert input_time(planned(POINT, TemporalSpec.year(2022)).unwrap()) == "2022-07-02"
    assert input_time(planned(POINT, SUMMER).unwrap()) == "2022-07-17"
    assert midpoint(("2022-06-01", "2022-06-02")) == dt.date(2022, 6, 1)


# --- fetches ------------------------------------------------------------------------------------


def test_a_plan_names_everything_that_decides_the_pixels():
    fetch = planned().unwrap().fetch_plans[0]
    assert fetch.collection == "S2"
    assert fetch.bands == BANDS
    assert fetch.grid == planned().unwrap().roi
    assert fetch.intervals == (("2022-06-01", "2022-09-01"),)
    base = fetch.fingerprint
    other = [
        dataclasses.replace(fetch, collection="S2B"),
        dataclasses.replace(fetch, bands=BANDS[::-1]),
        dataclasses.replace(fetch, units=("uint8",) * 3),
        dataclasses.replace(fetch, grid=fetch.grid.window(0, 1, *fetch.grid.shape)),
        dataclasses.replace(fetch, grid=fetch.grid.window(0, 0, 128, 127)),
        dataclasses.replace(fetch, intervals=()),
        dataclasses.replace(fetch, content_hash="f0"),
        dataclasses.replace(fetch, sensor=dataclasses.replace(fetch.sensor, cloudy_pct=20)),
        dataclasses.replace(fetch, sensor=dataclasses.replace(fetch.sensor, composite="mosaic")),
        dataclasses.replace(fetch, sensor=dataclasses.replace(fetch.sensor, cloud_mask="scl")),
        dataclasses.replace(fetch, sensor=dataclasses.replace(fetch.sensor, orbit="ASCENDING")),
    ]
    assert len({base, *(one.fingerprint for one in other)}) == len(other) + 1


def test_what_happens_after_the_fetch_leaves_the_fingerprint_alone():
    fetch = planned().unwrap().fetch_plans[0]
    for changed in (
        {"fill_value": -1.0}, {"fill_value": math.nan}, {"check_input": True},
        {"check_raise": False}, {"check_save_dir": "out"},
    ):  # fmt: skip
        sensor = dataclasses.replace(fetch.sensor, **changed)
        assert dataclasses.replace(fetch, sensor=sensor).fingerprint == fetch.fingerprint


PINNED = FetchPlan(
    "COPERNICUS/S2_SR_HARMONIZED",
    ("B4", "B3"),
    ("reflectance_x10000",) * 2,
    Grid("EPSG:32718", Affine(10, 0, 599_980, 0, -10, 4_700_020), (128, 96)),
    (("2022-06-01", "2022-09-01"),),
    SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3")),
)
# The same in every process and Python version; it changes only if what decides pixels changes.
FINGERPRINT = "8f84e481155a99bd26273fdd16d9a663ec13f8afa1655c24ffb0fc0c61dac74e"


def test_the_fingerprint_is_the_same_in_every_process_and_python_version():
    assert PINNED.fingerprint == FINGERPRINT
    code = (
        "import json, sys; from rs_embed.export.serial import from_json; "
        "print(from_json(json.load(sys.stdin)).unwrap().fingerprint)"
    )
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(to_json(PINNED)), text=True,
            capture_output=True, check=True, env={"PYTHONHASHSEED": seed, **_environment()},
        )  # fmt: skip
        assert done.stdout.strip() == FINGERPRINT


def _environment():
    return {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}


@given(fetch_plans())
def test_equal_plans_have_equal_fingerprints(fetch):
    twin = dataclasses.replace(fetch)
    assert twin.fingerprint == fetch.fingerprint
    assert len(fetch.fingerprint) == 64


def test_whole_numbers_and_floats_are_one_number():
    assert fingerprint({"a": 10, "b": [1, True]}) == fingerprint({"b": (1.0, True), "a": 10.0})
    assert fingerprint({"a": 1}) != fingerprint({"a": True})
    assert fingerprint({"a": None}) != fingerprint({})


# --- size ---------------------------------------------------------------------------------------


def test_a_plan_over_max_pixels_names_its_size():
    error = planned(BBox(5, 52, 6.5, 53.5)).failure()
    assert type(error) is SpecError
    assert "pixels at 10 m, more than the 1e+08 allowed at once" in str(error)
    assert "open_roi(spatial, temporal, model).rsembed.embed(model)" in str(error)


def test_pixels_at_hand_are_not_bounded_by_the_region():
    whole = roi_grid(BBox(5, 52, 6.5, 53.5), 10, max_pixels=math.inf).unwrap()
    ends = dataclasses.replace(DATED, grid=whole)
    assert planned(BBox(5, 52, 6.5, 53.5), SUMMER, ends).unwrap().roi == whole
    # Resized, the region is one window, and held whole.
    error = planned(BBox(5, 52, 6.5, 53.5), SUMMER, ends, input_prep="resize").failure()
    assert "more than the 1e+08 allowed at once" in str(error)


def test_windows_and_dates_count_as_pixels():
    # 128 x 128 fit; the windows over them, or twelve dates of them, do not.
    assert planned(max_pixels=128 * 128).unwrap()
    odd = PointBuffer(5.0, 52.0, 665)
    error = planned(odd, max_pixels=133 * 133).failure()
    assert "the windows over the region take 160 x 160 pixels and 1 dates" in str(error)
    monthly = resolve(toy(cadence=Cadence("months", 12)), ModelChoice("toy")).unwrap()
    error = planned(POINT, TemporalSpec.year(2022), model=monthly, max_pixels=1e5).failure()
    assert "128 x 128 pixels and 12 dates" in str(error)


# --- sensor -------------------------------------------------------------------------------------


def test_a_given_sensor_is_the_contract():
    sensor = SensorSpec("MY/IMAGES", BANDS, scale_m=20, fill_value=-1.0, composite="mosaic")
    plan = planned(sensor=sensor).unwrap()
    assert plan.roi.resolution == (20.0, 20.0)
    assert plan.roi.shape == (64, 64)
    assert plan.fill == -1.0
    assert plan.fetch_plans[0].sensor.composite == "mosaic"
    # Its scale_m = 10 default included, whatever the model's own scale.
    coarse = resolve(toy(scale_m=30), ModelChoice("toy")).unwrap()
    assert planned(model=coarse).unwrap().roi.resolution == (30.0, 30.0)
    default = SensorSpec("MY/IMAGES", BANDS)
    assert planned(model=coarse, sensor=default).unwrap().roi.resolution == (10.0, 10.0)


def test_fill_is_the_authors_unless_a_sensor_says():
    assert planned().unwrap().fill is None
    assert planned(sensor=SensorSpec("C", BANDS)).unwrap().fill == 0.0
    assert planned(sensor=SensorSpec("C", BANDS, fill_value=math.nan)).unwrap().fill is None


def test_without_a_sensor_the_models_own_defaults_hold():
    sensor = planned().unwrap().fetch_plans[0].sensor
    assert (sensor.scale_m, type(sensor.scale_m)) == (10, int)
    assert (sensor.cloudy_pct, sensor.composite) == (30, "median")


# --- layout -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "kind", "words"),
    [
        ({"input_prep": "zoom"}, SpecError, "input_prep must be 'native' or 'resize', not 'zoom'"),
        ({"overlap": 1}, SpecError, "overlap must be 0, 2, 4, …, not 1"),
        ({"overlap": -2}, SpecError, "overlap must be 0, 2, 4"),
        ({"overlap": 2.0}, SpecError, "overlap must be 0, 2, 4"),
        ({"overlap": True}, SpecError, "overlap must be 0, 2, 4"),
        ({"overlap": 3}, ModelError, "overlap must divide 4"),
        ({"overlap": 2, "input_prep": "resize"}, SpecError, "a resized ROI is one window"),
    ],
)
def test_layouts_that_cannot_be(keywords, kind, words):
    error = planned(**keywords).failure()
    assert type(error) is kind
    assert words in str(error)


def test_native_widens_the_fetch_to_one_window_of_real_surroundings():
    plan = planned(PointBuffer(5.0, 52.0, 80)).unwrap()
    assert plan.roi.shape == (16, 16)
    assert plan.fetch_window == (-8, -8, 32, 32)
    assert plan.fetch_plans[0].grid == plan.roi.window(-8, -8, 32, 32)


def test_resize_widens_to_a_square():
    plan = planned(BBox(5.0, 52.0, 5.02, 52.005), input_prep="resize").unwrap()
    assert plan.roi.height == plan.roi.width
    assert plan.fetch_window == (0, 0, *plan.roi.shape)
    assert len(plan.tiling) == 1
    grid = Grid("EPSG:32631", Affine(10, 0, 0, 0, -10, 0), (40, 91))
    square = bounding_square(grid)
    assert square.shape == (91, 91)
    assert square == grid.window(-25, 0, 91, 91)


def test_a_source_that_ends_limits_the_fetch():
    roi = planned().unwrap().roi
    ended = dataclasses.replace(DATED, grid=roi)
    assert pixel_margins(roi, [ended]) == (0, 0, 0, 0)
    assert pixel_margins(roi, [DATED]) == (math.inf,) * 4
    wider = dataclasses.replace(DATED, grid=around(roi, 1, 2, 3, 4))
    assert pixel_margins(roi, [wider]) == (1, 2, 3, 4)
    assert pixel_margins(roi, [wider, ended, DATED]) == (0, 0, 0, 0)
    south_up = dataclasses.replace(DATED, grid=around(roi, 1, 2, 3, 4).flip_rows())
    assert pixel_margins(roi, [south_up]) == (1, 2, 3, 4)
    plan = planned(PointBuffer(5.0, 52.0, 80), SUMMER, ended).unwrap()
    small = plan.roi
    assert plan.fetch_window[0] >= -pixel_margins(small, [ended])[0]


def test_resize_at_the_end_of_a_source_pads_the_square():
    box = BBox(5.0, 52.0, 5.02, 52.005)
    roi = planned(box).unwrap().roi
    ended = dataclasses.replace(DATED, grid=roi)
    plan = planned(box, SUMMER, ended, input_prep="resize").unwrap()
    top = (plan.roi.height - roi.height) // 2
    assert plan.fetch_window == (top, 0, *roi.shape)


def test_static_inputs_have_no_frames():
    static = resolve(toy(static=True), ModelChoice("toy")).unwrap()
    assert planned(model=static).unwrap().fetch_plans[0].intervals == ()


def test_an_invalid_place_is_the_checks_own_error():
    outcome = planned(BBox(12, 0, 10, 1))
    assert isinstance(outcome, Failure)
    assert str(outcome.failure()).startswith("minlon 12 must be < maxlon 10")
