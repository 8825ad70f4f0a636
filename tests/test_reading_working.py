"""The grid a model works on over an array: its own corner where it is true, else UTM."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure

from rs_embed import PointBuffer, sample_scene
from rs_embed.core.crs import project
from rs_embed.core.grid import Grid, roi_grid
from rs_embed.core.plan import SourceInfo, pixel_margins
from rs_embed.core.result import unwrap_or_raise
from rs_embed.raster import read_xarray, working_grid
from rs_embed.raster.raster import Raster, pixel_size_m

SCENE = Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (200, 300))


def over(grid: Grid) -> Raster:
    """A raster of running numbers on a grid."""
    numbers = np.arange(grid.height * grid.width, dtype=np.float32).reshape(1, *grid.shape)
    array = xr.DataArray(
        numbers,
        dims=("band", "y", "x"),
        coords={"band": ["B2"], "y": grid.y(), "x": grid.x()},
        attrs={"crs": grid.crs, "units": "reflectance"},
    )
    return unwrap_or_raise(read_xarray(array))


def shares(source: int, target: int, ratio: float) -> np.ndarray:
    """``(target, source)`` share of each source pixel in a target pixel of ``ratio`` of them."""
    low = np.arange(target)[:, None] * ratio
    pixel = np.arange(source)[None]
    covered = np.minimum(low + ratio, pixel + 1) - np.maximum(low, pixel)
    covered = np.clip(covered, 0, None)
    return covered / covered.sum(axis=1, keepdims=True)


def work(raster: Raster, scale_m: float) -> tuple[Grid, dict[str, Any]]:
    return unwrap_or_raise(working_grid(raster, scale_m))


@pytest.fixture(scope="module")
def scene() -> Raster:
    return unwrap_or_raise(read_xarray(sample_scene()))


class TestOwnCorner:
    def test_the_scene_keeps_its_own_pixels(self, scene):
        grid, notes = work(scene, 10)
        assert (grid, notes) == (SCENE, {})
        assert np.array_equal(scene.read(grid)[0], sample_scene().values)

    def test_three_by_three_pixels_of_the_scene(self, scene):
        grid, notes = work(scene, 30)
        assert grid == Grid("EPSG:32719", Affine(30, 0, 600000, 0, -30, 4700020), (67, 100))
        assert notes == {"area_averaged": 3}
        coarse = scene.read(grid)[0]
        by_hand = sample_scene().values[:, :198].reshape(6, 66, 3, 100, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(coarse[:, :66], by_hand, rtol=1e-6)
        # The last row of cells has two rows of pixels; the third is missing, not zero.
        last = sample_scene().values[:, 198:].reshape(6, 2, 100, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(coarse[:, 66], last, rtol=1e-6)

    def test_a_step_within_a_thousandth_is_the_same(self):
        grid = Grid("EPSG:32719", Affine(10.005, 0, 600000, 0, -10.005, 4700020), (30, 40))
        raster = over(grid)
        assert work(raster, 10) == (raster.grid, {})
        assert raster.grid.resolution == pytest.approx((10.005, 10.005), rel=1e-9)

    def test_another_coarser_step_is_averaged_from_the_corner_and_told(self, scene):
        grid, notes = work(scene, 15)
        assert grid == Grid("EPSG:32719", Affine(15, 0, 600000, 0, -15, 4700020), (133, 200))
        assert notes == {"resampled": "area average, 10 m to 15 m", "area_averaged": 1.5}
        found = scene.read(grid)[0]
        rows, cols = shares(200, 133, 1.5), shares(300, 200, 1.5)
        by_hand = rows @ sample_scene().values.astype(float) @ cols.T
        np.testing.assert_allclose(found, by_hand, rtol=1e-6)

    def test_pixels_of_a_third_of_the_scale_are_all_heard(self):
        noise = np.random.default_rng(0).normal(size=(1, 330, 330)).astype("f4")
        raster = over(Grid("EPSG:32719", Affine(3.3, 0, 600000, 0, -3.3, 4700020), (330, 330)))
        raster = replace(raster, load=lambda r, c, h, w: noise[None, :, r : r + h, c : c + w])
        grid, notes = work(raster, 10)
        assert notes["area_averaged"] == 3.03
        rows = shares(330, grid.height, 10 / 3.3)
        found = raster.read(grid)[0, 0]
        np.testing.assert_allclose(found, rows @ noise[0].astype(float) @ rows.T, atol=1e-6)
        # Ten and more pixels in each: what is left of their noise is less than a third.
        assert found.std() < 0.35

    def test_a_finer_step_is_the_nearest(self, scene):
        grid, notes = work(scene, 8)
        assert notes == {"resampled": "nearest, 10 m to 8 m"}
        nearest = scene.read(grid)[0]
        rows, cols = (np.floor((np.arange(n) + 0.5) * 0.8).astype(int) for n in grid.shape)
        assert np.array_equal(nearest, sample_scene().values[:, rows][:, :, cols])

    def test_an_array_is_not_blown_up_without_limit(self):
        grid = Grid("EPSG:32719", Affine(900, 0, 600000, 0, -900, 4700020), (200, 200))
        outcome = working_grid(over(grid), 10)
        assert isinstance(outcome, Failure)
        assert "18000 x 18000" in str(outcome.failure())
        degrees = Grid("EPSG:4326", Affine(1, 0, 1.5, 0, -1, 41.5), (3, 3))
        assert "3 x 3 pixels" in str(working_grid(over(degrees), 10).failure())
        # Three times as large a side is what a 10 m model makes of any Landsat scene.
        lazy = Raster(lambda *_: np.empty(0), grid.window(0, 0, 60, 60), ("B2",), ("db",))
        assert work(lazy, 300)[0].shape == (180, 180)

    @pytest.mark.parametrize(("scale", "word"), [(25.0, "finer"), (4.0, "coarser")])
    def test_a_scale_far_off_is_told(self, scene, scale, word):
        _, notes = work(scene, scale)
        assert word in notes["resolution"]
        assert "resampled" in notes

    def test_oblong_pixels(self):
        grid = Grid("EPSG:32719", Affine(5, 0, 600000, 0, -10, 4700020), (20, 40))
        target, notes = work(over(grid), 10)
        assert target.shape == (20, 20)
        along = "area average along one axis, nearest along the other"
        assert notes == {"resampled": f"{along}, 5 x 10 m to 10 m", "area_averaged": [1, 2]}
        found = over(grid).read(target)[0, 0]
        numbers = np.arange(800, dtype="f4").reshape(20, 20, 2)
        np.testing.assert_array_equal(found, numbers.mean(axis=2))

    @given(
        step=st.floats(3, 60), scale=st.sampled_from([10.0, 30.0]), height=st.integers(1, 90),
        width=st.integers(1, 90),
    )  # fmt: skip
    def test_cells_cover_the_array_to_half_a_cell(self, step, scale, height, width):
        source = Grid("EPSG:32719", Affine(step, 0, 600000, 0, -step, 4700020), (height, width))
        raster = Raster(lambda *_: np.empty(0), source, ("B2",), ("reflectance",))
        grid, _ = work(raster, scale)
        assert grid.transform.c == 600000
        assert grid.transform.f == 4700020
        for have, want in zip(grid.bounds, source.bounds, strict=True):
            # A single cell may be wider than the array.
            slack = (
                grid.resolution[0] / 2 if min(source.shape) * step >= scale else grid.resolution[0]
            )
            assert abs(have - want) <= slack * (1 + 1e-9)


class TestWarped:
    STEP = 8.983152841195215e-05
    ACROSS = STEP / np.cos(np.radians(38.11))  # pixels as wide as high on the ground

    def test_degrees_go_to_utm(self):
        source = Grid(
            "EPSG:4326",
            Affine(self.ACROSS, 0, -0.7818936232976315, 0, -self.STEP, 38.12881257139627),
            (384, 384),
        )
        raster = over(source)
        grid, notes = work(raster, 10)
        assert grid.crs == "EPSG:32630"
        assert grid.transform.c % 10 == 0
        assert grid.transform.f % 10 == 0
        assert notes["warped_from"] == "EPSG:4326"
        assert notes["resampled"].startswith("nearest")
        read = raster.read(grid)[0, 0]
        # By hand: the pixel of each cell's centre; what lies outside the array is missing.
        x, y = np.meshgrid(grid.x(), grid.y())
        lon, lat = project(x.ravel(), y.ravel(), grid.crs, "EPSG:4326")
        col = np.floor((lon - source.transform.c) / self.ACROSS).astype(int).reshape(grid.shape)
        row = np.floor((source.transform.f - lat) / self.STEP).astype(int).reshape(grid.shape)
        inside = (col >= 0) & (col < 384) & (row >= 0) & (row < 384)
        assert np.array_equal(np.isnan(read), ~inside)
        assert np.array_equal(read[inside], (row * 384 + col)[inside].astype(np.float32))
        assert 0.01 < (~inside).mean() < 0.1

    def test_it_is_the_smallest_rectangle_that_covers(self):
        source = Grid("EPSG:4326", Affine(1e-4, 0, 2.9, 0, -1e-4, 41.6), (300, 400))
        grid, _ = work(over(source), 10)
        west, south, east, north = source.bounds
        t = np.linspace(0, 1, 500)
        lon = np.concatenate(
            [west + t * (east - west)] * 2 + [np.full(500, west), np.full(500, east)]
        )
        lat = np.concatenate(
            [np.full(500, north), np.full(500, south), *[south + t * (north - south)] * 2]
        )
        x, y = project(lon, lat, "EPSG:4326", grid.crs)
        left, bottom, right, top = grid.bounds
        assert 0 <= x.min() - left < 10
        assert 0 <= right - x.max() < 10
        assert 0 <= y.min() - bottom < 10
        assert 0 <= top - y.max() < 10

    def test_southern_northings_are_counted_from_the_equator(self):
        source = Grid("EPSG:4326", Affine(1e-4, 0, -67.66, 0, -1e-4, -47.84), (50, 50))
        grid, _ = work(over(source), 30)
        assert grid.crs == "EPSG:32719"
        assert (grid.transform.f - 10_000_000) % 30 == 0

    @pytest.mark.parametrize(
        ("crs", "x", "y"), [("EPSG:3857", 333958.0, 5146011.0), ("EPSG:2263", 987000.0, 210000.0)]
    )
    def test_projections_that_are_not_metres(self, crs, x, y):
        source = Grid(crs, Affine(10, 0, x, 0, -10, y), (100, 100))
        grid, notes = work(over(source), 10)
        assert grid.crs.startswith("EPSG:326")
        assert notes["warped_from"] == crs
        # The same ground, so the extent on it is the extent in pixels times their true size.
        assert grid.width == pytest.approx(100 * pixel_size_m(source) / 10, rel=0.05)

    def test_mercator_is_true_at_the_equator_alone(self):
        near = Grid("EPSG:3857", Affine(10, 0, 1000000, 0, -10, 5000), (100, 100))
        assert work(over(near), 10) == (near, {})

    def test_feet_of_a_third_of_the_scale_are_averaged(self):
        source = Grid("EPSG:2263", Affine(3.2808, 0, 987000, 0, -3.2808, 210000), (120, 120))
        _, notes = work(over(source), 10)
        assert notes["area_averaged"] == 10

    @pytest.mark.parametrize(("west", "zone"), [(190.0, 2), (179.9975, 60), (-180.0, 1)])
    def test_longitudes_beyond_180(self, west, zone):
        source = Grid("EPSG:4326", Affine(1e-4, 0, west, 0, -1e-4, 10.0), (50, 50))
        raster = over(source)
        grid, _ = work(raster, 10)
        assert grid.crs in (f"EPSG:326{zone:02d}", f"EPSG:326{zone % 60 + 1:02d}")
        read = raster.read(grid)
        assert np.isnan(read).mean() < 0.1
        assert np.nanmin(read) < 100
        assert np.nanmax(read) > 2400

    @pytest.mark.parametrize("metres", [3.3, 5.0, 1.7])
    def test_finer_degrees_are_averaged_as_gdal_does(self, metres):
        from rasterio.warp import Resampling, reproject

        step = metres / 111_200
        source = Grid("EPSG:4326", Affine(step * 1.27, 0, -0.78, 0, -step, 38.12), (400, 500))
        noise = np.random.default_rng(0).random((1, 400, 500)).astype("f4")
        noise[:, 100:130, 200:220] = np.nan
        raster = replace(over(source), load=lambda r, c, h, w: noise[None, :, r : r + h, c : c + w])
        grid, notes = work(raster, 10)
        assert np.mean(notes["area_averaged"]) == pytest.approx(10 / metres, abs=0.05)
        theirs = np.full(grid.shape, np.nan, np.float32)
        reproject(
            noise[0], theirs, src_transform=source.transform, src_crs=source.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, src_nodata=np.nan,
            dst_nodata=np.nan, resampling=Resampling.average,
        )  # fmt: skip
        ours = raster.read(grid)[0, 0]
        both = np.isfinite(ours) & np.isfinite(theirs)
        assert both.mean() > 0.9
        # GDAL weighs the pixels of a rectangle about the turned cell; ours has the cell's area.
        assert np.abs(ours - theirs)[both].mean() < 0.2 * theirs[both].std()
        assert np.corrcoef(ours[both], theirs[both])[0, 1] > 0.97
        assert ours[both].std() == pytest.approx(theirs[both].std(), rel=0.1)

    def test_a_warped_pixel_does_not_depend_on_what_is_read_with_it(self):
        source = Grid("EPSG:4326", Affine(3e-5, 0, -0.78, 0, -3e-5, 38.12), (300, 400))
        raster = over(source)
        grid, _ = work(raster, 10)
        whole = raster.read(grid)
        part = raster.read(grid.window(20, 30, 11, 17))
        assert np.array_equal(part, whole[..., 20:31, 30:47], equal_nan=True)

    def test_gdal_takes_the_same_pixels(self):
        from rasterio.warp import reproject

        source = Grid("EPSG:4326", Affine(1.145e-4, 0, -0.78, 0, -9e-5, 38.12), (300, 400))
        raster = over(source)
        grid, _ = work(raster, 10)
        theirs = np.full(grid.shape, np.nan, np.float32)
        reproject(
            raster.load(0, 0, 300, 400)[0, 0], theirs, src_transform=source.transform,
            src_crs=source.crs, dst_transform=grid.transform, dst_crs=grid.crs,
            dst_nodata=np.nan,
        )  # fmt: skip
        ours = raster.read(grid)[0, 0]
        differ = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
        assert differ.mean() < 0.02
        # GDAL projects a line of pixels by interpolation: it may miss by some hundredths of one.
        x, y = np.meshgrid(grid.x(), grid.y())
        lon, lat = project(x[differ], y[differ], grid.crs, "EPSG:4326")
        places = np.stack([(lon + 0.78) / 1.145e-4, (38.12 - lat) / 9e-5])
        assert np.abs(places - np.round(places)).min(axis=0).max() < 0.03

    def test_wider_than_a_zone(self):
        source = Grid("EPSG:4326", Affine(0.1, 0, 0.0, 0, -0.1, 45.0), (20, 90))
        outcome = working_grid(over(source), 10)
        assert isinstance(outcome, Failure)
        assert "split it" in str(outcome.failure())


def test_a_source_as_wide_as_the_globe_has_pixels_all_around():
    globe = Grid("EPSG:4326", Affine(0.1, 0, -180, 0, -0.1, 90), (1800, 3600))
    source = SourceInfo("x", ("B2",), ("reflectance",), grid=globe)
    for place in (PointBuffer(0.6, 45, 640), PointBuffer(-67, -47, 640), PointBuffer(10, 70, 640)):
        roi = roi_grid(place, 10).unwrap()
        assert min(pixel_margins(roi, [source])) > 10_000
    # The edge of a source is where it was.
    part = Grid("EPSG:4326", Affine(1e-4, 0, 0.5, 0, -1e-4, 45.05), (1000, 2000))
    near = pixel_margins(
        roi_grid(PointBuffer(0.6, 45, 640), 10).unwrap(),
        [SourceInfo("x", ("B2",), ("reflectance",), grid=part)],
    )
    assert all(400 < pixels < 800 for pixels in near)


def test_a_south_up_scene_gives_the_same(scene):
    turned = unwrap_or_raise(read_xarray(sample_scene().isel(y=slice(None, None, -1))))
    assert work(turned, 30) == work(scene, 30)
    grid, _ = work(scene, 30)
    assert np.array_equal(turned.read(grid), scene.read(grid))


def test_the_corner_of_the_scene_is_on_the_lattice():
    # (4,700,020 - 10,000,000) is a multiple of 10, counted from the equator.
    import rasterio

    with rasterio.open(str(files("rs_embed.data") / "patagonia_s2_6band.tif")) as source:
        assert source.transform.f == 4700020
        assert (source.transform.f - 10_000_000) % 10 == 0


def test_classes_are_never_averaged():
    grid = Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (6, 6))
    numbers = np.random.default_rng(0).choice([4.0, 6.0], (2, 6, 6)).astype("f4")
    raster = Raster(
        lambda r, c, h, w: numbers[None, :, r : r + h, c : c + w], grid, ("SCL", "B2"),
        ("class", "reflectance"),
    )  # fmt: skip
    for target in (
        grid.coarsen(3),
        grid.coarsen(2),
        Grid(grid.crs, Affine(25, 0, 600000, 0, -25, 4700020), (2, 2)),
    ):
        found = raster.read(target)[0]
        assert set(np.unique(found[0])) <= {4.0, 6.0}
        assert not set(np.unique(found[1])) <= {4.0, 6.0}


def test_a_whole_factor_off_the_lattice_is_weighted():
    raster = over(Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (4, 4)))
    moved = Grid("EPSG:32719", Affine(20, 0, 600005, 0, -20, 4700020), (1, 1))
    # Half of the first column, all of the second, half of the third; two rows.
    by_hand = (np.array([0, 1, 2]) + np.array([[0], [4]])) @ [0.25, 0.5, 0.25]
    assert raster.read(moved)[0, 0] == pytest.approx(by_hand.mean())


def test_far_coarser_pixels_are_read_in_parts():
    grid = Grid("EPSG:32719", Affine(1, 0, 600000, 0, -1, 4700020), (4000, 4000))
    held = []

    def load(row: int, col: int, height: int, width: int) -> np.ndarray:
        held.append(height * width)
        rows = np.arange(row, row + height, dtype="f4")[:, None]
        return np.broadcast_to(rows, (1, 1, height, width))

    found = Raster(load, grid, ("B2",), ("reflectance",)).read(grid.coarsen(1000))
    np.testing.assert_allclose(found[0, 0, :, 0], [499.5, 1499.5, 2499.5, 3499.5])
    assert max(held) <= 4_000_000
