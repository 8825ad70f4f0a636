"""Reading an array: names, units, dates, places; and every refusal with the call that mends it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  # what is read must not depend on whether it is there
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.units import check_convertible
from rs_embed.plugins.notices import RsEmbedWarning, forget
from rs_embed.raster import read_xarray
from rs_embed.raster.raster import Raster, content_of

GRID = Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (6, 5))


def make(
    bands: tuple[str, ...] = ("B2", "B4"),
    dtype: str = "float32",
    grid: Grid = GRID,
    **attrs: Any,
) -> xr.DataArray:
    """A small array as rioxarray would open it, with named bands."""
    count = len(bands) * grid.height * grid.width
    values = np.arange(1, count + 1).reshape(len(bands), *grid.shape).astype(dtype)
    ref = xr.Variable((), 0, {"crs_wkt": _wkt(grid.crs)})
    return xr.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={"band": list(bands), "y": grid.y(), "x": grid.x(), "spatial_ref": ref},
        attrs={"units": "reflectance", **attrs},
    )


def _wkt(crs: str) -> str:
    from pyproj import CRS

    return CRS.from_user_input(crs).to_wkt()


def read(obj: Any, **keywords: Any) -> Raster:
    return unwrap_or_raise(read_xarray(obj, **keywords))


def problem(obj: Any, **keywords: Any) -> str:
    outcome = read_xarray(obj, **keywords)
    assert isinstance(outcome, Failure), "the array was read"
    assert isinstance(outcome.failure(), SpecError)
    return str(outcome.failure())


def values(raster: Raster) -> np.ndarray:
    return raster.load(0, 0, *raster.grid.shape)


class TestDimensions:
    @pytest.mark.parametrize(
        ("y", "x"), [("lat", "lon"), ("latitude", "longitude"), ("northing", "easting"), ("Y", "X")]
    )
    def test_names_of_rows_and_columns(self, y, x):
        raster = read(make().rename({"y": y, "x": x}))
        assert raster.grid == GRID
        assert np.array_equal(values(raster)[0], make().values)

    def test_any_order_of_dimensions(self):
        turned = (
            make()
            .expand_dims(time=np.array(["2022-06-01"], "M8[ns]"))
            .transpose("x", "time", "y", "band")
        )
        raster = read(turned)
        assert np.array_equal(values(raster)[0], make().values)

    def test_a_dataset_is_its_variables_side_by_side(self):
        ds = make().to_dataset("band")
        for array in ds.data_vars.values():
            array.attrs["units"] = "reflectance"
        raster = read(ds)
        assert raster.bands == ("B2", "B4")
        assert np.array_equal(values(raster)[0], make().values)

    def test_a_layer_without_time_stands_beside_each_date(self):
        series = make(("B2",)).isel(band=0, drop=True)
        series = series.expand_dims(time=np.array(["2022-06-01", "2022-06-11"], "M8[ns]"))
        ds = xr.Dataset({"B2": series, "elevation": make(("B2",)).isel(band=0, drop=True)})
        raster = read(ds, units={"elevation": "metres"})
        assert raster.units == ("reflectance", "metres")
        assert values(raster).shape == (2, 2, 6, 5)
        assert np.array_equal(raster.load(1, 1, 2, 2)[0, 1], raster.load(1, 1, 2, 2)[1, 1])

    def test_variables_without_pixels_are_left_out_and_told(self):
        ds = make().to_dataset("band").assign(note=("k", [1.0, 2.0]))
        assert read(ds, units="reflectance").notes == {"ignored_variables": ["note"]}

    def test_refusals(self):
        assert "da.rename({'<rows>': 'y'" in problem(make().rename(y="row"))
        assert "da.squeeze('level')" in problem(make().expand_dims("level"))
        deep = xr.concat([make(), make()], dim="level")
        assert "da.isel(level=0)" in problem(deep)
        assert "ds['one']" in problem(xr.Dataset({"one": make(), "two": make()}))
        assert "no variable of the Dataset" in problem(
            xr.Dataset({"a": ("y", [1.0]), "b": ("x", [1.0])})
        )
        assert "xr.DataArray(values" in problem(make().values)


class TestTypes:
    @pytest.mark.parametrize(
        ("dtype", "mend"),
        [("complex64", "abs(da)"), ("bool", "astype('uint8')"), ("U3", "astype('float32')")],
    )
    def test_refusals(self, dtype, mend):
        assert mend in problem(make().astype(dtype))

    def test_an_empty_array(self):
        assert "empty" in problem(make().isel(x=slice(0, 0)))

    @pytest.mark.parametrize("dtype", [">f8", "int32", "float16"])
    def test_every_number_becomes_float32(self, dtype):
        raster = read(make(dtype=dtype), units="reflectance")
        assert values(raster).dtype == np.float32
        assert np.array_equal(values(raster)[0], make().values)

    def test_all_missing(self):
        assert "not one value" in problem(make() * np.nan)
        assert "not one value" in problem(make(dtype="int32", _FillValue=7) * 0 + 7)
        # A lazy array is not read for the sake of this.
        assert isinstance(read_xarray((make() * np.nan).chunk()), Success)

    @pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata"])
    def test_the_value_that_means_missing(self, key):
        loaded = values(read(make(dtype="int16", **{key: 3}), units="reflectance"))
        assert np.argwhere(np.isnan(loaded)).tolist() == [[0, 0, 0, 2]]

    def test_a_fill_value_in_the_encoding(self):
        whole, decoded = make(dtype="int16"), make()
        whole.encoding["_FillValue"] = 3
        decoded.encoding["_FillValue"] = 3  # its missing values are NaN already; 3 is a value
        assert np.isnan(values(read(whole, units="reflectance"))[0, 0, 0, 2])
        assert not np.isnan(values(read(decoded))).any()

    def test_scale_of_integers_is_applied(self):
        scaled = make(dtype="uint16", scale_factor=0.5, add_offset=2.0)
        assert np.array_equal(values(read(scaled))[0], make().values * 0.5 + 2)
        xee = make()
        xee.encoding["scale_factor"] = 10.0
        assert np.array_equal(values(read(xee))[0], make().values)

    def test_a_scale_for_each_band(self):
        scaled = make(dtype="uint16", scales=(0.5, 0.25), offsets="(1.0, 2.0)")
        assert np.array_equal(values(read(scaled))[0, 0], make().values[0] * 0.5 + 1)
        assert np.array_equal(values(read(scaled))[0, 1], make().values[1] * 0.25 + 2)
        picked = read(scaled).only([1])
        assert np.array_equal(picked.load(0, 0, 6, 5)[0, 0], make().values[1] * 0.25 + 2)
        assert "mask_and_scale=True" in problem(scaled.isel(band=[1]))

    def test_masked_numbers_are_scaled_as_long_as_they_are_as_opened(self):
        masked = make(scale_factor=0.5)
        masked.encoding.update(rasterio_dtype="uint16", dtype="uint16")
        assert np.array_equal(values(read(masked))[0], make().values * 0.5)
        masked.encoding["scale_factor"] = 0.5  # it stands there where it was applied
        assert "may or may not have been applied" in problem(masked)

    @pytest.mark.parametrize("made", [lambda a: a * 0.5, lambda a: a.astype("f4"), np.sqrt])
    def test_arithmetic_of_the_user_is_not_undone(self, made):
        with xr.set_options(keep_attrs=True):
            array = made(make(dtype="uint16", scale_factor=0.5))
        assert "da.attrs.pop('scale_factor')" in problem(array)
        array.attrs.pop("scale_factor")
        assert np.array_equal(values(read(array))[0], array.values.astype("f4"))

    def test_scale_and_nodata_of_the_catalogue(self):
        array = make(dtype="uint16").assign_coords(
            {"raster:bands": ((), np.array({"scale": 0.5, "offset": -1.0, "nodata": 3}, object))}
        )
        found = values(read(array, units="reflectance"))[0]
        assert found[0, 0, 1] == 2 * 0.5 - 1
        assert np.isnan(found[0, 0, 2])
        assert values(read(array, units="reflectance_x10000"))[0, 0, 0, 1] == 2
        # Of floats the loader has applied it.
        assert values(read(array.astype("f4"), units="reflectance"))[0, 0, 0, 1] == 2

    def test_number_zero_of_numbers_with_an_offset_is_missing(self):
        array = make(dtype="uint16", units="")
        array[0, 2, 3] = 0
        assert np.isnan(values(read(array, units="s2_dn_offset1000"))[0, 0, 2, 3])
        assert values(read(array, units="reflectance_x10000"))[0, 0, 2, 3] == 0

    def test_the_lowest_float_is_missing_whatever_its_text_says(self):
        array = make(_FillValue=-3.4e38)
        array[0, 0, 0] = np.finfo("f4").min
        found = values(read(array))[0]
        assert np.isnan(found[0, 0, 0])
        assert np.isfinite(found.ravel()[1:]).all()


class TestValidRange:
    """CF conventions 2.5.1: numbers outside of the range are missing; it is of stored numbers."""

    @pytest.mark.parametrize(
        "attrs",
        [
            {"valid_range": (3, 20)},
            {"valid_range": "3, 20"},
            {"valid_min": 3, "valid_max": np.int16(20)},
            {"valid_range": np.array([3, 99]), "valid_max": 20},
        ],
        ids=str,
    )
    def test_numbers_outside_are_missing(self, attrs):
        array = make(dtype="int16", scale_factor=0.5, **attrs)
        stored = array.values
        wanted = np.where((stored >= 3) & (stored <= 20), stored * 0.5, np.nan)
        assert np.isnan(wanted).any()
        np.testing.assert_array_equal(values(read(array))[0], wanted)

    def test_of_decoded_numbers_it_still_speaks_of_the_stored(self):
        stored = make(dtype="int16", scale_factor=0.5, valid_range=np.array([3, 20], "int16"))
        stored = stored.drop_vars("spatial_ref").to_dataset(name="red")
        decoded = xr.decode_cf(stored)["red"].rio.write_crs("EPSG:32631")
        assert decoded.dtype.kind == "f"
        numbers = stored["red"].values
        wanted = np.where((numbers >= 3) & (numbers <= 20), numbers * 0.5, np.nan)
        np.testing.assert_array_equal(values(read(decoded))[0], wanted)

    def test_one_that_cannot_be_read_is_refused(self):
        assert "da.attrs.pop('valid_range')" in problem(make(valid_range="from 3 on"))
        assert "da.attrs.pop('valid_range')" in problem(make(valid_range=3))

    @pytest.mark.parametrize(("dtype", "said"), [("int8", "true"), ("uint8", "False")])
    def test_numbers_of_the_other_sign_are_refused(self, dtype, said):
        assert "mask_and_scale=True" in problem(make(dtype=dtype, _Unsigned=said))
        other = {"int8": "uint8", "uint8": "int8"}[dtype]
        assert read(make(dtype=other, _Unsigned=said))


def two_dates(before: xr.DataArray, after: xr.DataArray, **coords: Any) -> xr.DataArray:
    dates = np.array(["2021-12-01", "2022-03-01"], "M8[ns]")
    stack = xr.concat([before, after], dim="time").assign_coords(time=dates)
    return stack.assign_coords({name: ("time", list(v)) for name, v in coords.items()})


class TestBaseline:
    def test_it_decides_date_by_date(self):
        plain = make(dtype="uint16", units="")
        stack = two_dates(plain, plain + 1000, **{"s2:processing_baseline": ("03.01", "04.00")})
        stack.attrs.pop("units", None)
        forget()
        with pytest.warns(RsEmbedWarning, match="processing baseline"):
            raster = read(stack)
        assert raster.units == ("reflectance_x10000",) * 2
        assert raster.notes["units_assumed"] == ["reflectance_x10000", "s2_dn_offset1000"]
        assert np.array_equal(values(raster)[0], values(raster)[1])
        later = raster.only([1], [1])
        assert np.array_equal(later.load(0, 0, 6, 5)[0, 0], plain.values[1])

    @pytest.mark.parametrize(
        ("coords", "unit"),
        [
            ({"s2:processing_baseline": "05.09"}, "s2_dn_offset1000"),
            ({"s2:processing_baseline": "03.01"}, "reflectance_x10000"),
            (
                {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True},
                "reflectance_x10000",
            ),
            (
                {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "False"},
                "s2_dn_offset1000",
            ),
        ],
    )
    def test_one_scene(self, coords, unit):
        forget()
        with pytest.warns(RsEmbedWarning):
            raster = read(make(dtype="uint16", units="").assign_coords(coords))
        assert raster.units == (unit,) * 2

    def test_common_names_will_do_where_the_array_says_whose_it_is(self):
        array = make(("blue", "red"), dtype="uint16", units="")
        forget()
        with pytest.warns(RsEmbedWarning):
            read(array.assign_coords(platform="sentinel-2b"))
        assert "not declared" in problem(array)

    def test_a_baseline_that_cannot_be_read_is_asked_about(self):
        array = make(dtype="uint16", units="").assign_coords({"s2:processing_baseline": "none"})
        assert "not declared" in problem(array)

    def test_a_declaration_holds_and_a_contradiction_is_told(self):
        array = make(dtype="uint16").assign_coords({"s2:processing_baseline": "05.09"})
        forget()
        with pytest.warns(RsEmbedWarning, match="the declaration holds"):
            raster = read(array, units="reflectance_x10000")
        assert raster.units == ("reflectance_x10000",) * 2
        assert raster.notes == {"units_by_baseline": ["s2_dn_offset1000"]}
        assert read(array, units="s2_dn_offset1000").notes == {}

    def test_units_by_date_and_by_band(self):
        plain = make(dtype="uint16", units="")
        stack = two_dates(plain, plain + 1000)
        raster = read(stack, units=["reflectance_x10000", "s2_dn_offset1000"])
        assert np.array_equal(values(raster)[0], values(raster)[1])
        mixed = read(stack, units={"B2": "uint8", "B4": ["reflectance", "reflectance_x10000"]})
        assert mixed.units == ("uint8", "reflectance_x10000")
        assert mixed.load(0, 0, 1, 1)[0, 1, 0, 0] == int(plain[1, 0, 0]) * 10000
        beside = stack.assign_coords(
            band_units=("time", ["reflectance_x10000", "s2_dn_offset1000"])
        )
        assert np.array_equal(values(read(beside)), values(raster))
        assert "the array has 2" in problem(stack, units=["db"])
        assert "cannot become one another" in problem(stack, units=["db", "reflectance"])


class TestOtherImagery:
    @pytest.mark.parametrize(
        "told",
        [
            {"platform": "landsat-8"},
            {"collection": "HLSL30.v2.0"},
            {"id": "LC08_L2SP_233092_20220701"},
            {"constellation": "planet"},
            {"platform": "terra"},
        ],
    )
    def test_a_name_that_fits_is_no_proof(self, told):
        array = make(("B02", "B04"), dtype="uint16", units="")
        assert "not declared" in problem(array.assign_coords(told))
        assert "not declared" in problem(array.assign_attrs(told))

    @pytest.mark.parametrize(
        "names",
        [
            ("blue", "nir08", "swir16"),  # Landsat through odc-stac, which keeps nothing else
            ("blue", "green", "red", "nir"),  # PlanetScope
            ("red", "nir08"),  # MODIS by common names
        ],
    )
    def test_common_names_alone_are_no_proof(self, names):
        assert "DN x 0.0000275 - 0.2" in problem(make(names, dtype="uint16", units=""))

    def test_the_missing_number_of_harmonised_products(self):
        harmonised = make(("B02", "B04"), dtype="int16", units="", _FillValue=-9999)
        assert "not declared" in problem(harmonised)

    def test_quantised_embeddings_are_no_plain_numbers(self):
        array = make(("A00", "A01"), dtype="int8", units="")
        assert "aef_int8" in problem(array, units="1")
        array[0, 0, 0] = -128
        raster = read(array, units="aef_int8")
        assert raster.units == ("aef_int8",) * 2
        assert np.isnan(values(raster)[0, 0, 0, 0])


class TestPlace:
    def test_the_places_of_a_crs_in_their_order(self):
        bare = make().drop_vars("spatial_ref")
        for placed in (
            bare.assign_attrs(crs="EPSG:32719"),
            bare.assign_attrs(crs="+init=epsg:32719"),
            bare.assign_attrs(epsg=32719),
            bare.assign_coords(epsg=32719),
            bare.assign_coords({"proj:code": "EPSG:32719"}),
            bare.assign_coords(crs=xr.Variable((), 0, {"spatial_ref": _wkt("EPSG:32719")})),
            bare.assign_coords({"elsewhere": ((), 0, {"crs_wkt": _wkt("EPSG:32719")})}),
        ):
            assert read(placed).grid == GRID
        assert read(make().assign_attrs(crs="EPSG:32718")).grid == GRID
        assert read(make(), crs=("override", "EPSG:32718")).grid.crs == "EPSG:32718"

    def test_cf_parameters_alone(self):
        from pyproj import CRS

        cf = {k: v for k, v in CRS("EPSG:32719").to_cf().items() if k != "crs_wkt"}
        bare = make().drop_vars("spatial_ref").assign_coords(crs=xr.Variable((), 0, cf))
        assert CRS(read(bare).grid.crs).equals(CRS("EPSG:32719"), ignore_axis_order=True)

    def test_a_grid_mapping_that_was_read_as_a_variable(self):
        ds = make().to_dataset("band").reset_coords("spatial_ref")
        raster = read(ds, units="reflectance")
        assert raster.grid == GRID
        assert raster.bands == ("B2", "B4")

    def test_no_crs(self):
        text = problem(make().drop_vars("spatial_ref"))
        assert "da.rio.write_crs('EPSG:32719')" in text
        assert "crs='EPSG:32719'" in text

    def test_a_crs_that_is_none(self):
        assert "PROJ does not know" in problem(make(), crs="nowhere")
        assert "PROJ does not know" in problem(make(), crs=("override", "nowhere"))
        assert "attrs['crs']" in problem(make().drop_vars("spatial_ref").assign_attrs(crs="x"))

    def test_variables_on_different_crs(self):
        ds = make().to_dataset("band").drop_vars("spatial_ref")
        ds["B2"].attrs["crs"], ds["B4"].attrs["crs"] = "EPSG:32719", "EPSG:32718"
        assert "different CRS" in problem(ds, units="reflectance")

    def test_an_array_from_south_to_north(self):
        raster = read(make().isel(y=slice(None, None, -1)))
        assert raster.grid == GRID
        assert raster.notes == {"south_up": True}
        assert np.array_equal(values(raster)[0], make().values)
        assert np.array_equal(raster.load(1, 2, 3, 2)[0], make().values[:, 1:4, 2:4])

    def test_coordinates_of_float32(self):
        rounded = make().assign_coords(y=GRID.y().astype("f4"), x=GRID.x().astype("f4"))
        assert read(rounded).grid == GRID

    def test_a_transform_makes_up_for_their_rounding(self):
        step = 8.983152841195215e-05
        grid = Grid("EPSG:4326", Affine(step, 0, -0.7818936, 0, -step, 38.1288), (6, 5))
        array = make(grid=grid).assign_coords(y=grid.y().astype("f4"), x=grid.x().astype("f4"))
        near = read(array).grid
        assert near.bounds == pytest.approx(grid.bounds, abs=step / 10)
        array.spatial_ref.attrs["GeoTransform"] = f"-0.7818936 {step} 0 38.1288 0 {-step}"
        assert read(array).grid == grid
        assert read(array).notes == {}

    def test_a_transform_that_drifts_from_the_coordinates(self):
        long = Grid("EPSG:32719", Affine(10.0005, 0, 600000, 0, -10.0005, 4700020), (300, 300))
        array = make(grid=long)
        array.spatial_ref.attrs["GeoTransform"] = "600000 10 0 4700020 0 -10"
        assert read(array).grid.resolution == pytest.approx((10.0005, 10.0005), rel=1e-9)
        assert "transform_ignored" in read(array).notes

    def test_a_transform_that_fits_gives_the_exact_step(self):
        step = 8.983152841195215e-05
        grid = Grid("EPSG:4326", Affine(step, 0, -0.7818936232976315, 0, -step, 38.1288), (6, 5))
        array = make(grid=grid)
        array.spatial_ref.attrs["GeoTransform"] = f"-0.7818936232976315 {step} 0 38.1288 0 {-step}"
        assert read(array).grid == grid

    def test_a_single_pixel_needs_a_transform(self):
        one = make().isel(y=[2], x=[3])
        assert "da.rio.write_transform" in problem(one)
        one.spatial_ref.attrs["GeoTransform"] = "600000 10 0 4700020 0 -10"
        assert read(one).grid == GRID.window(2, 3, 1, 1)

    def test_refusals(self):
        rotated = make()
        rotated.spatial_ref.attrs["GeoTransform"] = "600000 10 2 4700020 2 -10"
        assert "da.rio.reproject(da.rio.crs)" in problem(rotated)
        uneven = make().assign_coords(x=[600005.0, 600015, 600025, 600035, 600046])
        assert "not evenly spaced" in problem(uneven)
        assert "da.sortby('x')" in problem(make().isel(x=slice(None, None, -1)))
        assert "da.rio.write_transform" in problem(make().drop_vars(["x", "y"]))
        curved = make().drop_vars(["x", "y"]).assign_coords(xc=(("y", "x"), np.ones((6, 5))))
        assert "two-dimensional" in problem(curved)
        assert "finite" in problem(make().assign_coords(x=[1.0, np.nan, 3, 4, 5]))

    @pytest.mark.parametrize("keeper", ["GeoTransform", "transform"])
    def test_coordinates_at_the_corners_of_any_transform(self, keeper):
        corners = make().assign_coords(x=GRID.x() - 5, y=GRID.y() + 5)
        if keeper == "transform":
            corners.attrs["transform"] = GRID.transform
        else:
            corners.spatial_ref.attrs["GeoTransform"] = "600000 10 0 4700020 0 -10"
        assert read(corners).grid == GRID
        assert read(corners).notes == {"coordinates": "corners"}
        assert read(corners.isel(x=slice(2, 4))).grid == GRID.window(0, 2, 6, 2)

    def test_degrees_that_were_rounded_on_their_way(self):
        step = 8.983152841195215e-05
        grid = Grid("EPSG:4326", Affine(step, 0, 3.0, 0, -step, 40.0), (300, 200))
        array = make(grid=grid)
        rounded = array.assign_coords(x=grid.x().round(7), y=grid.y().round(7))
        found = read(rounded).grid
        assert found.shape == grid.shape
        assert found.bounds == pytest.approx(grid.bounds, abs=0.02 * step)
        jittered = array.assign_coords(x=grid.x() + np.resize([0, 0.03 * step, 0], 200))
        assert "not evenly spaced" in problem(jittered)

    def test_longitudes_that_jump_at_the_antimeridian(self):
        grid = Grid("EPSG:4326", Affine(0.001, 0, 179.997, 0, -0.001, -17.0), (6, 5))
        array = make(grid=grid).assign_coords(x=(grid.x() + 180) % 360 - 180)
        assert "da.x % 360" in problem(array)
        assert read(array.assign_coords(x=array.x % 360)).grid.bounds == pytest.approx(grid.bounds)

    def test_control_points_alone_are_no_place(self):
        counted = make().assign_coords(x=np.arange(5) + 0.5, y=np.arange(6) + 0.5)
        assert "count pixels" in problem(counted)
        points = '{"type": "FeatureCollection", "features": [{}, {}, {}]}'
        counted.spatial_ref.attrs["gcps"] = points
        assert "3 ground control points" in problem(counted)
        assert "da.rio.reproject('EPSG:32719')" in problem(counted)
        warped = make()
        warped.spatial_ref.attrs["gcps"] = points
        assert read(warped).grid == GRID

    def test_coordinates_that_contradict_the_crs(self):
        degrees = Grid("EPSG:32719", Affine(1e-4, 0, -71.6, 0, -1e-4, -47.8), (6, 5))
        assert "look like degrees" in problem(make(grid=degrees))
        metres = Grid("EPSG:4326", Affine(10, 0, 600000, 0, -10, 4700020), (6, 5))
        assert "no degrees" in problem(make(grid=metres))
        nowhere = Grid("EPSG:32719", Affine(10, 0, 9e9, 0, -10, 4700020), (6, 5))
        assert "nowhere in EPSG:32719" in problem(make(grid=nowhere))
        # A drone's pixels may be as small.
        drone = Grid("EPSG:32719", Affine(0.02, 0, 600000, 0, -0.02, 4700020), (6, 5))
        assert read(make(grid=drone)).grid.bounds == pytest.approx(drone.bounds)

    def test_no_coordinates_but_a_transform(self):
        array = make().drop_vars(["x", "y"])
        array.spatial_ref.attrs["GeoTransform"] = "600000 10 0 4700020 0 -10"
        assert read(array).grid == GRID


class TestBands:
    def test_a_coordinate_of_strings_then_long_name_then_the_variable(self):
        numbered = make().assign_coords(band=[1, 2])
        assert read(make(long_name=("a", "b"))).bands == ("B2", "B4")
        assert read(numbered.assign_attrs(long_name=("B8", "B3"))).bands == ("B8", "B3")
        single = make(("B2",)).isel(band=0)
        assert read(single).bands == ("B2",)
        assert read(single.drop_vars("band").rename("B11")).bands == ("B11",)
        assert read(single.drop_vars("band").assign_attrs(long_name="red")).bands == ("red",)
        described = single.drop_vars("band").rename("B11").assign_attrs(long_name="Short wave")
        assert read(described).bands == ("B11",)

    def test_positions_named_by_the_caller(self):
        numbered = make().assign_coords(band=[1, 2])
        assert read(numbered, bands=("nir", "red")).bands == ("nir", "red")
        assert read(make(), bands=["nir", "red"]).bands == ("nir", "red")

    def test_stand_ins_are_kept_for_the_matching(self):
        raster = read(make(("B2", "B8")), bands={"B8A": "B8"})
        assert raster.bands == ("B2", "B8")
        found = match_bands(("B8A",), raster.bands, substitutes=raster.substitutes)
        assert found.unwrap() == (1,)

    def test_bands_of_which_some_have_no_name(self):
        array = make(("B2", "B4", "B8")).drop_vars("band")
        text = problem(array.assign_attrs(long_name=("B2", None, None)))
        assert "band(s) 2, 3 of the array's 3 have no name" in text
        assert "drop" not in text

    def test_refusals(self):
        numbered = make().assign_coords(band=[1, 2])
        assert "bands=('B2', 'B3',)" in problem(numbered)
        assert "each of the 2 bands" in problem(numbered, bands=["B2"])
        assert "not a string" in problem(numbered, bands="B2")
        assert "'B2' stands more than once" in problem(numbered, bands=["B2", "B2"])
        assert "no names" in problem(make(("B2",)).isel(band=0, drop=True))


class TestUnits:
    def test_declared_by_the_caller_or_by_attributes(self):
        assert read(make()).units == ("reflectance",) * 2
        assert read(make(rs_embed_units="uint8")).units == ("uint8",) * 2
        assert read(make(), units="db").units == ("db",) * 2
        mixed = read(make(("B2", "vv")), units={"vv": "db"})
        assert mixed.units == ("reflectance", "db")
        assert read(make(), units={"blue": "uint8"}).units == ("uint8", "reflectance")

    @pytest.mark.parametrize("dtype", ["uint16", "int16"])
    @pytest.mark.parametrize("said", ["", "1", "reflectance x 10000"])
    def test_sixteen_bit_sentinel2_is_assumed_and_told(self, dtype, said):
        forget()
        with pytest.warns(RsEmbedWarning, match="units='reflectance_x10000'"):
            raster = read(make(dtype=dtype, units=said))
        assert raster.units == ("reflectance_x10000",) * 2
        assert raster.notes == {"units_assumed": "reflectance_x10000"}

    def test_the_same_once_missing_values_became_nan(self):
        forget()
        masked = make(units="")
        masked.encoding["dtype"] = np.dtype("uint16")
        with pytest.warns(RsEmbedWarning):
            assert read(masked).units == ("reflectance_x10000",) * 2
        masked.encoding["scale_factor"] = 1e-4
        assert "units='reflectance'" in problem(masked)

    def test_a_classification_beside_bands_needs_no_units(self):
        ds = make(("B2", "B4"), dtype="uint16", units="").to_dataset("band")
        ds["scl"] = ds["B2"].astype("uint8")
        forget()
        with pytest.warns(RsEmbedWarning):
            raster = read(ds)
        assert raster.units == ("reflectance_x10000",) * 2 + ("undeclared",)
        assert raster.notes["units_undeclared"] == ["scl"]
        outcome = check_convertible(("scl",), raster.units[2:], ("reflectance",))
        assert "units=" in str(outcome.failure())
        assert read(ds, units={"scl": "class"}).units[2] == "class"
        assert "scl" in problem(ds[["scl"]])

    def test_declared_units_warn_of_nothing(self):
        forget()
        raster = read(make(dtype="uint16"), units="s2_dn_offset1000")
        assert raster.notes == {}
        assert raster.units == ("s2_dn_offset1000",) * 2

    def test_refusals(self):
        assert "units='reflectance'" in problem(make(units="m-2"))
        assert "attrs['units'] is 'm-2'" in problem(make(units="m-2"))
        assert "not declared" in problem(make(("a", "b"), dtype="uint16", units=""))
        assert "not declared" in problem(make(dtype="int32", units=""))
        assert "not declared" in problem(make(dtype="uint16", units="", scale_factor=1e-4))
        assert "choose from" in problem(make(), units="parsec")
        assert "units= names B9" in problem(make(), units={"B9": "db"})


class TestDates:
    def test_one_half_open_day_each(self):
        days = np.array(["2022-12-31T23:59", "2022-06-01", "2022-06-01T10:00"], "M8[ns]")
        raster = read(make().expand_dims(time=days))
        assert raster.intervals == (
            ("2022-12-31", "2023-01-01"),
            ("2022-06-01", "2022-06-02"),
            ("2022-06-01", "2022-06-02"),
        )

    def test_a_scalar_time_dates_a_single_image(self):
        dated = make().assign_coords(time=np.datetime64("2022-06-01", "ns"))
        assert read(dated).intervals == (("2022-06-01", "2022-06-02"),)
        assert read(make()).intervals == ()

    def test_moments_with_a_zone_are_days_of_utc(self):
        import pandas as pd

        moments = pd.to_datetime(["2022-06-01T23:00-03:00", "2022-06-11T12:00-03:00"])
        array = xr.concat([make(), make()], dim="time").assign_coords(time=moments)
        intervals = read(array.assign_attrs(units="reflectance")).intervals
        assert [start for start, _ in intervals] == ["2022-06-02", "2022-06-11"]

    def test_refusals(self):
        stack = make().expand_dims(time=2)
        assert "da.assign_coords(time=" in problem(stack)
        assert "not dates" in problem(stack.assign_coords(time=[1, 2]))
        gap = np.array(["2022-06-01", "NaT"], "M8[ns]")
        assert "without a date" in problem(stack.assign_coords(time=gap))


class TestContent:
    def test_the_same_for_equal_pixels_however_they_are_kept(self):
        marks = {
            read(array, content=True).content_hash
            for array in (
                make(), make().chunk(y=2, x=3), make().astype(">f8"),
                make().isel(y=slice(None, None, -1)), make().transpose("x", "y", "band"),
            )
        }  # fmt: skip
        assert len(marks) == 1
        assert read(make()).content_hash == ""

    def test_another_for_another_value_place_band_or_unit(self):
        changed = make()
        changed[1, 5, 4] = np.nan
        others = [
            read(changed), read(make(("B2", "B3"))), read(make(), units="uint8"),
            read(make(), crs=("override", "EPSG:32718")), read(make()),
        ]  # fmt: skip
        assert len({content_of(raster) for raster in others}) == 5


PLAIN = """
import sys
import numpy as np, xarray as xr
from rs_embed.core.result import unwrap_or_raise
from rs_embed.raster import read_xarray, working_grid
array = xr.DataArray(
    np.full((1, 4, 5), 3, "int16"), dims=("band", "y", "x"),
    coords={"band": ["B2"], "y": 45 - 10.0 * np.arange(4), "x": 5 + 10.0 * np.arange(5)},
    attrs={"crs": "x", "units": "reflectance"},
)
assert "attrs['crs']" in str(read_xarray(array).failure())
array.attrs["crs"] = "EPSG:32719"
array.encoding["_FillValue"] = 2
raster = unwrap_or_raise(read_xarray(array))
assert raster.read(unwrap_or_raise(working_grid(raster, 20))[0]).shape == (1, 1, 2, 2)
assert not {"rioxarray", "rasterio"} & {*sys.modules}
"""


def test_an_array_in_memory_is_read_without_rasterio():
    subprocess.run([sys.executable, "-W", "error", "-c", PLAIN], check=True)


SR = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")


@pytest.mark.parametrize(
    ("names", "attrs", "red"),
    [
        (SR, {"platform": "landsat-8"}, "SR_B4"),
        (SR, {"platform": "LANDSAT_9"}, "SR_B4"),
        (SR, {"platform": "landsat-5"}, "SR_B3"),
        (SR, {"system:id": "LANDSAT/LE07/C02/T1_L2/LE07_001001_20200101"}, "SR_B3"),
        (tuple(f"{name}_median" for name in SR), {"platform": "landsat-7"}, "SR_B3_median"),
        (("B2", "B3", "B4", "B5"), {"platform": "landsat-8"}, "B4"),
        (("B2", "B3", "B4", "B5"), {"platform": "landsat-5"}, "B3"),
        (("B02", "B03", "B04", "B05"), {"collection": "HLSL30_2.0"}, "B04"),
        (("B02_10m", "B03_10m", "B04_10m"), {}, "B04_10m"),
    ],
)
def test_red_is_found_by_the_numbering_of_the_platform(names, attrs, red):
    raster = read(make(names, **attrs))
    (place,) = unwrap_or_raise(raster.places_of(("B4",)))
    assert raster.bands[place] == red
    if any(str(value).lower().startswith(("land", "hls")) for value in attrs.values()):
        (near,) = unwrap_or_raise(raster.places_of(("B8A",)))
        assert raster.bands[near] == names[names.index(red) + 1]
        assert isinstance(raster.places_of(("B5",)), Failure), "Landsat has no red edge"


@pytest.mark.parametrize(
    "attrs",
    [{}, {"collection": "landsat-c2-l2"}, {"platform": "landsat-5, landsat-8"}],
)
def test_numbers_of_an_untold_landsat_are_refused_with_the_remedy(attrs):
    found = read(make(SR, **attrs)).places_of(("B4",)).failure()
    assert "da.attrs['platform'] = 'landsat-8'" in str(found)
    named = read(make(SR, **attrs), bands=("blue", "green", "red", "nir08", "swir16", "swir22"))
    assert named.places_of(("B4", "B8A")) == Success((2, 3))
    # A stand-in names the array's own band, whatever it is.
    assert read(make(SR, **attrs), bands={"B4": "SR_B3"}).places_of(("B4",)) == Success((2,))


def test_units_are_those_of_the_band_that_was_named():
    array = make(("B2_max", "B2_median", "B4"))
    del array.attrs["units"]
    raster = read(array, units={"B2_median": "reflectance", "B2_max": "uint8", "B4": "db"})
    assert raster.units == ("uint8", "reflectance", "db")


def test_a_crs_that_contradicts_the_arrays_own_is_refused():
    text = problem(make(), crs="EPSG:32718")
    assert "crs= is EPSG:32718, and the array's own CRS is EPSG:32719" in text
    assert "da.rio.write_crs('EPSG:32718')" in text
    assert "crs=('override', 'EPSG:32718')" in text
    assert "EPSG:32718" in problem(make().to_dataset("band"), crs=32718)


@pytest.mark.parametrize("same", ["epsg:32719", 32719, "32719", "+init=epsg:32719", _wkt(GRID.crs)])
def test_the_same_crs_in_another_spelling_contradicts_nothing(same):
    assert read(make(), crs=same).grid == GRID


def test_axis_order_and_unreadable_names_contradict_nothing():
    degrees = Grid("EPSG:4326", Affine(1e-3, 0, 2, 0, -1e-3, 41), (6, 5))
    assert read(make(grid=degrees), crs="OGC:CRS84").grid.crs == "OGC:CRS84"
    strange = make().drop_vars("spatial_ref").assign_attrs(crs="somewhere")
    assert read(strange, crs="EPSG:32719").grid == GRID
