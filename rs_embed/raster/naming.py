"""What the bands of an array are called, and in which units its numbers are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.bands import common_name, is_band, is_sentinel2
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, collect
from rs_embed.core.units import MEANINGS, UNDECLARED, check_units, linearly_convertible
from rs_embed.plugins.notices import warn_once
from rs_embed.raster.dims import DimRoles
from rs_embed.raster.imagery import SENTINEL2, dn_units, imagery, sentinel2_names, tells_baseline
from rs_embed.raster.scaling import STORED_NUMBERS, has_scale

Units: TypeAlias = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
"""Units of all bands, of each date, or of each band (and date)."""

X10000 = "reflectance_x10000"


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


@dataclass(frozen=True)
class BandUnits:
    """Units of the values of each band, those of its numbers by date, and how they were found.

    ``by_date`` has for each band one unit, or one for each date; where they differ, the values
    are read in ``units``.
    """

    units: tuple[str, ...]
    by_date: tuple[tuple[str, ...], ...]
    notes: dict[str, Any]


def band_units(layout: DimRoles, names: tuple[str, ...], units: Units) -> Outcome[BandUnits]:
    """Units of each band and notes on how they were found.

    ``units`` holds: one for all, one for each date, or by band. Else the coordinate "band_units";
    else ``attrs["rs_embed_units"]`` or ``attrs["units"]`` where it is one of
    `rs_embed.core.units.MEANINGS`; else 16-bit integers of Sentinel-2, by its own band names or by
    what the array tells of its imagery, are its numbers: with or without 1000 more as the
    coordinates "s2:processing_baseline" and "earthsearch:boa_offset_applied" decide, reflectance
    x 10000 where there is neither; told by a warning. A layer that is no band (a scene
    classification) beside bands stays "undeclared", which no model takes. Fails with SpecError
    for all else.
    """
    return _given_units(layout, names, units).bind(lambda given: _found_units(layout, names, given))


def _found_units(
    layout: DimRoles, names: tuple[str, ...], given: tuple[tuple[str, ...] | None, ...]
) -> Outcome[BandUnits]:
    arrays = [array for array in layout.arrays for _ in range(_bands_in(layout, array))]
    beside_it = _coordinate(layout, names)
    stated = [
        own or coordinate or _stated(name, array)
        for own, name, coordinate, array in zip(given, names, beside_it, arrays, strict=True)
    ]
    whose, baseline = imagery(layout), dn_units(layout)
    numbers = [_digital_numbers(n, a) for n, a in zip(names, arrays, strict=True)]
    ours = whose == SENTINEL2 or (whose is None and sentinel2_names(names) and not _hls(arrays))
    told = baseline is not None or not tells_baseline(layout)
    assumed = [i for i, s in enumerate(stated) if not s and ours and told and numbers[i]]
    beside = [i for i, s in enumerate(stated) if not s and not is_band(names[i])]
    unknown = [i for i, s in enumerate(stated) if not s and i not in assumed]
    if unknown and (unknown != beside or not any(map(is_band, names))):
        return Failure(undeclared([names[i] for i in unknown], arrays[unknown[0]], whose, baseline))
    notes: dict[str, Any] = {}
    if assumed:
        notes["units_assumed"] = _say_assumed(baseline)
    elif baseline is not None and ours:
        notes |= _contradiction(baseline, stated, numbers)
    if beside:
        notes["units_undeclared"] = [names[i] for i in beside]
    quantised = [n for n, s, a in zip(names, stated, arrays, strict=True) if _is_quantised(n, s, a)]
    if quantised:
        return Failure(
            SpecError(
                f"the bands {quantised[0]}, ... are {arrays[0].dtype}, an annual satellite "
                "embedding as its files store it, and not plain numbers; declare "
                "units='aef_int8', or take sign(n) (n / 127.5)^2 of them first"
            )
        )
    full = [
        unit or ((baseline or (X10000,)) if i in assumed else (UNDECLARED,))
        for i, unit in enumerate(stated)
    ]
    return collect(_checked(name, own) for name, own in zip(names, full, strict=True)).map(
        lambda units: BandUnits(units, tuple(full), notes)
    )


def _checked(name: str, by_date: tuple[str, ...]) -> Outcome[str]:
    """The unit in which a band is read: its own, or one that those of all dates become."""
    different = dict.fromkeys(by_date)
    if UNDECLARED in different:
        return Success(UNDECLARED)
    known = collect(check_units(unit) for unit in different)
    if isinstance(known, Failure) or len(different) == 1:
        return known.map(lambda ok: ok[0])
    # Numbers with and without an offset meet in those without.
    common = X10000 if X10000 in different else next(iter(different))
    strange = [unit for unit in different if not linearly_convertible(unit, common)]
    if strange:
        return Failure(
            SpecError(
                f"the units of band {name} are {', '.join(different)} on different dates, which "
                "cannot become one another; convert the dates to one unit"
            )
        )
    return Success(common)


def _say_assumed(baseline: tuple[str, ...] | None) -> Any:
    """Warn of the units that were taken, and name them for ``meta``."""
    if baseline is None:
        warn_once(
            "units_assumed",
            "16-bit integers with Sentinel-2 band names and no units are taken as "
            "reflectance_x10000; say so with units='reflectance_x10000', or "
            "units='s2_dn_offset1000' for raw numbers since processing baseline 04.00",
        )
        return X10000
    different = list(dict.fromkeys(baseline))
    warn_once(
        ("units_assumed", *different),
        "16-bit integers of Sentinel-2 without units are taken as their processing baseline says: "
        f"{' and '.join(different)}; say so with units=, or declare what you have made of them",
    )
    return different[0] if len(different) == 1 else list(baseline)


def _contradiction(
    baseline: tuple[str, ...], stated: Sequence[tuple[str, ...] | None], numbers: Sequence[bool]
) -> dict[str, Any]:
    """A note, and a warning, where declared units are not those that the baseline says."""
    for unit, stored in zip(stated, numbers, strict=True):
        if not stored or unit is None or not set(unit) <= set(STORED_NUMBERS):
            continue
        steps = max(len(unit), len(baseline))
        if unit * (steps // len(unit)) == baseline * (steps // len(baseline)):
            continue
        said = ", ".join(dict.fromkeys(unit))
        warn_once(
            ("units_contradict_baseline", said, *dict.fromkeys(baseline)),
            f"the units are declared as {said}, and the array's processing baseline says "
            f"{', '.join(dict.fromkeys(baseline))}; the declaration holds: check whether the "
            "offset of 1000 was taken off",
        )
        return {"units_by_baseline": list(baseline)}
    return {}


def _is_quantised(name: str, stated: tuple[str, ...] | None, array: xr.DataArray) -> bool:
    stored = np.dtype(array.encoding.get("dtype") or array.dtype)
    same_name = re.fullmatch(r"A(0\d|[1-5]\d|6[0-3])", name) is not None
    return same_name and stated == ("1",) and stored == np.int8 and not has_scale(array)


def _hls(arrays: Sequence[xr.DataArray]) -> bool:
    """Whether -9999 means missing, as in harmonised products and in none of Sentinel-2's own."""
    stores = [store for array in arrays for store in (array.attrs, array.encoding)]
    return any(
        isinstance(value, int | float | np.number) and value == -9999
        for store in stores
        for value in (store.get(key) for key in ("_FillValue", "nodata", "missing_value"))
    )


