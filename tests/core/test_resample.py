from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from rs_embed.core.grid import Grid
from rs_embed.core.resample import (
    area_average,
    gather,
    nearest_indices,
    offset_in,
    resample_cells,
    resize,
    resize_and_crop,
    resize_bands,
    whole_factor,
)
from tests.strategies import around, grids

GRID = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_000_000), (12, 16))


def test_area_average_leaves_missing_pixels_out():
    pixels = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    np.testing.assert_array_equal(area_average(pixels, 2)[0], [[2.5, 4.5], [10.5, 12.5]])
    pixels[0, 0, 0] = np.nan
    pixels[0, 2:, 2:] = np.nan
    found = area_average(pixels, 2)[0]
    assert found[0, 0] == pytest.approx((1 + 4 + 5) / 3)
    assert np.isnan(found[1, 1])
    assert found.dtype == np.float32
    assert area_average(pixels, 1) is pixels


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_area_average_keeps_the_mean(h, w, factor):
    pixels = np.random.default_rng(0).normal(size=(2, h * factor, w * factor)).astype("f4")
    np.testing.assert_allclose(
        area_average(pixels, factor).mean(axis=(1, 2)), pixels.mean(axis=(1, 2)), rtol=1e-4,
        atol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("coarse", "fine", "factor"),
    [(30, 10, 3), (10, 10, 1), (20, 10, 2), (30, 9.95, 3), (25, 10, 1), (10, 30, 1), (4.9, 10, 1)],
)
def test_whole_factor(coarse, fine, factor):
    assert whole_factor(coarse, fine) == factor


@given(grids(), st.integers(-30, 30), st.integers(-30, 30))
def test_one_lattice_has_an_offset_in_itself(grid, row, col):
    assert offset_in(grid, grid.window(row, col, 5, 7)) == (row, col)


def test_other_lattices_have_none():
    assert offset_in(GRID, GRID.refine(2)) is None
    assert offset_in(GRID, GRID.flip_rows()) is None
    t = GRID.transform
    assert offset_in(GRID, Grid(GRID.crs, Affine(10, 0, t.c + 4, 0, -10, t.f), (2, 2))) is None
    assert offset_in(GRID, Grid("EPSG:32632", t, (2, 2))) is None


def test_nearest_pixels_of_the_same_crs():
    fine = GRID.refine(2)
    rows, cols = nearest_indices(GRID, fine)
    assert rows.shape == fine.shape
    np.testing.assert_array_equal(rows[:, 0], np.arange(24) // 2)
    np.testing.assert_array_equal(cols[0], np.arange(32) // 2)
    rows, cols = nearest_indices(GRID, around(GRID, 1, 1, 1, 1))
    assert (rows[0] == -1).all()
    assert (cols[:, 0] == -1).all()
    assert (rows[1:-1, 1:-1] >= 0).all()


def test_nearest_pixels_of_another_crs_are_where_the_ground_is():
    degrees = Grid("EPSG:4326", Affine(0.001, 0, 2.99, 0, -0.001, 45.17), (60, 60))
    rows, cols = nearest_indices(degrees, GRID)
    lon, lat = GRID.centre_lonlat()
    middle = rows[6, 8], cols[6, 8]
    assert abs(degrees.y()[middle[0]] - lat) < 0.001
    assert abs(degrees.x()[middle[1]] - lon) < 0.001


def test_gather_marks_what_lies_outside():
    pixels = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    rows, cols = np.array([[0, -1], [1, 1]]), np.array([[2, -1], [0, 1]])
    found = gather(pixels, rows, cols)[0]
    np.testing.assert_array_equal(found, [[2, np.nan], [3, 4]])


@pytest.mark.parametrize("size", [3, 8, 13, 32])
def test_resize_keeps_constants_and_ramps(size):
    flat = np.full((2, 11, 11), 0.3, dtype=np.float32)
    np.testing.assert_allclose(resize(flat, size), 0.3, rtol=1e-6)
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (64, 64))
    centres = (np.arange(size) + 0.5) * 64 / size - 0.5
    # A triangle over pixels that it does not divide evenly is off by hundredths of a pixel.
    np.testing.assert_allclose(resize(ramp, size)[0][1:-1], centres[1:-1], atol=0.02)


def test_resize_to_its_own_size_changes_nothing():
    pixels = np.random.default_rng(0).normal(size=(3, 8, 8)).astype("f4")
    assert resize(pixels, 8) is pixels


@pytest.mark.parametrize(("side", "size"), [(8, 4), (4, 8), (9, 6)])
def test_classes_are_never_averaged_by_a_resize(side, size):
    pixels = np.random.default_rng(3).integers(0, 12, (2, 3, side, side)).astype(np.float32)
    found = resize_bands(pixels, size, ("reflectance", "class", "reflectance"))
    nearest = ((np.arange(size) + 0.5) * side / size).astype(int)
    np.testing.assert_array_equal(found[:, 1], pixels[:, 1][:, nearest][:, :, nearest])
    np.testing.assert_array_equal(found[:, ::2], resize(pixels[:, ::2], size))
    alone = resize_bands(pixels, size, ("class",) * 3)
    assert set(np.unique(alone)) <= set(np.unique(pixels))


def test_resize_leaves_missing_pixels_out():
    pixels = np.full((16, 16), 0.5, dtype=np.float32)
    pixels[:4] = np.nan
    found = resize(pixels, 8)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[3:], 0.5, rtol=1e-6)


