"""An embedding as netCDF, Zarr or npz; a COG has a module of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from returns.result import Success

from rs_embed.core.embedding import FEATURE, META_ATTR
from rs_embed.core.errors import SpecError
from rs_embed.export.marks import MARK
from rs_embed.raster.embedding_array import cells_grid, grid_coords

if TYPE_CHECKING:
    import xarray as xr

_NPZ_NAMES = {"embedding", "meta", "crs", "transform", "dims"}


def write_netcdf(array: xr.DataArray, out: Path) -> None:
    """A netCDF-4 file with the embedding as its one variable."""
    _plain_dataset(array).to_netcdf(out, engine="h5netcdf")


def write_zarr(array: xr.DataArray, out: Path) -> None:
    """A Zarr store with the embedding as its one variable."""
    import zarr

    # Format 2 with its metadata in one place: zarr 2 and 3 write and open it without a warning.
    # zarr 2 knows no other.
    form = None if zarr.__version__.startswith("2.") else 2
    # With every chunk written, one that is not there is a loss that can be told.
    _plain_dataset(array).to_zarr(
        out, mode="w", consolidated=True, zarr_format=form, write_empty_chunks=True
    )


def write_npz(array: xr.DataArray, out: Path) -> None:
    """An archive of plain arrays: ``embedding``, ``meta``, and what tells its place and dates."""
    placed = with_mark(array)
    parts: dict[str, Any] = {
        "embedding": np.asarray(placed),
        "meta": np.array(placed.attrs[META_ATTR]),
    }
    for name, coord in placed.coords.items():
        if coord.dims not in ((), (name,)) or coord.dtype.kind not in "iufMSU":
            continue  # the CRS, or what plain arrays have no form for
        if str(name) in _NPZ_NAMES:
            raise SpecError(f"an npz has its own {str(name)!r}; rename the array's coordinate")
        if "crs_wkt" not in coord.attrs:
            parts[str(name)] = coord.values
        else:
            parts["crs"] = np.array(coord.attrs["crs_wkt"])
            gdal = [float(v) for v in str(coord.attrs["GeoTransform"]).split()]
            parts["transform"] = np.array(Affine.from_gdal(*gdal)[:6])
    if set(placed.dims) - {FEATURE, "y", "x"}:
        parts["dims"] = np.array([str(dim) for dim in placed.dims])
    with out.open("wb") as stream:
        np.savez(stream, **parts)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = MARK


def _plain_dataset(array: xr.DataArray) -> xr.Dataset:
    placed = with_mark(array)
    mapping = placed.encoding.get("grid_mapping")
    taken = {*map(str, placed.dims), *map(str, placed.coords)}
    name = str(placed.name or "embedding")
    bare = placed.copy(deep=False)
    for coord in (bare, *bare.coords.values()):
        coord.encoding = {}  # chunks and filters of the file that it was read from
    # Listed among the coordinates, the CRS stays one for readers that know no grid mapping.
    beside = sorted(str(c) for c in placed.coords if c not in placed.dims and " " not in str(c))
    if beside:
        bare.encoding["coordinates"] = " ".join(beside)
    if mapping:
        bare.encoding["grid_mapping"] = mapping
    return bare.to_dataset(name="embedding" if name in taken else name)


def with_mark(array: xr.DataArray) -> xr.DataArray:
    """The array with our mark, and with CRS and transform as its coordinates are now."""
    attrs = {name: value for name, value in array.attrs.items() if name != "grid_mapping"}
    attrs.setdefault(META_ATTR, "{}")
    mapping = str(
        array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping") or "spatial_ref"
    )
    marked = array.copy(deep=False)
    marked.attrs = attrs
    marked.encoding.pop("grid_mapping", None)
    found = cells_grid(array) if {"y", "x"} <= set(array.dims) else None
    if isinstance(found, Success):
        marked = marked.assign_coords({mapping: grid_coords(found.unwrap())["spatial_ref"]})
        marked.encoding["grid_mapping"] = mapping
    elif mapping in array.coords:
        marked.encoding["grid_mapping"] = mapping
    return marked
