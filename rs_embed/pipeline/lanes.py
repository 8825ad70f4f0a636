"""A model of a run over many places, how the run goes, and what the model needs at one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.model import Model
from rs_embed.core.patch import Patch
from rs_embed.core.plan import RoiPlan, plan_roi
from rs_embed.core.result import Outcome
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.pipeline.options import check_plan
from rs_embed.providers.base import Provider


@dataclass(frozen=True)
class Lane:
    """One model of a run, with what is the same at every place.

    ``check`` is asked of each patch before the model sees it, with the plan that it serves.
    """

    label: str
    model: Model
    provider: Provider
    sources: tuple[SourceInfo, ...]
    sensor: SensorSpec | None = None
    temporal: TemporalSpec | None = None
    check: Callable[[Patch, FetchPlan], Outcome[Patch]] | None = None


@dataclass(frozen=True)
class Settings:
    """How a run goes.

    ``workers`` bounds the fetches of each source besides its own bound; ``flush_every`` is after
    how many places every batch is run, full or not (None: at the end). ``ran`` is told how many
    windows are done.
    """

    output: OutputSpec
    input_prep: Any = "native"
    overlap: int = 0
    batch_size: int | None = None
    workers: int | None = None
    flush_every: int | None = None
    max_retries: int = 0
    retry_backoff_s: float = 0.0
    models: bool = True
    ran: Callable[[int], None] | None = None


def plan_lane(lane: Lane, spatial: SpatialSpec, settings: Settings) -> Outcome[RoiPlan]:
    """Which pixels one model needs at one place; asks no source."""
    return plan_roi(
        lane.model, spatial, lane.temporal, lane.sources, sensor=lane.sensor,
        input_prep=settings.input_prep, overlap=settings.overlap,
    ).bind(lambda planned: check_plan(planned, settings.output))  # fmt: skip
