"""`.rsembed.embed`: the numbers, the grid, the description."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_embed import (
    ModelChoice,
    ModelError,
    OutputSpec,
    PointBuffer,
    TemporalSpec,
    get_embedding,
    register_model,
    sample_scene,
)
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import cells_inside
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.pipeline import fetch, plan
from rs_embed.plugins.notices import RsEmbedWarning
from rs_embed.providers.memory import MemoryProvider
from tests.scenes import S2, as_dataset, cut, of_patch, placed, scene
from tests.toys import place_encode, toy

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
TINY = ModelChoice("mosaiks", modality="s2_rgb")


@pytest.fixture(scope="module", autouse=True)
def models():
    """A toy that shows its windows, and one of 20 m."""
    register_model(
        toy("accessor_place", encode="tests.toys:place_encode", window_px=32, token_px=8)
    )
    register_model(toy("accessor_20m", scale_m=20))
    register_model(toy("accessor_prime", window_px=15, token_px=5))
    assert place_encode


def same(found, wanted, rtol=1e-5):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=rtol, atol=1e-6)


def meta_of(array):
    return json.loads(array.attrs["rs_embed_meta"])


# The numbers


@pytest.mark.parametrize("side_px", [64, 128, 320])
def test_same_numbers_as_get_embedding(side_px):
    spatial = PointBuffer(2.17, 41.4, side_px * 5)
    one = get_embedding(
        "mosaiks", spatial=spatial, temporal=SUMMER, output=OutputSpec.grid(), backend="memory"
    )
    provider = MemoryProvider()
    model = unwrap_or_raise(find_model("mosaiks"))
    planned = unwrap_or_raise(plan(model, spatial, SUMMER, provider))
    array = of_patch(unwrap_or_raise(fetch(planned, provider)))
    found = array.rsembed.embed("mosaiks", temporal=SUMMER)
    same(found, one.data)
    assert found.rio.crs == one.data.rio.crs
    assert found.rio.transform() == one.data.rio.transform()
    assert meta_of(found)["input_time"] == one.meta["input_time"] == "2022-07-17"
    assert meta_of(found)["intervals"] == one.meta["intervals"]


def test_same_numbers_as_the_local_source():
    array = sample_scene()
    found = array.rsembed.embed("mosaiks")
    # The square of eight windows around the middle of one of the array's own windows' corners.
    lon, lat = cut(array, 0, 0, 128, 128).rsembed.grid.centre_lonlat()
    one = get_embedding(
        "mosaiks", spatial=PointBuffer(lon, lat, 640), output=OutputSpec.grid(),
        backend="local", source=array,
    )  # fmt: skip
    assert one.data.rio.transform() == found.rio.transform()
    same(found[:, :16, :16], one.data)


def test_a_cell_is_its_own_pixels():
    """Every cell equals the embedding of its 8 x 8 pixels alone, wherever its window lies."""
    array = scene(70, 100)
    found = array.rsembed.embed("mosaiks")
    assert found.shape == (512, 9, 12)
    for row, col in [(0, 0), (3, 9), (7, 11), (0, 11), (8, 0)]:
        if row < 8:
            alone = cut(array, 8 * row, 8 * col, 8, 8).rsembed.embed("mosaiks")
            same(found[:, row, col], alone[:, 0, 0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint16", "int32", "float16"])
def test_dtypes(dtype):
    array = scene(64, 64)
    if dtype == "float16":
        array = array.astype("int64") // 8 * 8  # numbers that half precision holds
        array.attrs["units"] = "reflectance_x10000"
    same(
        array.astype(dtype).rsembed.embed("mosaiks"),
        array.astype("float32").rsembed.embed("mosaiks"),
        rtol=0,
    )


@settings(max_examples=10)
@given(st.permutations(S2))
def test_band_order_does_not_matter(order):
    array = scene(16, 24)
    same(array.sel(band=list(order)).rsembed.embed("mosaiks"), array.rsembed.embed("mosaiks"), 0)


def test_dimension_order_does_not_matter():
    array = scene(16, 24)
    turned = array.transpose("x", "band", "y")
    xr.testing.assert_identical(turned.rsembed.embed("mosaiks"), array.rsembed.embed("mosaiks"))


def test_bands_that_the_model_does_not_take_are_left_alone():
    array = scene(16, 24, bands=(*S2, "B5", "SCL"))
    array[-2:] = np.nan
    same(array.rsembed.embed("mosaiks"), array[:6].rsembed.embed("mosaiks"), 0)


def test_dataset_equals_dataarray():
    array = scene(70, 100)
    dataset = as_dataset(array)[list(reversed(S2))]
    found = dataset.rsembed.embed("mosaiks")
    same(found, array.rsembed.embed("mosaiks"), 0)
    assert found.rio.transform() == array.rsembed.embed("mosaiks").rio.transform()


def test_dataset_with_units_by_variable():
    array = scene(16, 16)
    dataset = as_dataset(array)
    dataset["B8"] = (dataset["B8"] / 1e4).assign_attrs(units="reflectance")
    same(dataset.rsembed.embed("mosaiks"), array.rsembed.embed("mosaiks"), 1e-5)


def test_units_by_keyword():
    array = scene(16, 16)
    dn = (array + 1000).assign_attrs(units=None)
    same(dn.rsembed.embed("mosaiks", units="s2_dn_offset1000"), array.rsembed.embed("mosaiks"))


def test_stand_in_and_names_in_order():
    array = scene(16, 16)
    standing = array.assign_coords(band=["B2", "B3", "B4", "B8A", "B11", "B12"])
    found = standing.rsembed.embed("mosaiks", bands={"B8": "B8A"})
    same(found, array.rsembed.embed("mosaiks"), 0)
    assert meta_of(found)["input"]["substitutes"] == {"B8": "B8A"}
    assert meta_of(found)["input"]["bands"] == ["B2", "B3", "B4", "B8A", "B11", "B12"]
    nameless = array.drop_vars("band")
    same(nameless.rsembed.embed("mosaiks", bands=S2), array.rsembed.embed("mosaiks"), 0)


def test_several_models_give_a_dict():
    array = scene(64, 64)
    found = array.rsembed.embed(["mosaiks", "mosaiks:1024", TINY])
    assert list(found) == ["mosaiks", "mosaiks:1024", TINY]
    assert [a.shape for a in found.values()] == [(512, 8, 8), (1024, 8, 8), (512, 8, 8)]
    same(found["mosaiks"], array.rsembed.embed("mosaiks"), 0)
    with pytest.raises(ModelError, match="mosaics"):
        array.rsembed.embed(["mosaiks", "mosaics"])


# Windows


@pytest.mark.parametrize("shape", [(3, 3), (3, 70), (70, 3), (40, 40), (64, 65), (67, 132)])
def test_any_shape(shape):
    array = scene(*shape)
    found = array.rsembed.embed("mosaiks")
    assert found.shape == (512, *(cells_inside(n, 8) for n in shape))
    assert np.isfinite(found).all()
    check_georeference(found, array)


def test_three_pixels_are_mirrored():
    array = scene(3, 3)
    values = array.values
    rows = np.array([2, 1, 0, 0, 1, 2, 2, 1])  # the cell is centred: three pixels before them
    window = placed(np.ascontiguousarray(values[:, rows][:, :, rows]), S2)
    found = array.rsembed.embed("mosaiks")
    meta = meta_of(found)
    assert meta["padded_fraction"] == pytest.approx(1 - 9 / 64**2)
    same(found[:, 0, 0], window.rsembed.embed("mosaiks")[:, 0, 0])


def test_two_thousand_pixels():
    array = scene(2000, 2000, bands=("B4", "B3", "B2"), dtype="uint16")
    seen = []
    found = array.rsembed.embed(TINY, progress=lambda done, total: seen.append((done, total)))
    assert found.shape == (512, 250, 250)
    assert np.isfinite(found).all()
    assert seen[-1] == (32 * 32, 32 * 32)
    for row, col in [(0, 0), (120, 77), (249, 249), (8, 240)]:
        alone = cut(array, 8 * row, 8 * col, 8, 8).rsembed.embed(TINY)
        same(found[:, row, col], alone[:, 0, 0])
    check_georeference(found, array)


def test_shift_by_whole_windows():
    """Tokens of the windows that both see are the same, the rest of the array left aside."""
    array = scene(160, 128, bands=("B4", "B3", "B2"))
    found = array.rsembed.embed("accessor_place")
    shifted = cut(array, 64, 32, 96, 96).rsembed.embed("accessor_place")
    inner, moved = found[:, 8:, 4:], shifted
    place = [0, 1, 2, 3, 4, 5, 8, 9]  # longitude and latitude are floats of other grids' middles
    np.testing.assert_array_equal(inner.values[place], moved.values[place])
    same(inner, moved)


def test_overlap_averages():
    """Each cell is the mean of the tokens of all windows over it, at half strides."""
    array = scene(64, 64, bands=("B4", "B3", "B2"))
    found = array.rsembed.embed("accessor_place", overlap=2)
    total, count = np.zeros((3, 8, 8)), np.zeros((8, 8))
    for row in (0, 2, 4):
        for col in (0, 2, 4):
            window = cut(array, 8 * row, 8 * col, 32, 32).rsembed.embed("accessor_place")
            total[:, row : row + 4, col : col + 4] += window.values[:3]
            count[row : row + 4, col : col + 4] += 1
    same(found[:3], total / count)
    assert meta_of(found)["overlap"] == 2


def test_resize_is_one_window():
    array = scene(40, 40, bands=("B4", "B3", "B2"))
    found = array.rsembed.embed("accessor_place", input_prep="resize")
    assert found.shape == (10, 4, 4)
    assert found.rio.resolution() == (100, -100)
    assert found.rio.bounds() == array.rio.bounds()


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 24), (12, 96)])
def test_resize_of_an_oblong_array_invents_no_ground(height, width):
    array = scene(height, width, bands=("B4", "B3", "B2"))
    found = array.rsembed.embed("accessor_place", input_prep="resize")
    there = np.isfinite(found.values).all(axis=0)
    half = max(height, width) / 4 / 2 * 10
    left, bottom, right, top = array.rio.bounds()
    y, x = np.meshgrid(found.y.values, found.x.values, indexing="ij")
    inside = (y > bottom) & (y < top) & (x > left) & (x < right)
    if inside.any():
        assert np.array_equal(there, inside)
    # A strip narrower than a cell keeps the cells that it touches.
    assert there.any()
    assert (np.abs(y[there] - (top + bottom) / 2) < (top - bottom) / 2 + half).all()
    assert meta_of(found)["valid_fraction"] == there.mean() < 1
    pooled = array.rsembed.embed("accessor_place", input_prep="resize", output=OutputSpec.pooled())
    same(pooled, found.mean(("y", "x")))


def test_batch_size_does_not_matter():
    array = scene(130, 130)
    same(array.rsembed.embed("mosaiks", batch_size=1), array.rsembed.embed("mosaiks", batch_size=7))


def test_odd_values_are_told_and_strict_refuses_them():
    array = scene(64, 64) * 1e-4
    array = array.assign_attrs(scene(64, 64).attrs)
    with pytest.warns(RsEmbedWarning, match="every reflectance is below 0.01"):
        found = array.rsembed.embed("mosaiks")
    assert len(meta_of(found)["value_warnings"]) == 1
    with pytest.raises(SpecError, match="strict: every reflectance"):
        array.rsembed.embed("mosaiks", strict=True)
    assert meta_of(scene(64, 64).rsembed.embed("mosaiks", strict=True))["value_warnings"] == []


def test_an_infinite_value_is_a_missing_pixel():
    odd, missing = scene(64, 64), scene(64, 64)
    odd[2, 3:9, 5] = np.inf
    missing[2, 3:9, 5] = np.nan
    with pytest.warns(RsEmbedWarning, match="infinite"):
        found = odd.rsembed.embed("mosaiks")
    same(found, missing.rsembed.embed("mosaiks"))


# Missing pixels


def test_missing_pixels_stay_missing():
    array = scene(64, 64)
    array[:, 8:16, 16:24] = np.nan
    array[:, 40:44, 40:48] = np.nan
    found = array.rsembed.embed("mosaiks")
    missing = np.isnan(found).all("feature")
    assert missing.sum() == 1
    assert bool(missing[1, 2])
    assert meta_of(found)["valid_fraction"] == 63 / 64
    pooled = array.rsembed.embed("mosaiks", output=OutputSpec.pooled())
    same(pooled, found.mean(("y", "x")))


def test_nodata_of_whole_numbers():
    array = scene(64, 64, dtype="uint16")
    holes = array.copy()
    holes[:, :8, :8] = 0
    found = holes.rio.write_nodata(0).rsembed.embed("mosaiks")
    assert np.isnan(found[:, 0, 0]).all()
    same(found[:, 1:], array.rsembed.embed("mosaiks")[:, 1:], 0)


# The grid


def check_georeference(found, array):
    """CRS and transform of a result, stored and recomputed, against the array's own."""
    assert found.rio.crs == array.rio.crs
    assert found.rio.transform() == found.rio.transform(recalc=True)
    half = abs(found.rio.resolution()[0]) / 2
    np.testing.assert_allclose(found.rio.bounds(), array.rio.bounds(), atol=half + 1e-6, rtol=0)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32719", "EPSG:3035"])
