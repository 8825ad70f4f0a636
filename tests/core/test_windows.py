from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from rs_embed.core.crs import project
from rs_embed.core.grid import Grid
from rs_embed.core.windows import (
    fill_indices,
    one_window,
    resized_token_grid,
    tile,
    window_centres,
)
from tests.strategies import tilings

INF = math.inf
ENDS = (0.0, 0.0, 0.0, 0.0)
ROI = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_000_000), (100, 100))


def counts(tiling):
    """How often each cell of the ROI is covered by the windows' spans."""
    n = np.zeros(tiling.cells, dtype=int)
    for i in range(len(tiling)):
        own, part = tiling.spans(i)
        n[own] += 1
        assert [s.stop - s.start for s in own] == [s.stop - s.start for s in part]
        assert all(s.stop > s.start for s in own), "a window that fills nothing"
        assert all(s.start >= 0 and s.stop <= tiling.tokens_per_window for s in part)
    return n


def place_of_spans(tiling):
    """The pixel at which each window's span begins, from the window and from the ROI's cells."""
    for i, (row, col) in enumerate(tiling.windows()):
        own, part = tiling.spans(i)
        for axis, start, mine, theirs in (
            (tiling.rows, row, own[0], part[0]),
            (tiling.cols, col, own[1], part[1]),
        ):
            assert axis.origin + mine.start * tiling.token_px == (
                start + theirs.start * tiling.token_px
            )


def padding(axis, window, before, after):
    """Pixels before and after those that exist which the windows of an axis see."""
    return (
        max(0.0, -before - min(axis.offsets)),
        max(0.0, max(axis.offsets) + window - axis.size - after),
    )


@given(tilings())
def test_every_cell_is_covered_and_by_its_own_ground(drawn):
    shape, window, token, overlap, margins = drawn
    tiling = tile(shape, window, token, overlap=overlap, margins=margins)
    n = counts(tiling)
    place_of_spans(tiling)
    if overlap:
        assert (n >= 1).all()
        # One window more a side where the first or the last was moved back inside.
        assert (n <= (overlap + 2) ** 2).all()
    else:
        assert (n == 1).all()


@given(tilings())
def test_inner_cells_are_covered_k_by_k_times(drawn):
    shape, window, token, overlap, _ = drawn
    tiling = tile(shape, window, token, overlap=overlap)
    assert (counts(tiling) == max(1, overlap) ** 2).all()
    # With limits at least a window away, nothing changes.
    far = tile(shape, window, token, overlap=overlap, margins=(2.0 * window,) * 4)
    assert far == tiling


@given(tilings())
def test_windows_stay_within_the_pixels_there_are(drawn):
    shape, window, token, overlap, margins = drawn
    tiling = tile(shape, window, token, overlap=overlap, margins=margins)
    for axis, before, after in (
        (tiling.rows, margins[0], margins[2]),
        (tiling.cols, margins[1], margins[3]),
    ):
        left, right = padding(axis, window, before, after)
        if before + axis.size + after >= window and axis.size >= token:
            assert left <= token / 2
            assert right <= token / 2
            assert min(left, right) == 0
        elif axis.size >= token:
            # Fewer pixels than a window: filled to the right and the bottom.
            assert left == 0


@given(tilings())
def test_a_centre_on_the_far_edge_is_outside(drawn):
    shape, window, token, overlap, margins = drawn
    tiling = tile(shape, window, token, overlap=overlap, margins=margins)
    for axis, size in ((tiling.rows, shape[0]), (tiling.cols, shape[1])):
        centres = [axis.origin + (i + 0.5) * token for i in range(axis.cells + 1)]
        assert axis.cells == 1 or centres[-2] < size
        assert centres[-1] >= size
        if size >= token:
            assert axis.origin == 0


