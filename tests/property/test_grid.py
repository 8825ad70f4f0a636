"""coarsen, refine, window, flip: bounds contained, transform and coordinates agree, inverses."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from rs_embed.core.grid import cells_inside
from tests.strategies import around, grids

sides = st.integers(0, 20)


def agree(grid):
    """The transform, the coordinates and the bounds of a grid say the same."""
    x, y = grid.x(), grid.y()
    assert x.shape == (grid.width,)
    assert y.shape == (grid.height,)
    t = grid.transform
    columns, rows = np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5
    np.testing.assert_allclose(x, t.c + t.a * columns)
    np.testing.assert_allclose(y, t.f + t.e * rows)
    west, south, east, north = grid.bounds
    step_x, step_y = grid.resolution
    np.testing.assert_allclose([x.min() - step_x / 2, x.max() + step_x / 2], [west, east])
    np.testing.assert_allclose([y.min() - step_y / 2, y.max() + step_y / 2], [south, north])
    np.testing.assert_allclose(np.diff(x), step_x)
    np.testing.assert_allclose(np.diff(y), -step_y if grid.north_up else step_y)


@given(grids(), st.integers(1, 20))
def test_coarsen(grid, factor):
    coarse = grid.coarsen(factor)
    agree(coarse)
    assert coarse.shape == tuple(cells_inside(n, factor) for n in grid.shape)
    assert (coarse.transform.c, coarse.transform.f) == (grid.transform.c, grid.transform.f)
    assert coarse.north_up == grid.north_up
    # Every cell's centre is inside but for the one cell that a grid always has.
    west, south, east, north = grid.bounds
    if coarse.width > 1:
        assert ((west < coarse.x()) & (coarse.x() < east)).all()
    if coarse.height > 1:
        assert ((south < coarse.y()) & (coarse.y() < north)).all()
    # Bounds agree within half a cell wherever the grid is at least half a cell.
    half = factor / 2 * np.array(grid.resolution)
    if min(grid.shape) * 2 >= factor:
        assert abs(coarse.bounds[0] - west) <= half[0]
        assert abs(coarse.bounds[2] - east) <= half[0]
        assert abs(coarse.bounds[1] - south) <= half[1]
        assert abs(coarse.bounds[3] - north) <= half[1]


@given(grids(), st.sampled_from((1, 2, 4, 8)))
def test_refine_is_the_inverse_of_coarsen(grid, factor):
    fine = grid.refine(factor)
    agree(fine)
    assert fine.bounds == grid.bounds
    assert fine.coarsen(factor) == grid


@given(grids(), sides, sides, sides, sides)
def test_a_wider_window_contains_and_a_narrower_undoes(grid, top, left, bottom, right):
    wide = around(grid, top, left, bottom, right)
    agree(wide)
    assert wide.shape == (grid.height + top + bottom, grid.width + left + right)
    west, south, east, north = grid.bounds
    assert wide.bounds[0] <= west <= east <= wide.bounds[2]
    assert wide.bounds[1] <= south <= north <= wide.bounds[3]
    back = around(wide, -top, -left, -bottom, -right)
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.bounds, grid.bounds)


@given(grids(), sides, sides, sides, sides)
def test_a_narrower_window_lies_within(grid, top, left, bottom, right):
    assume(top + bottom < grid.height)
    assume(left + right < grid.width)
    part = around(grid, -top, -left, -bottom, -right)
    agree(part)
    np.testing.assert_allclose(part.x(), grid.x()[left : grid.width - right])
    np.testing.assert_allclose(part.y(), grid.y()[top : grid.height - bottom])


@given(grids(), st.integers(-30, 30), st.integers(-30, 30))
def test_window_moves_by_whole_pixels(grid, row, col):
    moved = grid.window(row, col, *grid.shape)
    agree(moved)
    np.testing.assert_allclose(moved.x(), grid.x() + col * grid.transform.a)
    np.testing.assert_allclose(moved.y(), grid.y() + row * grid.transform.e)


@given(grids())
def test_flip_twice_is_the_same_ground(grid):
    south_up = grid.flip_rows()
    agree(south_up)
    assert south_up.bounds == grid.bounds
    assert south_up.north_up != grid.north_up
    np.testing.assert_allclose(south_up.y(), grid.y()[::-1])
    assert south_up.flip_rows() == grid
