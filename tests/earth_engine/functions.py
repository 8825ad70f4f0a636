"""The table of algorithms: name -> implementation, called by Google's own signatures.

Signatures (argument names, types, which are optional) come from the algorithm list that the
installed client ships, so that a call is checked as the service checks it.
"""

from __future__ import annotations

import importlib
import json
import keyword
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from shapely.geometry.base import BaseGeometry

from .elements import Collection, Date, Feature, date
from .errors import ServiceError, unsupported
from .geometry import Projection
from .images import Image, constant

TABLE: dict[str, Callable[..., Any]] = {}
"""Filled by the modules that `load_all` imports."""


def algorithm(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an implementation; an argument that is a Python keyword has a `_` behind it."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            TABLE[name] = function
        return function

    return register


def load_all() -> None:
    """Import every module of implementations."""
    for module in (
        "arithmetic",
        "image_functions",
        "collection_functions",
        "filters",
        "value_functions",
    ):
        importlib.import_module(f".{module}", __package__)


@cache
def algorithms_text() -> bytes:
    """The algorithm list of the installed client."""
    return resources.files("ee").joinpath("tests", "algorithms.json").read_bytes()


@cache
def signatures() -> dict[str, dict[str, tuple[str, bool]]]:
    """Name -> argument -> (type, optional)."""
    return {
        entry["name"].removeprefix("algorithms/"): {
            argument["argumentName"]: (argument["type"], bool(argument.get("optional")))
            for argument in entry.get("arguments", ())
        }
        for entry in json.loads(algorithms_text())["algorithms"]
    }


def invoke(name: str, arguments: dict[str, Any]) -> Any:
    """Call an algorithm with arguments checked and promoted to the declared types."""
    signature = signatures().get(name)
    if signature is None:
        raise ServiceError(f"Unknown function '{name}'.")
    if name not in TABLE:
        raise unsupported(name)
    for argument in arguments:
        if argument not in signature:
            raise ServiceError(f"{name}: Unrecognized argument '{argument}'.")
    promoted = {}
    for argument, (kind, optional) in signature.items():
        value = arguments.get(argument)
        if value is not None:
            spelled = f"{argument}_" if keyword.iskeyword(argument) else argument
            promoted[spelled] = promote(value, kind, name)
        elif not optional:
            raise ServiceError(f"{name}: Parameter '{argument}' is required and may not be null.")
    return TABLE[name](**promoted)


def promote(value: Any, kind: str, name: str) -> Any:
    """`value` as the declared type, where the service would convert it silently."""
    if kind.startswith("Image<"):
        return _image(value, name)
    if kind in ("ImageCollection", "FeatureCollection"):
        return _collection(value, name)
    if kind == "Geometry" and isinstance(value, Feature):
        return value.geometry
    if kind == "Geometry" and not isinstance(value, BaseGeometry):
        raise _mismatch(name, value, kind)
    if kind == "Date":
        return date(value)
    if kind == "Projection" and isinstance(value, str):
        return Projection(value)
    if kind in ("Integer", "Long") and isinstance(value, float):
        return int(value)
    return value


def _image(value: Any, name: str) -> Image:
    if isinstance(value, Image):
        return value
    if isinstance(value, (bool, int, float)):
        return constant(value)
    if isinstance(value, str):
        return TABLE["Image.load"](id=value)
    if isinstance(value, Collection):
        return TABLE["ImageCollection.mosaic"](collection=value)
    raise _mismatch(name, value, "Image")


def _collection(value: Any, name: str) -> Collection:
    if isinstance(value, Collection):
        return value
    if isinstance(value, (Image, Feature)):
        return Collection((value,))
    if isinstance(value, list):
        return Collection(tuple(value))
    raise _mismatch(name, value, "Collection")


def _mismatch(name: str, value: Any, kind: str) -> ServiceError:
    given = "Date" if isinstance(value, Date) else type(value).__name__
    return ServiceError(f"{name}: Cannot convert a value of type {given} to {kind}.")
