"""Files, arrays and the bundled scene as sources of pixels."""

from __future__ import annotations

import datetime as dt
import gc
import re
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from returns.result import Failure

from rs_embed import (
    ModelError,
    OutputSpec,
    PointBuffer,
    ProviderError,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    open_roi,
    sample_scene,
)
from rs_embed.core.crs import project
from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec
from rs_embed.core.plan import FetchPlan
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.times import composite
from rs_embed.plugins.notices import forget
from rs_embed.providers import files as files_module
from rs_embed.providers.local import local_provider, open_path, sample_provider
from rs_embed.raster import read_xarray
from rs_embed.raster.raster import content_of

SCENE = Path(str(files("rs_embed.data"))) / "patagonia_s2_6band.tif"
PLACE = PointBuffer(-67.645, -47.850, 320)
S2 = InputSpec("s2", ("B4", "B8"), "reflectance")
SCENE_CORNER = rasterio.Affine(10, 0, 600000, 0, -10, 4700020)
GRID = Grid("EPSG:32719", rasterio.Affine(10, 0, 600100, 0, -10, 4699920), (20, 30))


def plan(provider: Any, item: InputSpec = S2, sensor: SensorSpec | None = None, **kw: Any) -> Any:
    source = unwrap_or_raise(provider.describe(item, sensor))
    made = {"grid": GRID, "intervals": (), "sensor": sensor or SensorSpec("x", source.bands), **kw}
    return FetchPlan(
        source.collection, source.bands, source.units, content_hash=source.content_hash, **made
    )


def fetch(provider: Any, **kw: Any) -> Any:
    return unwrap_or_raise(provider.fetch(plan(provider, **kw)))


def refusal(outcome: Any) -> Exception:
    assert isinstance(outcome, Failure)
    return outcome.failure()


def tagged(tmp_path: Path, name: str = "scene.tif", shift: int = 0) -> Path:
    """The scene as a file whose bands say their units."""
    path = tmp_path / name
    scene = sample_scene()
    scene.attrs = {"units": "reflectance_x10000", "long_name": scene.attrs["long_name"]}
    (scene + np.uint16(shift)).assign_attrs(scene.attrs).rio.to_raster(path)
    return path


def series(days: list[str], **attrs: Any) -> xr.DataArray:
    """The scene once a day, each 10 brighter than the one before; every 2nd with a hole."""
    scenes = [sample_scene().astype("float32") + 10 * i for i in range(len(days))]
    for i, scene in enumerate(scenes):
        if i % 2:
            scene[:, 12, 13] = np.nan
    stack = xr.concat(scenes, dim="time").assign_coords(time=np.array(days, "M8[ns]"))
    return stack.assign_attrs({"units": "reflectance_x10000", **attrs})


class TestScene:
    def test_it_is_the_file_with_its_bands_named(self):
        scene = sample_scene()
        with rasterio.open(SCENE) as source:
            assert np.array_equal(scene.values, source.read())
            assert scene.rio.transform() == source.transform
            assert scene.rio.crs == source.crs
        assert scene.dims == ("band", "y", "x")
        assert scene.dtype == np.uint16
        assert scene.band.values.tolist() == ["B2", "B3", "B4", "B8", "B11", "B12"]
        assert scene.attrs["units"] == "reflectance_x10000"
        assert "path" not in str(scene.attrs)

    def test_two_scenes_share_nothing(self):
        first = sample_scene()
        first[:] = 0
        assert sample_scene().values.min() > 0

    def test_the_notice_tells_where_it_comes_from(self):
        import hashlib

        notice = (SCENE.parent / "NOTICE.md").read_text()
        assert "modified Copernicus Sentinel data" in notice
        assert hashlib.sha256(SCENE.read_bytes()).hexdigest() in notice


