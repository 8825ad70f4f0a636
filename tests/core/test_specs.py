from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from returns.result import Failure, Success

from rs_embed import BBox, OutputSpec, PointBuffer, SensorSpec, SpecError, TemporalSpec
from rs_embed.core import specs

S2 = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3", "B2"))
BAD = [
    # (spec, words that its message holds: what was given, and the remedy)
    (BBox(math.nan, 0, 1, 1), "minlon is nan; give a finite number"),
    (BBox(0, 0, math.inf, 1), "maxlon is inf; give a finite number"),
    (BBox(0, -math.inf, 1, 1), "minlat is -inf; give a finite number"),
    (BBox("0", 0, 1, 1), "minlon must be a number, not '0'"),
    (BBox(None, 0, 1, 1), "minlon must be a number, not None"),
    (BBox(True, 0, 1, 1), "minlon must be a number, not True"),
    (BBox(np.array([0.0, 1.0]), 0, 1, 1), "minlon must be a number"),
    (BBox(10**400, 0, 1, 1), "minlon is a whole number too large to use"),
    (BBox(181, 0, 182, 1), "minlon 181 is outside -180..180; wrap it: -179"),
    (BBox(0, 0, 1, 90.5), "maxlat 90.5 is outside -90..90; longitude and latitude may be swapped"),
    (BBox(0, 0, 1, 5e6), "maxlat 5000000.0 is outside -90..90; give degrees, not metres"),
    (BBox(12, 0, 10, 1), "minlon 12 must be < maxlon 10; swap them, or split a box that crosses"),
    (BBox(179, 0, -179, 1), "split a box that crosses the antimeridian into two at 180"),
    (BBox(0, 3, 1, 2), "minlat 3 must be < maxlat 2; swap them"),
    (BBox(1, 0, 1, 2), "is empty; give minlon < maxlon and minlat < maxlat, or a PointBuffer"),
    (BBox(0, 2, 1, 2), "is empty"),
    (BBox(0, 0, 1, 1, "EPSG:3857"), "crs must be 'EPSG:4326', not 'EPSG:3857'; convert"),
    (BBox(0, 0, 1, 1, None), "crs must be 'EPSG:4326', not None"),
    (PointBuffer(math.nan, 0, 10), "lon is nan; give a finite number"),
    (PointBuffer(0, 91, 10), "lat 91 is outside -90..90; longitude and latitude may be swapped"),
    (PointBuffer(-180.5, 0, 10), "lon -180.5 is outside -180..180; wrap it: 179.5"),
    (PointBuffer(0, 0, 0), "buffer_m must be > 0 metres, not 0"),
    (PointBuffer(0, 0, -5), "buffer_m must be > 0 metres, not -5"),
    (PointBuffer(0, 0, math.nan), "buffer_m is nan; give a finite number"),
    (PointBuffer(0, 0, "640"), "buffer_m must be a number, not '640'"),
    (PointBuffer(0, 0, 1e9), "reaches round the Earth; give metres"),
    (PointBuffer(0, 0, 10, "EPSG:32631"), "crs must be 'EPSG:4326'"),
    (TemporalSpec.year("2022"), "year must be a whole number such as 2022, not '2022'"),
    (TemporalSpec.year(2022.0), "year must be a whole number such as 2022, not 2022.0"),
    (TemporalSpec.year(True), "year must be a whole number"),
    (TemporalSpec.year(None), "year must be a whole number"),
    (TemporalSpec.year(0), "year must be a whole number"),
    (TemporalSpec.year(9999), "year must be a whole number"),
    (TemporalSpec.year(10**400), "year must be a whole number such as 2022, not a whole number"),
    (TemporalSpec("year", 2022, "2022-01-01", None), "use TemporalSpec.range(start, end)"),
    (TemporalSpec("range", 2022, "2022-01-01", "2023-01-01"), "use TemporalSpec.year(2022)"),
    (TemporalSpec("month", None, None, None), "mode must be one of 'year', 'range', not 'month'"),
    (TemporalSpec(["year"], 2022, None, None), "mode must be one of 'year', 'range'"),
    (TemporalSpec.range("2022-06-01", "2022-06-01"), "end one day after the last day that counts"),
    (TemporalSpec.range("2022-09-01", "2022-06-01"), "must be before end 2022-06-01"),
    (TemporalSpec.range("2022-02-30", "2022-06-01"), "start must be a date 'YYYY-MM-DD'"),
    (TemporalSpec.range("2022-6-1", "2022-09-01"), "start must be a date 'YYYY-MM-DD'"),
    (TemporalSpec.range("2022-W01-1", "2022-09-01"), "start must be a date 'YYYY-MM-DD'"),
    (TemporalSpec.range("20220601", "2022-09-01"), "start must be a date 'YYYY-MM-DD'"),
    (TemporalSpec.range("2022-06-01", None), "end must be a date 'YYYY-MM-DD', not None"),
    (TemporalSpec.range("2022-06-01T12:00", "2022-09-01"), "start must be a date"),
    (TemporalSpec.range(dt.datetime(2022, 6, 1, 12), "2022-09-01"), "not '2022-06-01T12:00:00'"),
    (TemporalSpec.range(np.datetime64("2022-06-01"), "2022-09-01"), "start must be a date"),
    (dataclasses.replace(S2, collection=""), "collection must name a collection, such as"),
    (dataclasses.replace(S2, collection=None), "not None"),
    (dataclasses.replace(S2, bands=()), "bands must be a tuple of names such as"),
    (dataclasses.replace(S2, bands="B4"), "bands must be a tuple of names such as"),
    (dataclasses.replace(S2, bands=("B4", 3)), "every band must be a name, not 3"),
    (dataclasses.replace(S2, bands=("B4", ["B3"])), "every band must be a name"),
    (dataclasses.replace(S2, bands=("B4", " ")), "every band must be a name, not ' '"),
    (dataclasses.replace(S2, bands=("B4", "B4")), "bands must be different from each other"),
    (dataclasses.replace(S2, scale_m=0), "scale_m must be > 0 metres, not 0"),
    (dataclasses.replace(S2, scale_m=math.nan), "scale_m is nan"),
    (dataclasses.replace(S2, scale_m="10"), "scale_m must be a number, not '10'"),
    (dataclasses.replace(S2, cloudy_pct=101), "cloudy_pct must be 0..100, not 101"),
    (dataclasses.replace(S2, cloudy_pct=None), "cloudy_pct must be a number"),
    (dataclasses.replace(S2, fill_value=math.inf), "fill_value must be a finite number or nan"),
    (dataclasses.replace(S2, fill_value="0"), "fill_value must be a finite number or nan"),
    (dataclasses.replace(S2, composite="mean"), "composite must be one of 'median', 'mosaic'"),
    (dataclasses.replace(S2, cloud_mask="qa60"), "cloud_mask must be one of 'none', 'scl'"),
    (dataclasses.replace(S2, cloud_threshold=1.5), "cloud_threshold must be 0..1, not 1.5"),
    (dataclasses.replace(S2, resampling="cubic"), "resampling must be one of 'nearest'"),
    (dataclasses.replace(S2, orbit="both"), "orbit must be one of None, 'ASCENDING'"),
    (dataclasses.replace(S2, fetch="client"), "fetch must be one of 'native', 'server'"),
    (dataclasses.replace(S2, units="furlongs"), "units 'furlongs' are not known; choose from"),
    (dataclasses.replace(S2, units=3), "units must be a name or None, not 3"),
    (dataclasses.replace(S2, check_input=1), "check_input must be True or False, not 1"),
    (dataclasses.replace(S2, check_raise="no"), "check_raise must be True or False"),
    (dataclasses.replace(S2, check_save_dir=7), "check_save_dir must be the path of a folder"),
    (OutputSpec("vector"), "mode must be one of 'grid', 'pooled', not 'vector'"),
    (OutputSpec.pooled("median"), "pooling must be one of 'mean', 'max', 'model', not 'median'"),
    (OutputSpec.pooled(np.array(["mean", "max"])), "pooling must be one of"),
    (OutputSpec.grid(0), "scale_m must be > 0 metres, not 0"),
    (OutputSpec.grid(-10), "scale_m must be > 0 metres, not -10"),
    (OutputSpec.grid(resample_m=0), "resample_m must be > 0 metres, not 0"),
    (OutputSpec.grid(30, resample_m=20), "scale_m 30 and resample_m 20 both ask"),
    (OutputSpec("pooled", resample_m=20), "OutputSpec.grid(resample_m=...)"),
    (OutputSpec.grid(math.inf), "scale_m is inf; give a finite number"),
    (OutputSpec.grid(grid_orientation="south_up"), "grid_orientation must be one of 'north_up'"),
]  # fmt: skip
GOOD = [
    BBox(-180, -90, 180, 90),
    BBox(5, 52, 5.1, 52.1),
    PointBuffer(-180, 90, 0.1),
    TemporalSpec.year(2022),
    TemporalSpec.range("2022-06-01", "2022-09-01"),
    S2,
    dataclasses.replace(S2, fill_value=math.nan, scale_m=0.3, check_save_dir="out"),
    OutputSpec.pooled(),
    OutputSpec.grid(scale_m=20, grid_orientation="native"),
]


