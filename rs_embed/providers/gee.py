"""Earth Engine as a source of pixels: a plan in, a patch on exactly its grid out.

One request brings a whole plan where Earth Engine's limits allow, the frames of a series side by
side as bands; else windows of the same lattice are fetched and put together. `gee_graph` says what
is computed there, `gee_pixels` how a plan is cut up, `gee_session` how it is asked for and
`gee_errors` what a refusal means.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import units as unit_names
from rs_embed.core.errors import ModelError, ProviderError, SpecError
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan, SourceInfo
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import SensorSpec
from rs_embed.providers import gee_graph
from rs_embed.providers.collection_checks import check_frames, check_sensor_fits, side_sensor
from rs_embed.providers.collections import (
    COLLECTIONS,
    Collection,
    find_collection,
    own_bands,
    own_row,
    serve_bands,
)
from rs_embed.providers.gee_graph import Query
from rs_embed.providers.gee_pixels import read
from rs_embed.providers.gee_session import (
    MAX_IN_FLIGHT,
    Settings,
    asset_facts,
    compute_value,
    connect,
)
from rs_embed.providers.source import Provider, Scenes

_SCENES_AT_ONCE = 50


@dataclass(frozen=True)
class GeeProvider(Provider):
    """Pixels from Earth Engine.

    A client that is already initialised is used as it is; else it is initialised from the
    client's own defaults and standard variables, or from these parameters.

    Parameters
    ----------
    project, url, credentials
        As for ``ee.Initialize``.
    request_s, deadline_s, start_s, tries, pause_s
        See `rs_embed.providers.gee_session.Settings`.
    name : str
        Told in ``meta``.
    workers : int
        Fetches at once; at most ten, the connections of the client's session.
    """

    project: str | None = None
    url: str | None = None
    credentials: Any = "persistent"
    request_s: float = 120.0
    deadline_s: float = 600.0
    start_s: float = 20.0
    tries: int = 6
    pause_s: float = 0.5
    name: str = "gee"
    workers: int = 8
    _kinds: dict[str, Mapping[str, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_IN_FLIGHT:
            raise SpecError(f"workers must be 1..{MAX_IN_FLIGHT}, not {self.workers!r}")
        if self.tries < 1 or min(self.request_s, self.deadline_s, self.start_s) <= 0:
            raise SpecError("tries must be at least 1, and every wait more than 0 s")

    @property
    def settings(self) -> Settings:
        """How to connect, and how long to wait."""
        return Settings(
            self.project, self.url, self.credentials, self.start_s, self.request_s,
            self.deadline_s, self.tries, self.pause_s,
        )  # fmt: skip

    def check_available(self) -> Outcome[None]:
        """Whether Earth Engine can be asked; to know before weights are loaded."""
        return connect(self.settings)

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What Earth Engine gives for one input; asks it only of a collection it has to look up.

        Fails with ModelError where no collection, or not the caller's, can serve the input, with
        SpecError where the sensor asks what the collection cannot do.
        """
        if sensor is not None and not _another_layer(item, sensor):
            return self._row_of(sensor).bind(lambda row: _from_sensor(row, item, sensor))
        row = None if item.collection is None else find_collection(item.collection)
        if row is None:
            known = "; choose another backend"
            if item.collection is not None:
                known = f": {item.collection} is not in rs_embed.providers.collections.COLLECTIONS"
            return Failure(ModelError(f"backend 'gee' cannot serve the input {item.name!r}{known}"))
        found = row
        named = (
            own_bands(found, item.collection_bands)
            if item.collection_bands
            else serve_bands(found, item.bands)
        )
        return named.bind(lambda bands: _source(found, found.id, bands, item))

    def describe_sensor(self, sensor: SensorSpec) -> Outcome[SourceInfo]:
        """What Earth Engine gives for the caller's own bands, whatever model is to see them."""
        return self._row_of(sensor).bind(
            lambda row: own_bands(row, sensor.bands).bind(
                lambda bands: check_sensor_fits(row, replace(sensor, bands=bands)).map(
                    lambda _: _source_of(row, sensor.collection, bands)
                )
            )
        )

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The pixels of a plan; NaN where Earth Engine has none.

        Fails with ProviderError where no scene is left, naming the filter that took the last one,
        and where Earth Engine does not deliver.
        """
        return self.read(plan).bind(
            lambda patch: (
                Success(patch)
                if np.isfinite(patch.data).any()
                else self.explain_empty(plan).map(lambda _: patch)
            )
        )

    def read(self, plan: FetchPlan) -> Outcome[Patch]:
        """`fetch` that takes a place without scenes for one without valid pixels."""
        return self._query(plan).bind(
            lambda query: self.check_available().bind(lambda _: read(query, plan, self.settings))
        )

    def scenes(self, plans: Sequence[FetchPlan]) -> Outcome[list[Scenes]]:
        """The scenes that each plan's composites are made of, many plans in one request.

        For each plan ``{"ids": [...], "dates": [...]}``, dates as ``YYYY-MM-DD``; no dates where
        scenes have none.
        """
        parts = [plans[i : i + _SCENES_AT_ONCE] for i in range(0, len(plans), _SCENES_AT_ONCE)]
        return (
            self.check_available()
            .bind(lambda _: collect(self._scenes(part) for part in parts))
            .map(lambda lists: [scene for part in lists for scene in part])
        )

    def explain_empty(self, plan: FetchPlan) -> Outcome[None]:
        """Failure(ProviderError) naming the filter that left a plan no scene; else nothing."""

        def judged(left: Mapping[str, int]) -> Outcome[None]:
            problem = _emptied(plan, left)
            return Success(None) if problem is None else Failure(ProviderError(problem))

        return self.count_scenes(plan).bind(judged)

    def count_scenes(self, plan: FetchPlan) -> Outcome[dict[str, int]]:
        """How many scenes each filter leaves: place, conditions, dates, clouds."""
        return (
            self._query(plan)
            .bind(lambda query: compute_value(gee_graph.counts(query), self.settings))
            .map(lambda found: dict(zip(("place", "kind", "dates", "clouds"), found, strict=True)))
        )

    def _scenes(self, plans: Sequence[FetchPlan]) -> Outcome[list[Scenes]]:
        return (
            collect(self._query(plan) for plan in plans)
            .bind(lambda queries: compute_value(gee_graph.scene_lists(queries), self.settings))
            .map(lambda lists: [_scene_facts(*one) for one in lists])
        )

    def _row_of(self, sensor: SensorSpec) -> Outcome[Collection]:
        """The row of the caller's collection; of an unknown one what the sensor says of it."""
        row = find_collection(sensor.collection)
        if row is not None:
            return Success(row)
        units = sensor.units
        if units is None:
            return Failure(
                SpecError(
                    f"the units of {sensor.collection} are not known; pass "
                    f"SensorSpec(..., units=...), one of {', '.join(unit_names.MEANINGS)}. "
                    f"Known collections: {', '.join(COLLECTIONS)}"
                )
            )
        return self._facts(sensor.collection).map(
            lambda facts: own_row(
                sensor.collection, sensor.bands, (units,) * len(sensor.bands),
                static=facts.get("type") == "IMAGE" and "startTime" not in facts,
            )
        )  # fmt: skip

    def _facts(self, asset: str) -> Outcome[Mapping[str, Any]]:
        """What Earth Engine says of an asset outside the table, asked once."""
        with self._lock:
            if asset in self._kinds:
                return Success(self._kinds[asset])
        found = self.check_available().bind(lambda _: asset_facts(asset, self.settings))
        if isinstance(found, Success):
            with self._lock:
                self._kinds[asset] = found.unwrap()
        return found

    def _query(self, plan: FetchPlan) -> Outcome[Query]:
        """The plan in terms of its collection. Fails with SpecError for dates it cannot honour."""
        row = find_collection(plan.collection)
        if row is not None:
            return check_frames(row, plan.intervals).map(
                lambda _: _query_of(row, plan, row.id != plan.collection)
            )
        own = own_row(plan.collection, plan.bands, plan.units, static=not plan.intervals)
        return self._facts(plan.collection).map(
            lambda facts: _query_of(own, plan, facts.get("type") == "IMAGE")
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Locks and what was looked up stay behind; other processes look it up again.
        values = [getattr(self, f.name) for f in fields(self) if f.init]
        return (GeeProvider, tuple(values))


EARTH_ENGINE = GeeProvider()
"""Backend "gee": the client as it stands, or as its own defaults and variables make it."""


def _another_layer(item: InputSpec, sensor: SensorSpec) -> bool:
    """Whether an input is a side layer that the caller's sensor does not speak of."""
    row = find_collection(sensor.collection)
    if row is not None and item.collection is not None and row.id == item.collection:
        return False
    return item.static or item.optional


def _from_sensor(row: Collection, item: InputSpec, sensor: SensorSpec) -> Outcome[SourceInfo]:
    def chosen(offered: tuple[str, ...]) -> Outcome[tuple[str, ...]]:
        own = item.collection_bands if row.id == item.collection else ()
        if own and set(own) <= set(offered):
            return Success(own)
        # What the collection lacks altogether is told before what the sensor leaves out.
        return serve_bands(row, item.bands).bind(lambda _: serve_bands(row, item.bands, offered))

    return (
        own_bands(row, sensor.bands)
        .bind(chosen)
        .bind(
            lambda bands: check_sensor_fits(row, replace(sensor, bands=bands)).bind(
                lambda _: _source(row, sensor.collection, bands, item)
            )
        )
    )


def _source(
    row: Collection, asset: str, bands: tuple[str, ...], item: InputSpec
) -> Outcome[SourceInfo]:
    source = _source_of(row, asset, bands)
    checked = unit_names.check_convertible(bands, source.units, (item.units,) * len(bands))
    return checked.alt(
        lambda error: caused(ModelError(f"{row.id} cannot serve {item.name!r}: {error}"), by=error)
    ).map(lambda _: source)


def _source_of(row: Collection, asset: str, bands: tuple[str, ...]) -> SourceInfo:
    units = tuple(band.units for band in row.pick(bands))
    return SourceInfo(asset, bands, units, dated=row.time != "static")


def _query_of(row: Collection, plan: FetchPlan, is_image: bool) -> Query:
    return Query(
        row, plan.collection, is_image, row.pick(plan.bands), plan.intervals,
        side_sensor(row, plan.sensor, plan.bands),
        plan.grid.hull(), gee_graph.utm_zone_name(plan.grid.crs),
    )  # fmt: skip


def _emptied(plan: FetchPlan, left: Mapping[str, int]) -> str | None:
    """Which filter took the last scene, in words; None where scenes are left."""
    what, sensor = plan.collection, plan.sensor
    if not left["place"]:
        return (
            f"{what} has no scene at this place, whatever the date (filter: bounds); check "
            "longitude and latitude, or choose another collection"
        )
    if not left["kind"]:
        row = find_collection(what)
        own = [f"{c.property} {c.test} {c.value}" for c in row.conditions] if row else []
        asked = [f"bands {', '.join(plan.bands)}", *own]
        asked += [f"orbit {sensor.orbit}"] if sensor.orbit else []
        return (
            f"none of the {left['place']} scenes of {what} at this place has what is asked for "
            f"(filter: {'; '.join(asked)}); choose other bands, or another collection"
        )
    if not left["dates"]:
        return (
            f"{what} has no scene here from {plan.intervals[0][0]} to {plan.intervals[-1][1]} "
            f"(filter: dates; {left['kind']} at other times); widen the temporal"
        )
    if not left["clouds"]:
        return (
            f"all {left['dates']} scenes of {what} here in these dates are cloudier than "
            f"{sensor.cloudy_pct} % (filter: clouds); raise SensorSpec.cloudy_pct, or widen the "
            "temporal"
        )
    return None


def _scene_facts(indices: Sequence[str], times: Sequence[float]) -> dict[str, Any]:
    days = np.asarray(times, dtype="datetime64[ms]").astype("datetime64[D]").astype(str)
    return {"ids": [str(index) for index in indices], "dates": [str(day) for day in days]}
