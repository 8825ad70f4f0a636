"""Red, green and blue as display values: the input of networks that were trained on photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rs_embed.core.model import InputSpec, Model, Option
from rs_embed.core.prepare import standardise

INPUTS: Mapping[str, tuple[InputSpec, ...]] = {
    "s2_rgb": (InputSpec("s2", ("B4", "B3", "B2"), "reflectance", "COPERNICUS/S2_SR_HARMONIZED"),),
    "rgb": (InputSpec("rgb", ("red", "green", "blue"), "uint8"),),
}
"""The modalities of such a model: reflectance to be shown, or display values as they are."""

REFLECTANCE_MAX = Option(
    "reflectance_max", float, 0.3,
    "reflectance that becomes display value 255; 0.3 is this project's own rule, since the authors "
    "give none, and 1.0 is reflectance x 255",
    minimum=0.01, maximum=10,
)  # fmt: skip

ASSUMPTIONS = (
    "reflectance 0..reflectance_max (option, 0.3) becomes display values 0..255",
    "a missing pixel becomes the display value next to the mean of the normalisation",
)

# More than float32 takes from a level that is a whole number, before the rest is cut off.
_ROUNDING = 4e-5


def display_levels(pixels: np.ndarray, model: Model, mean: Sequence[float]) -> np.ndarray:
    """Whole numbers 0..255, float32 ``(B, 3, H, W)``: cut off, as a conversion to uint8 does.

    Reflectance from 0 to the option ``reflectance_max`` becomes 0..255. The authors have no rule
    for missing pixels; here they become the level next to ``mean`` (0..1).
    """
    top = 255.0 if model.units[0] == "uint8" else float(model.options["reflectance_max"] or 0)
    levels = pixels * np.float32(255 / top)
    levels += np.float32(_ROUNDING)
    np.floor(np.clip(levels, 0, 255, out=levels), out=levels)
    there = np.isfinite(pixels)
    if not there.all():
        middle = np.round(np.array(mean, dtype=np.float32) * 255)[:, None, None]
        levels = np.where(there, levels, middle)
    return levels


def normalised(levels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """``(levels / 255 - mean) / std`` of ``(B, 3, H, W)``, float32."""
    return standardise(levels, [255 * one for one in mean], [255 * one for one in std])
