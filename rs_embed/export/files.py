"""Embeddings as files: netCDF, Zarr, COG and npz, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.embedding import FEATURE, META_ATTR
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.raster.embedding_array import cells_grid, check_embedding, check_grid

if TYPE_CHECKING:
    import xarray as xr

_TIFF = (".tif", ".tiff")
_SUFFIXES = (".nc", ".zarr", ".npz", *_TIFF)


def check_suffix(path: str | Path, *, pooled: bool) -> Outcome[Path]:
    """The path, or Failure(SpecError) where an embedding cannot be written under its suffix."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        return Failure(
            SpecError(
                f"an embedding is saved as .nc, .zarr, .tif or .npz, not {suffix or 'no suffix'!r}"
            )
        )
    if pooled and suffix in _TIFF:
        return Failure(
            SpecError(
                "a pooled vector is no image; save it as .nc, .zarr or .npz, or ask for "
                "output=OutputSpec.grid()"
            )
        )
    return Success(target)


def save(array: Any, path: str | Path) -> Outcome[Path]:
    """An embedding written to ``.nc``, ``.zarr``, ``.tif`` (one grid) or ``.npz``; whole or not.

    netCDF and Zarr keep dims, coordinates, CRS and attributes; read them with
    ``xr.open_dataarray(path, decode_coords="all")`` and ``xr.open_zarr``. A COG has one band a
    feature. An npz has ``embedding``, ``meta`` (JSON) and, of a grid, ``y``, ``x`` and ``crs``.

    Fails with SpecError for an array that is no embedding, or a suffix that cannot hold it.
    """
    return check_embedding(array).bind(
        lambda found: check_suffix(path, pooled="y" not in found.dims).bind(
            lambda target: _saved(found, target)
        )
    )


def _saved(array: xr.DataArray, target: Path) -> Outcome[Path]:
    suffix = target.suffix.lower()
    if suffix in _TIFF:
        return to_cog(array, target)
    if suffix == ".nc":
        return Success(_whole(target, lambda out: array.to_netcdf(out, engine="h5netcdf")))
    if suffix == ".zarr":
        return Success(_whole(target, lambda out: _to_zarr(array, out)))
    return Success(_whole(target, lambda out: _to_npz(array, out)))


def to_cog(array: Any, path: str | Path) -> Outcome[Path]:
    """A grid written as a cloud-optimised GeoTIFF, one band a feature; whole or not at all.

    Missing cells are NaN, which is also the nodata value; the description is a tag.

    Fails with SpecError for a pooled embedding, one with further dims, or a path that is no .tif.
    """
    return check_grid(array).bind(lambda found: _cog(found, Path(path)))


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
    return cells_grid(array).map(lambda _: _write_cog(array, path))


def _write_cog(array: xr.DataArray, path: Path) -> Path:
    import rioxarray  # noqa: F401  # registers .rio

    meta = array.attrs.get(META_ATTR)
    tags = {META_ATTR: meta} if meta else {}
    plain = array.drop_attrs(deep=False).rio.write_nodata(np.nan)
    return _whole(
        path, lambda out: plain.rio.to_raster(out, driver="COG", compress="deflate", tags=tags)
    )


def _to_zarr(array: xr.DataArray, out: Path) -> None:
    import zarr

    # Format 2 with its metadata in one place: zarr 2 and 3 write and open it without a warning.
    # zarr 2 knows no other.
    form = None if zarr.__version__.startswith("2.") else 2
    array.to_dataset(name=str(array.name or "embedding")).to_zarr(
        out, mode="w", consolidated=True, zarr_format=form
    )


def _to_npz(array: xr.DataArray, out: Path) -> None:
    parts = {
        "embedding": np.asarray(array),
        "meta": np.array(array.attrs.get(META_ATTR, "{}")),
    }
    if {"y", "x"} <= set(array.dims):
        parts |= {"y": array["y"].values, "x": array["x"].values}
        parts["crs"] = np.array(array["spatial_ref"].attrs["crs_wkt"])
    with out.open("wb") as stream:
        np.savez(stream, **parts)  # type: ignore[arg-type]  # arrays by name


def _whole(target: Path, write: Callable[[Path], Any]) -> Path:
    """Write beside the target under another name, then rename: whole, or as it was before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".rs_embed-", dir=target.parent))
    try:
        part = scratch / target.name
        write(part)
        _to_disk(part)
        if target.is_dir():
            os.replace(target, scratch / "before")  # a folder cannot be replaced in one step
        os.replace(part, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _to_disk(part: Path) -> None:
    """Have the bytes of a file, or of all files of a folder, on the disk before they get a name."""
    for path in part.rglob("*") if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
