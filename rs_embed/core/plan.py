"""From specs to plans: which pixels to fetch, and which windows to lay over them."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.grid import MAX_PIXELS, Grid, roi_grid
from rs_embed.core.model import Cadence, InputSpec, Model
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.windows import Tiling, one_window, tile

InputPrep = Literal["native", "resize"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a provider can give for one input of a model.

    Parameters
    ----------
    collection : str
        What the provider calls it.
    bands : tuple of str
        Its names of the input's bands, in the input's order.
    units : tuple of str
        Units in which each band arrives.
    dated : bool
        Whether it has time; an undated source refuses a temporal.
    grid : Grid or None
        Where its pixels end; None where they go on.
    content_hash : str
        Tells one content from another in fingerprints (a file's hash); "" for a service.
    """

    collection: str
    bands: tuple[str, ...]
    units: tuple[str, ...]
    dated: bool = True
    grid: Grid | None = None
    content_hash: str = ""


@dataclass(frozen=True)
class FetchPlan:
    """One fetch: everything that decides the pixels, and nothing else.

    Two equal plans give the same patch, so a plan is fetched once.
    """

    collection: str
    bands: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid
    intervals: tuple[Interval, ...]
    sensor: SensorSpec
    content_hash: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the plan, the same in every process and Python version."""
        return fingerprint(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain data; equal plans give equal data."""
        sensor = asdict(self.sensor)
        # Checks and fills are applied after the fetch and do not change its pixels.
        for name in ("check_input", "check_raise", "check_save_dir", "fill_value"):
            del sensor[name]
        return {
            "collection": self.collection,
            "bands": list(self.bands),
            "units": list(self.units),
            "grid": self.grid.to_json(),
            "intervals": [list(interval) for interval in self.intervals],
            "sensor": sensor,
            "content_hash": self.content_hash,
        }