def test_enlarging_is_linear_interpolation():
    pixels = np.array([[0.0, 1.0]] * 2, dtype=np.float32)
    np.testing.assert_allclose(resize(pixels, 4)[0], [0, 0.25, 0.75, 1])


def test_coarser_cells_are_area_means():
    cells = np.random.default_rng(0).normal(size=(3, 12, 16)).astype("f4")
    found, grid = resample_cells(cells, GRID, 20)
    exact = cells.astype(np.float64).reshape(3, 6, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert grid == Grid(GRID.crs, Affine(20, 0, 500_000, 0, -20, 5_000_000), (6, 8))
    odd, grid = resample_cells(np.ones((1, 12, 16), "f4"), GRID, 25)
    np.testing.assert_allclose(odd, 1.0)
    assert grid.shape == (5, 6)
    # The cell 25 m wide holds two and a half of 10 m.
    ramp = np.broadcast_to(np.arange(16, dtype="f4"), (1, 12, 16))
    wide, _ = resample_cells(ramp, GRID, 25)
    assert wide[0, 0, 0] == pytest.approx((0 + 1 + 0.5 * 2) / 2.5)
    assert wide[0, 0, 1] == pytest.approx((0.5 * 2 + 3 + 4) / 2.5)


def test_finer_cells_are_the_nearest():
    cells = np.random.default_rng(0).normal(size=(3, 12, 16)).astype("f4")
    found, grid = resample_cells(cells, GRID, 5)
    np.testing.assert_array_equal(found, cells.repeat(2, axis=1).repeat(2, axis=2))
    assert grid.bounds == GRID.bounds


def test_missing_cells_stay_out_of_the_mean():
    cells = np.ones((1, 4, 4), dtype="f4")
    cells[0, 0, 0] = np.nan
    cells[0, 2:, 2:] = np.nan
    found, _ = resample_cells(cells, GRID.window(0, 0, 4, 4), 20)
    np.testing.assert_array_equal(found[0], [[1, 1], [1, np.nan]])


@given(grids(maximum=20), st.sampled_from((7.0, 20.0, 33.0, 160.0)))
def test_resampled_ground_is_the_same_within_half_a_cell(grid, scale):
    if grid.crs == "EPSG:4326":
        return
    cells = np.zeros((1, *grid.shape), dtype="f4")
    _, found = resample_cells(cells, grid, scale)
    half = max(scale, *grid.resolution) / 2
    if min(grid.shape) * grid.resolution[0] >= scale:
        for mine, theirs in zip(found.bounds, grid.bounds, strict=True):
            assert abs(mine - theirs) <= half + 1e-6
    assert found.north_up == grid.north_up


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("height", "width"), [(50, 40), (9, 30), (36, 36)])
def test_resize_and_crop_is_what_torch_does(height, width, antialias):
    from_numpy = pytest.importorskip("torch").from_numpy
    interpolate = pytest.importorskip("torch.nn.functional").interpolate

    pixels = np.random.default_rng(0).normal(size=(2, 3, height, width))
    short = min(height, width)
    shape = [int(36 * side / short) for side in (height, width)]
    whole = interpolate(
        from_numpy(pixels), shape, mode="bicubic", align_corners=False, antialias=antialias
    )
    top, left = (round((side - 32) / 2) for side in shape)
    wanted = whole[..., top : top + 32, left : left + 32].numpy()
    found = resize_and_crop(pixels, 32, 36, antialias=antialias)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [10, 25, 27.5, 40, 160, 1000])
def test_coarser_cells_by_an_independent_sum(size):
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(3, 12, 16)).astype("f4")
    cells[:, rng.random((12, 16)) < 0.2] = np.nan
    found, grid = resample_cells(cells, GRID, size)
    for row in range(grid.height):
        for col in range(grid.width):
            down = np.clip(np.minimum((row + 1) * size, np.arange(1, 13) * 10.0)
                           - np.maximum(row * size, np.arange(12) * 10.0), 0, None)  # fmt: skip
            across = np.clip(np.minimum((col + 1) * size, np.arange(1, 17) * 10.0)
                             - np.maximum(col * size, np.arange(16) * 10.0), 0, None)  # fmt: skip
            weight = np.outer(down, across) * np.isfinite(cells[0])
            if weight.sum() == 0:
                assert np.isnan(found[:, row, col]).all()
                continue
            by_hand = (np.nan_to_num(cells) * weight).sum(axis=(1, 2)) / weight.sum()
            np.testing.assert_allclose(found[:, row, col], by_hand, rtol=1e-5, atol=1e-6)


def test_an_axis_that_does_not_become_coarser_keeps_its_cells():
    oblong = Grid("EPSG:32631", Affine(5, 0, 500_000, 0, -20, 5_000_000), (4, 8))
    cells = np.random.default_rng(0).normal(size=(2, 4, 8)).astype("f4")
    found, grid = resample_cells(cells, oblong, 10)
    assert grid.shape == (8, 4)
    means = cells.reshape(2, 4, 4, 2).mean(axis=3)
    np.testing.assert_allclose(found, means.repeat(2, axis=1), rtol=1e-5)
