"""Principal components of an embedding.

Cells that hold NaN stay out of every statistic and come back as missing. The work runs over blocks
of rows, so that a lazy embedding is never held whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.analysis.cells import iter_cells, map_cells, origin, unflatten
from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import python_scalar
from rs_embed.raster.embedding_array import check_embedding

if TYPE_CHECKING:
    import xarray as xr

COMPONENT = "component"


def pca(array: Any, n: int = 3) -> Outcome[xr.DataArray]:
    """Principal components of the cells, ``("component", "y", "x")`` float32.

    Parameters
    ----------
    array : DataArray
        An embedding; further dims, such as time, are fitted together and kept.
    n : int
        Components, from the one of largest variance on.

    The components are those of the centred cells (covariance over the valid ones, float64). Of
    each, the loading of largest magnitude is positive, so that a result is the same everywhere.
    ``attrs`` hold ``explained_variance`` and ``explained_variance_ratio``.

    Fails with SpecError for an array that is no embedding, or more components than features or
    valid cells can give.
    """
    return check_embedding(array).bind(lambda found: _pca(found, python_scalar(n)))


def _pca(array: xr.DataArray, n: int) -> Outcome[xr.DataArray]:
    features = array.sizes[FEATURE]
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= features:
        return Failure(
            SpecError(f"n must be 1..{features}, the features of the embedding, not {n!r}")
        )
    count, mean, covariance = _moments(array)
    if count <= n:
        return Failure(
            SpecError(
                f"{n} components need more than {n} valid cells; the embedding has {count}; "
                "ask for fewer, or embed a larger area"
            )
        )
    values, vectors = np.linalg.eigh(covariance)
    values, axes = np.maximum(values[::-1], 0), vectors[:, ::-1].T  # rows, largest variance first
    biggest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(len(axes)), biggest] < 0, -1, 1)[:, None]
    total = float(values.sum())
    out = map_cells(array, lambda cells: (cells - mean) @ axes[:n].T, n)
    result = unflatten(array, out, COMPONENT).assign_coords({COMPONENT: np.arange(1, n + 1)})
    return Success(
        result.assign_attrs(
            origin(array),
            long_name="principal components of the embedding",
            explained_variance=[float(v) for v in values[:n]],
            explained_variance_ratio=[float(v / total) if total else 0.0 for v in values[:n]],
            cells=count,
        )
    )


def _moments(array: xr.DataArray) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean ``(D,)`` and covariance ``(D, D)`` of the valid cells, in float64."""
    features = array.sizes[FEATURE]
    count, total = 0, np.zeros(features)
    product = np.zeros((features, features))
    shift: np.ndarray | None = None
    for _, cells in iter_cells(array):
        valid = cells[np.isfinite(cells).all(axis=1)].astype(np.float64)
        if not len(valid):
            continue
        # Sums about a value near the mean lose no digits to its square.
        shift = valid.mean(axis=0) if shift is None else shift
        valid -= shift
        count += len(valid)
        total += valid.sum(axis=0)
        product += valid.T @ valid
    if count < 2 or shift is None:
        return count, total, product
    mean = total / count
    return count, shift + mean, (product - count * np.outer(mean, mean)) / (count - 1)
