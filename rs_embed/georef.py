"""Embeddings as xarray objects: the only place that writes CRS, transform and coordinates."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid

if TYPE_CHECKING:
    import xarray

FEATURE = "feature"
META_ATTR = "rs_embed_meta"


def grid_array(cells: np.ndarray, grid: Grid, meta: dict[str, Any]) -> xarray.DataArray:
    """``(D, H, W)`` cells as a georeferenced DataArray ``("feature", "y", "x")``.

    CRS and transform stand in the coordinate ``spatial_ref``, cell centres in ``y`` and ``x``, as
    rioxarray writes and reads them.
    """
    import xarray as xr

    y_attrs, x_attrs, dims = _axis_attrs(grid.crs)
    t = grid.transform
    ref = dict(_crs_attrs(grid.crs))
    ref["GeoTransform"] = " ".join(str(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    coords = {
        "y": xr.Variable("y", grid.y(), y_attrs),
        "x": xr.Variable("x", grid.x(), x_attrs),
        "spatial_ref": xr.Variable((), np.int64(0), ref),
    }
    array = xr.DataArray(
        xr.Variable((FEATURE, "y", "x"), cells, _attrs(meta)),
        coords=coords,
        name=str(meta.get("model", "embedding")),
    )
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


def embedding_to_xarray(embedding: Embedding) -> xarray.DataArray:
    """The data of an embedding as a DataArray whose attributes tell what made it."""
    import xarray as xr

    if isinstance(embedding.data, xr.DataArray):
        return embedding.data
    name = str(embedding.meta.get("model", "embedding"))
    return xr.DataArray(embedding.data, dims=(FEATURE,), name=name, attrs=_attrs(embedding.meta))


def save_embedding(embedding: Embedding, path: str | Path) -> Path:
    """Write an embedding by the suffix of the path; whole or not at all."""
    target = Path(path)
    array = embedding_to_xarray(embedding)
    match target.suffix.lower():
        case ".nc":
            return _whole(target, lambda out: array.to_netcdf(out, engine="h5netcdf"))
        case ".zarr":
            return _whole(target, lambda out: _to_zarr(array, out))
        case ".tif" | ".tiff":
            return write_cog(array, target)
        case ".npz":
            meta = np.array(json.dumps(embedding.meta, allow_nan=False))
            return _whole(target, lambda out: np.savez(out, embedding=np.asarray(array), meta=meta))
        case other:
            raise SpecError(
                f"an embedding is saved as .nc, .zarr, .tif or .npz, not {other or 'no suffix'!r}"
            )


def write_cog(array: xarray.DataArray, path: str | Path) -> Path:
    """A grid as a cloud-optimised GeoTIFF, one band a feature; whole or not at all.

    SpecError for an array that is not a georeferenced ``("feature", "y", "x")`` grid.
    """
    import rioxarray  # noqa: F401  # registers .rio

    if array.dims != (FEATURE, "y", "x"):
        raise SpecError(
            f"a COG takes a grid with dims ('feature', 'y', 'x'), not {array.dims}; "
            "select a time, or use OutputSpec.grid()"
        )
    target = Path(path)
    meta = array.attrs.get(META_ATTR)
    tags = {META_ATTR: meta} if meta else {}
    plain = array.drop_attrs(deep=False)

    def write(out: Path) -> None:
        plain.rio.to_raster(out, driver="COG", compress="deflate", tags=tags)

    return _whole(target, write)


def _to_zarr(array: xarray.DataArray, out: Path) -> None:
    array.to_dataset(name=array.name or "embedding").to_zarr(
        out, mode="w", consolidated=False, zarr_format=2
    )


def _whole(target: Path, write: Any) -> Path:
    """Write beside the target under another name, then rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".rs_embed-", dir=target.parent))
    try:
        part = scratch / target.name
        write(part)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(part, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


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
        META_ATTR: json.dumps(meta, allow_nan=False),
    }


@lru_cache(maxsize=256)
def _crs_attrs(crs: str) -> tuple[tuple[str, Any], ...]:
    """What rioxarray writes of a CRS, computed once for each."""
    from pyproj import CRS

    parsed = CRS.from_user_input(crs)
    attrs = parsed.to_cf()
    wkt = parsed.to_wkt()
    attrs.update(spatial_ref=wkt, crs_wkt=wkt)
    return tuple(attrs.items())


@lru_cache(maxsize=256)
def _axis_attrs(crs: str) -> tuple[dict[str, str], dict[str, str], tuple[str, str]]:
    """CF attributes of the coordinates y and x."""
    from pyproj import CRS

    by_axis = {str(a.get("axis")): dict(a) for a in CRS.from_user_input(crs).cs_to_cf()}
    return by_axis.get("Y", {}), by_axis.get("X", {}), ("y", "x")
