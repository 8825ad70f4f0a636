"""What is known of Earth Engine's collections, as data: a new collection is a new row.

Facts are those of Google's catalogue (developers.google.com/earth-engine/datasets, read 2026-08).
`Band` says what a stored number means, `Collection` how scenes are chosen and put together; the
functions below only read these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from returns.result import Success

from rs_embed.core.bands import LANDSAT_4_TO_7, LANDSAT_8_TO_9, match_bands
from rs_embed.core.errors import ModelError, RsEmbedError, SpecError
from rs_embed.core.result import Outcome, collect
from rs_embed.core.units import convert


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a collection.

    Parameters
    ----------
    name : str
        Its name there.
    native_m : float
        Side of a stored pixel, metres (at the equator, where it is stored in degrees).
    units : str
        Of ``stored * scale + offset``; see `rs_embed.core.units`.
    scale, offset : float
        Applied after compositing, in float64.
    common : str or None
        Common name, where the band's own would mean another one.
    averaged : {"values", "power", "never"}
        "power": decibels, composited and averaged as linear power. "never": class numbers and
        vectors, of which a coarser pixel takes the one in its middle.
    """

    name: str
    native_m: float
    units: str
    scale: float = 1.0
    offset: float = 0.0
    common: str | None = None
    averaged: Literal["values", "power", "never"] = "values"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a scene's property has to satisfy."""

    property: str
    test: Literal["equals", "at_least", "contains"]
    value: str | float


@dataclass(frozen=True, slots=True)
class Collection:
    """One row of the table.

    Parameters
    ----------
    id : str
    bands : tuple of Band
    time : {"scenes", "annual", "static"}
        "annual" takes whole calendar years; "static" has no time.
    cloud_property : str or None
        Per cent of cloud in a scene; None where the collection does not tell.
    conditions : tuple of Condition
        Which scenes are used at all.
    polarisation_property : str or None
        List property that must hold each band asked for.
    orbit_property : str or None
        Holds "ASCENDING" or "DESCENDING".
    cloud_masks : tuple of str
        What ``SensorSpec.cloud_mask`` can do here, besides "none".
    composite : {"median", "mosaic"} or None
        The only sensible one; None leaves it to the sensor.
    bilinear : bool
        Whether values may be interpolated.
    zone_property : str or None
        Holds a scene's UTM zone ("31N"); scenes of the grid's own zone then lie on top.
    years : (int, int) or None
        First and last year published.
    """

    id: str
    bands: tuple[Band, ...]
    time: Literal["scenes", "annual", "static"] = "scenes"
    cloud_property: str | None = None
    conditions: tuple[Condition, ...] = ()
    polarisation_property: str | None = None
    orbit_property: str | None = None
    cloud_masks: tuple[str, ...] = ()
    composite: Literal["median", "mosaic"] | None = None
    bilinear: bool = True
    zone_property: str | None = None
    years: tuple[int, int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every band's name."""
        return tuple(band.name for band in self.bands)

    @property
    def common(self) -> Mapping[str, str]:
        """Common names, where a band's own would mean another band."""
        return {band.name: band.common for band in self.bands if band.common}

    def pick(self, names: Sequence[str]) -> tuple[Band, ...]:
        """The bands of these names, in that order."""
        by_name = {band.name: band for band in self.bands}
        return tuple(by_name[name] for name in names)


def _named(units: str, metres: Mapping[str, float]) -> tuple[Band, ...]:
    return tuple(Band(name, size, units) for name, size in metres.items())


_S2_METRES = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20,
    "B9": 60, "B10": 60, "B11": 20, "B12": 20,
}  # fmt: skip
_S2_L2A = {name: size for name, size in _S2_METRES.items() if name != "B10"}
_QA60 = Band("QA60", 60, "class", averaged="never")
_S2_SR = (
    *_named("reflectance_x10000", _S2_L2A),
    Band("AOT", 10, "1", scale=1e-3),
    Band("WVP", 10, "1", scale=1e-3),
    Band("SCL", 20, "class", averaged="never"),
    Band("MSK_CLDPRB", 20, "percent"),
    _QA60,
)


def _radar(units: str, averaged: Literal["values", "power"]) -> tuple[Band, ...]:
    return (
        *(Band(name, 10, units, averaged=averaged) for name in ("VV", "VH", "HH", "HV")),
        Band("angle", 18300, "degrees"),
    )


# Scenes of the interferometric wide swath at 10 m; there are others at 25 and 40 m.
_IW = (Condition("instrumentMode", "equals", "IW"), Condition("resolution_meters", "equals", 10))


