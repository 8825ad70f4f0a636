"""The dates of an array, and what a model makes of them: one step for each embedding."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.errors import SpecError
from rs_embed.core.fetch import SourceInfo
from rs_embed.core.intervals import midpoint, plan_intervals
from rs_embed.core.model import Cadence
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.core.specs import TemporalSpec


@dataclass(frozen=True, slots=True)
class TimeGroup:
    """What one embedding is made of.

    Parameters
    ----------
    intervals : tuple of Interval
        The dates of each T that the model sees; empty where there are none.
    indices : tuple of tuple of int
        The times of the array that are composited into each T; empty for a bin without any.
    temporal : TemporalSpec or None
        The whole window.
    """

    intervals: tuple[Interval, ...]
    indices: tuple[tuple[int, ...], ...]
    temporal: TemporalSpec | None


def is_series(cadence: Cadence) -> bool:
    """Whether a model reads several dates at once."""
    return cadence.kind == "months" or (cadence.kind == "equal" and cadence.frames > 1)


def plan_time_groups(
    cadence: Cadence, dates: Sequence[Interval], temporal: TemporalSpec | None, time: str
) -> Outcome[tuple[TimeGroup, ...]]:
    """The steps that an array's own dates make.

    Parameters
    ----------
    cadence : Cadence
        How the model sees time.
    dates : sequence of Interval
        The dates of the array; empty for an undated one.
    temporal : TemporalSpec, optional
        Leaves out the dates outside it; of an undated array, says when it was taken. Without it
        the window runs from the array's first date to its last.
    time : {"each", "composite"}
        For a single-date model: one step for each date, or the median of all.

    Fails with SpecError for an invalid temporal, one that holds none of the dates, and a series
    model on an undated array without a temporal.
    """
    if time not in ("each", "composite"):
        return Failure(SpecError(f"time must be 'each' or 'composite', not {time!r}"))
    if is_series(cadence) and time == "composite":
        return Failure(
            SpecError(
                "the model reads a series of dates and time='composite' would leave it one; leave "
                "time out"
            )
        )
    if temporal is None:
        return _undated(cadence) if not dates else _dated(cadence, dates, _span(dates), time)
    return specs.check_temporal(temporal).bind(
        lambda valid: (
            _dated(cadence, dates, valid, time) if dates else _given_window(cadence, valid)
        )
    )


def composite(
    data: np.ndarray,
    indices: Sequence[Sequence[int]],
    how: str = "median",
    classes: Sequence[int] = (),
) -> np.ndarray:
    """The times of an array, ``(N, C, H, W)``, as one for each of ``indices``.

    ``(len(indices), C, H, W)`` float32; NaN where none of them has a valid value. "median" of those
    in each, or "mosaic": the last valid on top, which the bands of ``classes`` always are, since
    between two classes there is none.
    """
    if [list(m) for m in indices] == [[i] for i in range(len(data))]:
        return data
    out = np.full((len(indices), *data.shape[1:]), np.nan, dtype=np.float32)
    for i, inside in enumerate(indices):
        if len(inside) == 1:
            out[i] = data[inside[0]]
        elif how == "mosaic":
            _paint(out[i], data[list(inside)])
        elif inside:
            out[i] = median(data[list(inside)])
            for band in classes:
                out[i, band] = np.nan
                _paint(out[i, band], data[list(inside), band])
    return out


def _paint(out: np.ndarray, times: np.ndarray) -> None:
    """The times over each other, the last on top, where they are valid."""
    for one in times:
        np.copyto(out, one, where=np.isfinite(one))


def median(data: np.ndarray) -> np.ndarray:
    """Median over the first axis, NaN left out; NaN where all are."""
    ordered = np.sort(data, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, np.maximum(count - 1, 0))
    below, above = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (low, high))
    return np.asarray((below + above) / 2, dtype=np.float32)


def _undated(cadence: Cadence) -> Outcome[tuple[TimeGroup, ...]]:
    if is_series(cadence):
        return Failure(
            SpecError(
                "the model reads a series of dates and the array has none; say when it was taken: "
                "temporal=TemporalSpec.range('2022-06-01', '2022-07-01'), or give it a time axis"
            )
        )
    return Success((TimeGroup((), ((0,),), None),))


def _given_window(cadence: Cadence, temporal: TemporalSpec) -> Outcome[tuple[TimeGroup, ...]]:
    """An undated array whose date the caller gives: it stands in the middle of the window."""
    start, end = specs.dates(temporal)
    interval = (start.isoformat(), end.isoformat())
    day = midpoint(interval)
    return _intervals(cadence, temporal).map(
        lambda intervals: (
            TimeGroup(intervals, _members(intervals, [day]) if intervals else ((0,),), temporal),
        )
    )


def _dated(
    cadence: Cadence, dates: Sequence[Interval], temporal: TemporalSpec, time: str
) -> Outcome[tuple[TimeGroup, ...]]:
    days = [midpoint(interval) for interval in dates]
    start, end = specs.dates(temporal)
    inside = [i for i, day in enumerate(days) if start <= day < end]
    if not inside:
        return Failure(
            SpecError(
                f"temporal {start}..{end} holds none of the array's {len(days)} dates, which run "
                f"from {min(days)} to {max(days)}; widen it or leave it out"
            )
        )
    if time == "each" and not is_series(cadence):
        return Success(tuple(_one_date(cadence, dates[i], i) for i in inside))
    if not is_series(cadence):
        intervals = () if cadence.kind == "none" else ((start.isoformat(), end.isoformat()),)
        return Success((TimeGroup(intervals, (tuple(inside),), temporal),))
    return _intervals(cadence, temporal).map(
        lambda intervals: (TimeGroup(intervals, _members(intervals, days), temporal),)
    )


def _one_date(cadence: Cadence, date: Interval, i: int) -> TimeGroup:
    intervals = () if cadence.kind == "none" else (date,)
    return TimeGroup(intervals, ((i,),), TemporalSpec.range(*date))


def _intervals(cadence: Cadence, temporal: TemporalSpec) -> Outcome[tuple[Interval, ...]]:
    return plan_intervals(cadence, temporal, (SourceInfo("the array", (), ()),))


def _members(intervals: Sequence[Interval], days: Sequence[dt.date]) -> tuple[tuple[int, ...], ...]:
    """Which days fall into each bin."""
    edges = [(dt.date.fromisoformat(a), dt.date.fromisoformat(b)) for a, b in intervals]
    return tuple(tuple(i for i, day in enumerate(days) if a <= day < b) for a, b in edges)


def _span(dates: Sequence[Interval]) -> TemporalSpec:
    """From the first date to the day after the last."""
    days = [midpoint(interval) for interval in dates]
    return TemporalSpec.range(min(days), max(days) + dt.timedelta(days=1))
