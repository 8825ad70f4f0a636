"""What Earth Engine is asked to compute: expressions built with the official client, nothing sent.

Scenes of a place → the collection's own conditions → cloud filter → dates → masks, bands, power,
resampling → composite → sentinel. Needs an initialised client, since it builds ``ee`` objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any

from rs_embed.core.grid import Grid
from rs_embed.core.patch import Interval
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.collections import Band, Collection, Condition

# Stands for masked pixels in an answer, which has no mask: a power of two, hence exact in float32,
# and beyond any value of any band.
SENTINEL = -(2.0**100)
# Scene classification: no data, saturated, shadow, medium and high cloud, cirrus.
SCL_DROPPED = (0, 1, 3, 8, 9, 10)
_CLOUD_SCORES = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"

Box = tuple[float, float, float, float]

# No place has these degrees: they stand for boxes that are put in later.
_MARKS: tuple[Box, ...] = ((1000.5, 1001.5, 1002.5, 1003.5), (2000.5, 2001.5, 2002.5, 2003.5))


@dataclass(frozen=True, slots=True)
class Query:
    """Which scenes, and what to make of them.

    Parameters
    ----------
    row : Collection
    asset : str
        Id of the collection, or of one image.
    is_image : bool
    bands : tuple of Band
    frames : tuple of Frame
        Windows of dates; empty for a source without time.
    sensor : SensorSpec
    boxes : tuple of Box
        West, south, east, north of what is wanted, degrees: one, or two at the antimeridian.
    zone : str or None
        UTM zone of the grid, such as "31N".
    """

    row: Collection
    asset: str
    is_image: bool
    bands: tuple[Band, ...]
    intervals: tuple[Interval, ...]
    sensor: SensorSpec
    boxes: tuple[Box, ...]
    zone: str | None

    @property
    def windows(self) -> tuple[Interval | None, ...]:
        """The frames; one None where there is no time."""
        return self.intervals or (None,)


def utm_zone_name(crs: str) -> str | None:
    """``"31N"`` of ``"EPSG:32631"``; None for other systems."""
    number = crs.removeprefix("EPSG:")
    if len(number) == 5 and number[:3] in ("326", "327") and 1 <= int(number[3:]) <= 60:
        return f"{number[3:]}{'N' if number[2] == '6' else 'S'}"
    return None


def band_ids(query: Query) -> tuple[str, ...]:
    """The names of the answer's bands: frame by frame, each frame's in order."""
    if len(query.windows) == 1:
        return tuple(band.name for band in query.bands)
    return tuple(f"t{t}_{band.name}" for t in range(len(query.windows)) for band in query.bands)


def pixels(query: Query) -> Any:
    """The image of all composites, float32, frames side by side, masked pixels `SENTINEL`."""
    import ee

    scenes = clear(query, fitting(query, nearby(query)))
    layers = [composite(query, in_dates(scenes, window)) for window in query.windows]
    image = layers[0] if len(layers) == 1 else ee.Image.cat(*layers)
    if len(layers) > 1:
        image = image.rename(list(band_ids(query)))
    # Cast first, or the sentinel would be forced into the range of an integer band; and again,
    # since a constant is double and would double the answer. False: beyond the footprint too.
    return image.toFloat().unmask(SENTINEL, False).toFloat()


def encoded(query: Query) -> dict[str, Any]:
    """`pixels` in the form in which it travels, ``{"result": ..., "values": ...}``.

    Of many places of one collection only the boxes differ, so the rest is built once.
    """
    marks = _MARKS[: len(query.boxes)]
    text = _encoded_text(replace(query, boxes=marks))
    for mark, box in zip(marks, query.boxes, strict=True):
        text = text.replace(json.dumps(list(mark)), json.dumps(list(box)))
    found: dict[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=256)
def _encoded_text(query: Query) -> str:
    from ee import serializer

    return json.dumps(serializer.encode(pixels(query)))


def nearby(query: Query) -> Any:
    """The scenes that touch the place."""
    import ee

    if query.is_image:
        scenes = ee.ImageCollection([ee.Image(query.asset)])
    else:
        scenes = ee.ImageCollection(query.asset)
    # Planar in degrees: else the edges of a box would be great circles.
    touching = [
        ee.Filter.bounds(ee.Geometry.Rectangle(list(box), "EPSG:4326", False))
        for box in query.boxes
    ]
    return scenes.filter(touching[0] if len(touching) == 1 else ee.Filter.Or(*touching))


def fitting(query: Query, scenes: Any) -> Any:
    """Those that the collection's own conditions, the polarisation and the orbit let through."""
    import ee

    row = query.row
    tests = [_test(condition) for condition in row.conditions]
    if row.polarisation_property:
        tests += [
            ee.Filter.listContains(row.polarisation_property, band.name)
            for band in query.bands
            if band.name != "angle"
        ]
    if row.orbit_property and query.sensor.orbit:
        tests.append(ee.Filter.eq(row.orbit_property, query.sensor.orbit))
    return reduce(lambda kept, test: kept.filter(test), tests, scenes)


def clear(query: Query, scenes: Any) -> Any:
    """Those that are not cloudier than allowed, where the collection tells."""
    import ee

    if query.row.cloud_property is None:
        return scenes
    return scenes.filter(ee.Filter.lte(query.row.cloud_property, query.sensor.cloudy_pct))


