"""Arrays for tests: seeded whole numbers, so that every dtype holds them exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from affine import Affine

from rs_embed.core.patch import Patch
from rs_embed.raster.embedding_array import grid_array

S2 = ("B2", "B3", "B4", "B8", "B11", "B12")
PLACE = (500_000.0, 5_000_000.0)


def scene(
    height: int = 64,
    width: int = 96,
    *,
    bands: Sequence[str] = S2,
    times: Sequence[str] | None = None,
    dtype: str = "float32",
    crs: str = "EPSG:32631",
    corner: tuple[float, float] = PLACE,
    step: float = 10,
    units: str | None = "reflectance_x10000",
    seed: int = 0,
) -> xr.DataArray:
    """``(band, y, x)`` or ``(time, band, y, x)``, north-up, values 0 to 6000."""
    rng = np.random.default_rng(seed)
    lead = (len(bands),) if times is None else (len(times), len(bands))
    values = rng.integers(1, 6000, size=(*lead, height, width)).astype(dtype)
    return placed(values, bands, times=times, crs=crs, corner=corner, step=step, units=units)


def placed(
    values: np.ndarray,
    bands: Sequence[str],
    *,
    times: Sequence[str] | None = None,
    crs: str = "EPSG:32631",
    corner: tuple[float, float] = PLACE,
    step: float = 10,
    units: str | None = "reflectance_x10000",
) -> xr.DataArray:
    """Values with coordinates, a CRS and units."""
    *_, height, width = values.shape
    left, top = corner
    coords: dict[str, Any] = {
        "band": list(bands),
        "y": top - step * (np.arange(height) + 0.5),
        "x": left + step * (np.arange(width) + 0.5),
    }
    dims = ("band", "y", "x")
    if times is not None:
        coords["time"] = np.array(times, dtype="datetime64[ns]")
        dims = ("time", *dims)
    array = xr.DataArray(values, dims=dims, coords=coords, attrs={"units": units} if units else {})
    return array.rio.write_crs(crs).rio.write_transform(Affine(step, 0, left, 0, -step, top))


def of_patch(patch: Patch) -> xr.DataArray:
    """The array that holds a patch's pixels, of one date."""
    array = grid_array(patch.chw, patch.grid, {}).rename(feature="band")
    return array.assign_coords(band=list(patch.bands)).assign_attrs(units=patch.units[0])


def as_dataset(array: xr.DataArray) -> xr.Dataset:
    """The same with bands as variables."""
    dataset = array.to_dataset("band")
    for name in dataset.data_vars:
        dataset[name].attrs = dict(array.attrs)
    return dataset


def cut(array: xr.DataArray, row: int, col: int, height: int, width: int) -> xr.DataArray:
    """A part of an array, in pixels."""
    return array.isel(y=slice(row, row + height), x=slice(col, col + width))
