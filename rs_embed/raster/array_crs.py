"""Which CRS an xarray object states, in any of the places where libraries keep it."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, collect
from rs_embed.raster.dims import DimRoles

_PLACES = (
    "the coordinate 'spatial_ref' or 'crs' (crs_wkt), attrs['crs'], attrs['epsg'], and the "
    "coordinates 'epsg' and 'proj:code'"
)


def find_crs(layout: DimRoles, crs: object = None) -> Outcome[str]:
    """The CRS as ``"EPSG:…"``, or WKT where it has no code.

    Looked for in this order: the argument, ``.rio.crs`` (what ``rio.set_crs`` keeps outside the
    data), a grid mapping coordinate, ``attrs["crs"]``, ``attrs["epsg"]``, the coordinates "epsg"
    and "proj:code". Fails with SpecError where the argument contradicts what the array states and
    is not ``("override", crs)``.
    """
    if isinstance(crs, tuple | list) and len(crs) == 2 and crs[0] == "override":
        return _known(crs[1], "crs=")
    stated = collect(_crs_of(layout, array) for array in layout.arrays)
    if crs is None:
        return stated.bind(lambda names: _agreed(_different(layout, names)))
    # What PROJ cannot read contradicts nothing.
    own = set() if isinstance(stated, Failure) else _different(layout, stated.unwrap())
    return _known(crs, "crs=").bind(lambda name: _uncontradicted(own, name))


def _different(layout: DimRoles, names: tuple[str | None, ...]) -> set[str]:
    """What the variables, or else the object itself, state."""
    different = {name for name in names if name is not None}
    if not different and isinstance(layout.obj, xr.Dataset):
        different = {name for name in [crs_name(_rio_crs(layout.obj))] if name is not None}
    return different


def _uncontradicted(own: set[str], given: str) -> Outcome[str]:
    """The CRS given, unless the array states another one."""
    others = sorted(name for name in own if not _same(name, given))
    if not others:
        return Success(given)
    return Failure(
        SpecError(
            f"crs= is {_short(given)}, and the array's own CRS is {_short(others[0])}; leave crs= "
            f"out, or correct the array: da.rio.write_crs({_short(given)!r}), or pass "
            f"crs=('override', {_short(given)!r}). To change the pixels' CRS: "
            f"da.rio.reproject({_short(given)!r})"
        )
    )


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "..."


@lru_cache(maxsize=256)
def _same(one: str, other: str) -> bool:
    """Whether two names mean one CRS, whatever its spelling and the order of its axes."""
    from pyproj import CRS

    return one == other or bool(CRS(one).equals(CRS(other), ignore_axis_order=True))


def _agreed(different: set[str]) -> Outcome[str]:
    if len(different) > 1:
        return Failure(
            SpecError(
                f"the variables of the Dataset have different CRS: {', '.join(sorted(different))}; "
                "bring them onto one grid, or say which holds: crs=('override', 'EPSG:32719')"
            )
        )
    if not different:
        return Failure(
            SpecError(
                f"the array has no CRS (looked in {_PLACES}); write it with "
                "da.rio.write_crs('EPSG:32719') or pass crs='EPSG:32719'"
            )
        )
    return Success(different.pop())


def _crs_of(layout: DimRoles, array: xr.DataArray) -> Outcome[str | None]:
    for place, value in _candidates(layout, array):
        if value is not None and value != "":
            return _known(value, place).map(lambda name: name)
    return Success(None)


def _candidates(layout: DimRoles, array: xr.DataArray) -> list[tuple[str, Any]]:
    mapping = grid_mapping(layout, array)
    attrs = {} if mapping is None else mapping.attrs
    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    both = {**layout.obj.attrs, **array.attrs}
    return [
        (".rio.crs", _rio_crs(layout.obj) if isinstance(layout.obj, xr.DataArray) else None),
        ("the grid mapping", wkt or (_cf(attrs) if "grid_mapping_name" in attrs else None)),
        ("attrs['crs']", both.get("crs")),
        ("attrs['epsg']", both.get("epsg")),
        ("the coordinate 'epsg'", _single(array, "epsg")),
        ("the coordinate 'proj:code'", _single(array, "proj:code")),
    ]


def _rio_crs(obj: xr.DataArray | xr.Dataset) -> Any:
    """What rioxarray answers, if it is in use: ``rio.set_crs`` keeps a CRS outside the data."""
    if "rioxarray" not in sys.modules:
        return None
    from pyproj.exceptions import CRSError
    from rasterio.errors import CRSError as OtherCRSError

    try:
        return obj.rio.crs
    except (CRSError, OtherCRSError):
        return None  # a CRS that it cannot read is met again below, where its place is known


def grid_mapping(layout: DimRoles, array: xr.DataArray) -> xr.DataArray | None:
    """The scalar variable that holds the CRS (and often the transform) of an array, if any."""
    named = array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping")
    scalars: dict[str, xr.DataArray] = {
        str(name): value for name, value in array.coords.items() if value.ndim == 0
    }
    if isinstance(layout.obj, xr.Dataset):
        scalars |= {str(n): v for n, v in layout.obj.data_vars.items() if v.ndim == 0}
    for name in (named, "spatial_ref", "crs", *scalars):
        value = scalars.get(str(name))
        if value is not None and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & {*value.attrs}:
            return value
    return None


def _single(array: xr.DataArray, name: str) -> Any:
    """The value of a coordinate that has only one."""
    if name not in array.coords or array.coords[name].size == 0:
        return None
    values = np.unique(np.asarray(array.coords[name].values).astype(str))
    return values[0] if len(values) == 1 else None


def _known(value: Any, place: str) -> Outcome[Any]:
    name = crs_name(value)
    if name is not None:
        return Success(name)
    return Failure(
        SpecError(f"{place} is {value!r}, which PROJ does not know; pass crs='EPSG:32719' or WKT")
    )


def crs_name(value: Any) -> str | None:
    """``"EPSG:…"``, another authority's code, or WKT of anything that means a CRS; else None."""
    if isinstance(value, int | np.integer):
        return _name_of(f"EPSG:{int(value)}")
    if not isinstance(value, str):
        to_wkt = getattr(value, "to_wkt", None)
        return _name_of(to_wkt()) if callable(to_wkt) else None
    text = value.strip()
    text = re.sub(r"^\+init=", "", text)  # the old spelling, of which PROJ warns
    return _name_of(f"EPSG:{text}" if text.isdigit() else text)


@lru_cache(maxsize=256)
def _name_of(text: str) -> str | None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.to_wkt()


def _cf(attrs: dict[Any, Any]) -> Any:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_cf(dict(attrs))
    except (CRSError, KeyError):
        return dict(attrs)
