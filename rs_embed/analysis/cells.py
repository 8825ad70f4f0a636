"""The cells of an embedding array, walked in blocks and put back in their places."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.embedding import FEATURE

if TYPE_CHECKING:
    import xarray as xr

BLOCK_VALUES = 8_000_000  # 32 MB of float32 at a time


def iter_cells(array: xr.DataArray) -> Iterator[tuple[slice, np.ndarray]]:
    """The cells ``(n, D)`` in order, and their places, a few rows of one date at a time."""
    done = 0
    for part in _blocks(array, [dim for dim in array.dims if dim != FEATURE]):
        cells = np.asarray(part.transpose(..., FEATURE)).reshape(-1, array.sizes[FEATURE])
        yield slice(done, done + len(cells)), cells
        done += len(cells)


def _blocks(array: xr.DataArray, lead: Sequence[Hashable]) -> Iterator[xr.DataArray]:
    """Parts in the order of the cells; an entry too large for a block is parted further."""
    if not lead:
        yield array
        return
    rows = array.sizes[lead[0]]
    per_row = array.size // rows
    step = max(1, BLOCK_VALUES // per_row)
    for start in range(0, rows, step):
        part = array.isel({lead[0]: slice(start, start + step)})
        if per_row > BLOCK_VALUES:
            yield from _blocks(part, lead[1:])
        else:
            yield part


def map_cells(
    array: xr.DataArray, function: Callable[[np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """``function`` of the cells of every block, ``(N, width)`` float32.

    A cell with any NaN is handed over as zeros and comes back as NaN.
    """
    out = np.empty((array.size // array.sizes[FEATURE], width), dtype=np.float32)
    for place, cells in iter_cells(array):
        missing = ~np.isfinite(cells).all(axis=1)
        out[place] = function(np.where(missing[:, None], 0, cells))
        out[place][missing] = np.nan
    return out


def unflatten(array: xr.DataArray, cells: np.ndarray, dim: str | None) -> xr.DataArray:
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