def test_georeference(crs):
    corner = {"EPSG:3035": (4_321_000.0, 3_210_000.0)}.get(crs, (500_000.0, 5_000_000.0))
    array = scene(70, 100, crs=crs, corner=corner)
    found = array.rsembed.embed("mosaiks")
    check_georeference(found, array)
    assert found.rio.resolution() == (80, -80)
    assert found.rsembed.grid.transform == found.rio.transform()
    assert array.rsembed.grid.transform == array.rio.transform()
    assert found.dims == ("feature", "y", "x")
    assert found.dtype == np.float32
    assert found.name == "mosaiks"
    assert "feature" not in found.coords


def test_south_up():
    north = scene(70, 100)
    south = north.isel(y=slice(None, None, -1)).rio.write_transform()
    assert south.rio.transform().e > 0
    wanted = north.rsembed.embed("mosaiks")
    found = south.rsembed.embed("mosaiks")
    xr.testing.assert_equal(found, wanted)
    assert meta_of(found)["input"]["south_up"] is True
    native = south.rsembed.embed("mosaiks", output=OutputSpec.grid(grid_orientation="native"))
    same(native, wanted[:, ::-1], 0)
    np.testing.assert_array_equal(native.y, wanted.y[::-1])
    assert native.rio.transform() == native.rio.transform(recalc=True)
    unturned = north.rsembed.embed("mosaiks", output=OutputSpec.grid(grid_orientation="native"))
    xr.testing.assert_equal(unturned, wanted)
    assert south.rsembed.grid.transform == south.rio.transform()