class TestPixels:
    def test_native_pixels_bit_for_bit(self):
        for provider in (sample_provider(), local_provider(sample_scene())):
            patch = fetch(provider)
            assert patch.bands == ("B4", "B8")
            assert patch.units == ("reflectance_x10000",) * 2
            expected = sample_scene().sel(band=["B4", "B8"]).values[:, 10:30, 10:40]
            assert np.array_equal(patch.data[0], expected)
            assert patch.meta["scenes"] == [1]

    def test_every_door_gives_the_same_numbers(self, tmp_path):
        one = get_embedding("mosaiks", spatial=PLACE, backend="sample", output=OutputSpec.grid())
        for source in (
            tagged(tmp_path),
            str(tagged(tmp_path)),
            sample_scene(),
            sample_scene().chunk(y=37, x=53),
            sample_scene().isel(y=slice(None, None, -1)),
            unwrap_or_raise(read_xarray(sample_scene())),
        ):
            other = get_embedding(
                "mosaiks", spatial=PLACE, backend="local", source=source, output=OutputSpec.grid()
            )
            assert np.array_equal(one.data.values, other.data.values)
            assert one.data.rio.transform() == other.data.rio.transform()

    def test_30_m_is_the_mean_of_three_by_three(self):
        grid = Grid("EPSG:32719", rasterio.Affine(30, 0, 600100, 0, -30, 4699920), (4, 5))
        patch = fetch(sample_provider(), grid=grid)
        values = sample_scene().sel(band=["B4", "B8"]).values[:, 10:22, 10:25]
        by_hand = values.reshape(2, 4, 3, 5, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(patch.data[0], by_hand, rtol=1e-6)
        assert patch.meta["area_averaged"] == 3

    def test_pixels_that_are_not_the_sources_own_are_told(self):
        def told(transform, crs="EPSG:32719", shape=(20, 20)):
            return fetch(sample_provider(), grid=Grid(crs, transform, shape)).meta

        assert "resampled" not in told(rasterio.Affine(10, 0, 600100, 0, -10, 4699920))
        assert "resampled" not in told(rasterio.Affine(20, 0, 600110, 0, -20, 4699920))
        half = told(rasterio.Affine(10, 0, 600104, 0, -10, 4699924))
        assert half["resampled"] == "nearest, 10 m to 10 m"
        other = told(rasterio.Affine(15, 0, 600100, 0, -15, 4699920))
        assert other["resampled"].endswith(", 10 m to 15 m")
        zone = Grid("EPSG:32719", SCENE_CORNER, (200, 300)).centre_lonlat()
        x, y = project(*zone, "EPSG:4326", "EPSG:32720")
        warped = told(rasterio.Affine(10, 0, float(x), 0, -10, float(y)), "EPSG:32720")
        assert warped["warped_from"] == "EPSG:32719"
        assert re.search(r", 10(\.\d+)? m to 10 m$", warped["resampled"])

    def test_what_lies_beyond_the_array_is_missing(self):
        edge = Grid("EPSG:32719", rasterio.Affine(10, 0, 599900, 0, -10, 4700120), (20, 20))
        data = fetch(sample_provider(), grid=edge).data
        assert np.isfinite(data[..., 10:, 10:]).all()
        assert np.isnan(data[..., :10, :]).all()
        assert np.isnan(data[..., :, :10]).all()

    def test_a_place_outside(self):
        far = PointBuffer(2.0, 41.0, 320)
        with pytest.raises(ProviderError, match=r"outside the source \(-67\."):
            get_embedding("mosaiks", spatial=far, backend="sample")
        moved = Grid("EPSG:32719", rasterio.Affine(10, 0, 700000, 0, -10, 4699920), (20, 30))
        provider = sample_provider()
        assert "outside" in str(refusal(provider.fetch(plan(provider, grid=moved))))

    @pytest.mark.parametrize("west", [-180.0, 0.0, 291.0])
    def test_a_source_in_degrees_however_wide(self, west):
        # One pixel a degree cell: its value is its own longitude, counted eastwards from 0.
        width = 360 if west != 291.0 else 10
        lon = west + np.arange(width) + 0.5
        world = xr.DataArray(
            np.broadcast_to(lon % 360, (1, 180, width)).astype("f4"),
            dims=("band", "lat", "lon"),
            coords={"band": ["B4"], "lat": 89.5 - np.arange(180), "lon": lon},
            attrs={"crs": "EPSG:4326", "units": "reflectance"},
        )
        item = InputSpec("s2", ("B4",), "reflectance")
        assert (fetch(local_provider(world), item=item).data == 292.5).all()
        if west == 291.0:
            far = Grid("EPSG:32631", rasterio.Affine(10, 0, 500000, 0, -10, 4699920), (20, 30))
            provider = local_provider(world)
            outcome = provider.fetch(plan(provider, item=item, grid=far))
            assert "outside" in str(refusal(outcome))

    def test_windows_at_the_edge_stay_inside(self):
        lon, lat = Grid("EPSG:32719", SCENE_CORNER, (12, 12)).centre_lonlat()
        found = get_embedding(
            "mosaiks", spatial=PointBuffer(lon, lat, 60), backend="sample", output=OutputSpec.grid()
        )
        assert found.meta["padded_fraction"] == 0
        assert found.data.rio.transform().c == 600000
        assert found.data.rio.transform().f == 4700020


class TestDescribe:
    def test_what_is_served(self):
        source = unwrap_or_raise(sample_provider().describe(S2, None))
        assert source.bands == ("B4", "B8")
        assert not source.dated
        assert source.grid.shape == (200, 300)
        assert len(source.content_hash) == 64

    def test_bands_by_any_alias(self):
        item = InputSpec("s2", ("nir", "swir16"), "reflectance")
        assert unwrap_or_raise(sample_provider().describe(item, None)).bands == ("B8", "B11")

    def test_a_band_that_is_not_there(self):
        item = InputSpec("s2", ("B2", "B8A"), "reflectance")
        error = refusal(sample_provider().describe(item, None))
        assert isinstance(error, ModelError)
        assert "B8A" in str(error)
        assert "bands={'B8A': '<a band you have>'}" in str(error)

    def test_a_sensor_names_the_bands_and_units(self):
        sensor = SensorSpec("any", ("nir", "red"), units="reflectance")
        source = unwrap_or_raise(sample_provider().describe(S2, sensor))
        assert source.bands == ("B4", "B8")
        assert source.units == ("reflectance",) * 2
        error = refusal(sample_provider().describe(S2, SensorSpec("any", ("B4",))))
        assert isinstance(error, ModelError)
        assert "SensorSpec" in str(error)

    def test_units_that_cannot_become_the_models(self):
        item = InputSpec("s1", ("B2",), "db")
        error = refusal(sample_provider().describe(item, None))
        assert isinstance(error, SpecError)
        assert "cannot become db" in str(error)

    def test_content_tells_files_apart_and_nothing_else(self, tmp_path):
        first = tagged(tmp_path)
        copy = tmp_path / "another.tif"
        shutil.copy(first, copy)
        other = tagged(tmp_path, "other.tif", shift=1)
        marks = [plan(local_provider(path)).content_hash for path in (first, copy, other)]
        assert marks[0] == marks[1] != marks[2]
        prints = [plan(local_provider(path)).fingerprint for path in (first, copy, other)]
        assert prints[0] == prints[1] != prints[2]

    def test_no_path_in_what_is_told(self, tmp_path):
        meta = get_embedding(
            "mosaiks", spatial=PLACE, backend="local", source=tagged(tmp_path)
        ).meta
        assert str(tmp_path) not in str(meta)
        assert "scene.tif" not in str(meta)


class TestDates:
    DAYS = ("2022-06-01", "2022-06-30", "2022-07-01", "2022-07-31")

    def test_a_frame_holds_the_dates_from_its_start_to_before_its_end(self):
        provider = local_provider(series(list(self.DAYS)))
        patch = fetch(
            provider, intervals=(("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-07-31"))
        )
        assert patch.meta["scenes"] == [2, 1]
        assert patch.meta["dates"] == [["2022-06-01", "2022-06-30"], ["2022-07-01"]]
        base = sample_scene().sel(band=["B4", "B8"]).values[:, 10:30, 10:40].astype("f4")
        assert np.array_equal(patch.data[0][:, 0, 0], base[:, 0, 0] + 5)
        # The second date has a hole there; the first alone counts.
        assert np.array_equal(patch.data[0][:, 2, 3], base[:, 2, 3])
        assert np.array_equal(patch.data[1], base + 20)

    def test_mosaic_has_the_last_date_on_top(self):
        shuffled = series(list(self.DAYS)).isel(time=[3, 0, 1, 2])
        sensor = SensorSpec("x", ("B4", "B8"), composite="mosaic")
        patch = fetch(
            local_provider(shuffled), intervals=(("2022-06-01", "2022-08-01"),), sensor=sensor
        )
        base = sample_scene().sel(band=["B4", "B8"]).values[:, 10:30, 10:40].astype("f4")
        assert np.array_equal(patch.data[0][:, 0, 0], base[:, 0, 0] + 30)
        assert np.array_equal(patch.data[0][:, 2, 3], base[:, 2, 3] + 20)

    def test_an_empty_frame_is_counted_and_missing(self):
        provider = local_provider(series(list(self.DAYS)))
        patch = fetch(
            provider, intervals=(("2022-05-01", "2022-06-01"), ("2022-06-01", "2022-06-02"))
        )
        assert patch.meta["scenes"] == [0, 1]
        assert np.isnan(patch.data[0]).all()
        assert np.isfinite(patch.data[1]).all()

    def test_no_date_at_all(self):
        provider = local_provider(series(list(self.DAYS)))
        error = refusal(provider.fetch(plan(provider, intervals=(("2021-01-01", "2022-01-01"),))))
        assert isinstance(error, ProviderError)
        assert "2022-06-01 to 2022-07-31" in str(error)

    def test_temporal_with_and_without_dates(self):
        with pytest.raises(SpecError, match="has no dates"):
            get_embedding(
                "mosaiks", spatial=PLACE, backend="sample", temporal=TemporalSpec.year(2022)
            )
        dated = series(list(self.DAYS))
        with pytest.raises(SpecError, match="needs a temporal"):
            get_embedding("mosaiks", spatial=PLACE, backend="local", source=dated)
        found = get_embedding(
            "mosaiks", spatial=PLACE, backend="local", source=dated,
            temporal=TemporalSpec.range("2022-06-01", "2022-07-01"),
        )  # fmt: skip
        assert found.meta["input"]["scenes"] == [2]

    def test_a_layer_without_time_takes_every_date(self):
        item = InputSpec("dem", ("B4",), "reflectance", static=True)
        provider = local_provider(series(list(self.DAYS)))
        assert not unwrap_or_raise(provider.describe(item, None)).dated
        assert fetch(provider, item=item).meta["scenes"] == [4]

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
    def test_median_is_numpys(self, count):
        rng = np.random.default_rng(count)
        dates = rng.normal(size=(count, 2, 30, 30)).astype("f4")
        dates[rng.random(dates.shape) < 0.4] = np.nan
        dates[:, :, 0, 0] = np.nan
        (ours,) = composite(dates, [range(count)], "median")
        valid = np.isfinite(dates).any(axis=0)
        assert np.array_equal(np.isnan(ours), ~valid)
        np.testing.assert_allclose(ours[valid], np.nanmedian(dates[:, valid], axis=0), rtol=1e-6)


class TestFiles:
    def test_netcdf_and_zarr(self, tmp_path):
        whole = sample_scene().drop_attrs(deep=False).assign_attrs(units="reflectance_x10000")
        ds = whole.to_dataset("band")
        for array in ds.data_vars.values():
            array.attrs["units"] = "reflectance_x10000"
        expected = fetch(sample_provider()).data
        for name, store in (
            ("a.nc", lambda path: ds.to_netcdf(path, engine="h5netcdf")),
            ("a.zarr", lambda path: ds.to_zarr(path, zarr_format=2, consolidated=True)),
            ("b.zarr", lambda path: ds.to_zarr(path, zarr_format=2, consolidated=False)),
            ("c.zarr", lambda path: ds.to_zarr(path, zarr_format=3, consolidated=False)),
        ):
            store(tmp_path / name)
            provider = local_provider(tmp_path / name)
            assert np.array_equal(fetch(provider).data, expected), name

    def test_a_file_is_closed_when_its_source_is_let_go(self, tmp_path):
        path = tagged(tmp_path)
        provider = local_provider(path)
        fetch(provider)
        assert _is_open(path)
        del provider
        gc.collect()
        assert not _is_open(path)

    def test_a_glob_is_a_series_of_dates(self, tmp_path):
        tagged(tmp_path, "s2_20220601_a.tif")
        tagged(tmp_path, "s2_2022-06-11_a.tif", shift=10)
        tagged(tmp_path, "s2_2022_07_01.tif", shift=20)
        provider = local_provider(str(tmp_path / "s2_*.tif"))
        patch = fetch(provider, intervals=(("2022-06-01", "2022-07-01"),))
        assert patch.meta["dates"] == [["2022-06-01", "2022-06-11"]]
        base = sample_scene().sel(band=["B4", "B8"]).values[:, 10:30, 10:40]
        assert np.array_equal(patch.data[0], base + 5)

    def test_a_single_file_takes_no_date_from_its_name(self, tmp_path):
        path = tagged(tmp_path, "s2_20220601.tif")
        assert not unwrap_or_raise(local_provider(path).describe(S2, None)).dated
        globbed = local_provider(str(tmp_path / "s2_*.tif"))
        assert unwrap_or_raise(globbed.describe(S2, None)).dated

    def test_files_that_are_no_series(self, tmp_path):
        tagged(tmp_path, "a_20220601.tif")
        tagged(tmp_path, "b.tif")
        undated = local_provider(str(tmp_path / "*.tif")).describe(S2, None)
        assert "no date(s) in its name" in str(refusal(undated))
        tagged(tmp_path, "c_20220601_20220701.tif")
        two = local_provider(str(tmp_path / "c_*.tif")).describe(S2, None)
        assert "2 date(s)" in str(refusal(two))
        cut = sample_scene().isel(x=slice(10, None))
        cut.attrs = {"units": "reflectance_x10000", "long_name": cut.attrs["long_name"]}
        cut.rio.to_raster(tmp_path / "a_20220602.tif")
        other = local_provider(str(tmp_path / "a_*.tif")).describe(S2, None)
        assert "rioxarray.merge.merge_arrays" in str(refusal(other))

    def test_units_that_a_file_does_not_tell(self):
        forget()
        # Its attribute says "reflectance x 10000 (…)", which is not a name of ours.
        with pytest.warns(UserWarning, match="reflectance_x10000"):
            patch = fetch(local_provider(SCENE))
        assert patch.meta["units_assumed"] == "reflectance_x10000"

    def test_what_is_no_source(self, tmp_path):
        with pytest.raises(SpecError, match="source=: a path, a glob"):
            get_embedding("mosaiks", spatial=PLACE, backend="local")
        with pytest.raises(SpecError, match="not int"):
            local_provider(5)
        with pytest.raises(ProviderError, match="there is no file"):
            local_provider(tmp_path / "none.tif")
        (tmp_path / "text.tif").write_text("no image")
        error = refusal(local_provider(tmp_path / "text.tif").describe(S2, None))
        assert isinstance(error, ProviderError)
        assert error.__cause__ is not None

    def test_an_array_that_cannot_be_read(self):
        bare = sample_scene().drop_vars("spatial_ref")
        with pytest.raises(SpecError, match=r"rio\.write_crs"):
            get_embedding("mosaiks", spatial=PLACE, backend="local", source=bare)

    def test_open_path_is_a_context(self, tmp_path):
        path = tagged(tmp_path)
        with unwrap_or_raise(open_path(path)) as opened:
            assert opened.shape == (6, 200, 300)
        assert "there is no file" in str(refusal(open_path(tmp_path / "none.tif")))


class TestFilesThatAreNotOneRaster:
    @pytest.fixture
    def pages(self, tmp_path):
        """A TIFF of two images, 64 and 32 pixels wide, the second of them with a place."""
        from PIL import Image

        path = tmp_path / "pages.tif"
        images = [
            Image.fromarray(np.full((side, side), value, dtype="uint8"))
            for side, value in ((64, 7), (32, 9))
        ]
        images[0].save(path, save_all=True, append_images=images[1:])
        return path

    @pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
    def test_datasets_are_named_and_one_may_be_given(self, pages, monkeypatch):
        error = refusal(open_path(pages))
        assert isinstance(error, ProviderError)
        second = f"GTIFF_DIR:2:{pages}"
        assert "2 datasets" in str(error)
        assert second in str(error)
        with unwrap_or_raise(open_path(second)) as opened:
            assert opened.shape == (1, 32, 32)
            assert (opened == 9).all()
        # As a source it is read too, and what it lacks is told without the file's whole path.
        told = refusal(local_provider(second).describe(S2, None))
        assert str(told).startswith("GTIFF_DIR:2:pages.tif: ")
        assert str(pages.parent) not in str(told)
        monkeypatch.chdir(pages.parent)
        assert isinstance(
            refusal(local_provider("GTIFF_DIR:2:pages.tif").describe(S2, None)), SpecError
        )

    @pytest.mark.parametrize(
        "names",
        [
            ("T19FEA_20220601T142731_B02_10m.jp2", "T19FEA_20220601T142731_B8A_20m.jp2"),
            ("LC08_L2SP_230094_20220601_20220610_02_T1_SR_B4.TIF",
             "LC08_L2SP_230094_20220601_20220610_02_T1_SR_B5.TIF"),
        ],
    )  # fmt: skip
    def test_one_file_a_band_is_told_how_to_be_stacked(self, tmp_path, names):
        for name in names:
            tagged(tmp_path, name)
        pattern = f"*{Path(names[0]).suffix}"
        error = refusal(local_provider(str(tmp_path / pattern)).describe(S2, None))
        assert isinstance(error, SpecError)
        assert "xr.concat([rioxarray.open_rasterio(file)" in str(error)
        for name in names:
            assert re.search(r"_((SR_)?B\w{1,2})(_\d\dm)?\.", name).group(1) in str(error)
        folder = refusal(local_provider(tmp_path).describe(S2, None))
        assert names[0] in str(folder)
        assert "xr.concat" in str(folder)
        with pytest.raises(SpecError, match=r"not a list of 2; .*xr\.concat"):
            local_provider([tmp_path / name for name in names])

    def test_folders_that_hold_nothing_of_ours(self, tmp_path):
        assert "neither a Zarr store nor" in str(refusal(open_path(tmp_path)))
        (tmp_path / "MTD_MSIL2A.xml").write_text("<nothing/>")
        error = refusal(open_path(tmp_path))
        assert isinstance(error, ProviderError)
        assert "MTD_MSIL2A.xml cannot be read" in str(error)


def test_units_given_to_a_raster_say_what_is_missing():
    array = sample_scene()
    array[:, 12, 13] = 0
    array.attrs["units"] = "reflectance_x10000"
    provider = local_provider(unwrap_or_raise(read_xarray(array)))
    for units, missing in (("s2_dn_offset1000", True), ("reflectance_x10000", False)):
        sensor = SensorSpec("x", ("B4", "B8"), units=units)
        patch = fetch(provider, sensor=sensor)
        assert patch.units == (units,) * 2
        assert np.isnan(patch.data[0, :, 2, 3]).all() == missing
        assert np.isnan(patch.data).sum() == 2 * missing


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_decibels_are_averaged_as_power(steps):
    """Over pixels and over dates, as Earth Engine's radar is; other bands beside as they are."""
    values = np.random.default_rng(5).uniform(-25, 5, (steps, 2, 40, 40)).astype(np.float32)
    array = xr.DataArray(
        values, dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2022-06-01", "2022-06-13", "2022-06-25"][:steps], "M8[ns]"),
            "band": ["VV", "angle"], "y": 4699915 - 10.0 * np.arange(40),
            "x": 600105 + 10.0 * np.arange(40),
        },
        attrs={"crs": "EPSG:32719"},
    )  # fmt: skip
    raster = unwrap_or_raise(read_xarray(array, units={"VV": "db", "angle": "degrees"}))
    provider = local_provider(raster)
    item = InputSpec("s1", ("VV",), "db")
    coarse = Grid("EPSG:32719", rasterio.Affine(20, 0, 600100, 0, -20, 4699920), (20, 20))
    june = (("2022-06-01", "2022-07-01"),)

    def found(grid, band):
        one = plan(provider, item, grid=grid, intervals=june)
        return provider.fetch(replace(one, bands=(band,), units=("db",))).unwrap()

    power = 10 ** (values[:, 0].astype(np.float64) / 10)
    blocks = power.reshape(steps, 20, 2, 20, 2).mean(axis=(2, 4))
    patch = found(coarse, "VV")
    np.testing.assert_allclose(
        patch.data[0, 0], 10 * np.log10(np.median(blocks, axis=0)), rtol=1e-4
    )
    assert patch.meta["averaged_in"] == "linear power"
    angles = values[:, 1].astype(np.float64).reshape(steps, 20, 2, 20, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(
        found(coarse, "angle").data[0, 0], np.median(angles, axis=0), rtol=1e-5
    )
    whole = found(raster.grid, "VV")
    wanted = 10 * np.log10(np.median(power, axis=0))
    np.testing.assert_allclose(whole.data[0, 0], wanted, rtol=1e-4)
    if steps == 1:
        np.testing.assert_array_equal(whole.data[0, 0], values[0, 0])
        assert "averaged_in" not in whole.meta


def test_a_file_is_hashed_once_for_as_long_as_it_stays(tmp_path, monkeypatch):
    path = tagged(tmp_path)
    read = []
    plain = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *words: read.append(self.name) or plain(self, *words)
    )
    first = plan(local_provider(path)).content_hash
    assert plan(local_provider(path)).content_hash == first
    assert read == ["scene.tif"]
    tagged(tmp_path, "other.tif", shift=1).replace(path)
    assert plan(local_provider(path)).content_hash != first
    assert read == ["scene.tif", "scene.tif"]


