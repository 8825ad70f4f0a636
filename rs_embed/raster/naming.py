"""What the bands of an array are called, and in which units its numbers are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.bands import ALIASES, common_name, is_sentinel2
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, collect
from rs_embed.core.units import MEANINGS, check_units
from rs_embed.plugins.notices import warn_once
from rs_embed.raster.dims import DimRoles

UNDECLARED = "undeclared"
_X10000 = "reflectance_x10000"


def band_names(
    layout: DimRoles, bands: Mapping[str, str] | Sequence[str] | None
) -> Outcome[tuple[str, ...]]:
    """The names of the bands, in the array's order.

    A sequence given as ``bands`` names the positions and holds; else a coordinate of strings,
    ``attrs["long_name"]``, or the names of variables. Fails with SpecError where a name is missing
    or stands twice.
    """
    count = sum(_bands_in(layout, array) for array in layout.arrays)
    if isinstance(bands, str):
        return Failure(SpecError(f"bands must be a sequence such as ({bands!r},), not a string"))
    if bands is not None and not isinstance(bands, Mapping):
        given = tuple(bands)
        if len(given) != count or not all(isinstance(name, str) and name for name in given):
            return Failure(
                SpecError(
                    f"bands={given!r} must name each of the {count} bands of the array, in order"
                )
            )
        return _distinct(given)
    if layout.band is None:
        return _distinct(tuple(_variable_name(layout, array) or "" for array in layout.arrays))
    return _distinct(_along_band(layout.arrays[0], layout.band) or ("",) * count)


def band_units(
    layout: DimRoles, names: tuple[str, ...], units: str | Mapping[str, str] | None
) -> Outcome[tuple[tuple[str, ...], dict[str, Any]]]:
    """Units of each band and notes on how they were found.

    ``units`` holds; else the coordinate "band_units"; else ``attrs["rs_embed_units"]`` or
    ``attrs["units"]`` where it is one of `rs_embed.core.units.MEANINGS`; else 16-bit integers with
    Sentinel-2 band names are reflectance_x10000, told by a warning. A layer that is no band (a
    scene classification) beside bands stays "undeclared", which no model takes. Fails with
    SpecError for all else.
    """
    arrays = [array for array in layout.arrays for _ in range(_bands_in(layout, array))]
    if units is not None and not isinstance(units, str | Mapping):
        return Failure(
            SpecError(
                "units takes the units of all bands, such as 'reflectance', or of each, such as "
                f"{{'B2': 'reflectance'}}, not {units!r}"
            )
        )
    stray = [] if units is None or isinstance(units, str) else _stray(units, names)
    if stray:
        return Failure(
            SpecError(f"units= names {', '.join(stray)}; the array has {', '.join(names)}")
        )
    full = [
        _given(units, name) or beside_it or _stated(name, array)
        for name, beside_it, array in zip(names, _coordinate(layout, names), arrays, strict=True)
    ]
    assumed = [i for i, unit in enumerate(full) if not unit and _numbers_of(names[i], arrays[i])]
    beside = [i for i, unit in enumerate(full) if not unit and not _is_band(names[i])]
    unknown = [i for i, unit in enumerate(full) if not unit and i not in assumed]
    if unknown and (unknown != beside or not any(map(_is_band, names))):
        return Failure(_undeclared([names[i] for i in unknown], arrays[unknown[0]]))
    notes: dict[str, Any] = {}
    if assumed:
        warn_once(
            "units_assumed",
            "16-bit integers with Sentinel-2 band names and no units are taken as "
            "reflectance_x10000; say so with units='reflectance_x10000', or "
            "units='s2_dn_offset1000' for raw numbers since processing baseline 04.00",
        )
        notes["units_assumed"] = _X10000
    if beside:
        notes["units_undeclared"] = [names[i] for i in beside]
    known = [unit or (_X10000 if i in assumed else None) for i, unit in enumerate(full)]
    return collect(Success(UNDECLARED) if u is None else check_units(u) for u in known).map(
        lambda ok: (ok, notes)
    )


def _coordinate(layout: DimRoles, names: tuple[str, ...]) -> tuple[str | None, ...]:
    """What the coordinate "band_units" says of each band, as `rs_embed.open_roi` writes it."""
    coord = layout.obj.coords.get("band_units")
    if coord is None or coord.size != len(names) or coord.dims not in ((), (layout.band,)):
        return (None,) * len(names)
    said = [str(value) for value in coord.values.ravel()]
    return tuple(unit if unit in MEANINGS else None for unit in said)


def _bands_in(layout: DimRoles, array: xr.DataArray) -> int:
    return array.sizes[layout.band] if layout.band is not None else 1


def _along_band(array: xr.DataArray, dim: str) -> tuple[str, ...] | None:
    """Names along the band dimension, if the array has them."""
    count = array.sizes[dim]
    if dim in array.coords:
        values = array.coords[dim].values
        if all(isinstance(value, str) for value in values.tolist()):
            return tuple(map(str, values.tolist()))
    long_name = array.attrs.get("long_name")
    if isinstance(long_name, list | tuple | np.ndarray) and len(long_name) == count:
        return tuple(map(str, long_name))
    if count == 1:
        name = long_name if isinstance(long_name, str) else array.name
        return (str(name),) if name is not None else None
    return None


def _variable_name(layout: DimRoles, array: xr.DataArray) -> str | None:
    """The name of a single band: of its scalar coordinate, its variable, or its long_name."""
    scalar = array.coords.get("band")
    if scalar is not None and scalar.ndim == 0 and isinstance(scalar.item(), str):
        return str(scalar.item())
    long_name, name = array.attrs.get("long_name"), array.name
    if isinstance(long_name, list | tuple) and len(long_name) == 1:
        long_name = long_name[0]
    if not isinstance(long_name, str) or not long_name:
        return None if name is None else str(name)
    # rioxarray's band_1, band_2, … are places, and a long_name is often a sentence: the one that
    # is a band's name holds.
    if name is None or re.fullmatch(r"band_?\d+|band_data", str(name)):
        return long_name
    return long_name if _is_band(long_name) and not _is_band(str(name)) else str(name)


def _is_band(name: str) -> bool:
    return common_name(name) in ALIASES


def _distinct(names: tuple[str, ...]) -> Outcome[tuple[str, ...]]:
    if not all(names):
        example = tuple(f"B{i + 2}" for i in range(min(len(names), 3)))
        more = ", …" if len(names) > 3 else ""
        return Failure(
            SpecError(
                f"the {len(names)} band(s) of the array have no names; pass them in the array's "
                f"own order, bands=({', '.join(map(repr, example))}{more or ','}), or write them: "
                "da.assign_coords(band=[...])"
            )
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return Failure(
            SpecError(
                f"the band name {', '.join(map(repr, twice))} stands more than once among "
                f"{', '.join(names)}; keep one of each: da.drop_duplicates('band')"
            )
        )
    return Success(names)


def _given(units: str | Mapping[str, str] | None, name: str) -> str | None:
    if units is None or isinstance(units, str):
        return units
    return next((u for key, u in units.items() if common_name(key) == common_name(name)), None)


def _stray(units: Mapping[str, str], names: Sequence[str]) -> list[str]:
    known = {common_name(name) for name in names}
    return [str(key) for key in units if common_name(str(key)) not in known]


def _stated(name: str, array: xr.DataArray) -> str | None:
    for key in ("rs_embed_units", "units"):
        value = array.attrs.get(key)
        # A bare "1" is what loaders write for want of knowledge; it says nothing of a scale.
        if value == "1" and _numbers_of(name, array):
            continue
        if isinstance(value, str) and value in MEANINGS:
            return value
    return None


def _numbers_of(name: str, array: xr.DataArray) -> bool:
    """Whether a band looks like Sentinel-2's own digital numbers."""
    return is_sentinel2((name,)) and _digital_numbers(array)


def _digital_numbers(array: xr.DataArray) -> bool:
    """Whether the values are 16-bit integers, or were such before missing ones became NaN."""
    dtype = array.dtype if array.dtype.kind in "iu" else array.encoding.get("dtype")
    if dtype is None or np.dtype(dtype).kind not in "iu" or np.dtype(dtype).itemsize != 2:
        return False
    stores = (array.attrs, array.encoding)
    scale = [float(s["scale_factor"]) for s in stores if s.get("scale_factor") is not None]
    shift = [float(s["add_offset"]) for s in stores if s.get("add_offset") is not None]
    return all(v == 1 for v in scale) and all(v == 0 for v in shift)


def _undeclared(names: Sequence[str], array: xr.DataArray) -> SpecError:
    said = array.attrs.get("units")
    return SpecError(
        f"the units of band {', '.join(names)} ({array.dtype}) are not declared"
        + (f" (attrs['units'] is {said!r})" if said is not None else "")
        + "; pass units='reflectance', or units={'<band>': '<units>'}; there are: "
        + ", ".join(MEANINGS)
    )
