"""Embeddings as xarray objects: the only place that writes CRS, transform and coordinates."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome, unwrap_or_raise

if TYPE_CHECKING:
    import xarray

FEATURE = "feature"
META_ATTR = "rs_embed_meta"
_TIFF = (".tif", ".tiff")
_SUFFIXES = (".nc", ".zarr", ".npz", *_TIFF)


def grid_array(cells: np.ndarray, grid: Grid, meta: dict[str, Any]) -> xarray.DataArray:
    """``(D, H, W)`` cells as a georeferenced DataArray ``("feature", "y", "x")``.

    CRS and transform stand in the coordinate ``spatial_ref``, cell centres in ``y`` and ``x``, as
    rioxarray writes and reads them.
    """
    import xarray as xr

    array = xr.DataArray(
        xr.Variable((FEATURE, "y", "x"), cells, _attrs(meta)),
        coords=grid_coords(grid),
        name=str(meta.get("model", "embedding")),
    )
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


def grid_coords(grid: Grid) -> dict[str, xarray.Variable]:
    """``y`` and ``x`` at the middle of each pixel, and ``spatial_ref`` with CRS and transform."""
    import xarray as xr

    y_attrs, x_attrs = _axis_attrs(grid.crs)
    t = grid.transform
    ref = dict(_crs_attrs(grid.crs))
    ref["GeoTransform"] = " ".join(str(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    return {
        "y": xr.Variable("y", grid.y(), y_attrs),
        "x": xr.Variable("x", grid.x(), x_attrs),
        "spatial_ref": xr.Variable((), np.int64(0), ref),
    }


def embedding_to_xarray(embedding: Embedding) -> xarray.DataArray:
    """The data of an embedding as a DataArray whose attributes tell what made it."""
    import xarray as xr

    if isinstance(embedding.data, xr.DataArray):
        return embedding.data
    name = str(embedding.meta.get("model", "embedding"))
    return xr.DataArray(embedding.data, dims=(FEATURE,), name=name, attrs=_attrs(embedding.meta))


def embedding_of(array: xarray.DataArray) -> Embedding:
    """The embedding that a DataArray holds, with the description that it was written with."""
    meta: dict[str, Any] = json.loads(array.attrs.get(META_ATTR, "{}"))
    return Embedding(array.values if array.dims == (FEATURE,) else array, meta)


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


def save_embedding(embedding: Embedding, path: str | Path) -> Path:
    """Write an embedding by the suffix of the path; whole or not at all.

    netCDF and Zarr keep dims, coordinates, CRS and attributes; read them with
    ``xr.open_dataarray(path, decode_coords="all")`` and ``xr.open_zarr``. A COG has one band a
    feature. An npz has ``embedding``, ``meta`` (JSON) and, of a grid, ``y``, ``x`` and ``crs``.

    Raises
    ------
    SpecError
        For another suffix, or a pooled vector as an image.
    """
    array = embedding_to_xarray(embedding)
    target = unwrap_or_raise(check_suffix(path, pooled=not {"y", "x"} <= set(array.dims)))
    suffix = target.suffix.lower()
    if suffix in _TIFF:
        return write_cog(array, target)
    if suffix == ".nc":
        return _whole(target, lambda out: array.to_netcdf(out, engine="h5netcdf"))
    if suffix == ".zarr":
        return _whole(target, lambda out: _to_zarr(array, out))
    return _whole(target, lambda out: _to_npz(array, embedding.meta, out))


def write_cog(array: xarray.DataArray, path: str | Path) -> Path:
    """A grid as a cloud-optimised GeoTIFF, one band a feature; whole or not at all.

    Missing cells are NaN, which is also the nodata value; the description is a tag.

    Raises
    ------
    SpecError
        For an array that is not a georeferenced ``("feature", "y", "x")`` grid.
    """
    import rioxarray  # noqa: F401  # registers .rio

    if array.dims != (FEATURE, "y", "x"):
        raise SpecError(
            f"a COG takes a grid with dims ('feature', 'y', 'x'), not {array.dims}; "
            "select a time, or use OutputSpec.grid()"
        )
    meta = array.attrs.get(META_ATTR)
    tags = {META_ATTR: meta} if meta else {}
    plain = array.drop_attrs(deep=False).rio.write_nodata(np.nan)
    return _whole(
        Path(path),
        lambda out: plain.rio.to_raster(out, driver="COG", compress="deflate", tags=tags),
    )


def _to_zarr(array: xarray.DataArray, out: Path) -> None:
    import zarr

    # Format 2 with its metadata in one place: zarr 2 and 3 write and open it without a warning.
    # zarr 2 knows no other.
    form = None if zarr.__version__.startswith("2.") else 2
    array.to_dataset(name=str(array.name or "embedding")).to_zarr(
        out, mode="w", consolidated=True, zarr_format=form
    )


def _to_npz(array: xarray.DataArray, meta: dict[str, Any], out: Path) -> None:
    parts = {"embedding": np.asarray(array), "meta": np.array(_json(meta))}
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


def _attrs(meta: dict[str, Any]) -> dict[str, Any]:
    """Flat strings and numbers, which every file format takes; the whole description as JSON."""
    flat = {
        key: meta[key]
        for key in ("model", "variant", "source", "collection", "input_time", "rs_embed_version")
        if isinstance(meta.get(key), str | int | float) and not isinstance(meta.get(key), bool)
    }
    return {
        **flat,
        "long_name": f"{meta.get('model', 'embedding')} embedding",
        "units": "1",
        META_ATTR: _json(meta),
    }


def _json(meta: dict[str, Any]) -> str:
    """Strict JSON: numbers that it has no words for ("nan", "inf") become text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if isinstance(value, np.ndarray | np.generic):
            return plain(value.tolist())
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(meta), allow_nan=False)


@lru_cache(maxsize=256)
def _crs_attrs(crs: str) -> tuple[tuple[str, Any], ...]:
    """What rioxarray writes of a CRS, computed once for each: all of it follows from GDAL's WKT."""
    from pyproj import CRS

    wkt = _gdal_wkt(crs)
    attrs = CRS.from_wkt(wkt).to_cf()
    attrs.update(spatial_ref=wkt, crs_wkt=wkt)
    return tuple(attrs.items())


def _gdal_wkt(crs: str) -> str:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    parsed = CRS.from_user_input(crs)
    try:
        return parsed.to_wkt("WKT1_GDAL", output_axis_rule=True)
    except CRSError:
        return parsed.to_wkt()  # a newer projection, for which the old form has no words


@lru_cache(maxsize=256)
def _axis_attrs(crs: str) -> tuple[dict[str, str], dict[str, str]]:
    """CF attributes of the coordinates y and x."""
    from pyproj import CRS

    parsed = CRS.from_wkt(_gdal_wkt(crs))
    units = {str(axis.get("axis")): str(axis["units"]) for axis in parsed.cs_to_cf()}
    if parsed.is_geographic:
        named = {"Y": ("latitude", "latitude"), "X": ("longitude", "longitude")}
    else:
        named = {
            "Y": ("y coordinate of projection", "projection_y_coordinate"),
            "X": ("x coordinate of projection", "projection_x_coordinate"),
        }
    y, x = (
        {"axis": axis, "long_name": long, "standard_name": name, "units": units.get(axis, "metre")}
        for axis, (long, name) in named.items()
    )
    return y, x
