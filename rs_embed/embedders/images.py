"""Imagery as photographs: display values, and the resize of evaluation scripts. No torch."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rs_embed.core.errors import ModelError

# A fraction of a display value, more than float32 takes from one that is whole, before a cut.
_ROUNDING = 4e-5


def display_levels(pixels: np.ndarray, units: str, reflectance_max: float = 0.3) -> np.ndarray:
    """Display values of ``(..., C, H, W)``, whole numbers 0..255 as float32; NaN stays.

    Values in "uint8" are cut off as a conversion to whole numbers does. Reflectance from 0 to
    ``reflectance_max`` becomes 0..255: this project's own rule for models that were trained on
    photographs and whose authors publish none.
    """
    top = 255.0 if units == "uint8" else reflectance_max
    levels = pixels * np.float32(255 / top)
    levels += np.float32(_ROUNDING)
    np.floor(np.clip(levels, 0, 255, out=levels), out=levels)
    return levels


def resize_and_crop(
    levels: np.ndarray,
    short: int,
    crop: int,
    *,
    how: Literal["bilinear", "bicubic"] = "bicubic",
) -> np.ndarray:
    """``(3, crop, crop)`` float32 of ``(3, H, W)`` display values, as evaluation scripts do.

    Pillow's antialiased resize brings the shorter side to ``short`` pixels, rounding to whole
    display values; the middle square of ``crop`` pixels is kept.

    Raises
    ------
    ModelError
        Where Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ModelError(
            'prepare="official" resizes with pillow; pip install "rs-embed[models]"'
        ) from error
    _, height, width = levels.shape
    least = min(height, width)
    target = (int(short * width / least), int(short * height / least))
    image = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0), dtype=np.uint8))
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[how]
    resized = np.asarray(image.resize(target, method), dtype=np.float32)
    top, left = round((target[1] - crop) / 2), round((target[0] - crop) / 2)
    return resized[top : top + crop, left : left + crop].transpose(2, 0, 1)
