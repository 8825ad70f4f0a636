from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_embed.core.errors import ProviderError
from rs_embed.core.token_grid import (
    TokenGrid,
    TokenMosaic,
    nothing_valid,
    pool,
    position_share,
    seam_ratio,
)
from rs_embed.core.windows import one_window, tile
from tests.strategies import tilings


def grid_of(shape, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, dim)).astype(np.float32)


def laid(tiling, cells, dim=3, order=None, holes=None):
    """A mosaic filled with what each window sees of known cells; beyond them, a wrong value."""
    mosaic = TokenMosaic(tiling, dim)
    for i in order if order is not None else range(len(tiling)):
        side = tiling.tokens_per_window
        tokens = np.full((side, side, dim), 1e9, dtype=np.float32)
        own, part = tiling.spans(i)
        tokens[part] = cells[own]
        mosaic.add(i, tokens, None)
    return mosaic.result()


@given(tilings())
def test_tokens_to_grid_is_the_identity(drawn):
    shape, window, token, overlap, margins = drawn
    tiling = tile(shape, window, token, overlap=overlap, margins=margins)
    cells = grid_of(tiling.cells)
    found = laid(tiling, cells).cells
    assert found.dtype == np.float32
    if overlap:
        np.testing.assert_allclose(found, cells, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, cells)


@given(tilings(), st.randoms(use_true_random=False))
def test_the_order_of_windows_does_not_matter(drawn, random):
    shape, window, token, overlap, margins = drawn
    tiling = tile(shape, window, token, overlap=overlap, margins=margins)
    cells = grid_of(tiling.cells)
    order = list(range(len(tiling)))
    random.shuffle(order)
    np.testing.assert_allclose(
        laid(tiling, cells, order=order).cells, laid(tiling, cells).cells, rtol=1e-5, atol=1e-6
    )


def test_overlapping_windows_are_averaged():
    tiling = tile((8, 8), 8, 4, overlap=2)
    mosaic = TokenMosaic(tiling, 1)
    for i in range(len(tiling)):
        mosaic.add(i, np.full((2, 2, 1), float(i), dtype=np.float32), None)
    found = mosaic.result().cells[..., 0]
    # Windows 3 x 3; the cell (row, col) is seen by those at (row, row + 1) x (col, col + 1).
    wanted = [[np.mean([0, 1, 3, 4]), np.mean([1, 2, 4, 5])],
              [np.mean([3, 4, 6, 7]), np.mean([4, 5, 7, 8])]]  # fmt: skip
    np.testing.assert_allclose(found, wanted)


def test_a_missing_token_is_left_out_of_the_average():
    tiling = tile((8, 8), 8, 4, overlap=2)
    mosaic = TokenMosaic(tiling, 1)
    for i in range(len(tiling)):
        value = np.nan if i == 0 else 2.0
        mosaic.add(i, np.full((2, 2, 1), value, dtype=np.float32), None)
    np.testing.assert_array_equal(mosaic.result().cells, 2.0)
    empty = TokenMosaic(tiling, 1)
    for i in range(len(tiling)):
        empty.add(i, np.full((2, 2, 1), np.nan, dtype=np.float32), None)
    assert np.isnan(empty.result().cells).all()


def test_missing_is_the_mean_share_over_the_windows():
    tiling = tile((8, 16), 8, 4)
    mosaic = TokenMosaic(tiling, 1)
    for i, missing in enumerate((0.5, 0.0)):
        mosaic.add(i, np.zeros((2, 2, 1), dtype=np.float32), None)
        mosaic.note(missing, np.array([i == 0, False, True]))
    assert mosaic.result().missing == 0.25
    assert mosaic.result().empty_intervals == 1


def test_image_vectors_are_weighted_by_their_cells_inside():
    tiling = tile((8, 12), 8, 4)  # a whole window, and one with half of its cells inside
    mosaic = TokenMosaic(tiling, 1)
    for i, value in enumerate((1.0, 4.0)):
        mosaic.add(i, np.zeros((2, 2, 1), dtype=np.float32), np.array([value, 0.0]))
    np.testing.assert_allclose(mosaic.result().image, [2.0, 0.0])
    gone = TokenMosaic(tiling, 1)
    gone.add(0, np.full((2, 2, 1), np.nan, dtype=np.float32), np.array([1.0]))
    gone.add(1, np.zeros((2, 2, 1), dtype=np.float32), np.array([4.0]))
    np.testing.assert_allclose(gone.result().image, [4.0])


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_pooling_is_the_grids_mean_in_any_order(h, w, random):
    cells = grid_of((h, w), 5)
    mean = pool(TokenGrid(cells), "mean")
    assert mean.shape == (5,)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, cells.mean(axis=(0, 1), dtype=np.float64), rtol=1e-6)
    flat = list(cells.reshape(-1, 5))
    random.shuffle(flat)
    shuffled = TokenGrid(np.array(flat).reshape(h, w, 5))
    np.testing.assert_allclose(pool(shuffled, "mean"), mean, rtol=1e-6)
    np.testing.assert_array_equal(pool(shuffled, "max"), pool(TokenGrid(cells), "max"))


