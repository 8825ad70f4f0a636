"""Embeddings as georeferenced arrays: CRS, transform and coordinates, written and read."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.embedding import FEATURE, META_ATTR, Embedding, attrs_of
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.georeference import georeference

if TYPE_CHECKING:
    import xarray
    import xarray as xr

_BAND = "band"  # what rioxarray calls the features of a GeoTIFF


def grid_array(cells: np.ndarray, grid: Grid, meta: dict[str, Any]) -> xarray.DataArray:
    """``(D, H, W)`` cells as a georeferenced DataArray ``("feature", "y", "x")``.

    CRS and transform stand in the coordinate ``spatial_ref``, cell centres in ``y`` and ``x``, as
    rioxarray writes and reads them.
    """
    import xarray as xr

    array = xr.DataArray(
        xr.Variable((FEATURE, "y", "x"), cells, attrs_of(meta)),
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


def embedding_of(array: xarray.DataArray) -> Embedding:
    """The embedding that a DataArray holds, with the description that it was written with."""
    meta: dict[str, Any] = json.loads(array.attrs.get(META_ATTR, "{}"))
    return Embedding(array.values if array.dims == (FEATURE,) else array, meta)


def as_embedding(array: xarray.DataArray) -> xarray.DataArray:
    """An embedding with its own dims and attributes, where GDAL read it as an image of bands.

    Any other array is given back as it is.
    """
    if META_ATTR not in array.attrs or FEATURE in array.dims or _BAND not in array.dims:
        return array
    meta: dict[str, Any] = json.loads(array.attrs[META_ATTR])
    named, day = array.attrs.get("long_name"), array.attrs.get("time")
    numbers = array.coords[_BAND].values if _BAND in array.coords else []
    found = array.drop_vars(_BAND, errors="ignore").rename({_BAND: FEATURE})
    found = found.rename(str(meta.get("model", "embedding")))
    if isinstance(named, tuple | list) and len(named) >= len(numbers) > 0:
        found = found.assign_coords({FEATURE: [named[int(number) - 1] for number in numbers]})
    if day is not None and "time" not in found.coords:
        found = found.assign_coords(time=np.datetime64(str(day), "ns"))
    mapping = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", "spatial_ref"))
    found.attrs = attrs_of(meta)
    found.encoding = {"grid_mapping": mapping}
    return found


def check_embedding(array: Any) -> Outcome[xr.DataArray]:
    """The array with its feature axis before y and x; else Failure(SpecError)."""
    import xarray as xr

    array = as_embedding(array) if isinstance(array, xr.DataArray) else array
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
    others = {dim: 0 for dim in array.dims if dim not in ("y", "x")}
    plane = array.isel(others, drop=True)
    return (
        identify_dims(plane)
        .bind(lambda layout: georeference(layout, None))
        .map(lambda placed: placed.grid.flip_rows() if placed.south_up else placed.grid)
    )


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
