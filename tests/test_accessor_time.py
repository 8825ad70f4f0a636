"""`.rsembed.embed` on arrays with dates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from rs_embed import OutputSpec, SpecError, TemporalSpec, register_model
from rs_embed.core.model import Cadence
from tests.scenes import as_dataset, scene
from tests.toys import FEATURES, day_of, toy

RGB = ("B4", "B3", "B2")
TIMES = ("2022-06-13T10:40:00", "2022-06-03T10:40:00", "2022-08-01T10:40:00")
DAY = FEATURES.index("day")


@pytest.fixture(scope="module", autouse=True)
def models():
    register_model(toy("times_single"))
    register_model(toy("times_months", cadence=Cadence("months", 12)))
    register_model(toy("times_equal", cadence=Cadence("equal", 4)))
    register_model(toy("times_none", cadence=Cadence("none")))


@pytest.fixture
def series():
    return scene(40, 48, bands=RGB, times=TIMES)


def meta_of(array):
    return json.loads(array.attrs["rs_embed_meta"])


def test_each_equals_one_by_one(series):
    found = series.rsembed.embed("times_single")
    assert found.dims == ("time", "feature", "y", "x")
    np.testing.assert_array_equal(found.time, series.time)
    for i in range(3):
        alone = series.isel(time=i).rsembed.embed("times_single")
        assert alone.dims == ("feature", "y", "x")
        xr.testing.assert_equal(found.isel(time=i, drop=True), alone)
        assert (alone[DAY] == day_of(TIMES[i][:10])).all()
    assert found.rio.crs == series.rio.crs
    assert found.rio.transform() == found.rio.transform(recalc=True)
    meta = meta_of(found)
    assert meta["by_time"]["input_time"] == [t[:10] for t in TIMES]
    assert meta["model"] == "times_single"
    assert meta["empty_times"] == 0


def test_each_of_one_date_keeps_the_axis(series):
    found = series.isel(time=[2]).rsembed.embed("times_single")
    assert found.dims == ("time", "feature", "y", "x")
    assert meta_of(found)["input_time"] == "2022-08-01"


def test_each_pooled(series):
    found = series.rsembed.embed("times_single", output=OutputSpec.pooled())
    assert found.dims == ("time", "feature")
    grid = series.rsembed.embed("times_single")
    np.testing.assert_allclose(found, grid.mean(("y", "x")), rtol=1e-5)


def test_temporal_chooses_dates(series):
    june = TemporalSpec.range("2022-06-01", "2022-07-01")
    found = series.rsembed.embed("times_single", temporal=june)
    np.testing.assert_array_equal(found.time, series.time[:2])
    with pytest.raises(SpecError, match="from 2022-06-03 to 2022-08-01"):
        series.rsembed.embed("times_single", temporal=TemporalSpec.year(2020))


def test_a_date_without_a_valid_pixel(series):
    series[1] = np.nan
    found = series.rsembed.embed("times_single")
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[0]).all()
    assert meta_of(found)["empty_times"] == 1
    assert meta_of(found)["by_time"]["valid_fraction"] == [1.0, 0.0, 1.0]
    assert meta_of(found)["by_time"]["input_time"] == [t[:10] for t in TIMES]


def test_composite_is_the_median(series):
    series[0, :, :5] = np.nan
    found = series.rsembed.embed("times_single", time="composite")
    median = series.median("time", keep_attrs=True)
    wanted = median.rsembed.embed(
        "times_single", temporal=TemporalSpec.range("2022-06-03", "2022-08-02")
    )
    xr.testing.assert_allclose(found, wanted)
    assert found.dims == ("feature", "y", "x")
    assert meta_of(found)["input_time"] == "2022-07-03"
    assert meta_of(found)["input"]["scenes"] == [3]


def test_months_are_binned(series):
    found = series.rsembed.embed("times_months")
    assert found.dims == ("feature", "y", "x")
    assert meta_of(found)["intervals"] == [
        ["2022-06-03", "2022-07-01"], ["2022-07-01", "2022-08-01"], ["2022-08-01", "2022-08-02"],
    ]  # fmt: skip
    assert meta_of(found)["empty_intervals"] == 1
    assert sum(meta_of(found)["input"]["scenes"]) == 3


def test_a_bin_without_a_valid_pixel_is_empty(series):
    series[2] = np.nan
    assert meta_of(series.rsembed.embed("times_months"))["empty_intervals"] == 2


def test_a_series_takes_the_temporal_as_its_window(series):
    summer = TemporalSpec.range("2022-06-01", "2022-09-01")
    meta = meta_of(series.rsembed.embed("times_equal", temporal=summer))
    assert len(meta["intervals"]) == 4
    assert meta["intervals"][0][0] == "2022-06-01"
    assert meta["empty_intervals"] == 2
    assert meta["temporal"] == ["2022-06-01", "2022-09-01"]


def test_series_of_composites_equal_the_composites_themselves(series):
    """Bins hold the medians of their dates: an array of those gives the same."""
    june = series.isel(time=[0, 1]).median("time", keep_attrs=True)
    august = series.isel(time=2, drop=True)
    two = xr.concat(
        [june, august], xr.Variable("time", np.array(["2022-06-14", "2022-08-01"], "M8[ns]"))
    )
    summer = TemporalSpec.range("2022-06-01", "2022-09-01")
    found = series.rsembed.embed("times_months", temporal=summer)
    xr.testing.assert_allclose(found, two.rsembed.embed("times_months", temporal=summer))


def test_undated_arrays():
    array = scene(40, 48, bands=RGB)
    without = array.rsembed.embed("times_single")
    assert (without[DAY] == 0).all()
    assert meta_of(without)["input_time"] is None
    dated = array.rsembed.embed(
        "times_single", temporal=TemporalSpec.range("2022-06-01", "2022-06-02")
    )
    assert (dated[DAY] == day_of("2022-06-01")).all()
    with pytest.raises(SpecError, match=r"temporal=TemporalSpec\.range"):
        array.rsembed.embed("times_months")
    said = TemporalSpec.range("2022-06-01", "2022-07-01")
    assert meta_of(array.rsembed.embed("times_months", temporal=said))["intervals"] == [
        ["2022-06-01", "2022-07-01"]
    ]


def test_a_model_without_time(series):
    found = series.rsembed.embed("times_none")
    assert found.sizes["time"] == 3
    assert (found[:, DAY] == 0).all()


def test_dataset_with_times(series):
    xr.testing.assert_equal(
        as_dataset(series).rsembed.embed("times_single"), series.rsembed.embed("times_single")
    )


def test_time_in_any_place_and_under_its_other_name(series):
    turned = series.transpose("y", "time", "x", "band")
    xr.testing.assert_equal(
        turned.rsembed.embed("times_single"), series.rsembed.embed("times_single")
    )
    renamed = series.rename(time="date").rsembed.embed("times_single")
    assert renamed.dims == ("time", "feature", "y", "x")


def test_files_keep_a_time_axis(series, tmp_path):
    found = series.rsembed.embed("times_single")
    found.rsembed.save(tmp_path / "out.nc")
    with xr.open_dataarray(tmp_path / "out.nc", decode_coords="all") as back:
        xr.testing.assert_equal(back.load(), found)
        assert back.rio.crs == found.rio.crs
        assert back.rio.transform() == found.rio.transform()
    with pytest.raises(SpecError, match="isel"):
        found.rsembed.to_cog(tmp_path / "out.tif")
