"""From specs to plans: which pixels to fetch, and which windows to lay over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from returns.result import Failure, Result, Success

from rs_embed.core import specs
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.fetch import FetchPlan, SourceInfo, fingerprint, sensor_for
from rs_embed.core.grid import MAX_PIXELS, MAX_STREAMED, STREAM, Grid, roi_grid
from rs_embed.core.intervals import midpoint, plan_intervals
from rs_embed.core.margins import pixel_margins
from rs_embed.core.model import Model
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import python_scalar
from rs_embed.core.specs import SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.windows import Tiling, one_window, tile

# What a plan is made of, from where it always was.
__all__ = [
    "FetchPlan", "InputPrep", "RoiPlan", "SourceInfo", "bounding_square", "check_layout",
    "fingerprint", "input_time", "midpoint", "pixel_margins", "place_windows", "plan_intervals",
    "plan_roi", "resolve_input_prep", "sensor_for",
]  # fmt: skip

InputPrep = Literal["native", "resize"]


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
    fetch_window : tuple of int
        (row, column, height, width) of the pixels to read, relative to the ROI's first pixel: all
        that the windows see and that exists. What they see beyond is padded.
    fetch_plans : tuple of FetchPlan
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
    sources : sequence of SourceInfo
        What serves each of ``model.inputs``, in order. Those whose pixels end are at hand, and
        read window by window; a fetch of the others is held whole.
    sensor : SensorSpec, optional
        The caller's own; its ``scale_m`` and ``fill_value`` then hold.

    Fails with SpecError for an invalid place or time, an undated source that is asked for a date,
    or too many pixels; with ModelError where the model cannot do what the keywords ask.
    """
    scale = float(sensor.scale_m) if sensor else model.scale_m
    overlap = python_scalar(overlap)
    if resolve_input_prep(model, input_prep) == "native" and all(one.grid for one in sources):
        max_pixels = max(max_pixels, MAX_STREAMED)
    return Result.do(
        plan
        for _ in check_layout(model, input_prep, overlap)
        for intervals in plan_intervals(model.cadence, temporal, sources)
        for roi in roi_grid(spatial, scale, max_pixels=max_pixels)
        for plan in _plan_layout(
            model, roi, intervals, temporal, sources, sensor, input_prep, overlap, max_pixels
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
                f"{max(1, len(intervals))} dates, more than the {max_pixels:g} allowed at once; "
                f"stream it: {STREAM}; or make the region smaller or split it"
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


def input_time(plan: RoiPlan) -> str | None:
    """Midpoint date of the whole temporal window; None where there is no time."""
    if plan.temporal is None:
        return None
    start, end = specs.dates(plan.temporal)
    return midpoint((start.isoformat(), end.isoformat())).isoformat()
