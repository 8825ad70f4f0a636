"""MOSAIKS: random convolutional features, the baseline that runs anywhere.

Rolf et al. 2021, "A generalizable and accessible approach to machine learning with global
satellite imagery", Nature Communications 12, 4392: image patches are convolved with random
filters, rectified, and averaged. Here the filters are seeded Gaussian noise of zero mean and unit
norm, both signs of a response are kept, and the average is over one cell of the grid, so that a
cell depends on its own pixels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rs_embed.core.errors import ModelError
from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

SIDE = 3
# Responses held at once: few enough to stay near the processor, many enough that the threads of a
# matrix product rarely wait for each other.
_BLOCK = 2_400_000

_S2 = "COPERNICUS/S2_SR_HARMONIZED"
SPEC = ModelSpec(
    id="mosaiks",
    title="MOSAIKS random convolutional features",
    summary="Seeded random filters on reflectance; no weights, no torch, the baseline anywhere.",
    modalities={
        "s2": (InputSpec("s2", ("B2", "B3", "B4", "B8", "B11", "B12"), "reflectance", _S2),),
        "s2_rgb": (InputSpec("s2", ("B4", "B3", "B2"), "reflectance", _S2),),
        "s2_10b": (
            InputSpec(
                "s2",
                ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
                "reflectance",
                _S2,
            ),
        ),
    },
    variants=(Variant("512", 512), Variant("1024", 1024), Variant("4096", 4096)),
    default_variant="512",
    scale_m=10,
    window_px=64,
    token_px=8,
    module=__name__,
    options=(
        Option(
            "seed", int, 0, "seed of the random filters", minimum=0, maximum=2**32 - 1, builds=True
        ),
        Option(
            "token_px", int, 8, "pixels a side of a cell", minimum=SIDE, maximum=64, sets="token_px"
        ),
        Option("window_px", int, 64, "pixels a side of a window", minimum=SIDE, sets="window_px"),
    ),
    device=False,
    modality_builds=True,
    licence="Apache-2.0 (this implementation; no weights)",
    citation="Rolf et al. 2021, Nature Communications 12, 4392, doi:10.1038/s41467-021-24638-z",
    links=("https://doi.org/10.1038/s41467-021-24638-z",),
)


def build(model: Model) -> np.ndarray:
    """The filters ``(C * 9, D / 2)`` float32: seeded noise, or those of ``weights`` (a ``.npy``).

    Raises
    ------
    ModelError
        Where the file holds filters of another shape.
    """
    count, size = model.dim // 2, len(model.bands) * SIDE * SIDE
    if model.weights is None:
        # RandomState's stream is frozen by numpy, so the filters are the same everywhere.
        noise = np.random.RandomState(int(model.options["seed"] or 0)).standard_normal(
            (count, size)
        )
        return _unit(noise)
    try:
        filters = np.load(model.weights, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{model.weights} holds no filters; write them with "
            "np.save(path, empirical_filters(pixels, count))"
        ) from error
    if filters.shape != (count, size):
        raise ModelError(
            f"{model.weights} holds filters of shape {filters.shape}; mosaiks:{model.variant.name} "
            f"with {len(model.bands)} bands takes {(count, size)}"
        )
    return _unit(filters.astype(np.float64))


def empirical_filters(
    pixels: np.ndarray, count: int, *, seed: int = 0, epsilon: float = 1e-3
) -> np.ndarray:
    """Filters drawn from imagery: random 3 x 3 patches, ZCA-whitened.

    Parameters
    ----------
    pixels : ndarray
        ``(C, H, W)`` reflectance without missing values.
    count : int
        How many filters; half of the model's width.
    seed : int
    epsilon : float
        Added to the eigenvalues, as a share of the largest.

    Returns
    -------
    ndarray
        ``(count, C * 9)`` float32; save with ``np.save`` and pass as ``weights``.
    """
    if pixels.ndim != 3 or min(pixels.shape[1:]) < SIDE or not np.isfinite(pixels).all():
        raise ModelError("empirical_filters takes (C, H, W) pixels without missing values")
    views = sliding_window_view(pixels, (SIDE, SIDE), axis=(1, 2))
    patches = np.moveaxis(views, 0, 2).reshape(-1, pixels.shape[0] * SIDE * SIDE)
    rng = np.random.RandomState(seed)
    sample = patches[rng.randint(0, len(patches), size=max(count, 10_000))].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(centred, rowvar=False))
    scale = 1 / np.sqrt(np.maximum(values, 0) + epsilon * max(values.max(), 1e-12))
    whiten = (vectors * scale) @ vectors.T
    return np.asarray(_unit(centred[:count] @ whiten).T, dtype=np.float32)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``cells`` ``(B, h, w, C, p, p)`` reflectance; a missing pixel is its cell's mean, by band."""
    batch, _, bands, height, width = windows.pixels.shape
    p = model.token_px
    cells = windows.pixels[:, 0].reshape(batch, bands, height // p, p, width // p, p)
    cells = cells.transpose(0, 2, 4, 1, 3, 5)
    valid = np.isfinite(cells)
    if not valid.all():
        count = valid.sum(axis=(-2, -1), keepdims=True)
        total = np.where(valid, cells, 0).sum(axis=(-2, -1), keepdims=True)
        cells = np.where(valid, cells, total / np.maximum(count, 1))
    return {"cells": np.ascontiguousarray(cells, dtype=np.float32)}


def encode(network: np.ndarray, arrays: dict[str, Any], model: Model) -> Tokens:
    """Grid tokens ``(B, h, w, D)``: means of the positive parts, then of the negative parts."""
    cells = arrays["cells"]
    batch, rows, cols, bands, p, _ = cells.shape
    flat = cells.reshape(batch * rows * cols, bands, p, p)
    side, count = p - SIDE + 1, network.shape[1]
    positions = side * side
    block = max(1, min(len(flat), _BLOCK // (positions * count)))
    out = np.empty((len(flat), 2 * count), dtype=np.float32)
    columns = np.empty((block, side, side, bands, SIDE, SIDE), dtype=np.float32)
    responses = np.empty((block, positions, count), dtype=np.float32)
    parts = np.empty_like(responses)
    for start in range(0, len(flat), block):
        cell = flat[start : start + block]
        n = len(cell)
        views = sliding_window_view(cell, (SIDE, SIDE), axis=(2, 3))
        np.copyto(columns[:n], views.transpose(0, 2, 3, 1, 4, 5))
        response, part = responses[:n], parts[:n]
        np.matmul(columns[:n].reshape(n * positions, -1), network, out=response.reshape(-1, count))
        np.maximum(response, 0, out=part)
        np.add.reduce(part, axis=1, out=out[start : start + n, :count])
        np.subtract(part, response, out=part)
        np.add.reduce(part, axis=1, out=out[start : start + n, count:])
    out /= positions
    return Tokens(out.reshape(batch, rows, cols, 2 * count))


def _unit(filters: np.ndarray) -> np.ndarray:
    centred = filters - filters.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.ascontiguousarray((centred / norm).T, dtype=np.float32)