def _sentinel1(asset: str, bands: tuple[Band, ...]) -> Collection:
    return Collection(
        asset,
        bands,
        conditions=_IW,
        polarisation_property="transmitterReceiverPolarisation",
        orbit_property="orbitProperties_pass",
    )


# Stored as reflectance, no scale. The thermal bands of L30 are left out: their unit is not stated.
_HLS_S30 = (
    *_named("reflectance", dict.fromkeys(_S2_METRES, 30)),
    Band("Fmask", 30, "class", averaged="never"),
)
_L30_NAMES = {f"B{number}": common for number, common in LANDSAT_8_TO_9.items()}
_HLS_L30 = (
    *(Band(name, 30, "reflectance", common=common) for name, common in _L30_NAMES.items()),
    Band("Fmask", 30, "class", averaged="never"),
)


def _landsat(asset: str, names: Mapping[str, str], heat: str) -> Collection:
    return Collection(
        asset,
        (
            *(
                Band(name, 30, "reflectance", 2.75e-5, -0.2, common)
                for name, common in names.items()
            ),
            Band(heat, 30, "kelvin", 0.00341802, 149.0, "lwir11"),
            Band("QA_PIXEL", 30, "class", averaged="never"),
            Band("QA_RADSAT", 30, "class", averaged="never"),
        ),
        cloud_property="CLOUD_COVER",
        # -1 says that the cover was not computed, not that there was none.
        conditions=(Condition("CLOUD_COVER", "at_least", 0),),
    )


_OLI = {f"SR_{name}": common for name, common in list(_L30_NAMES.items())[:7]}
_TM = {f"SR_B{number}": common for number, common in LANDSAT_4_TO_7.items()}
_MODIS_M = 463.3127165
_MODIS_NAMES = ("red", "nir", "blue", "green", None, "swir16", "swir22")
_DW = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare",
    "snow_and_ice",
)  # fmt: skip
_ERA5_M = 11132.0
_S2_CLOUDS = "CLOUDY_PIXEL_PERCENTAGE"

_ROWS = (
    Collection(
        "COPERNICUS/S2_SR_HARMONIZED",
        _S2_SR,
        cloud_property=_S2_CLOUDS,
        cloud_masks=("scl", "cloud_score_plus"),
    ),
    Collection(
        "COPERNICUS/S2_HARMONIZED",
        (*_named("reflectance_x10000", _S2_METRES), _QA60),
        cloud_property=_S2_CLOUDS,
        cloud_masks=("cloud_score_plus",),
    ),
    Collection("COPERNICUS/S2_CLOUD_PROBABILITY", (Band("probability", 10, "percent"),)),
    Collection(
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        _named("probability", {"cs": 10, "cs_cdf": 10}),
    ),
    _sentinel1("COPERNICUS/S1_GRD", _radar("db", "power")),
    _sentinel1("COPERNICUS/S1_GRD_FLOAT", _radar("linear", "values")),
    Collection("NASA/HLS/HLSS30/v002", _HLS_S30, cloud_property="CLOUD_COVERAGE"),
    Collection("NASA/HLS/HLSL30/v002", _HLS_L30, cloud_property="CLOUD_COVERAGE"),
    _landsat("LANDSAT/LC08/C02/T1_L2", _OLI, "ST_B10"),
    _landsat("LANDSAT/LC09/C02/T1_L2", _OLI, "ST_B10"),
    _landsat("LANDSAT/LE07/C02/T1_L2", _TM, "ST_B6"),
    _landsat("LANDSAT/LT05/C02/T1_L2", _TM, "ST_B6"),
    Collection(
        "MODIS/061/MOD09GA",
        (
            *(
                Band(f"sur_refl_b{i:02d}", _MODIS_M, "reflectance_x10000", common=common)
                for i, common in enumerate(_MODIS_NAMES, 1)
            ),
            Band("state_1km", 2 * _MODIS_M, "class", averaged="never"),
            Band("SolarZenith", 2 * _MODIS_M, "degrees", scale=0.01),
        ),
    ),
    Collection(
        "MODIS/061/MOD21A1D",
        (
            Band("LST_1KM", 2 * _MODIS_M, "kelvin"),
            *_named("1", dict.fromkeys(("Emis_29", "Emis_31", "Emis_32"), 2 * _MODIS_M)),
            Band("QC", 2 * _MODIS_M, "class", averaged="never"),
        ),
    ),
    Collection(
        "COPERNICUS/DEM/GLO30_2024_1",
        (
            Band("DEM", 30, "metres", common="elevation"),
            *(Band(name, 30, "class", averaged="never") for name in ("EDM", "FLM", "HEM", "WBM")),
        ),
        time="static",
        composite="mosaic",
    ),
    Collection(
        "ECMWF/ERA5_LAND/MONTHLY_AGGR",
        (
            Band("temperature_2m", _ERA5_M, "kelvin"),
            Band("dewpoint_temperature_2m", _ERA5_M, "kelvin"),
            Band("total_precipitation_sum", _ERA5_M, "metres"),
        ),
    ),
    # Integers as stored, tenths of a millimetre: what models were trained on.
    Collection(
        "IDAHO_EPSCOR/TERRACLIMATE", _named("1", dict.fromkeys(("def", "soil", "aet"), 4638.3))
    ),
    Collection("NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG", (Band("avg_rad", 463.83, "1"),)),
    Collection(
        "GOOGLE/DYNAMICWORLD/V1",
        (
            *_named("probability", dict.fromkeys(_DW, 10)),
            Band("label", 10, "class", averaged="never"),
        ),
    ),
    Collection(
        "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL",
        tuple(Band(f"A{i:02d}", 10, "1", averaged="never") for i in range(64)),
        time="annual",
        composite="mosaic",
        bilinear=False,
        zone_property="UTM_ZONE",
        years=(2017, 2025),
    ),
)

