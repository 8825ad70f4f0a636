"""Band names: one common name for each of the ways in which a band is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def common_name(band: str) -> str:
    """The common name of a band; a name that no alias covers is its own, in lower case.

    Examples
    --------
    >>> common_name("B8A"), common_name("B02"), common_name("swir1"), common_name("DEM")
    ('nir08', 'blue', 'swir16', 'dem')
    """
    key = band.strip().lower()
    return _COMMON.get(key, key)


def is_sentinel2(bands: Sequence[str]) -> bool:
    """Whether every name is one of Sentinel-2's optical bands, by any alias."""
    optical = set(ALIASES) - {"vv", "vh", "hh", "hv"}
    return bool(bands) and all(common_name(band) in optical for band in bands)


def match_bands(
    wanted: Sequence[str],
    found: Sequence[str],
    *,
    substitutes: Mapping[str, str] | None = None,
    common: Mapping[str, str] | None = None,
    error: type[RsEmbedError] = SpecError,
    where: str = "the array",
    remedy: str = "pass bands={{'{missing}': '<a band you have>'}} to name a stand-in",
) -> Outcome[tuple[int, ...]]:
    """Where in ``found`` each wanted band is, by name and never by position.

    Parameters
    ----------
    wanted : sequence of str
        What the model takes, in its order.
    found : sequence of str
        What there is.
    stand_ins : mapping, optional
        Wanted band to the found band that the caller puts in its place.
    common : mapping, optional
        Found band to common name, where a collection's names differ from Sentinel-2's.

    Fails with ``error``, naming what is missing, what was found and the mending call; with
    SpecError where two found bands answer to one name.
    """
    places: dict[str, int] = {}
    for i, name in enumerate(found):
        key = (common or {}).get(name) or common_name(name)
        if key in places:
            return Failure(
                SpecError(
                    f"{found[places[key]]!r} and {name!r} are both {key}; keep one of the two"
                )
            )
        places[key] = i
    exact = {name: i for i, name in enumerate(found)}
    stand = {common_name(k): v for k, v in (substitutes or {}).items()}
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
            )
        )
    return Success(tuple(indices))


def _listed(names: Sequence[str], maximum: int = 20) -> str:
    shown = ", ".join(map(str, names[:maximum])) or "none"
    return shown + (f" and {len(names) - maximum} more" if len(names) > maximum else "")