def test_missing_cells_are_out_of_the_pool():
    cells = grid_of((4, 4))
    cells[1:3, 1:3] = np.nan
    field = TokenGrid(cells)
    assert field.valid.sum() == 12
    exact = np.nanmean(cells.astype(np.float64), axis=(0, 1))
    np.testing.assert_allclose(pool(field, "mean"), exact, rtol=1e-6)
    np.testing.assert_array_equal(pool(field, "max"), np.nanmax(cells, axis=(0, 1)))


def test_only_grid_tokens_reach_a_pool():
    field = TokenGrid(grid_of((2, 2)), image=np.array([9.0, 9.0], dtype=np.float32))
    assert not np.allclose(pool(field, "mean"), 9)
    np.testing.assert_array_equal(pool(field, "model"), [9.0, 9.0])
    with pytest.raises(ValueError, match="no image-level vector"):
        pool(TokenGrid(grid_of((2, 2))), "model")


def test_nothing_valid_says_what_to_do():
    error = nothing_valid("S2")
    assert type(error) is ProviderError
    assert "S2 holds no valid pixel; widen the temporal" in str(error)


# --- how much windows show ----------------------------------------------------------------------


def test_seams_of_a_smooth_field_do_not_show():
    tiling = tile((64, 64), 32, 4)
    ramp = np.add.outer(np.arange(16.0), np.arange(16.0))[..., None].astype(np.float32)
    assert seam_ratio(ramp, tiling) == pytest.approx(1.0)


def test_seams_between_windows_show():
    tiling = tile((64, 64), 32, 4)
    step = np.add.outer(np.arange(16.0) + 9 * (np.arange(16) >= 8), np.arange(16.0))
    # Steps down: 1 inside, 10 across the border; steps to the right: 1 everywhere.
    found = seam_ratio(step[..., None].astype(np.float32), tiling)
    assert found == pytest.approx((10 + 1) / 2)


def test_seams_follow_a_window_that_moved_back():
    tiling = tile((40, 32), 32, 4, margins=(0, 0, 0, 0))
    assert tiling.rows.first_new_token == (0, 8)
    cells = np.zeros((10, 8, 1), dtype=np.float32)
    cells[8:] = 5
    cells += np.arange(8)[None, :, None]
    assert seam_ratio(cells, tiling) > 1


def test_one_window_has_no_seams():
    assert seam_ratio(grid_of((4, 4)), one_window(16, 4)) is None
    assert position_share(grid_of((4, 4)), one_window(16, 4)) is None
    assert seam_ratio(np.zeros((16, 16, 1), np.float32), tile((64, 64), 32, 4)) is None
    assert position_share(np.zeros((16, 16, 1), np.float32), tile((64, 64), 32, 4)) is None


def test_position_share_is_one_where_only_the_place_counts():
    tiling = tile((128, 128), 32, 4)
    place = np.random.default_rng(0).normal(size=(8, 8, 3))
    cells = np.tile(place, (4, 4, 1)).astype(np.float32)
    assert position_share(cells, tiling) == pytest.approx(1.0)


def test_position_share_of_noise_is_chance():
    tiling = tile((512, 512), 32, 4)
    share = position_share(grid_of((128, 128)), tiling)
    # 64 places, 16384 cells: 63 / 16383 by chance.
    assert share == pytest.approx(63 / 16383, rel=0.4)


def test_position_share_leaves_missing_cells_out():
    tiling = tile((128, 128), 32, 4)
    place = np.random.default_rng(0).normal(size=(8, 8, 3))
    cells = np.tile(place, (4, 4, 1)).astype(np.float32)
    cells[:5, :7] = np.nan
    assert position_share(cells, tiling) == pytest.approx(1.0)
    assert np.isfinite(seam_ratio(cells, tiling))


def test_many_features_are_looked_at_in_parts():
    tiling = tile((128, 128), 32, 4)
    cells = grid_of((32, 32), 50)
    cells += 0.3 * np.tile(np.random.default_rng(1).normal(size=(8, 8, 50)), (4, 4, 1))
    cells[3, 4] = np.nan
    valid = np.isfinite(cells[..., 0])
    place = np.add.outer(np.arange(32) % 8 * 8, np.arange(32) % 8)[valid]
    flat = cells[valid].astype(np.float64)
    means = np.array([flat[place == p].mean(axis=0) for p in place])
    wanted = ((means - flat.mean(axis=0)) ** 2).sum() / ((flat - flat.mean(axis=0)) ** 2).sum()
    assert position_share(cells, tiling) == pytest.approx(wanted)
    down = np.linalg.norm(np.diff(cells.astype(np.float64), axis=0), axis=-1)
    right = np.linalg.norm(np.diff(cells.astype(np.float64), axis=1), axis=-1)
    seam = np.arange(31) % 8 == 7
    over = np.nanmean(np.concatenate([down[seam].ravel(), right[:, seam].ravel()]))
    within = np.nanmean(np.concatenate([down[~seam].ravel(), right[:, ~seam].ravel()]))
    assert seam_ratio(cells, tiling) == pytest.approx(over / within, rel=1e-5)
