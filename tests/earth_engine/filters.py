"""Filters: predicates over an element, or over a (left, right) pair of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shapely.geometry.base import BaseGeometry

from .elements import Date, DateRange, Feature, date, footprint_of
from .errors import ServiceError
from .functions import algorithm
from .images import Image

Filter = Callable[[Any], bool]
"""Element -> whether it passes."""

_PLACE = (".all", ".geo")


def field_of(element: Any, name: str) -> Any:
    """A property of an element, or its place for the names that mean it."""
    if name in _PLACE:
        return footprint_of(element)
    return element.get(name)


def comparison(test: Callable[[Any, Any], bool]) -> Callable[..., Filter]:
    """An algorithm with the four arguments of a binary filter; a null side never passes."""

    def make(
        leftField: str | None = None,
        rightValue: Any = None,
        rightField: str | None = None,
        leftValue: Any = None,
        maxError: Any = None,
    ) -> Filter:
        def passes(element: Any) -> bool:
            left = leftValue if leftField is None else field_of(element, leftField)
            right = rightValue if rightField is None else field_of(element, rightField)
            return left is not None and right is not None and test(left, right)

        return passes

    return make


def _plain(value: Any) -> Any:
    return value.ms if isinstance(value, Date) else value


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        left, right = _plain(left), _plain(right)
        if isinstance(left, str) != isinstance(right, str):
            return False
        return test(left, right)

    return compare


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda a, b: _plain(a) == _plain(b),
    "notEquals": lambda a, b: _plain(a) != _plain(b),
    "lessThan": _ordered(lambda a, b: a < b),
    "lessThanOrEquals": _ordered(lambda a, b: a <= b),
    "greaterThan": _ordered(lambda a, b: a > b),
    "greaterThanOrEquals": _ordered(lambda a, b: a >= b),
    "listContains": lambda a, b: isinstance(a, (list, tuple)) and b in a,
    "stringContains": lambda a, b: b in a,
    "stringStartsWith": lambda a, b: a.startswith(b),
    "stringEndsWith": lambda a, b: a.endswith(b),
    "dateRangeContains": lambda a, b: _range_contains(a, b),
    "intersects": lambda a, b: _touches(a, b),
}
for _name, _test in _COMPARISONS.items():
    algorithm(f"Filter.{_name}")(comparison(_test))


def _range_contains(span: Any, moment: Any) -> bool:
    if not isinstance(span, DateRange):
        raise ServiceError("Filter.dateRangeContains: The left operand must be a DateRange.")
    return span.start.ms <= date(moment).ms < span.end.ms


def _parts(place: Any) -> tuple[BaseGeometry, ...]:
    if isinstance(place, (Image, Feature)):
        place = footprint_of(place)
    return (place,) if isinstance(place, BaseGeometry) else tuple(place)


def _touches(left: Any, right: Any) -> bool:
    return any(a.intersects(b) for a in _parts(left) for b in _parts(right))


@algorithm("Filter.and")
def every(filters: list[Filter]) -> Filter:
    """All of them pass."""
    return lambda element: all(one(element) for one in filters)


@algorithm("Filter.or")
def some(filters: list[Filter]) -> Filter:
    """One of them passes."""
    return lambda element: any(one(element) for one in filters)


@algorithm("Filter.not")
def negated(filter: Filter) -> Filter:
    """It does not pass: so an element without the property passes the negated comparison."""
    return lambda element: not filter(element)


@algorithm("Filter.notNull")
def not_null(properties: list[str]) -> Filter:
    """All the properties are there."""
    return lambda element: all(element.get(name) is not None for name in properties)


@algorithm("Filter.rangeContains")
def within(field: str, minValue: Any, maxValue: Any) -> Filter:
    """Both ends included."""
    low, high = _plain(minValue), _plain(maxValue)
    return lambda element: element.get(field) is not None and low <= element.get(field) <= high


_CALENDAR: dict[str, Callable[[Any], int]] = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "day_of_month": lambda t: t.day,
    "day_of_week": lambda t: t.isoweekday(),
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
}


@algorithm("Filter.calendarRange")
def calendar_range(start: int, end: int | None = None, field: str = "day_of_year") -> Filter:
    """Both ends included; wraps when `end` is before `start`."""
    if field not in _CALENDAR:
        raise ServiceError(f"Filter.calendarRange: Unknown calendar field '{field}'.")
    last = start if end is None else end

    def passes(element: Any) -> bool:
        moment = element.get("system:time_start")
        if moment is None:
            return False
        value = _CALENDAR[field](date(moment).when)
        return start <= value <= last if start <= last else value >= start or value <= last

    return passes