def test_exhaustively_small():
    """Every size, window, token, overlap and pair of limits up to a few windows."""
    for token, per_window in ((1, 1), (1, 4), (2, 2), (3, 2), (4, 3)):
        window = token * per_window
        overlaps = [0] + [k for k in range(2, per_window + 1) if per_window % k == 0]
        for overlap in overlaps:
            for size in range(1, 3 * window + 2):
                for before in (0, 1, 2, token, window, INF):
                    for after in (0, 1, 3, window - 1, INF):
                        tiling = tile(
                            (size, 1), window, token,
                            overlap=overlap, margins=(before, INF, after, INF),
                        )  # fmt: skip
                        n = counts(tiling)[:, 0]
                        if overlap:
                            assert (n >= 1).all()
                        else:
                            assert (n == 1).all()
                        place_of_spans(tiling)


@pytest.mark.parametrize("size", range(1, 16))
def test_smaller_than_a_token_is_one_cell_centred_to_the_pixel(size):
    tiling = tile((size, size), 64, 16)
    assert tiling.cells == (1, 1)
    middle = tiling.rows.origin + 8
    assert abs(middle - size / 2) <= 0.5
    grid = tiling.token_grid(ROI.window(0, 0, size, size))
    west, south, east, north = grid.bounds
    own = ROI.window(0, 0, size, size).bounds
    assert abs((west + east) - (own[0] + own[2])) / 2 <= 5
    assert abs((south + north) - (own[1] + own[3])) / 2 <= 5


@pytest.mark.parametrize("cells", range(1, 9))
def test_smaller_than_a_window_is_as_central_as_whole_tokens_allow(cells):
    tiling = tile((cells * 8, cells * 8), 64, 8)
    assert len(tiling) == 1
    (row, col) = next(tiling.windows())
    assert row == col
    left, right = -row // 8, 8 - cells + row // 8
    assert left + right == 8 - cells
    assert abs(left - right) <= 1


def test_three_by_three_pixels():
    open_ended = tile((3, 3), 64, 8)
    assert (open_ended.cells, len(open_ended)) == ((1, 1), 1)
    assert counts(open_ended).tolist() == [[1]]
    alone = tile((3, 3), 64, 8, margins=ENDS)
    # The cell is centred on the three pixels; what the window sees beyond them is padded.
    assert alone.rows.origin == -3
    assert alone.rows.offsets == (-3,)


def test_rectangular():
    tiling = tile((40, 200), 64, 8)
    assert tiling.cells == (5, 25)
    assert (len(tiling.rows.offsets), len(tiling.cols.offsets)) == (1, 4)
    assert tiling.rows.offsets == (-8,)
    assert tiling.cols.offsets == (0, 64, 128, 192)
    assert (counts(tiling) == 1).all()


def test_two_thousand_pixels():
    tiling = tile((2000, 2000), 224, 16)
    assert tiling.cells == (125, 125)
    assert len(tiling) == 81
    assert (counts(tiling) == 1).all()
    assert tiling.extent() == (0, 0, 2016, 2016)
    overlapped = tile((2000, 2000), 224, 16, overlap=2)
    assert (counts(overlapped) == 4).all()


def test_arrays_that_end_move_the_last_window_back_inside():
    tiling = tile((200, 136), 64, 8, margins=ENDS)
    assert tiling.rows.offsets == (0, 64, 128, 136)
    assert tiling.cols.offsets == (0, 64, 72)
    # Tokens that were covered already are dropped.
    assert tiling.rows.first_new_token == (0, 8, 16, 24)
    assert tiling.cols.first_new_token == (0, 8, 16)
    assert (counts(tiling) == 1).all()
    # 201 px end a pixel after a cell whose centre is outside: nothing more to see.
    assert tile((201, 64), 64, 8, margins=ENDS).rows.offsets == (0, 64, 128, 136)
    # 205 px: the centre of cell 26 is inside, and 3 px of it have to be padded.
    assert tile((205, 64), 64, 8, margins=ENDS).rows.offsets == (0, 64, 128, 144)


