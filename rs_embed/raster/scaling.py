"""Scale, offset and missing values of a variable, wherever a library left them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from returns.result import Failure, Result, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.core.units import MISSING_NUMBER, linear_map
from rs_embed.raster.dims import DimRoles

STORED_NUMBERS = ("reflectance_x10000", "s2_dn_offset1000")


@dataclass(frozen=True)
class Scaling:
    """``value = number * scale + offset`` of one variable, and the numbers that are missing.

    ``scale``, ``offset`` and ``missing`` are arrays ``(T or 1, C or 1)``. ``nodata`` are numbers of
    all bands as they are stored, ``missing`` is one of its band and date, or NaN. Numbers outside
    of ``valid``, its ends included in it, are missing too.
    """

    nodata: tuple[float, ...]
    scale: np.ndarray
    offset: np.ndarray
    missing: np.ndarray
    valid: tuple[float, float] = (-np.inf, np.inf)

    @property
    def identity(self) -> bool:
        """Whether the numbers are the values."""
        return bool((self.scale == 1).all() and (self.offset == 0).all())

    def pick(self, steps: Sequence[int] | None, bands: Sequence[int] | None) -> Scaling:
        """The same for some steps of time and some bands."""
        scale, offset, missing = (
            _picked(a, steps, bands) for a in (self.scale, self.offset, self.missing)
        )
        return Scaling(self.nodata, scale, offset, missing, self.valid)


def find_scaling(
    layout: DimRoles, array: xr.DataArray, units: Sequence[str], by_date: Sequence[Sequence[str]]
) -> Outcome[Scaling]:
    """How the numbers of a variable become values in ``units``, one for each of its bands.

    ``by_date`` holds the units of each band on each date, or on all of them (a single one).
    Fails with SpecError where a scale may or may not have been applied already.
    """
    count = len(units)
    return Result.do(
        replace(_with_units(_nodata(array), *found, units, by_date), valid=valid)
        for _ in _check_unsigned(array)
        for valid in _valid_range(array)
        for found in _stored_scale(array, count, units)
    )


def _with_units(
    nodata: tuple[float, ...],
    scale: np.ndarray,
    offset: np.ndarray,
    units: Sequence[str],
    by_date: Sequence[Sequence[str]],
) -> Scaling:
    steps = max(map(len, by_date), default=1)
    given = np.array([[own[t % len(own)] for own in by_date] for t in range(steps)])
    maps = np.array(
        [
            [linear_map(have, want) for have, want in zip(row, units, strict=True)]
            for row in given.tolist()
        ]
    )
    factor, shift = maps[..., 0], maps[..., 1]
    missing = np.array([[MISSING_NUMBER.get(unit, np.nan) for unit in row] for row in given])
    return Scaling(nodata, scale[None] * factor, offset[None] * factor + shift, missing)


def _stored_scale(
    array: xr.DataArray, count: int, units: Sequence[str]
) -> Outcome[tuple[np.ndarray, np.ndarray]]:
    """``(C,)`` scale and offset that are still to be applied."""
    scale, offset = _stated(array, count)
    if np.isnan(scale).any() or np.isnan(offset).any():
        return Failure(
            SpecError(
                f"attrs['scales'] and attrs['offsets'] do not list one number for each of the "
                f"{count} band(s) of the array; open the file with mask_and_scale=True, or apply "
                "them yourself and drop them from attrs"
            )
        )
    plain = bool((scale == 1).all() and (offset == 0).all())
    if array.dtype.kind in "iu":
        if plain:
            listed = _raster_bands(array, count)
            stored = np.array([unit in STORED_NUMBERS for unit in units])
            if listed is not None:
                # Of the catalogue's item, not of the array: units of stored numbers speak of
                # the numbers before it.
                scale, offset = np.where(stored, 1.0, listed[0]), np.where(stored, 0.0, listed[1])
        return Success((scale, offset))
    if plain or _as_opened(array):
        return Success((scale, offset))
    return Failure(
        SpecError(
            f"the array is {array.dtype} and its attrs still hold scale_factor {_short(scale)} and "
            f"add_offset {_short(offset)}, which may or may not have been applied; if they have, "
            "drop them: da.attrs.pop('scale_factor'); da.attrs.pop('add_offset'); if not, open "
            "the file with mask_and_scale=True"
        )
    )


def _as_opened(array: xr.DataArray) -> bool:
    """Whether a library's masked, unscaled numbers are still as they were read.

    What opens a file notes its dtype in the encoding, which any arithmetic drops; a scale that was
    applied stands in the encoding too.
    """
    encoding = array.encoding
    stored = encoding.get("rasterio_dtype", encoding.get("dtype"))
    return stored is not None and "scale_factor" not in encoding and "scales" not in encoding


def _stated(array: xr.DataArray, count: int) -> tuple[np.ndarray, np.ndarray]:
    attrs = array.attrs
    scale = _numbers(attrs.get("scale_factor", attrs.get("scales")), count, 1.0)
    offset = _numbers(attrs.get("add_offset", attrs.get("offsets")), count, 0.0)
    return scale, offset


def has_scale(array: xr.DataArray) -> bool:
    """Whether a scale or an offset stands beside the numbers, applied or not."""
    encoding = array.encoding
    both = (_stated(array, 0), _stated(xr.DataArray(0, attrs=dict(encoding)), 0))
    return any((s != 1).any() or (o != 0).any() for s, o in both)


def _numbers(value: Any, count: int, default: float) -> np.ndarray:
    """One number for each band; ``count`` 0 keeps as many as there are."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = None
    try:
        found = np.atleast_1d(np.asarray(default if value is None else value, dtype=np.float64))
    except (TypeError, ValueError):
        found = np.array([default])
    if count and found.size not in (1, count):
        # A cut of bands keeps the attributes of all of them: only equal ones still say something.
        found = found[:1] if (found == found[0]).all() else np.full(1, np.nan)
    return np.broadcast_to(found, (count,)) if count else found


