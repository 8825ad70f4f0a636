"""Embeddings read back from the files that they were saved to."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from returns.result import Failure

from rs_embed.core.embedding import FEATURE, META_ATTR, attrs_of
from rs_embed.core.errors import ProviderError, SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.paths import user_path
from rs_embed.core.result import Outcome, caused
from rs_embed.export.marks import CHUNK, MARK
from rs_embed.export.targets import SUFFIXES
from rs_embed.raster.embedding_array import as_embedding, check_embedding, grid_coords
from rs_embed.raster.sources import SOURCES

if TYPE_CHECKING:
    import xarray as xr


def reopen(path: str | Path) -> Outcome[xr.DataArray]:
    """The embedding that a file holds, in memory, as it was saved.

    Fails with SpecError for a file that holds no embedding of ours, with ProviderError where there
    is no file, or where it is damaged.
    """
    return user_path(path).bind(_reopened)


def _reopened(path: Path) -> Outcome[xr.DataArray]:
    suffix = ".zarr" if path.is_dir() else path.suffix.lower()
    if suffix not in SUFFIXES:
        return Failure(SpecError(f"{str(path)!r} is no embedding: not .nc, .zarr, .tif or .npz"))
    if not path.exists():
        return Failure(ProviderError(f"there is no file {str(path)!r}; give the path it has"))
    try:
        found = _READERS[suffix](path)
    except (
        OSError, ValueError, KeyError, RuntimeError, TypeError, EOFError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        lost = ProviderError(
            f"{str(path)!r} is damaged, or is not what its suffix says: {error}; save it anew"
        )
        return Failure(caused(lost, by=error))
    if found is None:
        return Failure(
            SpecError(
                f"{str(path)!r} holds no embedding that rs_embed wrote; open it with xarray or "
                "rioxarray"
            )
        )
    found.encoding[SOURCES] = (str(path.absolute()),)
    return check_embedding(found)


def _from_netcdf(path: Path) -> xr.DataArray | None:
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", decode_coords="all") as opened:
        return _of_dataset(opened)


def _from_zarr(path: Path) -> xr.DataArray | None:
    import xarray as xr

    merged = path / ".zmetadata"
    if not merged.is_file():
        return None
    stored = json.loads(merged.read_text(encoding="utf-8"))["metadata"]
    with xr.open_zarr(path, chunks=None, consolidated=True, decode_coords="all") as opened:
        found = _of_dataset(opened)
    if found is not None:
        _complete(path, stored)
    return found


def _complete(path: Path, stored: Mapping[str, Any]) -> None:
    """OSError where a chunk is not there: Zarr would read it as missing values."""
    for key, array in stored.items():
        if not key.endswith(".zarray"):
            continue
        name = key.rpartition("/")[0]
        pairs = zip(array["shape"], array["chunks"], strict=True)
        wanted = math.prod(math.ceil(size / chunk) for size, chunk in pairs)
        there = sum(bool(CHUNK.fullmatch(part.name)) for part in (path / name).iterdir())
        if there < wanted:
            raise OSError(f"{there} of {wanted} chunks of {name!r} are there")


def _of_dataset(opened: xr.Dataset) -> xr.DataArray | None:
    ours = [array for array in opened.data_vars.values() if META_ATTR in array.attrs]
    return ours[0].load() if len(ours) == 1 else None


def _from_tiff(path: Path) -> xr.DataArray | None:
    import rioxarray

    opened: Any = rioxarray.open_rasterio(path)
    if isinstance(opened, list):
        return None  # several images in one file
    with opened:
        return as_embedding(opened.load()) if META_ATTR in opened.attrs else None


def _from_npz(path: Path) -> xr.DataArray | None:
    import xarray as xr

    with zipfile.ZipFile(path) as archive:
        if archive.comment != MARK:
            return None
    with np.load(path, allow_pickle=False) as stored:
        parts = {name: stored[name] for name in stored.files}
    values, meta = parts.pop("embedding"), json.loads(str(parts.pop("meta")))
    grid = [FEATURE, "y", "x"] if values.ndim > 1 else [FEATURE]
    dims = [str(dim) for dim in parts.pop("dims", grid)]
    crs, transform = parts.pop("crs", None), parts.pop("transform", None)
    coords: dict[str, Any] = {
        name: (name, part) if part.ndim else part for name, part in parts.items()
    }
    name = str(meta.get("model", "embedding"))
    array = xr.DataArray(values, dims=dims, coords=coords, name=name, attrs=attrs_of(meta))
    if crs is None or transform is None:
        return array
    shape = (array.sizes["y"], array.sizes["x"])
    array = array.assign_coords(grid_coords(Grid(str(crs), Affine(*transform), shape)))
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


_READERS: Mapping[str, Callable[[Path], xr.DataArray | None]] = {
    ".nc": _from_netcdf,
    ".zarr": _from_zarr,
    ".npz": _from_npz,
    ".tif": _from_tiff,
    ".tiff": _from_tiff,
}
