"""An embedding array as cells of features: what it is, where it lies, and how it is walked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome
from rs_embed.georef import FEATURE as FEATURE

if TYPE_CHECKING:
    import xarray as xr

BLOCK_VALUES = 8_000_000  # 32 MB of float32 at a time


def check_embedding(array: Any) -> Outcome[xr.DataArray]:
    """The array with its feature axis before y and x; else Failure(SpecError)."""
    import xarray as xr

    if not isinstance(array, xr.DataArray) or FEATURE not in array.dims:
        dims = tuple(getattr(array, "dims", ()))
        return Failure(
            SpecError(
                f"this is no embedding: it has dims {dims} and an embedding has 'feature'; "
                "call it on what .rsembed.embed(model) returns"
            )
        )
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return Failure(
            SpecError(
                f"an embedding holds floating-point numbers; this one is {array.dtype} of shape "
                f"{array.shape}"
            )
        )
    last = [dim for dim in (FEATURE, "y", "x") if dim in array.dims]
    return Success(array.transpose(..., *last))


def check_grid(array: Any) -> Outcome[xr.DataArray]:
    """An embedding with the dims y and x; else Failure(SpecError)."""
    return check_embedding(array).bind(
        lambda found: (
            Success(found)
            if {"y", "x"} <= set(found.dims)
            else Failure(
                SpecError(
                    f"this embedding is pooled: it has dims {found.dims} and no y and x; "
                    "embed with output=OutputSpec.grid()"
                )
            )
        )
    )


def cells_grid(array: xr.DataArray) -> Outcome[Grid]:
    """Where the cells of an embedding are, its rows in their own order.

    Fails with SpecError where it has no CRS, or an irregular grid.
    """
    from rs_embed.reading.georeference import georeference
    from rs_embed.reading.layout import lay_out

    others = {dim: 0 for dim in array.dims if dim not in ("y", "x")}
    plane = array.isel(others, drop=True)
    return lay_out(plane).bind(
        lambda layout: georeference(layout, None).map(
            lambda placed: placed.grid.flip_rows() if placed.flipped else placed.grid
        )
    )


def blocks(array: xr.DataArray) -> Iterator[tuple[slice, np.ndarray]]:
    """The cells ``(n, D)`` in order, and their places, a few rows at a time."""
    lead = [dim for dim in array.dims if dim != FEATURE]
    if not lead:
        yield slice(0, 1), np.asarray(array)[None]
        return
    rows = array.sizes[lead[0]]
    per_row = array.size // rows
    step = max(1, BLOCK_VALUES // per_row)
    done = 0
    for start in range(0, rows, step):
        part = array.isel({lead[0]: slice(start, start + step)})
        cells = np.asarray(part.transpose(..., FEATURE)).reshape(-1, array.sizes[FEATURE])
        yield slice(done, done + len(cells)), cells
        done += len(cells)


def mapped(
    array: xr.DataArray, function: Callable[[np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """``function`` of the cells of every block, ``(N, width)`` float32.

    A cell with any NaN is handed over as zeros and comes back as NaN.
    """
    out = np.empty((array.size // array.sizes[FEATURE], width), dtype=np.float32)
    for place, cells in blocks(array):
        missing = ~np.isfinite(cells).all(axis=1)
        out[place] = function(np.where(missing[:, None], 0, cells))
        out[place][missing] = np.nan
    return out


def rebuilt(array: xr.DataArray, cells: np.ndarray, dim: str | None) -> xr.DataArray:
    """Cells ``(N, width)`` on the array's own coordinates, along ``dim`` in the features' place."""
    import xarray as xr

    lead = [d for d in array.dims if d != FEATURE]
    shape = [array.sizes[d] for d in lead]
    coords = {n: c.variable for n, c in array.coords.items() if FEATURE not in c.dims}
    if dim is None:
        out = xr.DataArray(cells.reshape(shape), dims=lead, coords=coords, name=array.name)
    else:
        stacked = xr.DataArray(
            cells.reshape(*shape, cells.shape[1]), dims=[*lead, dim], coords=coords, name=array.name
        )
        last = [d for d in (dim, "y", "x") if d in stacked.dims]
        out = stacked.transpose(..., *last)
    if "grid_mapping" in array.encoding:
        out.encoding["grid_mapping"] = array.encoding["grid_mapping"]
    return out


def origin(array: xr.DataArray) -> dict[str, Any]:
    """Which model the features came from."""
    names = ("model", "variant", "grid_mapping")
    return {name: array.attrs[name] for name in names if name in array.attrs}
