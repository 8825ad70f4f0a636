"""What an export would take: planned to the last request, and nothing fetched."""

from __future__ import annotations

from collections import Counter
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.fetch import FetchPlan
from rs_embed.core.plan import RoiPlan
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import SpatialSpec
from rs_embed.pipeline.export_lanes import BadInput, ExportLane, export_lanes
from rs_embed.pipeline.export_plan import Need, share_fetches
from rs_embed.pipeline.export_request import ExportRequest, check_export
from rs_embed.pipeline.lanes import Settings, plan_lane

_BYTES = {"float32": 4, "float16": 2, "int8": 1}


def estimate(request: ExportRequest) -> Outcome[dict[str, Any]]:
    """What `rs_embed.export_batch` returns with ``dry_run``.

    Fails as the export itself would before its first fetch, and with SpecError or ModelError for
    the first place that cannot be planned, unless ``continue_on_error`` is set.
    """
    return (
        check_export(request)
        .bind(lambda _: export_lanes(request, BadInput()))
        .bind(lambda lanes: _counted(request, lanes))
    )


def _counted(request: ExportRequest, lanes: tuple[ExportLane, ...]) -> Outcome[dict[str, Any]]:
    input_prep: Any = request.input_prep
    settings = Settings(request.output, input_prep, request.overlap)
    total: Counter[str] = Counter(places=len(request.spatials), unplanned=0)
    windows = Counter({one.lane.label: 0 for one in lanes})
    for spatial, times in Counter(request.spatials).items():
        plans = [plan_lane(one.lane, spatial, settings) for one in lanes]
        failed = next((one for one in plans if isinstance(one, Failure)), None)
        if failed is not None and not request.continue_on_error:
            return _named(spatial, failed)
        good = [
            (one, plan.unwrap())
            for one, plan in zip(lanes, plans, strict=True)
            if isinstance(plan, Success)
        ]
        total["unplanned"] += times * (len(lanes) - len(good))
        for one, plan in good:
            windows[one.lane.label] += len(plan.tiling)
            total["disk_bytes"] += times * _disk(request, plan)
        needs = [Need(id(one.lane.provider), f) for one, plan in good for f in plan.fetch_plans]
        shared = share_fetches(needs)
        if isinstance(shared, Failure):
            return shared
        fetches = [need.plan for need in shared.unwrap()[0]]
        total["requests"] += len(fetches)
        total["fetched_bytes"] += sum(map(_pixels_bytes, fetches))
    return Success(
        {
            "places": total["places"],
            "unplanned": total["unplanned"],
            "requests": total["requests"],
            "fetched_bytes": total["fetched_bytes"],
            "windows": dict(windows),
            "disk_bytes": total["disk_bytes"],
        }
    )


def _named(spatial: SpatialSpec, failed: Outcome[Any]) -> Outcome[Any]:
    return collect([failed]).alt(
        lambda error: type(error)(f"{spatial}: {error}", transient=error.transient)
    )


def _pixels_bytes(plan: FetchPlan) -> int:
    height, width = plan.grid.shape
    return 4 * len(plan.bands) * max(1, len(plan.intervals)) * height * width


def _disk(request: ExportRequest, plan: RoiPlan) -> int:
    """Bytes of the arrays of one model at one place, without compression and manifest."""
    size = 0
    if request.save_embeddings:
        rows, cols = plan.tiling.cells if request.output.mode == "grid" else (1, 1)
        size += rows * cols * plan.model.dim * _BYTES[request.dtype]
    if request.save_inputs:
        for fetch in plan.fetch_plans:
            own = 4 * len(fetch.bands) * max(1, len(fetch.intervals))
            size += own * plan.roi.height * plan.roi.width
            size += _pixels_bytes(fetch) if fetch.grid != plan.roi else 0
    return size