def test_a_lazy_array_is_computed_once_to_be_known(monkeypatch):
    read = []
    monkeypatch.setattr(
        files_module, "content_of",
        lambda raster, of=content_of: read.append(raster.units) or of(raster),
    )  # fmt: skip
    scene = sample_scene()
    lazy = scene.chunk({"y": 64})
    hashes = {plan(local_provider(one)).content_hash for one in (lazy, lazy.copy(), scene)}
    assert len(hashes) == 1
    assert len(read) == 2  # once of the lazy one, and of the one in memory
    assert plan(local_provider(lazy + np.uint16(1))).content_hash not in hashes


def _is_open(path: Path) -> bool:
    descriptors = Path("/proc/self/fd")
    return any(
        entry.is_symlink() and str(entry.readlink()) == str(path)
        for entry in descriptors.iterdir()
        if entry.exists()
    )


def test_a_year_is_one_frame_of_the_series():
    days = [str(dt.date(2022, 1, 1) + dt.timedelta(days=100 * i)) for i in range(5)]
    found = get_embedding(
        "mosaiks", spatial=PLACE, backend="local", source=series(days),
        temporal=TemporalSpec.year(2022),
    )  # fmt: skip
    assert found.meta["input"]["dates"] == [days[:4]]


@pytest.mark.parametrize("chunks", [None, {"x": 16, "y": 16}])
def test_a_lazy_region_past_the_edge_is_missing_there(chunks):
    lon, lat = project(600_000.0, 4_699_020.0, "EPSG:32719", "EPSG:4326")
    place = PointBuffer(float(lon), float(lat), 320)
    array = open_roi(
        place,
        None,
        SensorSpec("sample", ("B2", "B4"), units="reflectance_x10000"),
        chunks=chunks,
        backend="sample",
    )
    values = array.values
    assert values.shape == (2, 64, 64)
    assert np.isnan(values[:, :, :32]).all()
    assert np.isfinite(values[:, :, 32:]).all()


def test_a_lazy_region_wholly_outside_is_refused():
    array = open_roi(
        PointBuffer(3.0, 45.0, 320),
        None,
        SensorSpec("sample", ("B2",), units="reflectance_x10000"),
        backend="sample",
    )
    with pytest.raises(ProviderError, match="lies outside the source"):
        array.load()
