"""The cells of an embedding at places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.crs import is_geographic, project
from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome
from rs_embed.raster.embedding_array import cells_grid, check_grid

if TYPE_CHECKING:
    import xarray as xr

Place = tuple[float, float]
"""(longitude, latitude), degrees."""


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

    rows, cols = _cells_of(grid, lonlat)
    picked = array.isel(y=xr.DataArray(rows, dims="point"), x=xr.DataArray(cols, dims="point"))
    picked = picked.transpose(..., "point", FEATURE).where(xr.DataArray(rows >= 0, dims="point"))
    return picked.assign_coords(
        lon=("point", lonlat[:, 0]), lat=("point", lonlat[:, 1])
    ).assign_attrs({**array.attrs, "points_outside": int((rows < 0).sum())})


def _cells_of(grid: Grid, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the cell that holds each point, ``(N,)``; -1 in both outside."""
    x, y = project(lonlat[:, 0], lonlat[:, 1], "EPSG:4326", grid.crs)
    t = grid.transform
    if is_geographic(grid.crs):
        x = t.c + np.mod(x - t.c, 360)  # longitudes run on eastwards from the grid's own edge
    there = np.isfinite(x) & np.isfinite(y)
    # A centre on an edge belongs to the cell that begins there, whatever its last digit says.
    row = np.floor(np.where(there, (y - t.f) / t.e + 1e-9, -1))
    col = np.floor(np.where(there, (x - t.c) / t.a + 1e-9, -1))
    inside = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
    return np.where(inside, row, -1).astype(int), np.where(inside, col, -1).astype(int)