@pytest.mark.parametrize(
    ("before", "after", "starts"),
    [
        (INF, INF, (-24,)),
        (0, INF, (0,)),  # nothing above: the window begins at the ROI
        (7, INF, (0,)),
        (8, INF, (-8,)),
        (INF, 0, (-48,)),  # nothing below: the window ends with the ROI
        (INF, 8, (-40,)),
        (INF, 12, (-40,)),  # half a cell more: its centre is on the edge, so outside
        (INF, 13, (-32,)),  # its centre is inside; 3 px are padded
        (24, 24, (-24,)),
        (20, 28, (-16,)),  # a window of pixels, off the lattice by 4 px either way
        (0, 0, (0,)),  # less than a window: padded to the right
        (8, 0, (-8,)),
    ],
)
def test_limits_on_either_side(before, after, starts):
    axis = tile((16, 16), 64, 8, margins=(before, INF, after, INF)).rows
    assert axis.offsets == starts


def test_no_window_without_a_cell_of_the_roi():
    # One cell of eight: with overlap 2, two windows a side see it.
    tiling = tile((8, 8), 64, 8, overlap=2)
    assert len(tiling) == 4
    assert counts(tiling).tolist() == [[4]]


@given(tilings(), st.integers(0, 3), st.integers(0, 3))
def test_a_shift_by_whole_windows_shifts_the_windows(drawn, down, right):
    shape, window, token, overlap, _ = drawn
    larger = (shape[0] + down * window, shape[1] + right * window)
    if min(shape) * 1.0 < window:
        return  # a ROI below a window is centred in it, and has no upper-left lattice
    a, b = (tile(s, window, token, overlap=overlap) for s in (shape, larger))
    moved = {(row + down * window, col + right * window) for row, col in a.windows()}
    assert moved <= set(b.windows())


def test_token_grid_has_the_ground_of_its_pixels():
    tiling = tile((100, 100), 64, 16)
    grid = tiling.token_grid(ROI)
    assert grid.shape == (6, 6)
    assert grid.resolution == (160.0, 160.0)
    assert (grid.transform.c, grid.transform.f) == (500_000.0, 5_000_000.0)
    for mine, theirs in zip(grid.bounds, ROI.bounds, strict=True):
        assert abs(mine - theirs) <= 80


def test_resized_token_grid_covers_the_square():
    tiling = one_window(224, 16)
    assert (len(tiling), tiling.cells) == (1, (14, 14))
    grid = resized_token_grid(ROI, tiling)
    assert grid.shape == (14, 14)
    assert grid.bounds == pytest.approx(ROI.bounds)


def test_resized_token_grid_of_a_cropped_image_is_its_middle():
    grid = resized_token_grid(ROI, one_window(224, 16), 256)
    side = ROI.bounds[2] - ROI.bounds[0]
    middle = [b + side / 16 * sign for b, sign in zip(ROI.bounds, (1, 1, -1, -1), strict=True)]
    assert grid.bounds == pytest.approx(middle)
    # Of 109 - 96 = 13 pixels, the margins on the left and above get 6.
    odd = resized_token_grid(ROI, one_window(96, 8), 109)
    assert odd.resolution[0] == pytest.approx(side / 109 * 8)
    assert odd.transform.c - ROI.transform.c == pytest.approx(side * 6 / 109)


def test_window_centres_are_those_of_the_ground():
    tiling = tile((100, 100), 64, 16)
    lon, lat = window_centres(tiling, ROI)
    assert lon.shape == lat.shape == (len(tiling),)
    x, y = project(lon, lat, "EPSG:4326", ROI.crs)
    wanted = [(500_000 + 10 * (c + 32), 5_000_000 - 10 * (r + 32)) for r, c in tiling.windows()]
    np.testing.assert_allclose(np.stack([x, y], axis=1), wanted, atol=1e-3)


@pytest.mark.parametrize("rule", ["mirror", "reflect"])
@given(st.integers(1, 12), st.integers(-40, 40), st.integers(1, 60))
def test_fill_indices_agree_with_numpy_pad(rule, size, start, length):
    found = fill_indices(start, length, size, rule)
    wide = np.pad(np.arange(size), 120, mode="symmetric" if rule == "mirror" else "reflect")
    assert found.tolist() == wide[120 + start : 120 + start + length].tolist()
