"""Many places, several models, one loop: fetched ahead, run in full batches, given as they finish.

Three stages overlap: threads fetch a sliding window of plans, the caller's thread runs the models
and takes the places in their order, and whoever consumes the results writes them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.fetch import FetchPlan
from rs_embed.core.patch import PatchReader, stack_readers
from rs_embed.core.plan import RoiPlan
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import SpatialSpec
from rs_embed.core.token_grid import TokenGrid
from rs_embed.embedders.runtime import LoadedModel
from rs_embed.pipeline.batches import Batcher
from rs_embed.pipeline.encoding import TiledInput, batch_size_of
from rs_embed.pipeline.export_plan import Need, Share, share_fetches, taken
from rs_embed.pipeline.fetching import Fetches, bytes_of
from rs_embed.pipeline.lanes import Lane, Settings, plan_lane
from rs_embed.pipeline.steps import tiled_input

# Bytes of pixels fetched ahead.
AHEAD_BYTES = 256_000_000
_PLANNED_AHEAD = 64


Asked = tuple[int, SpatialSpec, Sequence[int]]
"""Index of a place, the place, and the lanes that are wanted of it."""


@dataclass(frozen=True, eq=False)
class StreamResult:
    """One model at one place: the cells, or why there are none, and the pixels that were read.

    ``cells`` is None where only pixels were asked for. ``scenes`` is by fingerprint of the plan.
    """

    place: int
    lane: int
    plan: RoiPlan | None
    ready: TiledInput | None
    readers: tuple[PatchReader, ...]
    cells: Outcome[TokenGrid | None]
    scenes: Mapping[str, Any] = field(default_factory=dict)
    started: float = 0.0
    seconds: float = 0.0


@dataclass
class _Place:
    """A place on its way: its plans by lane, and the fetches that serve them."""

    index: int
    plans: dict[int, Outcome[RoiPlan]]
    needs: list[tuple[int, FetchPlan]] = field(default_factory=list)
    fetches: tuple[Need, ...] = ()
    shares: tuple[Share, ...] = ()
    futures: list[Future[Outcome[PatchReader]]] = field(default_factory=list)
    scenes: list[Future[Mapping[str, Any]]] = field(default_factory=list)
    started: float = 0.0


class Stream:
    """The loop. Iterate once; ``close`` (or leaving ``with``) drops what has not been fetched.

    Parameters
    ----------
    lanes : sequence of Lane
    load : callable
        ``load(lane) -> Outcome[LoadedModel]``, called once a lane, before its first window runs.
    settings : Settings
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        load: Callable[[Lane], Outcome[LoadedModel]],
        settings: Settings,
    ) -> None:
        self._lanes, self._load, self._settings = lanes, load, settings
        self._fetches = Fetches(lanes, settings)
        self._batchers: dict[int, Outcome[Batcher]] = {}
        self._open: dict[tuple[int, int], StreamResult] = {}
        self.loaded: dict[int, LoadedModel] = {}

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what has not begun; fetches in flight are left to end on their own."""
        self._fetches.close()

    def results(
        self, places: Iterable[tuple[int, SpatialSpec, Sequence[int]]]
    ) -> Iterator[StreamResult]:
        """One StreamResult a place and lane, as they finish.

        ``places`` gives (index, place, lanes wanted); it is read as far ahead as plans are made.
        """
        source = iter(places)
        planned: deque[_Place] = deque()
        flying: deque[_Place] = deque()
        since_flush = 0
        while True:
            self._fill(source, planned, flying)
            if not flying:
                break
            yield from self._run(flying.popleft())
            since_flush += 1
            if since_flush == self._settings.flush_every or self._open_bytes() > AHEAD_BYTES:
                since_flush = 0
                yield from self._flush()
        yield from self._flush()

    # Planning and fetching

    def _fill(
        self,
        source: Iterator[Asked],
        planned: deque[_Place],
        flying: deque[_Place],
    ) -> None:
        """Start fetches until enough are in flight; scenes are asked for a block at a time."""
        while True:
            if not planned:
                planned.extend(self._next_block(source))
            if not planned or (flying and not self._room(flying, planned[0])):
                return
            place = planned.popleft()
            place.started = time.time()
            place.futures = [self._fetches.fetch(need) for need in place.fetches]
            flying.append(place)

    def _room(self, flying: deque[_Place], coming: _Place) -> bool:
        """Whether one more place may be in flight: about 4 x workers plans, in bounded bytes."""
        held = sum(bytes_of(need.plan) for place in (*flying, coming) for need in place.fetches)
        fetches = sum(len(place.fetches) for place in flying)
        return fetches < 4 * self._fetches.workers and held <= AHEAD_BYTES

    def _next_block(self, source: Iterator[Asked]) -> list[_Place]:
        block = []
        for index, spatial, lanes in source:
            block.append(self._plan(index, spatial, lanes))
            if len(block) == _PLANNED_AHEAD:
                break
        # Asked before the pixels of the block.
        scenes = self._fetches.scenes(need for place in block for need in place.needs)
        for place in block:
            place.scenes += scenes
        return block

    def _plan(self, index: int, spatial: SpatialSpec, lanes: Sequence[int]) -> _Place:
        plans = {one: self._planned(one, spatial) for one in lanes}
        place = _Place(index, plans)
        for one, outcome in plans.items():
            if isinstance(outcome, Success):
                place.needs += [(one, fetch) for fetch in outcome.unwrap().fetch_plans]
        if len(place.needs) == 1:
            one, only = place.needs[0]
            place.fetches = (Need(id(self._lanes[one].provider), only),)
            shared = tuple(range(len(only.intervals)))
            place.shares = (Share(0, shared, tuple(range(len(only.bands)))),)
            return place
        asked = [Need(id(self._lanes[one].provider), fetch) for one, fetch in place.needs]
        shared_out = share_fetches(asked)
        if isinstance(shared_out, Failure):
            place.plans = dict.fromkeys(lanes, shared_out)
            place.needs = []
            return place
        place.fetches, place.shares = shared_out.unwrap()
        return place

    def _planned(self, lane: int, spatial: SpatialSpec) -> Outcome[RoiPlan]:
        """The plan of a lane; what can be planned has its model in memory before it is fetched."""
        planned = plan_lane(self._lanes[lane], spatial, self._settings)
        if isinstance(planned, Failure) or not self._settings.models:
            return planned
        return self._batcher(lane).bind(lambda _: planned)

    # Running

    def _run(self, place: _Place) -> Iterator[StreamResult]:
        opened = [future.result() for future in place.futures]
        place.futures = []
        for lane, outcome in place.plans.items():
            if isinstance(outcome, Failure):
                yield StreamResult(
                    place.index, lane, None, None, (), outcome, {}, place.started, 0.0
                )
                continue
            planned = outcome.unwrap()
            found = self._own(place, lane, opened)
            if isinstance(found, Failure):
                yield StreamResult(
                    place.index, lane, planned, None, (), found, {}, place.started, 0.0
                )
                continue
            yield from self._encode(place, lane, planned, found.unwrap())

    def _own(
        self, place: _Place, lane: int, opened: Sequence[Outcome[PatchReader]]
    ) -> Outcome[tuple[PatchReader, ...]]:
        """The pixels of one lane's own plans, out of those that were fetched."""
        check = self._lanes[lane].check

        def one(fetch: FetchPlan, share: Share) -> Outcome[PatchReader]:
            part = opened[share.index].map(lambda reader: taken(reader, fetch, share))
            if check is None:
                return part
            return part.bind(
                lambda reader: check(reader.patch(), fetch).map(
                    lambda patch: replace(patch.reader(), looks=reader.looks)
                )
            )

        return collect(
            one(fetch, share)
            for (owner, fetch), share in zip(place.needs, place.shares, strict=True)
            if owner == lane
        )

    def _encode(
        self, place: _Place, lane: int, planned: RoiPlan, readers: tuple[PatchReader, ...]
    ) -> Iterator[StreamResult]:
        scenes = {key: told for asked in place.scenes for key, told in asked.result().items()}
        told = {f.fingerprint: scenes.get(f.fingerprint) for f in planned.fetch_plans}
        opened = StreamResult(
            place.index, lane, planned, None, readers, Success(None), told, place.started
        )
        if not self._settings.models:
            yield replace(opened, seconds=time.time() - place.started)
            return
        ready = tiled_input(planned, stack_readers(readers))
        batcher = self._batcher(lane)
        both = ready.bind(lambda one: batcher.map(lambda run: (one, run)))
        if isinstance(both, Failure):
            yield replace(opened, cells=both)
            return
        tiled, run = both.unwrap()
        self._open[place.index, lane] = replace(opened, ready=tiled)
        for key, cells in run.add((place.index, lane), tiled):
            yield self._finished(key, cells)

    def _finished(self, key: tuple[int, int], cells: Outcome[TokenGrid]) -> StreamResult:
        opened = self._open.pop(key)
        return replace(opened, cells=cells, seconds=time.time() - opened.started)

    def _flush(self) -> Iterator[StreamResult]:
        for outcome in self._batchers.values():
            if isinstance(outcome, Success):
                for key, cells in outcome.unwrap().flush():
                    yield self._finished(key, cells)

    def _open_bytes(self) -> int:
        """Bytes of the pixels and cells of places whose last windows wait for a full batch."""
        return sum(_bytes_open(one.plan) for one in self._open.values() if one.plan is not None)

    def _batcher(self, lane: int) -> Outcome[Batcher]:
        if lane not in self._batchers:
            loaded = self._load(self._lanes[lane])
            if isinstance(loaded, Success):
                self.loaded[lane] = loaded.unwrap()
            size = self._settings.batch_size
            self._batchers[lane] = loaded.map(
                lambda one: Batcher(one, batch_size_of(one, size), self._settings.ran)
            )
        return self._batchers[lane]


def _bytes_open(planned: RoiPlan) -> int:
    rows, cols = planned.tiling.cells
    return 4 * rows * cols * planned.model.dim + sum(bytes_of(one) for one in planned.fetch_plans)
