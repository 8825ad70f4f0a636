"""Values other than images that an expression may hold, and their JSON for getInfo."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from .errors import ServiceError, unsupported
from .geometry import Projection, geojson
from .images import Band, Image
from .reading import milliseconds


@dataclass(frozen=True, slots=True)
class Date:
    """Milliseconds since 1970, UTC."""

    ms: int

    @property
    def when(self) -> datetime:
        """The same as a datetime."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ms)


@dataclass(frozen=True, slots=True)
class DateRange:
    """start <= t < end."""

    start: Date
    end: Date


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A geometry with properties."""

    geometry: BaseGeometry | None
    properties: Mapping[str, object] = field(default_factory=dict)

    def get(self, name: str) -> object:
        """A property, None when absent."""
        return self.properties.get(name)


Element = Image | Feature


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Images or features in order."""

    elements: tuple[Any, ...]
    id: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the expression, called with positional values."""

    names: tuple[str, ...]
    call: Callable[..., Any]


def date(value: object) -> Date:
    """A date from a date, milliseconds or an ISO string in UTC."""
    if isinstance(value, Date):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Date(int(value))
    if isinstance(value, str):
        return Date(milliseconds(value))
    raise ServiceError(f"Date: Cannot interpret {describe(value)!r} as a date.")


def advance(start: Date, delta: float, unit: str) -> Date:
    """A later (or earlier) date; months keep the day where the month has it."""
    unit = unit.rstrip("s")
    lengths = {"week": 604800000, "day": 86400000, "hour": 3600000, "minute": 60000, "second": 1000}
    if unit in lengths:
        return Date(int(start.ms + round(delta * lengths[unit])))
    if unit not in ("year", "month"):
        raise ServiceError(f"Date.advance: Unknown unit '{unit}'.")
    when = start.when
    months = when.year * 12 + when.month - 1 + int(delta * (12 if unit == "year" else 1))
    year, month = divmod(months, 12)
    day = min(when.day, calendar.monthrange(year, month + 1)[1])
    moved = when.replace(year=year, month=month + 1, day=day)
    return Date(start.ms + int((moved - when) / timedelta(milliseconds=1)))


def footprint_of(element: Element) -> Sequence[BaseGeometry] | None:
    """The parts of an element's place; None when it is everywhere."""
    if isinstance(element, Image):
        return element.footprint
    return () if element.geometry is None else (element.geometry,)


def pixel_type(dtype: str) -> dict[str, object]:
    """The PixelType of a numpy dtype."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return {"type": "PixelType", "precision": "float" if kind.itemsize == 4 else "double"}
    limits = np.iinfo(kind)
    return {"type": "PixelType", "precision": "int", "min": limits.min, "max": limits.max}


def describe_projection(projection: Projection) -> dict[str, object]:
    """A projection as getInfo shows it."""
    return {"type": "Projection", "crs": projection.crs, "transform": list(projection.transform)}


def describe_band(band: Band) -> dict[str, object]:
    """A band as getInfo shows it."""
    info: dict[str, object] = {"id": band.name, "data_type": pixel_type(band.dtype)}
    if band.size:
        info["dimensions"] = list(band.size)
    info["crs"] = band.projection.crs
    info["crs_transform"] = list(band.projection.transform)
    return info


def describe_image(image: Image) -> dict[str, object]:
    """An image as getInfo shows it."""
    info: dict[str, object] = {"type": "Image", "bands": [describe_band(b) for b in image.bands]}
    if image.id:
        info |= {"id": image.id, "version": 1}
    if image.properties:
        info["properties"] = describe(dict(image.properties))
    return info


def describe_feature(feature: Feature) -> dict[str, object]:
    """A feature as GeoJSON."""
    geometry = geojson(feature.geometry) if feature.geometry is not None else None
    properties = describe(dict(feature.properties))
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def describe_collection(collection: Collection) -> dict[str, object]:
    """A collection as getInfo shows it, elements and all."""
    of_images = all(isinstance(element, Image) for element in collection.elements)
    info: dict[str, object] = (
        {"type": "ImageCollection", "bands": []}
        if of_images
        else {
            "type": "FeatureCollection",
            "columns": {},
        }
    )
    if collection.id:
        info |= {"id": collection.id, "version": 1}
    if collection.properties:
        info["properties"] = describe(dict(collection.properties))
    return {**info, "features": [describe(element) for element in collection.elements]}


def describe(value: Any) -> Any:
    """The JSON that `getInfo()` returns for a value."""
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form(value)
    raise unsupported(f"Computing a value of type {type(value).__name__}")


_FORMS: dict[type | tuple[type, ...], Callable[[Any], Any]] = {
    (bool, int, float, str, type(None)): lambda value: value,
    np.generic: lambda value: value.item(),
    dict: lambda value: {key: describe(item) for key, item in value.items()},
    (list, tuple): lambda value: [describe(item) for item in value],
    Image: describe_image,
    Collection: describe_collection,
    Feature: describe_feature,
    Date: lambda value: {"type": "Date", "value": value.ms},
    DateRange: lambda value: {"type": "DateRange", "dates": [value.start.ms, value.end.ms]},
    Projection: describe_projection,
    BaseGeometry: geojson,
}