def _coordinate(layout: DimRoles, names: tuple[str, ...]) -> tuple[tuple[str, ...] | None, ...]:
    """What the coordinate "band_units" says of each band (and date): `rs_embed.open_roi`'s."""
    coord = layout.obj.coords.get("band_units")
    if coord is None or not {*coord.dims} <= {layout.band, layout.time}:
        return (None,) * len(names)
    table = np.asarray(coord.transpose(..., *(d for d in (layout.band,) if d in coord.dims)).values)
    table = table.astype(str)
    if layout.band not in coord.dims:
        table = np.repeat(table[..., None], len(names), axis=-1)
    if table.shape[-1] != len(names):
        return (None,) * len(names)
    columns = table.reshape(-1, len(names)).T.tolist()
    return tuple(
        tuple(column) if all(unit in MEANINGS for unit in column) else None for column in columns
    )


def _given_units(
    layout: DimRoles, names: tuple[str, ...], units: Units
) -> Outcome[tuple[tuple[str, ...] | None, ...]]:
    """What the caller says of each band: one unit, or one for each date."""
    dates = layout.arrays[0].sizes[layout.time] if layout.time in layout.arrays[0].dims else 0
    if isinstance(units, Mapping):
        stray = _stray(units, names)
        if stray:
            return Failure(
                SpecError(f"units= names {', '.join(stray)}; the array has {', '.join(names)}")
            )
        by_meaning = {common_name(key): unit for key, unit in reversed([*units.items()])}
        own = [units.get(name, by_meaning.get(common_name(name))) for name in names]
    else:
        own = [units] * len(names)
    listed: list[tuple[str, ...] | None] = []
    for one in own:
        if one is None or isinstance(one, str):
            listed.append((one,) if isinstance(one, str) else None)
        elif (
            isinstance(one, Sequence)
            and len(one) == dates
            and all(isinstance(unit, str) for unit in one)
        ):
            listed.append(tuple(one))
        else:
            return Failure(
                SpecError(
                    "units takes the units of all bands, such as 'reflectance', of each, such as "
                    "{'B2': 'reflectance'}, or of each date, such as ['reflectance_x10000', "
                    f"'s2_dn_offset1000'] (the array has {dates}), not {units!r}"
                )
            )
    return Success(tuple(listed))


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
        return tuple("" if name is None else str(name) for name in long_name)
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
    return long_name if is_band(long_name) and not is_band(str(name)) else str(name)