def test_degrees_are_warped_and_told():
    array = scene(80, 80, crs="EPSG:4326", corner=(2.0, 41.5), step=1e-4)
    found = array.rsembed.embed("mosaiks")
    assert found.rio.crs.to_epsg() == 32631
    assert found.rio.resolution() == (80, -80)
    assert meta_of(found)["input"]["warped_from"] == "EPSG:4326"
    west, _, _, north = found.rio.transform_bounds("EPSG:4326")
    assert west == pytest.approx(2.0, abs=1e-3)
    assert north == pytest.approx(41.5, abs=1e-3)


def test_finer_pixels_are_averaged_and_told():
    array = scene(64, 64, bands=("B4", "B3", "B2"))
    coarse = array.coarsen(y=2, x=2).mean().drop_vars("spatial_ref").rio.write_crs(32631)
    found = array.rsembed.embed("accessor_20m")
    same(found, coarse.rio.write_transform().rsembed.embed("accessor_20m"))
    assert meta_of(found)["input"]["area_averaged"] == 2
    assert found.rio.resolution() == (160, -160)


def test_output_of_another_scale():
    array = scene(64, 64)
    found = array.rsembed.embed("mosaiks", output=OutputSpec.grid(scale_m=160))
    cells = array.rsembed.embed("mosaiks")
    same(found, cells.coarsen(y=2, x=2).mean())
    assert found.rio.resolution() == (160, -160)
    assert found.rio.transform() == found.rio.transform(recalc=True)
    assert array.rsembed.tiles("mosaiks", output=OutputSpec.grid(scale_m=160)).shape == found.shape


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooled(pooling):
    array = scene(64, 96)
    found = array.rsembed.embed("mosaiks", output=OutputSpec.pooled(pooling))
    grid = array.rsembed.embed("mosaiks")
    assert found.dims == ("feature",)
    assert found.name == "mosaiks"
    same(found, getattr(grid, pooling)(("y", "x")))
    assert meta_of(found)["pooling"] == pooling


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 3]))
def test_any_shape_is_covered(height, width, overlap):
    array = scene(height, width, bands=("B4", "B3", "B2"))
    found = array.rsembed.embed("accessor_prime", overlap=overlap)
    assert found.shape[1:] == (cells_inside(height, 5), cells_inside(width, 5))
    assert np.isfinite(found).all()
    check_georeference(found, array)
    # Red of a cell is the mean of its own pixels, wherever all of them exist.
    rows, cols = height // 5, width // 5
    if rows and cols:
        blocks = array.values[0, : rows * 5, : cols * 5].reshape(rows, 5, cols, 5).mean((1, 3))
        same(found.values[0, :rows, :cols], blocks / 1e4)


