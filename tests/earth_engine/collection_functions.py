"""Algorithms over collections, and over the properties of elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from . import reducers
from .elements import Collection, Feature, Function, date, footprint_of
from .errors import ServiceError, unsupported
from .filters import Filter
from .functions import algorithm
from .images import Image
from .reading import scene_image
from .scenes import Scene


class Catalogue:
    """The scenes by id and by collection, in the order declared."""

    def __init__(self) -> None:
        self.scenes: dict[str, Scene] = {}
        self.collections: dict[str, list[Scene]] = {}

    def publish(self, scenes: Iterable[Scene]) -> None:
        """Add scenes."""
        for scene in scenes:
            self.scenes[scene.id] = scene
            if scene.collection:
                self.collections.setdefault(scene.collection, []).append(scene)


CATALOGUE = Catalogue()
"""What `ImageCollection.load` reads; the server's process fills it once at start."""


def _not_found(name: str, kind: str, asset: str) -> ServiceError:
    text = (
        f"{name}: {kind} asset '{asset}' not found (does not exist or caller does not have access)."
    )
    return ServiceError(text, 404)


@algorithm("ImageCollection.load")
def load_collection(id: str, version: int | None = None) -> Collection:
    if id not in CATALOGUE.collections:
        raise _not_found("ImageCollection.load", "ImageCollection", id)
    return Collection(tuple(scene_image(scene) for scene in CATALOGUE.collections[id]), id)


@algorithm("Image.load")
def load_image(id: str, version: int = -1) -> Image:
    if id not in CATALOGUE.scenes:
        raise _not_found("Image.load", "Image", id)
    return scene_image(CATALOGUE.scenes[id])


@algorithm("ImageCollection.fromImages", "Collection")
def from_elements(images: list[Any] | None = None, features: list[Any] | None = None) -> Collection:
    return Collection(tuple(images if images is not None else features or ()))


@algorithm("Collection.filter")
def filtered(collection: Collection, filter: Filter) -> Collection:
    if not callable(filter):
        raise unsupported("A filter given as text")
    return replace(collection, elements=tuple(e for e in collection.elements if filter(e)))


@algorithm("Collection.map")
def mapped(collection: Collection, baseAlgorithm: Function, dropNulls: bool = False) -> Collection:
    """Results keep the system:index of what they come from."""
    results = []
    for number, element in enumerate(collection.elements):
        index = element.get("system:index") or str(number)
        try:
            result = baseAlgorithm.call(element)
        except ServiceError as error:
            message = f"Error in map(ID={index}):\n{error.message}"
            raise ServiceError(message, error.code, error.reason) from None
        if result is None and dropNulls:
            continue
        if not isinstance(result, (Image, Feature)):
            raise ServiceError(
                f"Collection.map: A mapped algorithm must return a Feature or Image (ID={index})."
            )
        results.append(with_properties(result, {"system:index": index}))
    return Collection(tuple(results))


def with_properties(element: Any, properties: Mapping[str, object]) -> Any:
    """The element with properties set; None takes one away."""
    merged = {**element.properties, **properties}
    return replace(element, properties={k: v for k, v in merged.items() if v is not None})


@algorithm("Collection.first")
def first(collection: Collection) -> Any:
    return collection.elements[0] if collection.elements else None


@algorithm("Collection.size")
def size(collection: Collection) -> int:
    return len(collection.elements)


@algorithm("Collection.limit")
def limit(
    collection: Collection, limit: int | None = None, key: str | None = None, ascending: bool = True
) -> Collection:
    """Sorted by a property (elements without it last, order kept), then cut."""
    elements = list(collection.elements)
    if key is not None:
        present = [e for e in elements if e.get(key) is not None]
        absent = [e for e in elements if e.get(key) is None]
        elements = sorted(present, key=lambda e: e.get(key), reverse=not ascending) + absent
    return replace(collection, elements=tuple(elements[:limit]))


@algorithm("Collection.merge", "ImageCollection.merge")
def merge(collection1: Collection, collection2: Collection) -> Collection:
    """Both in order; indices get the prefix 1_ or 2_, as the service makes them unique."""
    return Collection(
        tuple(
            with_properties(e, {"system:index": f"{number}_{e.get('system:index') or i}"})
            for number, part in enumerate((collection1, collection2), 1)
            for i, e in enumerate(part.elements)
        )
    )


@algorithm("Collection.toList")
def to_list(collection: Collection, count: int, offset: int = 0) -> list[Any]:
    return list(collection.elements[offset : offset + count])


@algorithm("Collection.iterate")
def iterate(collection: Collection, function: Function, first: Any = None) -> Any:
    value = first
    for element in collection.elements:
        value = function.call(element, value)
    return value


@algorithm("Collection.reduceColumns")
def reduce_columns(
    collection: Collection,
    reducer: reducers.Reducer,
    selectors: list[str],
    weightSelectors: list[str] | None = None,
) -> dict[str, Any]:
    rows = [[element.get(name) for name in selectors] for element in collection.elements]
    return reducer.columns(rows)


