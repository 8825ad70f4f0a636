"""Galileo's channel groups: what each is made from, and its normalised values.

Bands, groups and statistics as in https://github.com/nasaharvest/galileo at 0f0b5b95. A group or a
step without pixels is hidden, and what is missing of the others is filled, before the values are
normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rs_embed.core.model import InputSpec, Option

_DW = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare",
    "snow_and_ice",
)  # fmt: skip
_WC = ("temporarycrops", "maize", "wintercereals", "springcereals", "irrigation")


@dataclass(frozen=True, slots=True)
class Group:
    """A channel group.

    Parameters
    ----------
    name : str
        As in the published keys.
    kind : {"space_time", "space", "time", "static"}
        What its tokens are one of; `forward` lays them out in this order.
    channels : int
    bands : tuple of str
        What it is made from.
    option : str or None
        The option that asks for it; None where it comes with its imagery.
    """

    name: str
    kind: Literal["space_time", "space", "time", "static"]
    channels: int
    bands: tuple[str, ...]
    option: str | None = None


GROUPS = (
    Group("S1", "space_time", 2, ("VV", "VH")),
    Group("S2_RGB", "space_time", 3, ("B2", "B3", "B4")),
    Group("S2_Red_Edge", "space_time", 3, ("B5", "B6", "B7")),
    Group("S2_NIR_10m", "space_time", 1, ("B8",)),
    Group("S2_NIR_20m", "space_time", 1, ("B8A",)),
    Group("S2_SWIR", "space_time", 2, ("B11", "B12")),
    Group("NDVI", "space_time", 1, ("B8", "B4"), "ndvi"),
    Group("SRTM", "space", 2, ("elevation", "slope"), "srtm"),
    Group("DW", "space", 9, _DW, "dw"),
    Group("WC", "space", 5, _WC, "wc"),
    Group("ERA5", "time", 2, ("temperature_2m", "total_precipitation_sum"), "era5"),
    Group("TC", "time", 3, ("def", "soil", "aet"), "tc"),
    Group("VIIRS", "time", 1, ("avg_rad",), "viirs"),
    Group("LS", "static", 1, ("population",), "landscan"),
    Group("location", "static", 3, (), "location"),
    Group("DW_static", "static", 9, _DW, "dw_static"),
    Group("WC_static", "static", 5, _WC, "wc_static"),
)
# Kinds in the authors' order of tokens, and how each one's table of channel codes is named.
KINDS = {"space_time": "s_t", "space": "sp", "time": "t", "static": "st"}

# Mean and standard deviation of the pretraining data: config/normalization.json of the repository.
_STATISTICS = {
    "VV": (-11.728724389184965, 4.887145774840316),
    "VH": (-18.85558188024017, 5.730270320384293),
    "B2": (1395.3408730676722, 917.7041440370853),
    "B3": (1338.4026921784578, 913.2988423581528),
    "B4": (1343.09883810357, 1092.678723527555),
    "B5": (1543.8607982512297, 1047.2206083460424),
    "B6": (2186.2022069512263, 1048.0101611156767),
    "B7": (2525.0932853316694, 1143.6903026819996),
    "B8": (2410.3377187373408, 1098.979177731649),
    "B8A": (2750.2854646886753, 1204.472755085893),
    "B11": (2234.911100061487, 1145.9774063078878),
    "B12": (1474.5311266077113, 980.2429840007796),
    "temperature_2m": (271.5674963541667, 79.80828940314429),
    "total_precipitation_sum": (0.08554303677156568, 0.11669547098151486),
    "def": (657.3181260091111, 704.0008695557707),
    "soil": (692.1291795806885, 925.0116126406431),
    "aet": (562.781331880633, 453.2434022278578),
    "avg_rad": (1.5647115934036673, 7.513020170832818),
    "elevation": (673.0152819503361, 983.0697298296237),
    "slope": (5.930092668915115, 8.167406789813247),
    "population": (188.20315880851746, 1154.5919128300602),
}
MEAN, STD = ({band: pair[i] for band, pair in _STATISTICS.items()} for i in (0, 1))

_S2 = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S2 = InputSpec("s2", _S2, "reflectance_x10000", "COPERNICUS/S2_HARMONIZED")
S1 = InputSpec("s1", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)
# Where the authors derive a layer (slope, one band a WorldCereal product, LandScan's year), no
# plain choice of a collection's bands gives it: such a layer comes from an array or a local source.
ELEVATION = InputSpec("elevation", ("elevation",), "metres", static=True)
SLOPE = InputSpec("slope", ("slope",), "degrees", static=True)
# Beside a sensor of the caller these keep their own collection.
_SIDE: Any = {"cloudy_pct": 100, "optional": True}
_ERA5 = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
DYNAMIC_WORLD = InputSpec("dw", _DW, "probability", "GOOGLE/DYNAMICWORLD/V1", **_SIDE)
WORLD_CEREAL = InputSpec("wc", _WC, "percent", static=True)
TEMPERATURE = InputSpec("era5_t", ("temperature_2m",), "kelvin", _ERA5, **_SIDE)
RAIN = InputSpec("era5_p", ("total_precipitation_sum",), "metres", _ERA5, **_SIDE)
WATER = InputSpec("tc", ("def", "soil", "aet"), "1", "IDAHO_EPSCOR/TERRACLIMATE", **_SIDE)
LIGHTS = InputSpec("viirs", ("avg_rad",), "1", "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG", **_SIDE)
PEOPLE = InputSpec("landscan", ("population",), "1", static=True)


def _adding(name: str, meaning: str, *inputs: InputSpec) -> Option:
    return Option(name, bool, False, f"add {meaning}", adds=inputs)


OPTIONS = (
    _adding("ndvi", "the NDVI of Sentinel-2's B8 and B4"),
    _adding("location", "the place of the window's centre on the globe"),
    _adding("srtm", "elevation and slope", ELEVATION, SLOPE),
    _adding("dw", "Dynamic World's class probabilities of each pixel", DYNAMIC_WORLD),
    _adding("dw_static", "Dynamic World's means over the window", DYNAMIC_WORLD),
    _adding("wc", "WorldCereal's layers of each pixel", WORLD_CEREAL),
    _adding("wc_static", "WorldCereal's means over the window", WORLD_CEREAL),
    _adding("era5", "monthly temperature and precipitation", TEMPERATURE, RAIN),
    _adding("tc", "TerraClimate's water deficit, soil moisture and evapotranspiration", WATER),
    _adding("viirs", "monthly night lights", LIGHTS),
    _adding("landscan", "LandScan's population", PEOPLE),
)


def values_of(group: Group, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised values of one group from ``(B, T, C, H, W)``, and its visible steps ``(B, T)``.

    A step without any pixel is hidden; so is the group where one of its bands has none at all.
    """
    if group.kind in ("space", "static"):
        raw = _mean(raw, (1,))  # (B, 1, C, H, W)
    there = np.isfinite(raw).any(axis=(-2, -1))  # (B, T, C)
    seen = there.any(axis=2) & there.any(axis=1).all(axis=1)[:, None]
    values = _filled(raw)
    if group.name == "NDVI":
        values = _ndvi(values)
    else:
        low, span = np.array([_range(band) for band in group.bands]).T[..., None, None]
        values = (values - low) / span
    if group.kind in ("time", "static"):
        values = values.mean(axis=(-2, -1), keepdims=True)
    return np.where(seen[..., None, None, None], values, 0.0), seen


