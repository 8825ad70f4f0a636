"""Clusters of the cells of an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.analysis.cells import BLOCK_VALUES, iter_cells, origin, unflatten
from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import python_scalar
from rs_embed.raster.embedding_array import check_embedding

if TYPE_CHECKING:
    import xarray as xr

_MAX_ROUNDS = 100


def kmeans(array: Any, k: int, seed: int = 0) -> Outcome[xr.DataArray]:
    """Cluster numbers of the cells, ``("y", "x")`` int32 from 0 (the largest) on; -1 is missing.

    Parameters
    ----------
    array : DataArray
        An embedding.
    k : int
        Clusters; at least 1 and at most the valid cells.
    seed : int
        Of the first centres (k-means++: each drawn by its squared distance to those before).

    Lloyd's rounds run until no cell changes its cluster, at most 100; ``attrs`` tell ``rounds``,
    ``converged`` (0 or 1) and ``inertia``, the sum of squared distances.

    Fails with SpecError for an array that is no embedding, or a k that it cannot serve.
    """
    return check_embedding(array).bind(
        lambda found: _kmeans(found, python_scalar(k), python_scalar(seed))
    )


def _kmeans(array: xr.DataArray, k: int, seed: int) -> Outcome[xr.DataArray]:
    cells, valid = _valid_cells(array)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= len(cells):
        return Failure(
            SpecError(f"k must be 1..{len(cells)}, the valid cells of the embedding, not {k!r}")
        )
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        return Failure(SpecError(f"seed must be a whole number >= 0, not {seed!r}"))
    # Distances keep their digits when the cells lie around the origin.
    cells -= cells.mean(axis=0, dtype=np.float64).astype(np.float32)
    labels, inertia, rounds, converged = _lloyd(cells, k, np.random.default_rng(seed))
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    rank = np.empty(k, dtype=np.int32)
    rank[order] = np.arange(k, dtype=np.int32)
    out = np.full(len(valid), -1, dtype=np.int32)
    out[valid] = rank[labels]
    attrs = {
        **origin(array), "long_name": f"cluster of {k}", "units": "1",
        "seed": seed, "rounds": rounds, "converged": int(converged), "inertia": inertia,
        **({} if valid.all() else {"_FillValue": np.int32(-1)}),
    }  # fmt: skip
    return Success(unflatten(array, out[:, None], None).rename("cluster").assign_attrs(attrs))


def _valid_cells(array: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """The cells without NaN ``(n, D)``, the one copy that is held, and which of all they are."""
    features = array.sizes[FEATURE]
    count = array.size // features
    cells, valid = np.empty((count, features), dtype=np.float32), np.empty(count, dtype=bool)
    done = 0
    for place, part in iter_cells(array):
        found = np.isfinite(part).all(axis=1)
        valid[place] = found
        fresh = int(found.sum())
        cells[done : done + fresh] = part[found]
        done += fresh
    return cells[:done], valid


def _lloyd(
    cells: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, float, int, bool]:
    """Labels, inertia, rounds, and whether the labels came to rest."""
    centres = _first_centres(cells, k, rng)
    labels, distances = _nearest_centre(cells, centres)
    for rounds in range(1, _MAX_ROUNDS + 1):
        centres = _means(cells, labels, distances, k)
        fresh, distances = _nearest_centre(cells, centres)
        if np.array_equal(fresh, labels):
            return labels, float(distances.sum(dtype=np.float64)), rounds, True
        labels = fresh
    return labels, float(distances.sum(dtype=np.float64)), _MAX_ROUNDS, False


def _first_centres(cells: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    centres: np.ndarray = cells[rng.integers(len(cells))][None]
    distances = _nearest_centre(cells, centres)[1].astype(np.float64)
    for _ in range(1, k):
        total = distances.sum()
        # Where all cells equal a centre already, any cell will do.
        chances = distances / total if total > 0 else None
        new = cells[rng.choice(len(cells), p=chances)][None]
        centres = np.concatenate([centres, new])
        distances = np.minimum(distances, _nearest_centre(cells, new)[1])
    return centres


def _means(cells: np.ndarray, labels: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """The mean of each cluster; one left empty takes the cell farthest from its centre."""
    centres = np.zeros((k, cells.shape[1]), dtype=np.float64)
    counts = np.bincount(labels, minlength=k)
    step = max(1, BLOCK_VALUES // max(cells.shape[1], k))
    for start in range(0, len(cells), step):
        part = slice(start, start + step)
        belongs = labels[part] == np.arange(k)[:, None]  # (k, n)
        centres += belongs.astype(np.float64) @ cells[part]
    centres /= np.maximum(counts, 1)[:, None]
    farthest = np.argsort(-distances, kind="stable")
    for rank, i in enumerate(np.flatnonzero(counts == 0)):
        centres[i] = cells[farthest[rank]]
    return centres.astype(np.float32)


def _nearest_centre(cells: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest centre and the squared distance to it, each ``(N,)``."""
    labels = np.empty(len(cells), dtype=np.int64)
    distances = np.empty(len(cells), dtype=np.float32)
    lengths = np.einsum("kd,kd->k", centres, centres)
    step = max(1, BLOCK_VALUES // max(cells.shape[1], len(centres)))
    for start in range(0, len(cells), step):
        part = cells[start : start + step]
        squared = lengths - 2 * (part @ centres.T)
        nearest = squared.argmin(axis=1)
        own = np.einsum("nd,nd->n", part, part)
        labels[start : start + step] = nearest
        distances[start : start + step] = np.maximum(
            squared[np.arange(len(part)), nearest] + own, 0
        )
    return labels, distances