@algorithm("Collection.distinct")
def distinct(collection: Collection, properties: list[str] | str) -> Collection:
    names = [properties] if isinstance(properties, str) else properties
    kept = {repr([e.get(name) for name in names]): e for e in reversed(collection.elements)}
    chosen = set(map(id, kept.values()))
    return replace(collection, elements=tuple(e for e in collection.elements if id(e) in chosen))


@algorithm("Collection.geometry")
def geometry(collection: Collection, maxError: Any = None) -> BaseGeometry:
    return shapely.unary_union([p for e in collection.elements for p in footprint_of(e) or ()])


@algorithm("ImageCollection.mosaic")
def mosaic(collection: Collection) -> Image:
    return reducers.mosaic(collection.elements)


@algorithm("ImageCollection.qualityMosaic")
def quality_mosaic(collection: Collection, qualityBand: str) -> Image:
    return reducers.quality_mosaic(collection.elements, qualityBand)


@algorithm("ImageCollection.toBands")
def to_bands(collection: Collection) -> Image:
    return reducers.to_bands(collection.elements)


@algorithm("ImageCollection.reduce")
def reduce_collection(
    collection: Collection, reducer: reducers.Reducer, parallelScale: float = 1
) -> Image:
    return reducers.reduce_images(collection.elements, reducer, suffixed=True)


def _reduction(name: str) -> Any:
    def reduce(collection: Collection) -> Image:
        return reducers.reduce_images(collection.elements, reducers.reducer(name), suffixed=False)

    return reduce


for _name in ("median", "mean", "min", "max", "count", "mode", "sum", "product", "and", "or"):
    algorithm(f"reduce.{_name}")(_reduction(_name))


def _aggregate(name: str) -> Any:
    def aggregate(collection: Collection, property: str) -> Any:
        values = [e.get(property) for e in collection.elements]
        values = [value for value in values if value is not None]
        if name == "array":
            return values
        if name in ("first", "min", "max"):
            pick = {"first": lambda v: v[0], "min": min, "max": max}[name]
            return pick(values) if values else None
        if name == "count_distinct":
            return len(set(map(repr, values)))
        return reducers.reducer(name).columns([[v] for v in values])[name] if values else 0

    return aggregate


for _name in ("array", "first", "min", "max", "mean", "sum", "count", "count_distinct"):
    algorithm(f"AggregateFeatureCollection.{_name}")(_aggregate(_name))


@algorithm("Reducer.toList")
def to_list_reducer(tupleSize: int | None = None, numOptional: int = 0) -> reducers.Reducer:
    return reducers.TO_LIST


@algorithm("Reducer.repeat")
def repeat(reducer: reducers.Reducer, count: int) -> reducers.Reducer:
    return reducer.repeated(count)


@algorithm("Reducer.percentile")
def percentile(
    percentiles: list[float] | float, outputNames: list[str] | None = None, **_: Any
) -> reducers.Reducer:
    shares = percentiles if isinstance(percentiles, list) else [percentiles]
    return reducers.percentile(shares, outputNames)


def _named_reducer(name: str) -> Any:
    return lambda **_: reducers.reducer(name)


for _name in reducers.STATISTICS:
    algorithm(f"Reducer.{_name}")(_named_reducer(_name))


@algorithm("Element.get", "Element.getNumber", "Element.getString", "Element.getArray")
def get_property(object: Any, property: str) -> Any:
    return object.get(property)


@algorithm("Element.set")
def set_property(object: Any, key: str, value: Any = None) -> Any:
    return with_properties(object, {key: value})


@algorithm("Element.setMulti")
def set_properties(object: Any, properties: dict[str, Any]) -> Any:
    return with_properties(object, properties)


@algorithm("Element.toDictionary")
def to_dictionary(element: Any, properties: list[str] | None = None) -> dict[str, Any]:
    """System properties only when asked for by name."""
    if properties is not None:
        return {name: element.get(name) for name in properties}
    return {k: v for k, v in element.properties.items() if not k.startswith("system:")}


@algorithm("Element.propertyNames")
def property_names(element: Any) -> list[str]:
    return list(element.properties)


@algorithm("Element.copyProperties")
def copy_properties(
    destination: Any,
    source: Any,
    properties: list[str] | None = None,
    exclude: list[str] | None = None,
) -> Any:
    """Without a list: all that are not of the system."""
    names = properties or [n for n in source.properties if not n.startswith("system:")]
    copied = {name: source.get(name) for name in names if name not in (exclude or ())}
    return with_properties(destination, copied)


@algorithm("Image.date")
def image_date(image: Image) -> Any:
    return date(image.get("system:time_start"))


@algorithm("Image.id")
def image_id(element: Any) -> Any:
    return element.get("system:index")