def check(spec):
    if isinstance(spec, BBox | PointBuffer):
        return specs.check_spatial(spec)
    if isinstance(spec, TemporalSpec):
        return specs.check_temporal(spec)
    return specs.check_sensor(spec) if isinstance(spec, SensorSpec) else specs.check_output(spec)


@pytest.mark.parametrize(("spec", "words"), BAD)
def test_bad_spec_says_what_to_mend(spec, words):
    outcome = check(spec)
    assert isinstance(outcome, Failure)
    error = outcome.failure()
    assert type(error) is SpecError
    assert isinstance(error, ValueError)
    assert words in str(error)
    with pytest.raises(SpecError) as raised:
        spec.validate()
    assert str(raised.value) == str(error)


@pytest.mark.parametrize("spec", GOOD)
def test_good_spec_is_its_own_outcome(spec):
    assert check(spec) == Success(spec)
    assert check(spec).unwrap() is spec
    assert spec.validate() is None


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (specs.check_spatial, "spatial"),
        (specs.check_temporal, "temporal"),
        (specs.check_sensor, "sensor"),
        (specs.check_output, "output"),
    ],
)
def test_wrong_type_names_the_right_one(function, name):
    for wrong in (None, (1, 2, 3, 4), "2022", object()):
        error = function(wrong).failure()
        assert type(error) is SpecError
        assert str(error).startswith(f"{name} must be ")
        assert type(wrong).__name__ in str(error)


