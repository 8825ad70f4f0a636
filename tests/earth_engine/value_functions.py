"""Algorithms over lists, dictionaries, numbers, strings, dates and geometries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from . import geometry as places
from .elements import Date, DateRange, Feature, Function, advance, date
from .errors import ServiceError, unsupported
from .filters import _CALENDAR
from .functions import algorithm
from .geometry import Projection, rectangle_ring

# --- lists and dictionaries


def _plain(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function whose arguments are taken in the order of the signature."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        algorithm(*names)(lambda **arguments: function(*arguments.values()))
        return function

    return register


@algorithm("List.slice")
def list_slice(list: list[Any], start: int, end: int | None = None, step: int | None = None) -> Any:
    return list[start:end:step]


@algorithm("List.sequence")
def list_sequence(
    start: float, end: float | None = None, step: float = 1, count: int | None = None
) -> list[float]:
    if count is not None:
        last = start + step * (count - 1) if end is None else end
        return np.linspace(start, last, int(count)).tolist()
    whole = np.arange(start, (end if end is not None else start) + step * 1e-9, step)
    return [int(v) if float(v).is_integer() else float(v) for v in whole]


@algorithm("If")
def if_else(condition: Any = None, trueCase: Any = None, falseCase: Any = None) -> Any:
    """Both branches have been computed already, as the service may do too."""
    empty = condition is None or condition == "" or condition == 0
    return falseCase if empty else trueCase


@algorithm("List.map")
def list_map(list: list[Any], baseAlgorithm: Function, dropNulls: bool = False) -> list[Any]:
    results = [baseAlgorithm.call(item) for item in list]
    return [r for r in results if r is not None] if dropNulls else results


@algorithm("List.iterate")
def list_iterate(list: list[Any], function: Function, first: Any = None) -> Any:
    value = first
    for item in list:
        value = function.call(item, value)
    return value


@algorithm("List.get")
def list_get(list: list[Any], index: int) -> Any:
    if not -len(list) <= index < len(list):
        raise ServiceError(f"List.get: List index must be between 0 and {len(list) - 1}.")
    return list[index]


@algorithm("Dictionary.get")
def dictionary_get(dictionary: dict[str, Any], key: str, defaultValue: Any = None) -> Any:
    if key not in dictionary and defaultValue is None:
        raise ServiceError(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary.get(key, defaultValue)


_PLAIN: dict[str, Callable[..., Any]] = {
    "List.length": len,
    "List.size": len,
    "List.cat": lambda a, b: a + b,
    "List.add": lambda a, item: [*a, item],
    "List.contains": lambda a, item: item in a,
    "List.indexOf": lambda a, item: a.index(item) if item in a else -1,
    "List.reverse": lambda a: a[::-1],
    "List.sort": lambda a: sorted(a),
    "List.distinct": lambda a: list({repr(v): v for v in reversed(a)}.values())[::-1],
    "List.zip": lambda a, b: [list(pair) for pair in zip(a, b, strict=False)],
    "List.repeat": lambda value, count: [value] * count,
    "List.flatten": lambda a: [v for x in a for v in (x if isinstance(x, list) else [x])],
    "Dictionary": lambda value=None: dict(value or {}),
    "Dictionary.keys": lambda d: sorted(d),
    "Dictionary.values": lambda d, keys=None: [d[k] for k in keys or sorted(d)],
    "Dictionary.size": len,
    "Dictionary.contains": lambda d, key: key in d,
    "Dictionary.set": lambda d, key, value: {**d, key: value},
    "Dictionary.combine": lambda a, b, overwrite=True: {**a, **b} if overwrite else {**b, **a},
    "Dictionary.fromLists": lambda keys, values: dict(zip(keys, values, strict=True)),
    "Number.add": lambda a, b: a + b,
    "Number.subtract": lambda a, b: a - b,
    "Number.multiply": lambda a, b: a * b,
    "Number.divide": lambda a, b: a / b if b else 0,
    "Number.mod": math.fmod,
    "Number.pow": lambda a, b: a**b,
    "Number.max": max,
    "Number.min": min,
    "Number.abs": abs,
    "Number.floor": math.floor,
    "Number.ceil": math.ceil,
    "Number.round": lambda a: math.floor(a + 0.5),
    "Number.toInt": int,
    "Number.int": int,
    "Number.toFloat": float,
    "Number.float": float,
    "Number.sqrt": math.sqrt,
    "Number.eq": lambda a, b: int(a == b),
    "Number.neq": lambda a, b: int(a != b),
    "Number.lt": lambda a, b: int(a < b),
    "Number.lte": lambda a, b: int(a <= b),
    "Number.gt": lambda a, b: int(a > b),
    "Number.gte": lambda a, b: int(a >= b),
    "Number.format": lambda a, pattern="%s": pattern % a,
    "Number.parse": lambda text, radix=10: float(text) if "." in text else int(text, int(radix)),
    "String": lambda value: value if isinstance(value, str) else str(value),
    "String.cat": lambda a, b: a + b,
    "String.length": len,
    "String.slice": lambda a, start, end=None: a[start:end],
    "String.split": lambda a, by, flags=None: a.split(by),
    "String.replace": lambda a, old, new, flags=None: a.replace(old, new, 1),
    "String.toLowerCase": str.lower,
    "String.toUpperCase": str.upper,
    "String.trim": str.strip,
    "String.equals": lambda a, b: a == b,
    "String.index": lambda a, part: a.find(part),
}
for _name, _function in _PLAIN.items():
    _plain(_name)(_function)

# --- dates


@algorithm("Date")
def make_date(value: Any, timeZone: str | None = None) -> Date:
    _utc(timeZone)
    return date(value)


@algorithm("Date.fromYMD")
def date_from_ymd(year: int, month: int, day: int, timeZone: str | None = None) -> Date:
    _utc(timeZone)
    return date(f"{year:04d}-{month:02d}-{day:02d}")


def _utc(zone: str | None) -> None:
    if zone not in (None, "UTC", "Etc/UTC"):
        raise unsupported(f"The time zone '{zone}'")


@algorithm("Date.advance")
def date_advance(date: Date, delta: float, unit: str, timeZone: str | None = None) -> Date:
    return advance(date, delta, unit)


@algorithm("Date.millis")
def date_millis(date: Date) -> int:
    return date.ms


_FIELDS = {"day": "day_of_month", "week": "week"}


@algorithm("Date.get")
def date_get(date: Date, unit: str, timeZone: str | None = None) -> int:
    field = _FIELDS.get(unit, unit)
    if field not in _CALENDAR:
        raise unsupported(f"Date.get with unit '{unit}'")
    return _CALENDAR[field](date.when)


@algorithm("Date.getRelative")
def date_get_relative(date: Date, unit: str, inUnit: str, timeZone: str | None = None) -> int:
    """Counted from zero."""
    counts = {
        ("day", "year"): date.when.timetuple().tm_yday - 1,
        ("day", "month"): date.when.day - 1,
        ("month", "year"): date.when.month - 1,
    }
    if (unit, inUnit) not in counts:
        raise unsupported(f"Date.getRelative of '{unit}' in '{inUnit}'")
    return counts[unit, inUnit]


@algorithm("Date.getRange")
def date_get_range(date: Date, unit: str, timeZone: str | None = None) -> DateRange:
    """The whole calendar unit that holds the date."""
    codes = {"year": "Y", "month": "M", "day": "D", "hour": "h", "minute": "m"}
    if unit not in codes:
        raise unsupported(f"Date.getRange with unit '{unit}'")
    start = Date(
        int(np.datetime64(date.ms, "ms").astype(f"M8[{codes[unit]}]").astype("M8[ms]").astype(int))
    )
    return DateRange(start, advance(start, 1, unit))


@algorithm("Date.difference")
def date_difference(date: Date, start: Any, unit: str) -> float:
    day = 86400000
    lengths: dict[str, float] = {
        "week": 7 * day,
        "day": day,
        "hour": 3600000,
        "minute": 60000,
        "second": 1000,
    }
    lengths |= {"month": 365.25 * day / 12, "year": 365.25 * day}
    first = start.ms if isinstance(start, Date) else start
    return (date.ms - first) / lengths[unit.rstrip("s")]


_FORMAT = {
    "YYYY": "%Y",
    "yyyy": "%Y",
    "MM": "%m",
    "dd": "%d",
    "DDD": "%j",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
}


@algorithm("Date.format")
def date_format(date: Date, format: str | None = None, timeZone: str | None = None) -> str:
    """A Joda pattern of the usual fields; ISO with seconds without one."""
    pattern = format or "yyyy-MM-dd'T'HH:mm:ss"
    for joda, posix in _FORMAT.items():
        pattern = pattern.replace(joda, posix)
    return date.when.strftime(pattern.replace("'", ""))


@algorithm("DateRange")
def date_range(start: Any, end: Any = None, timeZone: str | None = None) -> DateRange:
    """Half open; a missing end means one millisecond."""
    _utc(timeZone)
    first = date(start)
    last = Date(first.ms + 1) if end is None else date(end)
    return DateRange(first, last)


_plain("DateRange.start")(lambda span: span.start)
_plain("DateRange.end")(lambda span: span.end)

# --- projections, geometries, features


@algorithm("Projection")
def projection(crs: Any, transform: list[float] | None = None, **_: Any) -> Projection:
    if isinstance(crs, Projection):
        return crs
    places.coordinate_system(crs)
    return places.lattice(crs, transform) if transform else Projection(crs)


_plain("Projection.crs")(lambda own: own.crs)
_plain("Projection.nominalScale")(lambda own: own.nominal_scale)
_plain("Projection.atScale")(lambda own, metres: own.at_scale(metres))


@algorithm("GeometryConstructors.Point")
def make_point(coordinates: list[float], crs: Projection | None = None) -> BaseGeometry:
    return places.point(coordinates, crs)


@algorithm("GeometryConstructors.Rectangle")
def make_rectangle(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    evenOdd: bool = True,
) -> BaseGeometry:
    return places.rectangle(coordinates, crs, geodesic)


@algorithm("GeometryConstructors.BBox")
def make_bbox(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """From west eastwards to east, over the antimeridian if need be."""
    if east < west:
        east += 360
    return places.polygon([rectangle_ring(west, south, east, north)], None, False)


@algorithm("GeometryConstructors.Polygon")
def make_polygon(
    coordinates: list[Any], crs: Projection | None = None, geodesic: bool | None = None, **_: Any
) -> BaseGeometry:
    rings = coordinates if isinstance(coordinates[0][0], list) else [coordinates]
    return places.polygon(rings, crs, geodesic)


@algorithm("GeometryConstructors.MultiPolygon")
def make_multi_polygon(
    coordinates: list[Any], crs: Projection | None = None, geodesic: bool | None = None, **_: Any
) -> BaseGeometry:
    return shapely.unary_union([places.polygon(rings, crs, geodesic) for rings in coordinates])


@algorithm("GeometryConstructors.MultiGeometry")
def make_multi_geometry(geometries: list[BaseGeometry], **_: Any) -> BaseGeometry:
    return shapely.GeometryCollection(geometries)


@algorithm("GeometryConstructors.LineString")
def make_line(coordinates: list[Any], **_: Any) -> BaseGeometry:
    return places.line(coordinates)


@algorithm("Geometry.buffer")
def buffer(geometry: BaseGeometry, distance: float, **_: Any) -> BaseGeometry:
    return places.buffered(geometry, distance)


@algorithm("Geometry.bounds")
def bounds(geometry: BaseGeometry, maxError: Any = None, proj: Any = None) -> BaseGeometry:
    if proj is not None and not places.coordinate_system(proj.crs).is_geographic:
        raise unsupported("Geometry.bounds in a projection")
    return shapely.box(*geometry.bounds)


_plain("Geometry.centroid")(lambda geometry, *_: geometry.centroid)
_plain("Geometry.coordinates")(lambda geometry: places.geojson(geometry)["coordinates"])
_plain("Geometry.type")(lambda geometry: geometry.geom_type)
algorithm("Geometry.intersects")(lambda left, right, **_: left.intersects(right))
algorithm("Geometry.union")(lambda left, right, **_: left.union(right))
algorithm("Geometry.intersection")(lambda left, right, **_: left.intersection(right))


@algorithm("Feature")
def feature(
    geometry: BaseGeometry | None = None, metadata: dict[str, Any] | None = None, **_: Any
) -> Feature:
    return Feature(geometry, metadata or {})