def _range(band: str) -> tuple[float, float]:
    """What is taken from a raw value, and what the rest is divided by."""
    if band in _STATISTICS:
        mean, std = _STATISTICS[band]
        low, span = mean - 2 * std, 4 * std
        # The authors keep LandScan's two numbers in an array of integers, which cuts them.
        return (int(low), int(span)) if band == "population" else (low, span)
    return (0.0, 100.0) if band in _WC else (0.0, 1.0)


def _filled(raw: np.ndarray) -> np.ndarray:
    """Float64 values; a missing one is its band's mean over space, then over the steps."""
    finite = np.isfinite(raw)
    if finite.all():
        return raw.astype(np.float64)
    return np.where(finite, raw.astype(np.float64), _mean(_mean(raw, (-2, -1)), (1,)))


def _mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Float64 mean of the finite values, axes kept; NaN where there is none."""
    finite = np.isfinite(values)
    total = np.where(finite, values.astype(np.float64), 0.0).sum(axis=axes, keepdims=True)
    count = finite.sum(axis=axes, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ndvi(values: np.ndarray) -> np.ndarray:
    """``(B, T, 1, H, W)`` from raw B8 and B4; 0 where their sum is not positive."""
    near, red = values[:, :, :1], values[:, :, 1:]
    bright = near + red > 0
    return np.where(bright, (near - red) / np.where(bright, near + red, 1.0), 0.0)


def on_the_globe(lonlat: np.ndarray) -> np.ndarray:
    """``(B, 1, 3, 1, 1)`` unit vectors of ``(B, 2)`` longitudes and latitudes, degrees."""
    lon, lat = np.radians(lonlat.astype(np.float64)).T
    vector = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return np.stack(vector, axis=-1)[:, None, :, None, None]
