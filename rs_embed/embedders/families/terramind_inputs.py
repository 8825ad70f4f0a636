"""TerraMind's modalities: their bands, units and statistics, and what stands beside another one.

Names, bands and statistics (v1_pretraining_mean, v1_pretraining_std) as in terratorch 1.2.13,
terratorch/models/backbones/terramind, the authors' implementation.
"""

from __future__ import annotations

from dataclasses import replace

from rs_embed.core.model import InputSpec, Option

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_L2A = tuple(band for band in _L1C if band != "B10")

INPUTS = {
    "S2L2A": InputSpec("S2L2A", _L2A, "reflectance_x10000", "COPERNICUS/S2_SR_HARMONIZED"),
    "S2L1C": InputSpec("S2L1C", _L1C, "reflectance_x10000", "COPERNICUS/S2_HARMONIZED"),
    # ESA's true-colour image: no rule from reflectance is published, so it is taken as it is.
    "RGB": InputSpec("RGB", ("B4", "B3", "B2"), "uint8"),
    "S1GRD": InputSpec("S1GRD", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100),
    # Earth Engine holds no radiometrically terrain-corrected Sentinel-1.
    "S1RTC": InputSpec("S1RTC", ("VV", "VH"), "db"),
    "DEM": InputSpec(
        "DEM", ("DEM",), "metres", "COPERNICUS/DEM/GLO30_2024_1", ("DEM",), static=True
    ),
}
PUBLISHED = {
    "S2L2A": "untok_sen2l2a@224", "S2L1C": "untok_sen2l1c@224", "RGB": "untok_sen2rgb@224",
    "S1GRD": "untok_sen1grd@224", "S1RTC": "untok_sen1rtc@224", "DEM": "untok_dem@224",
}  # fmt: skip
"""What the published keys call each modality."""


def _beside(name: str, what: str, prefix: str = "") -> Option:
    """An option that adds a modality; a prefix keeps its bands apart from others of that name."""
    item = INPUTS[name]
    bands = tuple(prefix + band for band in item.bands)
    own = item.collection_bands or (item.bands if item.collection else ())
    added = replace(item, bands=bands, collection_bands=own, optional=not item.static)
    named = f", as bands {', '.join(bands[:3])}{', …' if len(bands) > 3 else ''}"
    return Option(name.lower(), bool, False, f"add {what}{named}", builds=True, adds=(added,))


BESIDE = (
    _beside("S1GRD", "Sentinel-1 GRD"),
    _beside("S1RTC", "terrain-corrected Sentinel-1", "RTC_"),
    _beside("DEM", "elevation"),
    _beside("S2L1C", "Sentinel-2 level 1C", "L1C_"),
    _beside("RGB", "Sentinel-2's true-colour image", "TCI_"),
)
"""Options that put another modality beside the one that is asked for."""
