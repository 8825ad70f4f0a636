"""Places as users have them, specs, shapes or a table of shapes, as the specs that plans need.

Shapes are known by ``__geo_interface__``, tables by their columns, so that neither shapely nor
geopandas is needed to take them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import BBox, PointBuffer, SpatialSpec, check_spatial


def as_places(spatials: Any, buffer_m: Any = None) -> Outcome[list[SpatialSpec]]:
    """The places that a list of specs, shapes or a GeoDataFrame means, in order.

    Parameters
    ----------
    spatials
        BBox and PointBuffer; objects with ``__geo_interface__``, points and boxes in degrees; or
        a GeoDataFrame or GeoSeries, which is brought to degrees from its own CRS.
    buffer_m : float or str, optional
        Half of the side around a point, metres; or the column of a GeoDataFrame that has it.

    Fails with SpecError for a table without a CRS, a point without ``buffer_m``, and shapes that
    are neither point nor box.
    """
    if isinstance(spatials, list | tuple) and all(
        isinstance(one, BBox | PointBuffer) for one in spatials
    ):
        return Success(list(spatials))
    if hasattr(spatials, "to_crs"):
        return _of_table(spatials, buffer_m)
    if isinstance(spatials, str | bytes | Mapping) or not isinstance(spatials, Iterable):
        return Failure(
            SpecError(
                "spatials must be a list of BBox, PointBuffer or shapes, or a GeoDataFrame, not "
                f"{type(spatials).__name__}"
            )
        )
    if isinstance(buffer_m, str):
        return Failure(SpecError("buffer_m names a column, which only a GeoDataFrame has"))
    return collect(
        _of_one(one, i, buffer_m) for i, one in enumerate(spatials)
    ).map(list)  # fmt: skip


def _of_table(table: Any, buffer_m: Any) -> Outcome[list[SpatialSpec]]:
    if table.crs is None:
        return Failure(
            SpecError(
                "the GeoDataFrame has no CRS, so its numbers mean no place; set it, such as "
                "table.set_crs(4326)"
            )
        )
    placed = table.to_crs(4326).geometry
    if isinstance(buffer_m, str):
        if buffer_m not in getattr(table, "columns", ()):
            return Failure(SpecError(f"buffer_m names no column of the table: {buffer_m!r}"))
        buffers: Sequence[Any] = [float(value) for value in table[buffer_m]]
    else:
        buffers = [buffer_m] * len(placed)
    return collect(
        _of_one(shape, i, buffer)
        for i, (shape, buffer) in enumerate(zip(placed, buffers, strict=True))
    ).map(list)


def _of_one(one: Any, i: int, buffer_m: Any) -> Outcome[SpatialSpec]:
    if isinstance(one, BBox | PointBuffer):
        return Success(one)
    shape = getattr(one, "__geo_interface__", one if isinstance(one, Mapping) else None)
    if isinstance(shape, Mapping) and shape.get("type") == "Feature":
        shape = shape.get("geometry")
    if not isinstance(shape, Mapping) or "type" not in shape:
        return Failure(
            SpecError(
                f"spatials[{i}] must be a BBox, a PointBuffer or a shape, not {type(one).__name__}"
            )
        )
    return _of_shape(shape, buffer_m).bind(check_spatial).alt(
        lambda error: SpecError(f"spatials[{i}]: {error}")
    )  # fmt: skip


def _of_shape(shape: Mapping[str, Any], buffer_m: Any) -> Outcome[SpatialSpec]:
    kind, coordinates = shape["type"], shape.get("coordinates")
    if not coordinates or _nan(coordinates):
        return Failure(SpecError(f"the {kind} is empty; leave it out"))
    if kind == "Point":
        if buffer_m is None:
            return Failure(
                SpecError("a point has no extent; pass buffer_m=, half of the side in metres")
            )
        return Success(PointBuffer(float(coordinates[0]), float(coordinates[1]), buffer_m))
    box = _box(coordinates) if kind == "Polygon" and len(coordinates) == 1 else None
    if box is None:
        return Failure(
            SpecError(
                f"a {kind} that is no box along the meridians is not taken; pass its bounds, "
                "BBox(*shape.bounds), or a point with buffer_m="
            )
        )
    return Success(box)


def _box(rings: Any) -> BBox | None:
    """The box that a ring of five points is, if its sides run along meridians and parallels."""
    ring = [(float(point[0]), float(point[1])) for point in rings[0]]
    xs, ys = sorted({x for x, _ in ring}), sorted({y for _, y in ring})
    if len(ring) != 5 or len(xs) != 2 or len(ys) != 2 or len(set(ring)) != 4:
        return None
    return BBox(xs[0], ys[0], xs[1], ys[1])


def _nan(coordinates: Any) -> bool:
    return isinstance(coordinates[0], float) and any(math.isnan(v) for v in coordinates[:2])