# The description


def test_attrs_are_flat():
    found = scene(16, 16).rsembed.embed("mosaiks")
    assert all(isinstance(v, str | int | float) for v in found.attrs.values())
    assert found.attrs["model"] == "mosaiks"
    meta = json.loads(found.attrs["rs_embed_meta"])
    assert meta["backend"] == "array"
    assert meta["weights"] == {"weights": "none"}
    assert meta["input"]["units"] == ["reflectance_x10000"] * 6
    assert math.isclose(meta["cell_m"], 80)


def test_arithmetic_and_selection_keep_the_crs():
    found = scene(64, 64).rsembed.embed("mosaiks")
    part = (found * 2).isel(x=slice(2, 5), y=slice(1, 4))
    assert part.rio.crs.to_epsg() == 32631
    assert part.rsembed.grid.transform == part.rio.transform(recalc=True)
    assert part.rsembed.grid.shape == (3, 3)


def test_the_input_is_left_as_it_was():
    array = scene(70, 70)
    array[:, :3] = np.nan
    before = array.copy(deep=True)
    array.rsembed.embed("mosaiks")
    xr.testing.assert_identical(array, before)


def test_repr_is_one_line():
    assert repr(scene(64, 96).rsembed) == (
        "rs_embed: 64 x 96 px of 10 m, EPSG:32631; bands B2, B3, B4, B8, B11, B12"
    )
    assert "\n" not in repr(as_dataset(scene(64, 96)).rsembed)
    assert repr(scene(64, 96).rsembed.embed("mosaiks").rsembed) == (
        "rs_embed: embedding of 512 features, 8 x 12 px of 80 m, EPSG:32631"
    )
    assert "no CRS" in repr(xr.DataArray(np.zeros((2, 2)), dims=("y", "x")).rsembed)
    assert "2 dates" in repr(scene(8, 8, times=["2022-06-01", "2022-06-11"]).rsembed)
    assert repr(scene(8, 8, bands=[f"b{i}" for i in range(20)]).rsembed).endswith("b12 and 7 more")
    assert "unknown" in repr(xr.Dataset().rsembed)


def test_to_patch():
    array = scene(10, 12, times=["2022-06-01", "2022-06-11"], dtype="uint16")
    patch = array.rsembed.to_patch()
    assert patch.data.shape == (2, 6, 10, 12)
    assert patch.data.dtype == np.float32
    np.testing.assert_array_equal(patch.data, array.values)
    assert patch.bands == S2
    assert patch.units == ("reflectance_x10000",) * 6
    assert patch.intervals == (("2022-06-01", "2022-06-02"), ("2022-06-11", "2022-06-12"))
    assert patch.grid == array.rsembed.grid
    south_up = array.isel(y=slice(None, None, -1)).rio.write_transform().rsembed.to_patch()
    np.testing.assert_array_equal(south_up.data, patch.data)
    assert south_up.grid == patch.grid