def _distinct(names: tuple[str, ...]) -> Outcome[tuple[str, ...]]:
    if not all(names):
        example = tuple(f"B{i + 2}" for i in range(min(len(names), 3)))
        more = ", …" if len(names) > 3 else ""
        bare = [i + 1 for i, name in enumerate(names) if not name]
        which = (
            f"the {len(names)} band(s) of the array have no names"
            if len(bare) == len(names)
            else f"band(s) {', '.join(map(str, bare))} of the array's {len(names)} have no name"
        )
        return Failure(
            SpecError(
                f"{which}; pass them in the array's "
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


def _stray(units: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    known = {common_name(name) for name in names}
    return [str(key) for key in units if common_name(str(key)) not in known]


def _stated(name: str, array: xr.DataArray) -> tuple[str, ...] | None:
    for key in ("rs_embed_units", "units"):
        value = array.attrs.get(key)
        # A bare "1" is what loaders write for want of knowledge; it says nothing of a scale.
        if value == "1" and (array.dtype.kind in "iu" or _digital_numbers(name, array)):
            continue
        if isinstance(value, str) and value in MEANINGS:
            return (value,)
    return None


def _digital_numbers(name: str, array: xr.DataArray) -> bool:
    """Whether a band may be digital numbers: an optical one of plain 16-bit integers.

    Also where such were opened as floats, so that missing ones could become NaN.
    """
    dtype = array.dtype if array.dtype.kind in "iu" else array.encoding.get("dtype")
    if dtype is None or np.dtype(dtype).kind not in "iu" or np.dtype(dtype).itemsize != 2:
        return False
    return is_sentinel2((name,)) and not has_scale(array)


def undeclared(
    names: Sequence[str],
    array: xr.DataArray,
    whose: str | None = None,
    baseline: tuple[str, ...] | None = None,
) -> SpecError:
    """What to say of bands whose units are not known."""
    said = array.attrs.get("units")
    listed = baseline or ()
    by_date = f"; its processing baseline says units={list(listed)}" if listed else ""
    return SpecError(
        f"the units of band {', '.join(names)} ({array.dtype}"
        + (f", of {whose}" if whose else "")
        + ") are not declared"
        + (f" (attrs['units'] is {said!r})" if said is not None else "")
        + by_date
        + "; pass units='reflectance', or units={'<band>': '<units>'}; numbers with another scale "
        "(Landsat's DN x 0.0000275 - 0.2, say) are brought to reflectance first: "
        "da * scale + offset. There are: " + ", ".join(MEANINGS)
    )
