"""What an array tells of its imagery: whose it is, and Sentinel-2's processing baseline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from rs_embed.core.bands import LANDSAT_4_TO_7, LANDSAT_8_TO_9, common_name, is_band, landsat_names
from rs_embed.raster.dims import DimRoles

# Where STAC items, Earth Engine and GDAL's drivers name a satellite, a product or a scene.
_PLACES = (
    "platform", "constellation", "mission", "collection", "collection_id", "instruments",
    "instrument", "sensor", "satellite", "spacecraft", "spacecraft_name", "spacecraft_id",
    "eo:platform", "product", "product_type", "sensor_id", "source", "stac", "id", "system:id",
    "system:index", "short_name", "s2:product_uri",
)  # fmt: skip
_MARKS = (
    ("Sentinel-2", r"sentinel-?2|copernicus/s2|(?<![a-z0-9])s2[abcd](?![a-z0-9])|s2msi"),
    ("HLS", r"(?<![a-z])hls(?![a-z])|hls[sl]\d|hls2|hls\.[sl]30"),
    ("Landsat", r"landsat|(?<![a-z])l[cetmo]0[4-9]_|(?<![a-z])l[cet]0[4-9](?![0-9])"),
    ("MODIS", r"modis|m[oyc]d(09|13|43)|(?<![a-z])(terra|aqua)(?![a-z])"),
    ("Planet", r"planet|psscene|ps2|psb\.sd|superdove|skysat|rapideye"),
)
SENTINEL2 = "Sentinel-2"
# Names that Sentinel-2 alone has: its own ids, and the three red edges.
_OWN_ID = re.compile(r"b(0?[1-9]|1[0-2]|8a)$", re.IGNORECASE)
_BASELINE, _APPLIED = "s2:processing_baseline", "earthsearch:boa_offset_applied"
_OFFSET_SINCE = 4.0
_NUMBER = re.compile(r"landsat[-_ ]?0?([4-9])(?!\d)|(?<![a-z])l[cet]0([4-9])(?!\d)")


def imagery(layout: DimRoles) -> str | None:
    """``"Sentinel-2"``, ``"Landsat"``, … as coordinates and attributes say; None where none does.

    Several that differ are joined by " and ".
    """
    found = {name for text in _texts(layout) for name, mark in _MARKS if re.search(mark, text)}
    if "HLS" in found:
        # HLS has the platforms of the satellites that it harmonises.
        found -= {SENTINEL2, "Landsat"}
    if not found and any(str(c).startswith("s2:") for c in layout.arrays[0].coords):
        found = {SENTINEL2}
    return " and ".join(sorted(found)) or None


def sentinel2_names(names: Sequence[str]) -> bool:
    """Whether the names are Sentinel-2's own: ids such as B02, or common names with a red edge."""
    if any(common_name(name) in ("rededge1", "rededge2", "rededge3") for name in names):
        return True
    return any(_OWN_ID.match(name.strip().partition("_")[0]) for name in names if is_band(name))


def numbered_names(layout: DimRoles, names: Sequence[str], given: bool) -> dict[str, str]:
    """Band to common name, for bands that are numbered as Landsat numbers them.

    SR_B4 is always such a name; B4 where the array says that it is Landsat's, or the harmonised
    product of Landsat 8 and 9. ``given`` tells that the caller wrote the names: there B4 is
    Sentinel-2's, as everywhere else in this package, and so it is in what `open_roi` gives, where
    the collection's own names stand in the coordinate "source_band".
    """
    given = given or "source_band" in layout.arrays[0].coords
    whose = imagery(layout)
    texts = list(_texts(layout))
    harmonised = whose == "HLS" and any("l30" in text for text in texts)
    if harmonised and any("s30" in text for text in texts):
        harmonised = False
    bare = not given and (whose == "Landsat" or harmonised)
    numbers = LANDSAT_8_TO_9 if harmonised else _numbering(texts)
    return landsat_names(names, numbers, prefix="(?:sr_)?b" if bare else "sr_b")


def _numbering(texts: Sequence[str]) -> Mapping[int, str] | None:
    """The numbering of the Landsat that is told; None where none is, or two that differ."""
    told = {number for text in texts for pair in _NUMBER.findall(text) for number in pair if number}
    if not told or (told & set("4567") and told & set("89")):
        return None
    return LANDSAT_4_TO_7 if told & set("4567") else LANDSAT_8_TO_9


def dn_units(layout: DimRoles) -> tuple[str, ...] | None:
    """Units of Sentinel-2's numbers by date, as the baseline among the coordinates decides.

    One for each step of time, or a single one; None where the coordinates do not tell. Numbers
    carry 1000 more since baseline 04.00, unless the catalogue took it off.
    """
    baseline, applied = _values(layout, _BASELINE), _values(layout, _APPLIED)
    if baseline is None and applied is None:
        return None
    length = max(len(v) for v in (baseline, applied) if v is not None)
    off = _spread(applied, length)
    versions = _spread(baseline, length)
    units = [_unit(version, bool(done)) for version, done in zip(versions, off, strict=True)]
    return None if None in units else tuple(str(unit) for unit in units)


def tells_baseline(layout: DimRoles) -> bool:
    """Whether a baseline stands among the coordinates or attributes."""
    return _values(layout, _BASELINE) is not None or _values(layout, _APPLIED) is not None


def _unit(version: Any, applied: bool) -> str | None:
    if applied:
        return "reflectance_x10000"
    try:
        number = float(str(version))
    except ValueError:
        return None
    if not np.isfinite(number):
        return None
    return "s2_dn_offset1000" if number >= _OFFSET_SINCE else "reflectance_x10000"


def _spread(values: list[Any] | None, length: int) -> list[Any]:
    if values is None:
        return [None] * length
    return values * length if len(values) == 1 else values


def _values(layout: DimRoles, name: str) -> list[Any] | None:
    """A coordinate's values along time, or the single value of a coordinate or attribute."""
    array = layout.arrays[0]
    coord = array.coords.get(name, layout.obj.coords.get(name))
    if coord is None:
        value = {**layout.obj.attrs, **array.attrs}.get(name)
        return None if value is None else [_plain(value)]
    if coord.ndim == 0:
        return [_plain(coord.values.item())]
    if coord.dims == (layout.time,):
        return [_plain(value) for value in coord.values.tolist()]
    flat = {_plain(value) for value in coord.values.ravel().tolist()}
    return [flat.pop()] if len(flat) == 1 else [None]


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


def _texts(layout: DimRoles) -> Iterator[str]:
    stores: list[Any] = [layout.obj.attrs, *(array.attrs for array in layout.arrays)]
    for store in stores:
        for key, value in store.items():
            if str(key).lower() in _PLACES:
                yield str(value).lower()
    coords: dict[Any, xr.DataArray] = {**layout.obj.coords, **layout.arrays[0].coords}
    for name, coord in coords.items():
        if str(name).lower() in _PLACES and coord.size <= 100_000:
            yield from {str(value).lower() for value in coord.values.ravel().tolist()}
