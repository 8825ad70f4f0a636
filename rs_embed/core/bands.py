"""Band names: one common name for each of the ways in which a band is called."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError, SpecError
from rs_embed.core.result import Outcome

# Common names follow the STAC electro-optical extension; the first alias is Sentinel-2's own.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "coastal": ("B1", "B01", "coastal aerosol", "coastal_aerosol"),
    "blue": ("B2", "B02"),
    "green": ("B3", "B03"),
    "red": ("B4", "B04"),
    "rededge1": ("B5", "B05", "rededge071", "red edge 1", "red_edge_1", "vre1"),
    "rededge2": ("B6", "B06", "rededge075", "red edge 2", "red_edge_2", "vre2"),
    "rededge3": ("B7", "B07", "rededge078", "red edge 3", "red_edge_3", "vre3"),
    "nir": ("B8", "B08", "nir broad", "nir_broad"),
    "nir08": ("B8A", "B08A", "narrow nir", "nir_narrow", "narrow_nir", "nir narrow", "rededge4"),
    "nir09": ("B9", "B09", "water vapour", "water_vapour"),
    "cirrus": ("B10",),
    "swir16": ("B11", "swir1", "swir_1", "swir 1"),
    "swir22": ("B12", "swir2", "swir_2", "swir 2"),
    "vv": (),
    "vh": (),
    "hh": (),
    "hv": (),
}
_COMMON = {alias.lower(): name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
# What Sentinel-2's files (B02_10m) and Earth Engine's reducers (B2_median) put behind a name;
# a spread or a count of values (B2_stdDev) is no value of the band.
_SUFFIX = re.compile(r"_(10m|20m|60m|median|mean|mosaic|first|last|min|max|p\d{1,3})$", re.ASCII)

# By number, as Google's catalogue and the guides of the harmonised products state them: one
# numbering for the Thematic Mappers, another for the Operational Land Imagers.
LANDSAT_4_TO_7: Mapping[int, str] = {
    1: "blue", 2: "green", 3: "red", 4: "nir08", 5: "swir16", 7: "swir22",
}  # fmt: skip
LANDSAT_8_TO_9: Mapping[int, str] = {
    1: "coastal", 2: "blue", 3: "green", 4: "red", 5: "nir08", 6: "swir16", 7: "swir22",
    9: "cirrus",
}  # fmt: skip
_LANDSAT = "landsat "
REMEDY = "pass bands={{'{missing}': '<a band you have>'}} to name a stand-in"


def common_name(band: str) -> str:
    """The common name of a band; a name that no alias covers is its own, in lower case.

    Examples
    --------
    >>> common_name("B8A"), common_name("B02_10m"), common_name("swir1"), common_name("DEM")
    ('nir08', 'blue', 'swir16', 'dem')
    """
    key = band.strip().lower()
    return _COMMON.get(key) or _COMMON.get(_SUFFIX.sub("", key), key)


def landsat_names(
    found: Sequence[str], numbers: Mapping[int, str] | None, prefix: str = "sr_b"
) -> dict[str, str]:
    """Found band to common name, for the bands that Landsat numbers, such as SR_B4.

    ``numbers`` is the numbering of the platform. Where it is None, and for a number that it lacks,
    the common name is one that no model asks for. ``prefix`` is a regular expression.
    """
    pattern = re.compile(rf"(?:{prefix})0?(\d{{1,2}})", re.IGNORECASE | re.ASCII)
    names: dict[str, str] = {}
    for name in found:
        number = pattern.fullmatch(_SUFFIX.sub("", name.strip()))
        if number:
            names[name] = (numbers or {}).get(int(number[1]), _LANDSAT + name)
    return names


def is_band(name: str) -> bool:
    """Whether a name is one of a band, by any alias."""
    return common_name(name) in ALIASES


def is_sentinel2(bands: Sequence[str]) -> bool:
    """Whether every name is one of Sentinel-2's optical bands, by any alias."""
    optical = set(ALIASES) - {"vv", "vh", "hh", "hv"}
    return bool(bands) and all(common_name(band) in optical for band in bands)


