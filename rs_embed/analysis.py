"""First looks at an embedding: components, similarity, and samples at points; and its files.

Every function takes an embedding as a DataArray with the dim ``"feature"``; cells that hold NaN
stay out of every statistic and come back as missing. The work runs over blocks of rows, so that a
lazy embedding is never held whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from returns.result import Failure, Success

from rs_embed.cells import (
    FEATURE,
    blocks,
    cells_grid,
    check_embedding,
    check_grid,
    mapped,
    origin,
    rebuilt,
)
from rs_embed.core.crs import project
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.resample import nearest_indices
from rs_embed.core.result import Outcome
from rs_embed.georef import check_suffix, embedding_of, save_embedding, write_cog

if TYPE_CHECKING:
    import xarray as xr

COMPONENT = "component"

Place = tuple[float, float]
"""(longitude, latitude), degrees."""


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
    return check_embedding(array).bind(lambda found: _pca(found, n))


def similarity(array: Any, target: Any) -> Outcome[xr.DataArray]:
    """Cosine of each cell with a vector or with the cell at a place, ``("y", "x")``, -1 to 1.

    Parameters
    ----------
    array : DataArray
        An embedding.
    target : (lon, lat), or array of shape (D,)
        A tuple of two numbers is a place; an array, DataArray or Embedding is a vector.

    Fails with SpecError for a place outside the grid or without a valid cell, and for a vector of
    another length, of zeros, or that is not finite.
    """
    return check_embedding(array).bind(
        lambda found: _target(found, target).map(lambda vector: _cosine(found, vector))
    )


def sample(array: Any, points: Sequence[Place]) -> Outcome[xr.DataArray]:
    """The cells at places, ``("point", "feature")``; NaN for a point outside the grid.

    Parameters
    ----------
    array : DataArray
        A grid embedding.
    points : sequence of (lon, lat)
        Degrees (EPSG:4326). A point belongs to the cell that holds it.

    ``lon`` and ``lat`` come back as coordinates; ``attrs["points_outside"]`` counts those outside.

    Fails with SpecError for points that are not pairs of degrees, or a grid without a CRS.
    """
    return check_grid(array).bind(
        lambda found: _check_points(points).bind(
            lambda lonlat: cells_grid(found).map(lambda grid: _sampled(found, grid, lonlat))
        )
    )


def to_cog(array: Any, path: str | Path) -> Outcome[Path]:
    """A grid written as a cloud-optimised GeoTIFF, one band a feature; whole or not at all.

    Fails with SpecError for a pooled embedding, one with further dims, or a path that is no .tif.
    """
    return check_grid(array).bind(lambda found: _cog(found, Path(path)))


def save(array: Any, path: str | Path) -> Outcome[Path]:
    """An embedding written to ``.nc``, ``.zarr``, ``.tif`` (one grid) or ``.npz``; whole or not.

    Fails with SpecError for an array that is no embedding, or a suffix that cannot hold it.
    """
    return check_embedding(array).bind(
        lambda found: check_suffix(path, pooled="y" not in found.dims).bind(
            lambda target: (
                to_cog(found, target)
                if target.suffix.lower() in (".tif", ".tiff")
                else Success(save_embedding(embedding_of(found), target))
            )
        )
    )


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
    out = mapped(array, lambda cells: (cells - mean) @ axes[:n].T, n)
    result = rebuilt(array, out, COMPONENT).assign_coords({COMPONENT: np.arange(1, n + 1)})
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
    for _, cells in blocks(array):
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


def _target(array: xr.DataArray, target: Any) -> Outcome[np.ndarray]:
    if isinstance(target, tuple) and len(target) == 2:
        return sample(array, [target]).bind(lambda found: _of_place(found, target))
    data = np.asarray(getattr(target, "data", target))
    features = array.sizes[FEATURE]
    if data.shape != (features,) or not np.issubdtype(data.dtype, np.number):
        return Failure(
            SpecError(
                f"similarity takes a (lon, lat) tuple or a vector of {features} numbers, not "
                f"{data.dtype} of shape {data.shape}"
            )
        )
    if not np.isfinite(data).all() or not np.any(data):
        return Failure(SpecError("the vector must be finite and not all zeros"))
    return Success(data.astype(np.float64))


def _of_place(found: xr.DataArray, place: Place) -> Outcome[np.ndarray]:
    if found.ndim != 2:
        return Failure(
            SpecError(
                f"the embedding has further dims {found.dims[:-2]}; select one entry, or pass a "
                "vector"
            )
        )
    if found.attrs["points_outside"]:
        return Failure(SpecError(f"(lon, lat) {place} lies outside the embedding; give one inside"))
    vector = np.asarray(found[0], dtype=np.float64)
    if not np.isfinite(vector).all():
        return Failure(SpecError(f"the cell at (lon, lat) {place} is missing; give another place"))
    return Success(vector)


def _cosine(array: xr.DataArray, vector: np.ndarray) -> xr.DataArray:
    unit = vector / np.linalg.norm(vector)

    def cosines(cells: np.ndarray) -> np.ndarray:
        norms = np.sqrt(np.einsum("nd,nd->n", cells, cells))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine: np.ndarray = np.clip(cells @ unit / norms, -1, 1)[:, None]
            return cosine

    out = mapped(array, cosines, 1)
    attrs = {**origin(array), "long_name": "cosine similarity", "units": "1"}
    return rebuilt(array, out, None).rename("similarity").assign_attrs(attrs)


def _check_points(points: Any) -> Outcome[np.ndarray]:
    remedy = "give a list of (lon, lat) in degrees, such as [(-67.1, -47.8)]"
    try:
        lonlat = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        return Failure(SpecError(f"points are not numbers; {remedy}"))
    if lonlat.ndim != 2 or lonlat.shape[1] != 2 or not len(lonlat):
        return Failure(SpecError(f"points have shape {lonlat.shape}, not (N, 2); {remedy}"))
    wrong = ~(np.isfinite(lonlat).all(axis=1) & (np.abs(lonlat) <= (180, 90)).all(axis=1))
    if wrong.any():
        i = int(wrong.argmax())
        return Failure(SpecError(f"points[{i}] is {tuple(lonlat[i].tolist())}; {remedy}"))
    return Success(lonlat)


def _sampled(array: xr.DataArray, grid: Grid, lonlat: np.ndarray) -> xr.DataArray:
    import xarray as xr

    x, y = project(lonlat[:, 0], lonlat[:, 1], "EPSG:4326", grid.crs)
    # Each point is asked for as a lattice of one pixel centred on it.
    places = [
        nearest_indices(grid, Grid(grid.crs, Affine(1, 0, px - 0.5, 0, -1, py + 0.5), (1, 1)))
        for px, py in zip(x, y, strict=True)
        if np.isfinite(px) and np.isfinite(py)
    ]
    rows, cols = (np.full(len(lonlat), -1) for _ in range(2))
    there = np.isfinite(x) & np.isfinite(y)
    rows[there] = [int(r[0, 0]) for r, _ in places]
    cols[there] = [int(c[0, 0]) for _, c in places]
    picked = array.isel(y=xr.DataArray(rows, dims="point"), x=xr.DataArray(cols, dims="point"))
    picked = picked.transpose(..., "point", FEATURE).where(xr.DataArray(rows >= 0, dims="point"))
    return picked.assign_coords(
        lon=("point", lonlat[:, 0]), lat=("point", lonlat[:, 1])
    ).assign_attrs({**array.attrs, "points_outside": int((rows < 0).sum())})


def _cog(array: xr.DataArray, path: Path) -> Outcome[Path]:
    if array.ndim != 3:
        extra = [str(d) for d in array.dims if d not in (FEATURE, "y", "x")]
        return Failure(
            SpecError(
                f"a COG holds one grid and this embedding has further dims {extra}; select one "
                f"entry, such as array.isel({extra[0]}=0)"
            )
        )
    if path.suffix.lower() not in (".tif", ".tiff"):
        return Failure(SpecError(f"a COG is written to a .tif, not {path.name!r}"))
    return cells_grid(array).map(lambda _: write_cog(array, path))
