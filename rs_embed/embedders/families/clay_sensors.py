"""The sensors of Clay: bands, statistics and wavelengths by platform.

From configs/metadata.yaml of https://github.com/Clay-foundation/model at a5790ce. What the authors
normalise are the numbers that a product stores, so each input is in those units. Landsat's level 1,
the airborne and the commercial products, and the eight-day MODIS composite have no collection in
`rs_embed.providers.collections`: they come from an array or a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rs_embed.core.model import InputSpec


@dataclass(frozen=True)
class Sensor:
    """What the network is told of a platform.

    Parameters
    ----------
    platform : str
        As the authors call it.
    item : InputSpec
        Bands in the authors' order, units and metres a pixel.
    mean, std : tuple of float
        By band, of the units of ``item``; of the radar in decibel.
    waves : tuple of float
        By band, micrometres; of the radar the numbers that stand for its polarisations.
    """

    platform: str
    item: InputSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    waves: tuple[float, ...]


_LANDSAT = ("red", "green", "blue", "nir08", "swir16", "swir22")
_LANDSAT_WAVES = (0.65, 0.56, 0.48, 0.86, 1.6, 2.2)

SENSORS: Mapping[str, Sensor] = {
    "s2": Sensor(
        "sentinel-2-l2a",
        InputSpec(
            "s2",
            ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
            "reflectance_x10000",
            "COPERNICUS/S2_SR_HARMONIZED",
        ),
        (1105.0, 1355.0, 1552.0, 1887.0, 2422.0, 2630.0, 2743.0, 2785.0, 2388.0, 1835.0),
        (1809.0, 1757.0, 1888.0, 1870.0, 1732.0, 1697.0, 1742.0, 1648.0, 1470.0, 1379.0),
        (0.493, 0.56, 0.665, 0.704, 0.74, 0.783, 0.842, 0.865, 1.61, 2.19),
    ),
    "s1": Sensor(
        "sentinel-1-rtc",
        InputSpec("s1", ("VV", "VH"), "linear", "COPERNICUS/S1_GRD_FLOAT", cloudy_pct=100),
        (-12.113, -18.673),
        (8.314, 8.017),
        (3.5, 4.0),
    ),
    "landsat": Sensor(
        "landsat-c2l2-sr",
        InputSpec(
            "landsat",
            _LANDSAT,
            "landsat_c2_sr",
            "LANDSAT/LC08/C02/T1_L2",
            ("SR_B4", "SR_B3", "SR_B2", "SR_B5", "SR_B6", "SR_B7"),
            scale_m=30,
        ),
        (13705.0, 13310.0, 12474.0, 17801.0, 14615.0, 12701.0),
        (9578.0, 9408.0, 10144.0, 8277.0, 5300.0, 4522.0),
        _LANDSAT_WAVES,
    ),
    "landsat_l1": Sensor(
        "landsat-c2l1",
        InputSpec("landsat_l1", _LANDSAT, "1", scale_m=30),
        (10678.0, 10563.0, 11083.0, 14792.0, 12276.0, 10114.0),
        (6025.0, 5411.0, 5468.0, 6746.0, 5897.0, 4850.0),
        _LANDSAT_WAVES,
    ),
    "naip": Sensor(
        "naip",
        InputSpec("naip", ("red", "green", "blue", "nir"), "uint8", scale_m=1),
        (110.16, 115.41, 98.15, 139.04),
        (47.23, 39.82, 35.43, 49.86),
        (0.65, 0.56, 0.48, 0.842),
    ),
    "linz": Sensor(
        "linz",
        InputSpec("linz", ("red", "green", "blue"), "uint8", scale_m=0.5),
        (89.96, 99.46, 89.51),
        (41.83, 36.96, 31.45),
        (0.635, 0.555, 0.465),
    ),
    "modis": Sensor(
        "modis",
        InputSpec(
            "modis",
            tuple(f"sur_refl_b{i:02d}" for i in range(1, 8)),
            "reflectance_x10000",
            scale_m=500,
        ),
        (1072.0, 1624.0, 931.0, 1023.0, 1599.0, 1404.0, 1051.0),
        (1643.0, 1878.0, 1449.0, 1538.0, 1763.0, 1618.0, 1396.0),
        (0.645, 0.858, 0.469, 0.555, 1.24, 1.64, 2.13),
    ),
    "planetscope": Sensor(
        "planetscope-sr",
        InputSpec(
            "planetscope",
            ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
            "1",
            scale_m=5,
        ),
        (1720.0, 1715.0, 1913.0, 2088.0, 2274.0, 2290.0, 2613.0, 3970.0),
        (747.0, 698.0, 739.0, 768.0, 849.0, 868.0, 849.0, 914.0),
        (0.443, 0.49, 0.531, 0.565, 0.61, 0.665, 0.705, 0.865),
    ),
    "satellogic": Sensor(
        "satellogic-MSI-L1D",
        InputSpec("satellogic", ("red", "green", "blue", "nir"), "1", scale_m=1),
        (1451.54, 1456.54, 1543.22, 2132.68),
        (995.48, 771.29, 708.86, 1236.71),
        (0.64, 0.545, 0.48, 0.825),
    ),
}
"""By modality."""