COLLECTIONS: Mapping[str, Collection] = MappingProxyType({row.id: row for row in _ROWS})
"""Every collection whose bands and units are known, by id."""


def find_collection(asset: str) -> Collection | None:
    """The row of a collection, or of the collection that an image id lies in; else None.

    Examples
    --------
    >>> find_collection("COPERNICUS/S1_GRD/S1A_IW_GRDH_1SDV").id
    'COPERNICUS/S1_GRD'
    """
    for end in range(len(asset), 0, -1):
        if (end == len(asset) or asset[end] == "/") and asset[:end] in COLLECTIONS:
            return COLLECTIONS[asset[:end]]
    return None


def own_row(asset: str, bands: Sequence[str], units: Sequence[str], *, static: bool) -> Collection:
    """A row for a collection that the table lacks: the caller's bands and units, nothing else.

    The native scale is not known (NaN), so that nothing is averaged.
    """
    known = tuple(Band(b, float("nan"), u) for b, u in zip(bands, units, strict=True))
    return Collection(asset, known, time="static" if static else "scenes")


def own_bands(row: Collection, names: Sequence[str]) -> Outcome[tuple[str, ...]]:
    """Names that a caller gave for the row's bands: its own, else by their common names.

    Fails with SpecError that names what is missing and what there is.
    """
    return collect(
        Success((name,)) if name in row.names else _by_meaning(row, (name,), row.names, SpecError)
        for name in names
    ).map(lambda found: tuple(name for one in found for name in one))


def serve_bands(
    row: Collection, wanted: Sequence[str], offered: Sequence[str] | None = None
) -> Outcome[tuple[str, ...]]:
    """The row's names of a model's bands, found by meaning; ``offered`` limits the choice.

    Fails with ModelError that names what is missing and what there is.
    """
    return _by_meaning(row, wanted, row.names if offered is None else offered, ModelError)


def _by_meaning(
    row: Collection, wanted: Sequence[str], names: Sequence[str], error: type[RsEmbedError]
) -> Outcome[tuple[str, ...]]:
    limited = tuple(names) != row.names
    return match_bands(
        wanted,
        names,
        common={name: common for name, common in row.common.items() if name in names},
        error=error,
        where=f"the sensor's choice of {row.id}" if limited else row.id,
        remedy=(
            "add it to SensorSpec.bands"
            if limited
            else "choose another collection, or an input of the model that it can serve"
        ),
    ).map(lambda places: tuple(names[i] for i in places))


def finest_m(bands: Sequence[Band]) -> float:
    """Side of the smallest stored pixel among the bands, metres; NaN where one is not known."""
    return float(np.min([band.native_m for band in bands]))


def in_stated_units(values: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Composited numbers ``(..., C, H, W)`` in each band's units, float32; NaN stays NaN.

    Bands averaged as power arrive as linear power and become decibels.
    """
    if all(band.scale == 1 and not band.offset and band.averaged != "power" for band in bands):
        return values
    out = np.empty(values.shape, dtype=np.float32)
    for i, band in enumerate(bands):
        stored = values[..., i, :, :]
        if band.averaged == "power":
            out[..., i, :, :] = convert(stored, "linear", "db")
        else:
            out[..., i, :, :] = stored.astype(np.float64) * band.scale + band.offset
    return out