def test_numpy_scalars_are_plain_numbers():
    box = BBox(np.float64(5), np.float32(52), np.int64(6), np.int16(53))
    box.validate()
    assert box == BBox(5, 52, 6, 53)
    assert [type(v) for v in (box.minlon, box.minlat, box.maxlon)] == [float, float, int]
    point = PointBuffer(np.float32(1.5), np.float16(2), np.uint8(10))
    point.validate()
    assert repr(point) == "PointBuffer(lon=1.5, lat=2.0, buffer_m=10, crs='EPSG:4326')"
    year = TemporalSpec.year(np.int64(2022))
    year.validate()
    assert type(year.year) is int
    sensor = dataclasses.replace(S2, scale_m=np.int32(20), fill_value=np.float32(0))
    sensor.validate()
    assert type(sensor.scale_m) is int
    assert type(OutputSpec.grid(np.int64(20)).scale_m) is int


def test_year_and_range_by_either_spelling():
    year = TemporalSpec.year(2022)
    assert (year.mode, year.year, year.start, year.end) == ("year", 2022, None, None)
    assert year == TemporalSpec("year", 2022, None, None)
    assert year == TemporalSpec(mode="year", year=2022, start=None, end=None)
    span = TemporalSpec.range("2022-06-01", "2022-09-01")
    assert span.year is None
    assert span == TemporalSpec("range", None, "2022-06-01", "2022-09-01")
    assert span != year
    assert dataclasses.replace(year, year=2023) == TemporalSpec.year(2023)
    # The constructor stays callable whatever instances hold.
    assert TemporalSpec.year(1999).year == 1999


def test_dates_as_text_or_date_are_one():
    text = TemporalSpec.range("2022-06-01", "2022-09-01")
    assert TemporalSpec.range(dt.date(2022, 6, 1), dt.date(2022, 9, 1)) == text
    assert TemporalSpec.range(dt.datetime(2022, 6, 1), dt.datetime(2022, 9, 1)) == text
    assert TemporalSpec("range", None, dt.date(2022, 6, 1), "2022-09-01") == text
    assert TemporalSpec.range(dt.date(987, 1, 2), dt.date(988, 1, 1)).start == "0987-01-02"


def test_dates_of_a_year_and_a_range():
    assert specs.dates(TemporalSpec.year(2022)) == (dt.date(2022, 1, 1), dt.date(2023, 1, 1))
    span = TemporalSpec.range("2020-02-29", "2020-03-01")
    assert specs.dates(span) == (dt.date(2020, 2, 29), dt.date(2020, 3, 1))


def test_bands_given_as_a_list_are_a_tuple():
    assert SensorSpec("c", ["B4", "B3"]) == SensorSpec("c", ("B4", "B3"))
    SensorSpec("c", ["B4", "B3"]).validate()


@pytest.mark.parametrize("spec", GOOD)
def test_specs_compare_hash_copy_and_pickle(spec):
    twins = [copy.copy(spec), copy.deepcopy(spec), dataclasses.replace(spec)]
    twins += [pickle.loads(pickle.dumps(spec, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    if getattr(spec, "fill_value", 0) == getattr(spec, "fill_value", 0):  # NaN equals nothing
        assert all(twin == spec and hash(twin) == hash(spec) for twin in twins)
        assert len({spec, *twins}) == 1
    assert all(repr(twin) == repr(spec) for twin in twins)
    first = dataclasses.fields(spec)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(spec, first, 1)


def test_specs_unpickle_in_another_process():
    blob = pickle.dumps(GOOD)
    code = (
        "import pickle, sys; specs = pickle.load(sys.stdin.buffer); "
        "[s.validate() for s in specs]; sys.stdout.buffer.write(pickle.dumps(specs))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=blob, capture_output=True, check=True)
    assert [repr(s) for s in pickle.loads(done.stdout)] == [repr(s) for s in GOOD]


def test_the_size_of_cells_that_an_output_asks_for():
    assert OutputSpec.grid().cell_m is None
    assert OutputSpec.grid(10).cell_m is None
    assert OutputSpec.grid(scale_m=None) == OutputSpec.grid()
    assert OutputSpec.grid(30).cell_m == 30
    assert OutputSpec.grid(resample_m=10).cell_m == 10
    assert type(OutputSpec.grid(resample_m=np.int64(20)).resample_m) is int
    assert OutputSpec.pooled().cell_m is None
