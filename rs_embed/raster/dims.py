"""Which dimension of an xarray object is what, and which of its variables hold pixels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome

_Y = ("y", "lat", "latitude", "northing")
_X = ("x", "lon", "longitude", "easting")
_TIME = ("time", "date", "datetime", "t")
_BAND = ("band", "bands", "channel", "variable")


@dataclass(frozen=True)
class DimRoles:
    """The pixels of an xarray object and the roles of their dimensions.

    Parameters
    ----------
    obj : DataArray or Dataset
        What the caller gave; coordinates and attributes are read from it.
    arrays : tuple of DataArray
        The variables with pixels; several of them are one band each.
    y, x : str
        Names of the spatial dimensions.
    time, band : str or None
        Names of the others; ``band`` only where there is a single array.
    ignored : tuple of str
        Variables without pixels that were left out.
    """

    obj: xr.DataArray | xr.Dataset
    arrays: tuple[xr.DataArray, ...]
    y: str
    x: str
    time: str | None
    band: str | None
    ignored: tuple[str, ...] = ()


def identify_dims(obj: object) -> Outcome[DimRoles]:
    """The layout of an object. Fails with SpecError where a dimension has no role."""
    if isinstance(obj, xr.DataArray):
        return _spatial(obj.dims).bind(lambda yx: _roles(obj, (obj,), *yx, ()))
    if isinstance(obj, xr.Dataset):
        return _spatial(tuple(obj.dims)).bind(lambda yx: _of_dataset(obj, *yx))
    return Failure(
        SpecError(
            f"pixels are read from a DataArray or a Dataset, not {type(obj).__name__}; wrap them "
            "with xr.DataArray(values, dims=('band', 'y', 'x'), coords=...)"
        )
    )


def _of_dataset(ds: xr.Dataset, y: str, x: str) -> Outcome[DimRoles]:
    arrays = [a for a in ds.data_vars.values() if y in a.dims and x in a.dims]
    names = {a.name for a in arrays}
    # A grid mapping that was read as a data variable is not pixels, but is not left out either.
    ignored = tuple(
        str(name) for name, a in ds.data_vars.items() if name not in names and not _is_mapping(a)
    )
    with_bands = [a for a in arrays if any(_role(d, _BAND) for d in a.dims)]
    if with_bands and len(arrays) > 1:
        return Failure(
            SpecError(
                f"the Dataset holds {', '.join(map(str, names))} with a band dimension; "
                f"choose one: ds[{str(with_bands[0].name)!r}]"
            )
        )
    if not arrays:
        return Failure(SpecError(f"no variable of the Dataset has the dimensions {y!r} and {x!r}"))
    return _roles(ds, tuple(arrays), y, x, ignored)


def _is_mapping(array: xr.DataArray) -> bool:
    return array.ndim == 0 and bool(
        {"crs_wkt", "spatial_ref", "grid_mapping_name"} & {*array.attrs}
    )


def _spatial(dims: tuple[Hashable, ...]) -> Outcome[tuple[str, str]]:
    y = [str(d) for d in dims if _role(d, _Y)]
    x = [str(d) for d in dims if _role(d, _X)]
    if len(y) == 1 and len(x) == 1:
        return Success((y[0], x[0]))
    return Failure(
        SpecError(
            f"the dimensions {_listed(dims)} do not name one row and one column axis (y and x, "
            "lat and lon, latitude and longitude, northing and easting); rename them: "
            "da.rename({'<rows>': 'y', '<columns>': 'x'})"
        )
    )


def _roles(
    obj: xr.DataArray | xr.Dataset,
    arrays: tuple[xr.DataArray, ...],
    y: str,
    x: str,
    ignored: tuple[str, ...],
) -> Outcome[DimRoles]:
    time: str | None = None
    band: str | None = None
    for dim in dict.fromkeys(d for array in arrays for d in array.dims if d not in (y, x)):
        if _role(dim, _TIME) and time is None:
            time = str(dim)
        elif _role(dim, _BAND) and band is None:
            band = str(dim)
        else:
            return Failure(_unknown(dim, next(a.sizes[dim] for a in arrays if dim in a.dims)))
    for array in arrays:
        problem = _unusable(array)
        if problem:
            return Failure(SpecError(problem))
    return Success(DimRoles(obj, arrays, y, x, time, band, ignored))


def _unusable(array: xr.DataArray) -> str | None:
    label = f"the variable {array.name!r}" if array.name is not None else "the array"
    if array.size == 0:
        return f"{label} is empty: {dict(array.sizes)}; select a part that holds pixels"
    if array.dtype.kind == "c":
        return f"{label} is {array.dtype}; take abs(da) or da.real first"
    if array.dtype.kind == "b":
        return f"{label} is {array.dtype}; make it numbers with da.astype('uint8')"
    if array.dtype.kind not in "iuf":
        return f"{label} is {array.dtype}, not numbers; make it so with da.astype('float32')"
    return None


def _unknown(dim: Hashable, size: int) -> SpecError:
    mend = (
        f"drop it with da.squeeze({str(dim)!r})"
        if size == 1
        else f"select one with da.isel({dim}=0), or name it: da.rename({{{str(dim)!r}: 'band'}})"
    )
    return SpecError(
        f"the dimension {str(dim)!r} of length {size} is neither rows, columns, time nor band; "
        + mend
    )


def _role(dim: Hashable, names: tuple[str, ...]) -> bool:
    return str(dim).lower() in names


def _listed(dims: Iterable[Hashable]) -> str:
    return ", ".join(repr(str(d)) for d in dims) or "none"
