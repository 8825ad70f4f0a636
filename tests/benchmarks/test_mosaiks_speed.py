"""mosaiks over 512 x 512 x 6 pixels, against the matrix product of its own convolution.

A plain run of the tests is a smoke test on a small patch, which shows that the two agree. The
figures::

    pytest tests/benchmarks/test_mosaiks_speed.py --benchmark-enable -s

Ours runs from the windows of pixels to 512 features a cell; the other is given the ready im2col
matrix of the same cells. They run in turns, and medians are compared.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from rs_embed.core.prepare import Windows
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import mosaiks

ROUNDS = 11
ALLOWED = 3.0


def test_patch_to_features(request: pytest.FixtureRequest) -> None:
    measured = request.config.getoption("--benchmark-enable", default=False)
    model = find_model("mosaiks").unwrap()
    side, p = 512 if measured else 64, model.token_px
    patch = np.random.default_rng(0).uniform(0, 0.6, (6, side, side)).astype(np.float32)
    n = side // model.window_px
    tiles = patch.reshape(6, n, model.window_px, n, model.window_px).transpose(1, 3, 0, 2, 4)
    pixels = np.ascontiguousarray(tiles).reshape(n * n, 1, 6, model.window_px, model.window_px)
    windows = Windows(pixels, model.bands, ((),) * n * n, np.zeros((n * n, 2)), 10.0)
    filters = mosaiks.build(model)
    assert filters.shape == (54, 256)
    views = sliding_window_view(_cells(pixels, p), (3, 3), axis=(2, 3))
    columns = np.ascontiguousarray(views.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, 54)

    def ours() -> np.ndarray:
        return mosaiks.encode(filters, mosaiks.prepare(windows, model), model).grid

    def product() -> np.ndarray:
        return columns @ filters

    response = product().reshape(-1, (p - 2) ** 2, 256)
    wanted = np.concatenate(
        [np.maximum(response, 0).mean(axis=1), np.maximum(-response, 0).mean(axis=1)], axis=-1
    )
    np.testing.assert_allclose(ours().reshape(-1, 512), wanted, rtol=1e-5, atol=1e-7)
    if not measured:
        return
    times: dict[str, list[float]] = {"ours": [], "product": []}
    for _ in range(ROUNDS):
        for name, run in (("ours", ours), ("product", product)):
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1e3)
    mine, theirs = (statistics.median(taken) for taken in times.values())
    print(f"ours {mine:.0f} ms, product {theirs:.0f} ms: {mine / theirs:.2f}, at most {ALLOWED:g}")
    assert mine <= ALLOWED * theirs


def _cells(pixels: np.ndarray, p: int) -> np.ndarray:
    batch, _, bands, height, width = pixels.shape
    cells = pixels[:, 0].reshape(batch, bands, height // p, p, width // p, p)
    return cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, bands, p, p)
