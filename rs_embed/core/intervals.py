"""The windows of dates that a model's inputs are composited over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.errors import SpecError
from rs_embed.core.fetch import SourceInfo
from rs_embed.core.model import Cadence
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.core.specs import TemporalSpec


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
