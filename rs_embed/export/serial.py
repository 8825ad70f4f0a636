"""Specs, choices, grids and fetch plans as plain JSON data, and back.

The data is strict JSON (``json.dumps(..., allow_nan=False)`` takes it), carries the name of its
kind, and is read back only if every field is there, none is unknown, and the value is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.choice import parse_choice
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid, grid_from_json
from rs_embed.core.model import ModelChoice
from rs_embed.core.plan import FetchPlan
from rs_embed.core.result import Outcome
from rs_embed.core.specs import BBox, OutputSpec, PointBuffer, SensorSpec, TemporalSpec

Stored: TypeAlias = (
    BBox | PointBuffer | TemporalSpec | SensorSpec | OutputSpec | ModelChoice | Grid | FetchPlan
)
"""What can be written and read back."""

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        BBox, PointBuffer, TemporalSpec, SensorSpec, OutputSpec, ModelChoice, Grid, FetchPlan,
    )
}  # fmt: skip
_NAN = "nan"  # JSON has no number for it


def to_json(value: Stored) -> dict[str, Any]:
    """Plain data of a value, with its kind under ``"type"``.

    Examples
    --------
    >>> to_json(PointBuffer(5.0, 52.0, 640.0))["type"]
    'PointBuffer'
    """
    kind = type(value).__name__
    if isinstance(value, Grid):
        return {"type": kind, **value.to_json()}
    return {"type": kind, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}


def from_json(data: Mapping[str, Any]) -> Outcome[Any]:
    """The value that `to_json` described.

    Fails with SpecError for an unknown kind, a missing or unknown field, or a value that is not
    valid; with ModelError for a ModelChoice that names no model.
    """
    if not isinstance(data, Mapping) or data.get("type") not in list(_KINDS):
        given = data.get("type") if isinstance(data, Mapping) else type(data).__name__
        return Failure(SpecError(f"type must be one of {', '.join(_KINDS)}, not {given!r}"))
    kind = str(data["type"])
    wanted = {f.name for f in fields(_KINDS[kind])}
    given = set(data) - {"type"}
    if given != wanted:
        missing, unknown = sorted(wanted - given), sorted(map(str, given - wanted))
        return Failure(SpecError(f"{kind}: missing fields {missing}, unknown fields {unknown}"))
    return _READERS[kind]({name: data[name] for name in wanted})


def _plain(value: Any) -> Any:
    if isinstance(value, Grid | SensorSpec):
        return to_json(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return _NAN if isinstance(value, float) and value != value else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _box(data: dict[str, Any]) -> Outcome[Any]:
    return specs.check_spatial(BBox(**data))


def _point(data: dict[str, Any]) -> Outcome[Any]:
    return specs.check_spatial(PointBuffer(**data))


def _temporal(data: dict[str, Any]) -> Outcome[Any]:
    return specs.check_temporal(TemporalSpec(**data))


def _output(data: dict[str, Any]) -> Outcome[Any]:
    return specs.check_output(OutputSpec(**data))


def _sensor(data: dict[str, Any]) -> Outcome[Any]:
    fill = data["fill_value"]
    data = {
        **data,
        "bands": _tuples(data["bands"]),
        "fill_value": float("nan") if fill == _NAN else fill,
    }
    return specs.check_sensor(SensorSpec(**data))


def _choice(data: dict[str, Any]) -> Outcome[Any]:
    if not isinstance(data["options"], Mapping):
        return Failure(SpecError(f"ModelChoice: options must be a mapping, not {data['options']}"))
    for name in ("variant", "modality", "weights", "backend"):
        if not isinstance(data[name], str | None):
            return Failure(SpecError(f"ModelChoice: {name} must be text or None"))
    choice = ModelChoice(**data)
    return parse_choice(choice).map(lambda _: choice)


def _grid(data: dict[str, Any]) -> Outcome[Any]:
    transform, shape = data["transform"], data["shape"]
    fits = (
        isinstance(data["crs"], str)
        and _numbers(transform, 6, int | float)
        and _numbers(shape, 2, int)
        and min(shape) > 0
        and transform[0] != 0
        and transform[4] != 0
    )
    if not fits:
        return Failure(
            SpecError(
                "Grid: crs must be text, transform six numbers that span an area, and shape "
                f"(rows, columns) > 0, not {data}"
            )
        )
    return Success(grid_from_json(data))


def _fetch_plan(data: dict[str, Any]) -> Outcome[Any]:
    bands, units, intervals = (_tuples(data[name]) for name in ("bands", "units", "intervals"))
    fits = (
        isinstance(data["collection"], str)
        and isinstance(data["content_hash"], str)
        and _texts(bands)
        and _texts(units)
        and len(bands) == len(units) > 0
        and isinstance(intervals, tuple)
        and all(_texts(interval) and len(interval) == 2 for interval in intervals)
    )
    if not fits:
        return Failure(
            SpecError(
                "FetchPlan: collection and content_hash must be text, bands and units lists of "
                "text of one length, frames a list of (start, end)"
            )
        )
    return from_json(data["grid"]).bind(
        lambda grid: from_json(data["sensor"]).bind(
            lambda sensor: Success(
                FetchPlan(
                    data["collection"], bands, units, grid, intervals, sensor, data["content_hash"]
                )
            )
            if isinstance(grid, Grid) and isinstance(sensor, SensorSpec)
            else Failure(SpecError("FetchPlan: grid must be a Grid and sensor a SensorSpec"))
        )
    )  # fmt: skip


def _numbers(values: Any, count: int, kind: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) == count
        and all(
            isinstance(v, kind) and not isinstance(v, bool) and abs(v) < float("inf")
            for v in values
        )
    )


def _texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)


_READERS: Mapping[str, Callable[[dict[str, Any]], Outcome[Any]]] = {
    "BBox": _box,
    "PointBuffer": _point,
    "TemporalSpec": _temporal,
    "SensorSpec": _sensor,
    "OutputSpec": _output,
    "ModelChoice": _choice,
    "Grid": _grid,
    "FetchPlan": _fetch_plan,
}