def _raster_bands(array: xr.DataArray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and offset of the "raster:bands" that stackstac keeps as a coordinate."""
    coord = array.coords.get("raster:bands")
    entries = coord.values.ravel().tolist() if coord is not None else []
    entries = [e[0] if isinstance(e, list | tuple) and e else e for e in entries]
    if not entries or len(entries) not in (1, count):
        return None
    if not all(isinstance(e, dict) for e in entries):
        return None
    scale = np.array([float(e.get("scale") or 1.0) for e in entries])
    offset = np.array([float(e.get("offset") or 0.0) for e in entries])
    return np.broadcast_to(scale, (count,)), np.broadcast_to(offset, (count,))


def _nodata(array: xr.DataArray) -> tuple[float, ...]:
    """Numbers that mean "missing". Those in the encoding of a float array are NaN already."""
    stores = [array.attrs] + ([array.encoding] if array.dtype.kind in "iu" else [])
    found: list[float] = []
    for store in stores:
        for key in ("_FillValue", "missing_value", "nodata", "nodatavals", "fill_value"):
            for value in np.atleast_1d(store.get(key, ())):
                if isinstance(value, int | float | np.number) and not np.isnan(value):
                    found.append(float(value))
    if array.dtype.kind in "iu":
        coord = array.coords.get("raster:bands")
        for entry in coord.values.ravel().tolist() if coord is not None else []:
            value = entry.get("nodata") if isinstance(entry, dict) else None
            if isinstance(value, int | float) and not np.isnan(value):
                found.append(float(value))
    kept = _rio_nodata(array)
    if kept is not None and not np.isnan(kept):
        found.append(float(kept))
    return tuple(dict.fromkeys(found))


def _rio_nodata(array: xr.DataArray) -> float | None:
    """What rioxarray answers, if it is in use: ``rio.set_nodata`` keeps it outside the data."""
    if "rioxarray" not in sys.modules:
        return None
    try:
        return array.rio.nodata  # type: ignore[no-any-return]
    except ValueError:
        return None  # it has no NaN for integers; their encoding has been read already


def _check_unsigned(array: xr.DataArray) -> Outcome[None]:
    """Failure(SpecError) where numbers are stored with the other sign than they have."""
    said = str(array.attrs.get("_Unsigned", "")).lower()
    if (said, array.dtype.kind) not in (("true", "i"), ("false", "u")):
        return Success(None)
    return Failure(
        SpecError(
            f"the array is {array.dtype} and its attrs say _Unsigned={said!r}, so its numbers are "
            "not what they look like; open the file with mask_and_scale=True"
        )
    )


def _valid_range(array: xr.DataArray) -> Outcome[tuple[float, float]]:
    """First and last valid number of the array, as CF's attributes state them of the stored ones.

    CF conventions 2.5.1: ``valid_range``, or ``valid_min`` and ``valid_max``.
    """
    attrs = array.attrs
    both = _range_of(attrs.get("valid_range"))
    low, high = (_range_of(attrs.get(f"valid_{end}")) for end in ("min", "max"))
    if any(found is not None and len(found) != n for found, n in ((both, 2), (low, 1), (high, 1))):
        return Failure(
            SpecError(
                "attrs valid_range, valid_min or valid_max of the array are no numbers that can be "
                "read; mask the array yourself and drop them: da.attrs.pop('valid_range')"
            )
        )
    first, last = both or (-np.inf, np.inf)
    ends = (low[0] if low else first, high[0] if high else last)
    # What has decoded the numbers notes how; the attributes still speak of the stored ones.
    scale, offset = _stated(xr.DataArray(0, attrs=dict(array.encoding)), 0)
    if array.dtype.kind != "f" or scale.size > 1 or offset.size > 1:
        return Success(ends)
    values = sorted(end * float(scale[0]) + float(offset[0]) for end in ends)
    slack = 1e-6 * max([abs(v) for v in values if np.isfinite(v)], default=0.0)
    return Success((values[0] - slack, values[1] + slack))


def _range_of(value: Any) -> tuple[float, ...] | None:
    """Numbers of an attribute, which GDAL gives as text; () where they are none."""
    if value is None:
        return None
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip().strip("{}[]()"))
    try:
        return tuple(float(one) for one in np.atleast_1d(np.asarray(value)))
    except (TypeError, ValueError):
        return ()


def _picked(
    table: np.ndarray, steps: Sequence[int] | None, bands: Sequence[int] | None
) -> np.ndarray:
    if steps is not None and table.shape[0] > 1:
        table = table[list(steps)]
    if bands is not None and table.shape[1] > 1:
        table = table[:, list(bands)]
    return table


def _short(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in np.unique(values)[:3].tolist())