def in_dates(scenes: Any, window: Interval | None) -> Any:
    """Those of a half-open window of dates, UTC."""
    return scenes if window is None else scenes.filterDate(*window)


def composite(query: Query, scenes: Any) -> Any:
    """One image of the scenes' bands; wholly masked where there is no scene."""
    import ee

    names = [band.name for band in query.bands]
    how = query.row.composite or query.sensor.composite
    if how == "mosaic":
        scenes = _top_last(query, scenes)
    layers = _scored(query, scenes).map(lambda scene: _layer(query, ee.Image(scene)))
    # An empty collection has no bands to select, so a masked image goes beneath. All are float32:
    # a collection of mixed types is refused.
    blank = ee.Image.constant([0] * len(names)).rename(names).toFloat().updateMask(0)
    stack = ee.ImageCollection([blank]).merge(layers)
    if how == "mosaic":
        return stack.mosaic()
    # Between two classes lies a third that no scene has: of classes, the most frequent one.
    classes = [band.name for band in query.bands if band.averaged == "never"]
    if not classes:
        return stack.median()
    if len(classes) == len(names):
        return stack.mode()
    return stack.median().addBands(stack.select(classes).mode(), None, True)


def counts(query: Query) -> Any:
    """How many scenes are left after the place, the conditions, the dates and the clouds."""
    import ee

    near = nearby(query)
    fit = fitting(query, near)
    span = (query.intervals[0][0], query.intervals[-1][1]) if query.intervals else None
    dated = in_dates(fit, span)
    return ee.List([part.size() for part in (near, fit, dated, clear(query, dated))])


def scene_lists(queries: Sequence[Query]) -> Any:
    """For each query ``[indices, milliseconds]`` of the scenes it uses."""
    import ee

    def listed(query: Query) -> list[Any]:
        span = (query.intervals[0][0], query.intervals[-1][1]) if query.intervals else None
        scenes = in_dates(clear(query, fitting(query, nearby(query))), span)
        return [scenes.aggregate_array(name) for name in ("system:index", "system:time_start")]

    return ee.List([listed(query) for query in queries])


def grid_request(grid: Grid) -> dict[str, Any]:
    """A grid in the service's form; a negative y step puts row 0 in the north."""
    t = grid.transform
    return {
        "dimensions": {"width": grid.width, "height": grid.height},
        "affineTransform": {
            "scaleX": t.a, "shearX": 0, "translateX": t.c,
            "shearY": 0, "scaleY": t.e, "translateY": t.f,
        },
        **({"crsCode": grid.crs} if grid.crs.startswith("EPSG:") else {"crsWkt": grid.crs}),
    }  # fmt: skip


def _test(condition: Condition) -> Any:
    import ee

    make = {
        "equals": ee.Filter.eq,
        "at_least": ee.Filter.gte,
        "contains": ee.Filter.listContains,
    }[condition.test]
    return make(condition.property, condition.value)


def _top_last(query: Query, scenes: Any) -> Any:
    """In the order in which a mosaic paints: by date, the grid's own zone on top."""
    import ee

    own = query.row.zone_property
    if query.row.time != "static":
        scenes = scenes.sort("system:time_start")
    if own is None or query.zone is None:
        return scenes
    others = scenes.filter(ee.Filter.neq(own, query.zone))
    return others.merge(scenes.filter(ee.Filter.eq(own, query.zone)))


def _scored(query: Query, scenes: Any) -> Any:
    """The scenes with their Cloud Score+ beside them, where it is asked for."""
    import ee

    if query.sensor.cloud_mask != "cloud_score_plus":
        return scenes
    return scenes.linkCollection(ee.ImageCollection(_CLOUD_SCORES), ["cs_cdf"])


def _layer(query: Query, scene: Any) -> Any:
    """The bands of one scene as they enter the composite: masked, in power, resampled, float32."""
    names = [band.name for band in query.bands]
    image = scene.select(names)
    if any(band.averaged == "power" for band in query.bands):
        image = _in_power(query.bands, image)
    if query.sensor.resampling == "bilinear":
        image = _interpolated(query.bands, image)
    if query.sensor.cloud_mask == "scl":
        dropped = list(SCL_DROPPED)
        image = image.updateMask(scene.select("SCL").remap(dropped, [0] * len(dropped), 1))
    elif query.sensor.cloud_mask == "cloud_score_plus":
        image = image.updateMask(scene.select("cs_cdf").gte(query.sensor.cloud_threshold))
    return image.toFloat()


def _interpolated(bands: Sequence[Band], image: Any) -> Any:
    """Values interpolated where the grid asks between pixels; classes as they are."""
    names = [band.name for band in bands if band.averaged != "never"]
    smooth = image.select(names).resample("bilinear")
    return smooth if len(names) == len(bands) else image.addBands(smooth, None, True)


def _in_power(bands: Sequence[Band], image: Any) -> Any:
    """Decibels as linear power, so that means are means of power; other bands as they are."""
    names = [band.name for band in bands if band.averaged == "power"]
    # The image stands on the left of the product, so that names and lattice stay its own.
    power = image.select(names).multiply(math.log(10) / 10).exp()
    return power if len(names) == len(bands) else image.addBands(power, None, True)
