"""Where pixels are valid: masks set, filled, cut to a place, and values remapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from shapely.geometry.base import BaseGeometry

from .errors import ServiceError
from .geometry import LONLAT, contains
from .images import Band, Image, Pixels, Target, paired, select


def in_footprint(image_footprint: tuple[BaseGeometry, ...] | None, target: Target) -> np.ndarray:
    """Where pixel centres lie in the footprint, `(h, w)` bool."""
    if image_footprint is None:
        return np.ones(target.shape, bool)
    lon, lat = target.coordinates(LONLAT)
    lon = (lon + 180) % 360 - 180
    return contains(image_footprint, lon, lat)


def update_mask(image: Image, mask: Image) -> Image:
    """Pixels stay valid where `mask` is valid and not zero."""

    def masked(band: Band, by: Band) -> Band:
        def pixels(pair: Pixels, target: Target) -> Pixels:
            other = target.read(by)
            return Pixels(pair.values, pair.mask & other.mask & (other.values != 0))

        return band.mapped(pixels)

    if len(mask.bands) not in (1, len(image.bands)):
        raise ServiceError(
            f"Image.updateMask: The mask has {len(mask.bands)} bands; "
            f"expected 1 or {len(image.bands)}."
        )
    by = mask.bands * len(image.bands) if len(mask.bands) == 1 else mask.bands
    pairs = zip(image.bands, by, strict=True)
    return replace(image, bands=tuple(masked(band, m) for band, m in pairs))


def unmask(image: Image, value: Image, same_footprint: bool) -> Image:
    """Masked pixels take `value`; inside the footprint only when asked so."""

    def filled(band: Band, by: Band) -> Band:
        kind = str(np.result_type(band.dtype, by.dtype))

        def pixels(pair: Pixels, target: Target) -> Pixels:
            if pair.mask.all():
                return Pixels(pair.values.astype(kind, copy=False), pair.mask)
            other = target.read(by)
            open_to = ~pair.mask & other.mask
            if same_footprint:
                open_to &= in_footprint(image.footprint, target)
            values = np.where(open_to, other.values, pair.values).astype(kind, copy=False)
            return Pixels(values, pair.mask | open_to)

        return band.mapped(pixels, kind)

    pairs = paired("Image.unmask", image, value)
    bands = tuple(filled(band, by) for band, by in pairs)
    footprint = image.footprint if same_footprint else None
    return replace(image, bands=bands, footprint=footprint)


def mask_of(image: Image) -> Image:
    """The masks as values 0 and 1, valid everywhere."""

    def pixels(pair: Pixels, target: Target) -> Pixels:
        return Pixels(pair.mask.astype("float32"), np.broadcast_to(np.True_, target.shape))

    return image.each(pixels, "float32")


def clip(image: Image, geometry: BaseGeometry) -> Image:
    """Pixels whose centre is outside `geometry` are masked."""

    def pixels(pair: Pixels, target: Target) -> Pixels:
        return Pixels(pair.values, pair.mask & in_footprint((geometry,), target))

    return replace(image.each(pixels), footprint=(geometry,))


def remap(
    image: Image,
    old: Sequence[float],
    new: Sequence[float],
    default: float | None,
    band_name: str | None,
) -> Image:
    """One band, renamed "remapped", with `old` values replaced; others default or masked."""
    if len(old) != len(new):
        raise ServiceError(
            f"Image.remap: The lists must have the same length; got {len(old)} and {len(new)}."
        )
    if band_name is None and len(image.bands) != 1:
        raise ServiceError("Image.remap: A band name is needed for an image of several bands.")
    band = select(image, [band_name], None).bands[0] if band_name else image.bands[0]
    outputs = [*new, *([] if default is None else [default])]
    whole = all(float(v).is_integer() for v in outputs)
    kind = "int32" if whole else "float64"

    def pixels(pair: Pixels, _: Target) -> Pixels:
        values = np.full(pair.values.shape, default or 0, kind)
        known = np.full(pair.values.shape, default is not None)
        for before, after in zip(old, new, strict=True):
            hit = pair.values == before
            values[hit] = after
            known |= hit
        return Pixels(values, pair.mask & known)

    return replace(image, bands=(band.mapped(pixels, kind).named("remapped"),))
