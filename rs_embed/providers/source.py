"""What every source of pixels does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch, PatchReader
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.collections import find_collection

Scenes = dict[str, Any] | None
"""The scenes behind a plan, ``{"ids": [...], "dates": [...]}``; None where not told."""


class Provider(ABC):
    """A source of pixels.

    ``describe`` and ``fetch`` are its own; all else has an answer that holds for every source, and
    is there to be given a better one.
    """

    name: str
    """What ``meta["backend"]`` says."""
    workers: int
    """How many fetches may run at once."""

    @abstractmethod
    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the source gives for one input of a model, said without fetching a pixel.

        Fails with ModelError or SpecError where it cannot serve the input.
        """

    @abstractmethod
    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The pixels of a plan on exactly its grid, NaN where one is missing.

        An error says with ``transient`` whether the same fetch may succeed later.
        """

    def open(self, plan: FetchPlan) -> Outcome[PatchReader]:
        """The pixels of a plan, to be read window by window; here all are fetched, then cut."""
        return self.fetch(plan).map(Patch.reader)

    def check_available(self) -> Outcome[None]:
        """Whether the source can be asked; to know before weights are loaded."""
        return Success(None)

    def scenes(self, plans: Sequence[FetchPlan]) -> Outcome[list[Scenes]]:
        """The scenes behind each plan, ``{"ids": [...], "dates": [...]}``; None where not told."""
        return Success([None] * len(plans))

    def describe_sensor(self, sensor: SensorSpec) -> Outcome[SourceInfo]:
        """What the source gives for the caller's own bands, whatever model is to see them.

        Fails with SpecError where neither the sensor nor the table of collections tells the units.
        """
        row = find_collection(sensor.collection)
        units = sensor.units
        if units is None and row is not None and sensor.bands[0] in row.names:
            units = row.pick(sensor.bands[:1])[0].units
        if units is None:
            return Failure(
                SpecError("the units of these pixels are not known; pass SensorSpec(units=…)")
            )
        return self.describe(InputSpec("patch", sensor.bands, units, sensor.collection), sensor)

    def read(self, plan: FetchPlan) -> Outcome[Patch]:
        """`fetch` of a part of a region, where a place without scenes is one of missing pixels."""
        return self.fetch(plan)

    def explain_empty(self, plan: FetchPlan) -> Outcome[None]:
        """Failure(ProviderError) that says why a plan has no scene; nothing where it has one."""
        return Success(None)


def list_scenes(provider: Provider, plans: Sequence[FetchPlan]) -> list[Scenes]:
    """The scenes behind each plan, as `Provider.scenes` lists them.

    Where a source that lists scenes fails to, the entry says why: pixels at hand are worth more
    than their provenance.
    """
    found = provider.scenes(plans)
    if isinstance(found, Failure):
        return [{"ids": None, "dates": None, "error": str(found.failure())} for _ in plans]
    return found.unwrap()