def parse_band_values(text: str) -> Outcome[dict[str, float]]:
    """Positive numbers by band out of a text such as ``"nir=0.842, red=0.665"``, in its order.

    Fails with SpecError where it is not of that form or names a band twice.

    Examples
    --------
    >>> parse_band_values("nir=0.842, red=0.665").unwrap()
    {'nir': 0.842, 'red': 0.665}
    """
    found: dict[str, float] = {}
    for pair in text.split(","):
        name, _, number = (part.strip() for part in pair.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not 0 < value < math.inf:
            return Failure(
                SpecError(
                    f"{pair.strip()!r} is not a band and a number above 0, such as 'nir=0.842'; "
                    "separate several by commas"
                )
            )
        if common_name(name) in map(common_name, found):
            return Failure(SpecError(f"band {name!r} stands there twice"))
        found[name] = value
    return Success(found)


def match_bands(
    wanted: Sequence[str],
    found: Sequence[str],
    *,
    substitutes: Mapping[str, str] | None = None,
    common: Mapping[str, str] | None = None,
    error: type[RsEmbedError] = SpecError,
    where: str = "the array",
    remedy: str = REMEDY,
) -> Outcome[tuple[int, ...]]:
    """Where in ``found`` each wanted band is, by name and never by position.

    Parameters
    ----------
    wanted : sequence of str
        What the model takes, in its order.
    found : sequence of str
        What there is.
    substitutes : mapping, optional
        Wanted band to the found band that the caller puts in its place.
    common : mapping, optional
        Found band to common name, where a collection's names differ from Sentinel-2's.

    Fails with ``error``, naming what is missing, what was found and the mending call; with
    SpecError where two found bands answer to one name. A name with a suffix (B02_10m) gives way to
    the same without one.
    """
    stand = {common_name(k): v for k, v in (substitutes or {}).items()}
    asked = set(map(common_name, wanted)) - set(stand)
    placed = _places(asked, found, common or {})
    if isinstance(placed, Failure):
        return placed
    places = placed.unwrap()
    exact = {name: i for i, name in enumerate(found)}
    for name in stand.values():
        if name not in exact and common_name(name) not in places:
            return Failure(
                SpecError(f"the stand-in {name!r} is not in {where}, which has {_listed(found)}")
            )
    indices, missing = [], []
    for band in wanted:
        key = common_name(band)
        if key in stand:
            indices.append(exact.get(stand[key], places.get(common_name(stand[key]), -1)))
        elif key in places:
            indices.append(places[key])
        else:
            missing.append(band)
    if missing:
        return Failure(
            error(
                f"{where} has no band {', '.join(missing)}; it has {_listed(found)}; "
                + remedy.format(missing=missing[0])
                + _landsat_remedy(found, common or {})
            )
        )
    return Success(tuple(indices))


def _places(
    asked: Set[str], found: Sequence[str], common: Mapping[str, str]
) -> Outcome[dict[str, int]]:
    """Where each common name is among the found ones; suffixed names fill what is left."""

    def suffixed(name: str) -> bool:
        key = name.strip().lower()
        return name not in common and key not in _COMMON and common_name(name) != key

    places: dict[str, int] = {}
    for i in sorted(range(len(found)), key=lambda i: suffixed(found[i])):
        name = found[i]
        key = common.get(name) or common_name(name)
        if key not in places:
            places[key] = i
            continue
        first = found[places[key]]
        if suffixed(name) and (not suffixed(first) or key not in asked):
            continue
        return Failure(SpecError(f"{first!r} and {name!r} are both {key}; keep one of the two"))
    return Success(places)


def _landsat_remedy(found: Sequence[str], common: Mapping[str, str]) -> str:
    """What mends names whose meaning hangs on a platform that is not told; "" for others."""
    names = {**landsat_names(found, None), **common}
    unclear = [name for name in found if names.get(name, "").startswith(_LANDSAT)]
    if not unclear:
        return ""
    return (
        f". {unclear[0]} is numbered as Landsat numbers its bands, by which B4 is the near "
        "infrared of Landsat 4-7 and the red of Landsat 8-9; name the platform: "
        "da.attrs['platform'] = 'landsat-8', or the bands, in order: bands=('blue', 'green', ...)"
    )


def _listed(names: Sequence[str], maximum: int = 20) -> str:
    shown = ", ".join(map(str, names[:maximum])) or "none"
    return shown + (f" and {len(names) - maximum} more" if len(names) > maximum else "")