@dataclass(frozen=True)
class RoiPlan:
    """What will happen to one ROI: its pixels, its windows, its fetches.

    Parameters
    ----------
    model : Model
    roi : Grid
        The pixels of the ROI at the working scale.
    tiling : Tiling
        The windows the model sees.
    input_prep : {"native", "resize"}
    fetched : tuple of int
        (row, column, height, width) of the pixels to read, relative to the ROI's first pixel: all
        that the windows see and that exists. What they see beyond is padded.
    fetches : tuple of FetchPlan
        The fetches of these pixels, one for each input of the model.
    fill : float or None
        What stands for missing pixels in source units; None leaves it to the authors' rule.
    temporal : TemporalSpec or None
    notes : mapping
        What was decided on the way, for ``meta``.
    """

    model: Model
    roi: Grid
    tiling: Tiling
    input_prep: InputPrep
    fetch_window: tuple[int, int, int, int]
    fetch_plans: tuple[FetchPlan, ...] = ()
    fill: float | None = None
    temporal: TemporalSpec | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(data: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, written as JSON with sorted keys; numbers as floats."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value

    text = json.dumps(plain(data), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plan_roi(
    model: Model,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    sources: Sequence[SourceInfo],
    *,
    sensor: SensorSpec | None = None,
    input_prep: InputPrep = "native",
    overlap: int = 0,
    max_pixels: float = MAX_PIXELS,
) -> Outcome[RoiPlan]:
    """The plan of one ROI.

    Parameters
    ----------
    sources : sequence of Source
        What serves each of ``model.inputs``, in order.
    sensor : SensorSpec, optional
        The caller's own; its ``scale_m`` and ``fill_value`` then hold.

    Fails with SpecError for an invalid place or time, an undated source that is asked for a date,
    or too many pixels; with ModelError where the model cannot do what the keywords ask.
    """
    scale = float(sensor.scale_m) if sensor else model.scale_m
    return (
        check_layout(model, input_prep, overlap)
        .bind(lambda _: plan_intervals(model.cadence, temporal, sources))
        .bind(
            lambda intervals: roi_grid(spatial, scale, max_pixels=max_pixels).bind(
                lambda roi: _plan_layout(
                    model,
                    roi,
                    intervals,
                    temporal,
                    sources,
                    sensor,
                    input_prep,
                    overlap,
                    max_pixels,
                )
            )
        )
    )


def _plan_layout(
    model: Model,
    roi: Grid,
    intervals: tuple[Interval, ...],
    temporal: TemporalSpec | None,
    sources: Sequence[SourceInfo],
    sensor: SensorSpec | None,
    input_prep: InputPrep,
    overlap: int,
    max_pixels: float,
) -> Outcome[RoiPlan]:
    plan = place_windows(model, roi, input_prep, overlap, pixel_margins(roi, sources))
    extent = plan.roi.window(*plan.fetch_window)
    pixels = extent.height * extent.width * max(1, len(intervals))
    if pixels > max_pixels:
        return Failure(
            SpecError(
                f"the windows over the region take {extent.height} x {extent.width} pixels and "
                f"{max(1, len(intervals))} dates, more than the {max_pixels:g} allowed; "
                "make the region smaller or split it"
            )
        )
    fetch_plans = tuple(
        FetchPlan(
            source.collection, source.bands, source.units, extent,
            intervals if source.dated and not item.static else (),
            sensor_for(item, source, extent.resolution[0], sensor), source.content_hash,
        )
        for item, source in zip(model.inputs, sources, strict=True)
    )  # fmt: skip
    # NaN is the authors' own rule, spelled by the caller.
    fill = sensor.fill_value if sensor and not math.isnan(sensor.fill_value) else None
    return Success(replace(plan, fetch_plans=fetch_plans, fill=fill, temporal=temporal))


def place_windows(
    model: Model,
    roi: Grid,
    input_prep: InputPrep,
    overlap: int,
    margins: tuple[float, float, float, float],
) -> RoiPlan:
    """The windows over a ROI and the pixels they see, before anything is said of a source.

    ``margins`` counts the pixels that exist beyond the ROI's top, left, bottom and right.
    """
    input_prep = resolve_input_prep(model, input_prep)
    if input_prep == "resize":
        square = bounding_square(roi)
        top = (square.height - roi.height) // 2
        left = (square.width - roi.width) // 2
        added = (
            top, left, square.height - roi.height - top, square.width - roi.width - left,
        )  # fmt: skip
        margins = tuple(m - a for m, a in zip(margins, added, strict=True))  # type: ignore[assignment]
        tiling = one_window(model.window_px, model.token_px)
        fetch_window = _clipped((0, 0, *square.shape), square.shape, margins)
        return RoiPlan(model, square, tiling, input_prep, fetch_window)
    tiling = tile(roi.shape, model.window_px, model.token_px, overlap=overlap, margins=margins)
    fetch_window = _clipped(tiling.extent(), roi.shape, margins)
    return RoiPlan(model, roi, tiling, input_prep, fetch_window)


def _clipped(
    extent: tuple[int, int, int, int],
    shape: tuple[int, int],
    margins: tuple[float, float, float, float],
) -> tuple[int, int, int, int]:
    """The part of (row, column, height, width) that has pixels."""
    row, col, height, width = extent
    top, left, bottom, right = margins
    r0, c0 = max(row, -top), max(col, -left)
    r1, c1 = min(row + height, shape[0] + bottom), min(col + width, shape[1] + right)
    return int(r0), int(c0), int(r1 - r0), int(c1 - c0)


def sensor_for(
    item: InputSpec, source: SourceInfo, scale_m: float, given: SensorSpec | None
) -> SensorSpec:
    """The sensor of one fetch: the caller's, or the model's default."""
    if given is not None:
        return replace(given, collection=source.collection, bands=source.bands)
    whole = int(scale_m) if float(scale_m).is_integer() else scale_m
    return SensorSpec(
        source.collection,
        source.bands,
        scale_m=whole,
        cloudy_pct=item.cloudy_pct,
    )


def resolve_input_prep(model: Model, asked: str) -> InputPrep:
    """How a ROI becomes windows: a model that prepares as its authors do takes it whole."""
    whole = asked == "resize" or model.options.get("prepare") == "official"
    return "resize" if whole else "native"


def check_layout(model: Model, input_prep: str, overlap: int) -> Outcome[None]:
    """Failure where the model cannot take the asked windows."""
    if input_prep not in ("native", "resize"):
        return Failure(SpecError(f"input_prep must be 'native' or 'resize', not {input_prep!r}"))
    if isinstance(overlap, bool) or not isinstance(overlap, int) or overlap < 0 or overlap == 1:
        return Failure(SpecError(f"overlap must be 0, 2, 4, …, not {overlap!r}"))
    per_window = model.window_px // model.token_px
    if overlap and per_window % overlap:
        return Failure(
            ModelError(
                f"{model.id}: a window of {per_window} tokens a side cannot move by 1/{overlap} of "
                f"itself in whole tokens; overlap must divide {per_window}"
            )
        )
    if overlap and resolve_input_prep(model, input_prep) == "resize":
        return Failure(
            SpecError(
                "overlap needs input_prep='native', and no option prepare='official': a resized "
                "ROI is one window"
            )
        )
    return Success(None)


def bounding_square(roi: Grid) -> Grid:
    """The smallest square that holds the ROI, as central as whole pixels allow."""
    side = max(roi.shape)
    return roi.window(-((side - roi.height) // 2), -((side - roi.width) // 2), side, side)


# No window reaches further than this beyond its ROI.
_NEAR_M = 250_000


def pixel_margins(roi: Grid, sources: Sequence[SourceInfo]) -> tuple[float, float, float, float]:
    """Pixels of the ROI's lattice that every source has beyond its top, left, bottom and right."""
    margins = [math.inf] * 4
    for source in sources:
        if source.grid is None:
            continue
        west, south, east, north = _bounds_in(source.grid, roi)
        own = roi.bounds
        step_x, step_y = roi.resolution
        gaps = (
            (north - own[3]) / step_y, (own[0] - west) / step_x,
            (own[1] - south) / step_y, (east - own[2]) / step_x,
        )  # fmt: skip
        margins = [min(b, max(0, math.floor(g + 1e-6))) for b, g in zip(margins, gaps, strict=True)]
    top, left, bottom, right = margins
    return top, left, bottom, right


def _bounds_in(source: Grid, roi: Grid) -> tuple[float, float, float, float]:
    if source.crs == roi.crs:
        return source.bounds
    from rs_embed.core.crs import transformer

    bounds = source.bounds
    west, south, east, north = roi.bounds
    near = transformer(roi.crs, source.crs).transform_bounds(
        west - _NEAR_M, south - _NEAR_M, east + _NEAR_M, north + _NEAR_M, densify_pts=21
    )
    # A source as wide as a continent has no sensible bounds in a UTM zone: its near part has.
    if near[0] < near[2] and near[0] < bounds[2] and bounds[0] < near[2]:
        bounds = (
            max(bounds[0], near[0]), max(bounds[1], near[1]),
            min(bounds[2], near[2]), min(bounds[3], near[3]),
        )  # fmt: skip
    return tuple(  # type: ignore[return-value]  # four numbers
        transformer(source.crs, roi.crs).transform_bounds(*bounds, densify_pts=21)
    )


def plan_intervals(
    cadence: Cadence, temporal: TemporalSpec | None, sources: Sequence[SourceInfo]
) -> Outcome[tuple[Interval, ...]]:
    """The windows of dates that the model's inputs are composited over.

    Fails with SpecError for an invalid temporal, where imagery lacks one, or where an undated
    source, or a model of cadence "none", is given one.
    """
    if temporal is not None and isinstance(found := specs.check_temporal(temporal), Failure):
        return found
    dated = any(source.dated for source in sources) and cadence.kind != "none"
    if not dated:
        if temporal is not None:
            what = sources[0].collection if sources and cadence.kind != "none" else "the model"
            return Failure(
                SpecError(f"{what} has no dates, so it cannot honour temporal; leave temporal out")
            )
        return Success(())
    if temporal is None:
        return Failure(
            SpecError(
                "imagery needs a temporal, since no window is assumed; pass "
                "temporal=TemporalSpec.range('2022-06-01', '2022-09-01') or TemporalSpec.year(2022)"
            )
        )
    return _bins(cadence, temporal)


def _bins(cadence: Cadence, temporal: TemporalSpec) -> Outcome[tuple[Interval, ...]]:
    start, end = specs.dates(temporal)
    if cadence.kind == "months":
        edges = [start]
        while edges[-1] < end:
            last = edges[-1]
            following = dt.date(last.year + last.month // 12, last.month % 12 + 1, 1)
            edges.append(min(following, end))
    else:
        days, count = (end - start).days, cadence.frames if cadence.kind == "equal" else 1
        if days < count:
            return Failure(
                SpecError(f"{days} days cannot be cut into {count} bins; widen the temporal")
            )
        edges = [start + dt.timedelta(days=round(i * days / count)) for i in range(count + 1)]
    if cadence.kind == "months" and len(edges) - 1 > cadence.frames:
        return Failure(
            SpecError(
                f"{start}..{end} spans {len(edges) - 1} months; the model takes at most "
                f"{cadence.frames}; shorten the temporal"
            )
        )
    return Success(tuple((a.isoformat(), b.isoformat()) for a, b in pairwise(edges)))


def midpoint(interval: Interval) -> dt.date:
    """The date in the middle of a window of dates.

    Examples
    --------
    >>> midpoint(("2022-01-01", "2023-01-01"))
    datetime.date(2022, 7, 2)
    """
    start, end = (dt.date.fromisoformat(text) for text in interval)
    return start + (end - start) // 2


def input_time(plan: RoiPlan) -> str | None:
    """Midpoint date of the whole temporal window; None where there is no time."""
    if plan.temporal is None:
        return None
    start, end = specs.dates(plan.temporal)
    return midpoint((start.isoformat(), end.isoformat())).isoformat()
