"""Algorithms over images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from . import geometry as places
from . import images, masks, reading
from .arithmetic import quotient, wide
from .elements import Collection, Feature, describe_band
from .errors import ServiceError, unsupported
from .functions import algorithm
from .geometry import Projection, coordinate_system
from .images import Band, Image, Pixels, Target
from .reducers import Reducer, reduce_bands

algorithm("Image.constant")(images.constant)


@algorithm("Image.select")
def select(input: Image, bandSelectors: list[Any], newNames: list[str] | None = None) -> Image:
    selectors = bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]
    return images.select(input, selectors, newNames)


@algorithm("Image.rename")
def rename(input: Image, names: list[str]) -> Image:
    return images.rename(input, names if isinstance(names, list) else [names])


@algorithm("Image.addBands")
def add_bands(
    dstImg: Image, srcImg: Image, names: list[str] | None = None, overwrite: bool = False
) -> Image:
    return images.add_bands(dstImg, srcImg, names, overwrite)


@algorithm("Image.cat")
def cat(**arguments: list[Image]) -> Image:
    first, *others = arguments["images"]
    for other in others:
        first = images.add_bands(first, other)
    return first


@algorithm("Image.unmask")
def unmask(input: Image, value: Image | None = None, sameFootprint: bool = True) -> Image:
    return masks.unmask(input, value or images.constant(0), sameFootprint)


@algorithm("Image.updateMask")
def update_mask(image: Image, mask: Image) -> Image:
    return masks.update_mask(image, mask)


@algorithm("Image.mask")
def mask(image: Image, mask: Image | None = None) -> Image:
    """The mask; or, with a second image, the image under that mask alone."""
    if mask is None:
        return masks.mask_of(image)
    return masks.update_mask(masks.unmask(image, images.constant(0), False), mask)


@algorithm("Image.remap")
def remap(
    image: Image,
    from_: list[float],
    to: list[float],
    defaultValue: float | None = None,
    bandName: str | None = None,
) -> Image:
    return masks.remap(image, from_, to, defaultValue, bandName)


@algorithm("Image.where")
def where(input: Image, test: Image, value: Image) -> Image:
    """`value` where both it and `test` are valid and `test` is not zero."""
    replaced = masks.update_mask(value, test)
    if len(replaced.bands) == 1:
        replaced = replace(replaced, bands=replaced.bands * len(input.bands))

    def one(band: Band, by: Band) -> Band:
        kind = str(np.result_type(band.dtype, by.dtype))

        def pixels(pair: Pixels, target: Target) -> Pixels:
            other = target.read(by)
            return Pixels(np.where(other.mask, other.values, pair.values).astype(kind), pair.mask)

        return band.mapped(pixels, kind)

    pairs = zip(input.bands, replaced.bands, strict=True)
    return replace(input, bands=tuple(one(band, by) for band, by in pairs))


@algorithm("Image.clamp")
def clamp(input: Image, low: float, high: float) -> Image:
    return input.each(lambda pair, _: Pixels(np.clip(pair.values, low, high), pair.mask))


@algorithm("Image.normalizedDifference")
def normalized_difference(input: Image, bandNames: list[str] | None = None) -> Image:
    """(first - second) / (first + second), masked where an input is negative."""
    first, second = images.select(input, bandNames or [0, 1], None).bands

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        value = quotient(a - b, a + b)
        return np.where((a < 0) | (b < 0), np.nan, value)

    one, two = Image((first,), {}, input.footprint), Image((second,))
    made = images.binary(
        "Image.normalizedDifference", one, two, wide(ratio), lambda a, b: "float32"
    )
    return images.rename(replace(made, properties={}), ["nd"])


@algorithm("Image.linkCollection")
def link_collection(
    input: Image,
    imageCollection: Collection,
    linkedBands: list[str] | str | None = None,
    linkedProperties: list[str] | str | None = None,
    matchPropertyName: str = "system:index",
) -> Image:
    """Bands and properties of the image with the same property; masked without a match."""
    bands = [linkedBands] if isinstance(linkedBands, str) else linkedBands or []
    properties = [linkedProperties] if isinstance(linkedProperties, str) else linkedProperties or []
    key = input.get(matchPropertyName)
    matches = (e for e in imageCollection.elements if key and e.get(matchPropertyName) == key)
    match = next(matches, None)
    if match is None:
        nothing = tuple(Band(name, "float64", lambda t: t.empty("float64")) for name in bands)
        linked = Image(nothing)
    else:
        linked = images.select(match, bands, None)
    values = {name: match.get(name) if match else None for name in properties}
    merged = {k: v for k, v in {**input.properties, **values}.items() if v is not None}
    return replace(images.add_bands(input, linked, None, overwrite=True), properties=merged)


@algorithm("Image.resample")
def resample(image: Image, mode: str = "bilinear") -> Image:
    return reading.resample(image, mode)


def _with_lattice(
    crs: Projection, transform: list[float] | None, scale: float | None, name: str
) -> Projection:
    if transform is not None and scale is not None:
        raise ServiceError(f"{name}: Only one of crsTransform and scale may be given.")
    if transform is not None:
        return places.lattice(crs.crs, transform)
    return crs if scale is None else Projection(crs.crs, _metric_lattice(crs.crs, scale))


def _metric_lattice(crs: str, scale: float) -> tuple[float, float, float, float, float, float]:
    """Pixels of `scale` metres from the origin of the CRS, north up."""
    step = scale / (111319.49079327358 if coordinate_system(crs).is_geographic else 1.0)
    return (step, 0.0, 0.0, 0.0, -step, 0.0)


@algorithm("Image.reproject")
def reproject(
    image: Image,
    crs: Projection,
    crsTransform: list[float] | None = None,
    scale: float | None = None,
) -> Image:
    return reading.reproject(image, _with_lattice(crs, crsTransform, scale, "Image.reproject"))


@algorithm("Image.setDefaultProjection")
def set_default_projection(
    image: Image,
    crs: Projection,
    crsTransform: list[float] | None = None,
    scale: float | None = None,
) -> Image:
    lattice = _with_lattice(crs, crsTransform, scale, "Image.setDefaultProjection")
    return reading.default_projection(image, lattice)


@algorithm("Image.clip")
def clip(input: Image, geometry: Any) -> Image:
    place = geometry.geometry if isinstance(geometry, Feature) else geometry
    if not isinstance(place, BaseGeometry):
        raise unsupported("Image.clip to anything but a Geometry or Feature")
    return masks.clip(input, place)


@algorithm("Image.geometry")
def geometry(feature: Any, maxError: Any = None, proj: Any = None, geodesics: Any = None) -> Any:
    if isinstance(feature, Feature):
        return feature.geometry
    whole = [shapely.box(-180, -90, 180, 90)] if feature.footprint is None else feature.footprint
    return shapely.unary_union(list(whole))


@algorithm("Image.bandNames")
def band_names(image: Image) -> list[str]:
    return image.names


@algorithm("Image.bandTypes")
def band_types(image: Image) -> dict[str, Any]:
    return {band.name: describe_band(band)["data_type"] for band in image.bands}


@algorithm("Image.projection")
def projection(image: Image) -> Projection:
    if not image.bands:
        raise ServiceError("Image.projection: The image has no bands.")
    if len({band.projection for band in image.bands}) > 1:
        raise ServiceError(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick a single band."
        )
    return image.bands[0].projection


@algorithm("Image.metadata")
def metadata(image: Image, property: str, name: str | None = None) -> Image:
    value = image.get(property)
    if not isinstance(value, (int, float)):
        raise ServiceError(f"Image.metadata: Property '{property}' is missing or not a number.")
    band = images.constant_band(name or property, float(value), "float64")
    return Image((band,), {}, image.footprint)


@algorithm("Image.reduce")
def reduce(image: Image, reducer: Reducer) -> Image:
    return reduce_bands(image, reducer)


@algorithm("Image.pixelLonLat")
def pixel_lon_lat() -> Image:
    def axis(name: str, which: int) -> Band:
        def pixels(target: Target) -> Pixels:
            values = target.coordinates("EPSG:4326")[which]
            whole = np.broadcast_to(values, target.shape)
            return Pixels(whole, np.isfinite(whole))

        return Band(name, "float64", pixels)

    return Image((axis("longitude", 0), axis("latitude", 1)))


@algorithm("Terrain.slope")
def slope(input: Image) -> Image:
    """Degrees, from the four neighbours on the requested grid; masked where one is missing."""
    elevation = input.bands[0]

    def pixels(target: Target) -> Pixels:
        height, width = target.shape
        around = target.nested(target.grid.window(-1, -1, height + 2, width + 2))
        z, m = around.read(elevation)
        z = z.astype("float64")
        dx, dy = _pixel_metres(target)
        east = (z[1:-1, 2:] - z[1:-1, :-2]) / (2 * dx)
        south = (z[2:, 1:-1] - z[:-2, 1:-1]) / (2 * dy)
        mask = m[1:-1, 1:-1] & m[1:-1, 2:] & m[1:-1, :-2] & m[2:, 1:-1] & m[:-2, 1:-1]
        return Pixels(np.degrees(np.arctan(np.hypot(east, south))).astype("float32"), mask)

    band = Band("slope", "float32", pixels, elevation.projection, elevation.size)
    return replace(input, bands=(band,))


def _pixel_metres(target: Target) -> tuple[np.ndarray | float, float]:
    """Pixel width and height in metres, on a sphere for degrees."""
    a, _, _, _, e, _ = target.grid.projection.transform
    if not coordinate_system(target.grid.projection.crs).is_geographic:
        return abs(a), abs(e)
    degree = 111319.49079327358
    _, lat = target.coordinates(target.grid.projection.crs)
    return abs(a) * degree * np.cos(np.radians(lat)), abs(e) * degree
