"""How far the pixels of sources go on beyond a ROI."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rs_embed.core.fetch import SourceInfo
from rs_embed.core.grid import Grid

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
