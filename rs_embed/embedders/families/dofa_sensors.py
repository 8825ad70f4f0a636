"""DOFA's sensors: their bands, wavelengths and statistics, and pixels on the scale of training.

Wavelengths and statistics of Sentinel-2, Sentinel-1 and aerial images: README and demo of
github.com/zhu-xlab/DOFA (0293753). The scale, 0 to 255: Normalization.md of
github.com/allenai/satlas (04f2347), whose SatlasPretrain images DOFA was trained on. Landsat's
wavelengths: USGS, Landsat 8 OLI; PlanetScope's (SuperDove) are nominal band centres that were not
checked against Planet's specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rs_embed.core.model import InputSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

_S2 = ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B11", "B12")
_DN = "reflectance_x10000"
_OLI = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
_L1C = "COPERNICUS/S2_HARMONIZED"

MODALITIES = {
    "s2": (InputSpec("s2", _S2, _DN, _L1C),),
    "s2_tci": (InputSpec("tci", _S2[:3], "uint8"), InputSpec("s2", _S2[3:], _DN, _L1C)),
    "s2_8bit": (InputSpec("s2", _S2, "uint8"),),
    "s1": (InputSpec("s1", ("VV", "VH"), "uint8"),),
    "rgb": (InputSpec("rgb", ("red", "green", "blue"), "uint8"),),
    "naip": (InputSpec("naip", ("red", "green", "blue", "nir"), "uint8", scale_m=1),),
    "landsat": (
        InputSpec(
            "landsat",
            ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"),
            "reflectance",
            "LANDSAT/LC08/C02/T1_L2",
            tuple(f"SR_{band}" for band in _OLI),
            scale_m=30,
        ),
    ),
    "planet": (
        InputSpec(
            "planet",
            ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
            "reflectance",
            scale_m=3,
        ),
    ),
}
"""What the network is shown; any other bands come with wavelengths of the caller's own."""

_S2_UM = (0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19)
_WAVELENGTHS: Mapping[str, tuple[float, ...]] = {
    "s2": _S2_UM,
    "s2_tci": _S2_UM,
    "s2_8bit": _S2_UM,
    "s1": (5.405, 5.405),
    "rgb": (0.665, 0.56, 0.49),
    # Torchgeo's example of four bands in the authors' README, in this order of bands.
    "naip": (0.64, 0.56, 0.48, 0.81),
    "landsat": (0.443, 0.482, 0.561, 0.655, 0.865, 1.609, 2.201),
    "planet": (0.443, 0.49, 0.531, 0.565, 0.61, 0.665, 0.705, 0.865),
}
"""Central wavelengths of a modality's bands, micrometres."""

_S2_STATISTICS: Statistics = (
    (114.1099739, 114.81779093, 126.63977424, 84.33539309, 97.84789168, 103.94461911, 101.435633,
     72.32804172, 56.66528851),
    (77.84352553, 69.96844919, 67.42465279, 64.57022983, 61.72545487, 61.34187099, 60.29744676,
     47.88519516, 42.55886798),
)  # fmt: skip
# VV before VH: the README says "vh,vv", its demo passes VV first, and VV is the brighter.
_S1_STATISTICS: Statistics = ((166.36275909, 88.45542715), (64.83126309, 43.07350145))
_RGB_STATISTICS: Statistics = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

_VISIBLE = 3  # of Sentinel-2's nine: those that come out of the true-colour image
# More than float32 takes from a level that is a whole number, before the rest is cut off.
_ROUNDING = 4e-5


def wavelengths_of(modality: str, own: Mapping[str, float]) -> np.ndarray:
    """``(C,)`` micrometres of the bands: the caller's own, else those of the table."""
    return np.array(tuple(own.values()) or _WAVELENGTHS[modality], dtype=np.float64)


def statistics_of(modality: str, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(C,)`` mean and deviation on the scale 0..255: those of the nearest published band.

    Of Sentinel-1's and of red, green and blue where that is what the pixels are, else of
    Sentinel-2's nine. For the bands that were published these are their own.
    """
    if modality == "s1":
        (mean, std), nearest = _S1_STATISTICS, np.arange(2)
    elif modality in ("rgb", "naip"):
        (mean, std), nearest = _RGB_STATISTICS, _nearest(waves, _WAVELENGTHS["rgb"])
    else:
        (mean, std), nearest = _S2_STATISTICS, _nearest(waves, _S2_UM)
    return np.array(mean)[nearest], np.array(std)[nearest]


def levels_of(
    pixels: np.ndarray, units: Sequence[str], waves: np.ndarray, reflectance_max: float
) -> np.ndarray:
    """``(B, C, H, W)`` float64 on the scale 0..255 of SatlasPretrain; NaN stays.

    Display values are taken as they are. Of reflectance, bands next to Sentinel-2's visible ones
    become whole levels from 0 to ``reflectance_max``, all others that of reflectance x 10000
    divided by 32, whole too; both cut off at 0 and 255.
    """
    out = pixels.astype(np.float64)
    for i, (unit, nearest) in enumerate(zip(units, _nearest(waves, _S2_UM), strict=True)):
        if unit == "uint8":
            continue
        whole = 1e4 if unit == "reflectance" else 1.0
        step = reflectance_max * 1e4 / 255 if nearest < _VISIBLE else 32.0
        out[:, i] = np.clip(np.floor(out[:, i] * whole / step + _ROUNDING), 0, 255)
    return out


def _nearest(waves: np.ndarray, table: Sequence[float]) -> np.ndarray:
    """Which of a table's wavelengths is nearest to each; the first of two as near."""
    return np.asarray(np.abs(waves[:, None] - np.array(table)).argmin(axis=1))
