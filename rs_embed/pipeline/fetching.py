"""The fetches of a run: on the threads of each source, each plan once while it is at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from returns.result import Success

from rs_embed.core.fetch import FetchPlan
from rs_embed.core.patch import PatchReader
from rs_embed.core.result import Outcome
from rs_embed.pipeline.export_plan import Need
from rs_embed.pipeline.lanes import Lane, Settings
from rs_embed.pipeline.threads import Workers
from rs_embed.providers.base import Provider, list_scenes

# Bytes of the pixels kept for places that see the same ones.
KEPT_BYTES = 16_000_000


class Fetches:
    """What the sources of a run are asked for.

    Parameters
    ----------
    lanes : sequence of Lane
    settings : Settings
        Its ``workers``, ``max_retries`` and ``retry_backoff_s``.
    """

    def __init__(self, lanes: Sequence[Lane], settings: Settings) -> None:
        self._lanes, self._settings = lanes, settings
        self._pools: dict[int, Workers] = {}
        self._kept: OrderedDict[tuple[int, str], tuple[Future[Outcome[PatchReader]], int]]
        self._kept = OrderedDict()
        self._held = 0

    def close(self) -> None:
        """Drop what has not begun; fetches in flight are left to end on their own."""
        for pool in self._pools.values():
            pool.stop()
        self._kept.clear()

    @property
    def workers(self) -> int:
        """How many fetches may run at once, of all sources together."""
        providers = {id(lane.provider): lane.provider for lane in self._lanes}
        return sum(self._workers(one) for one in providers.values())

    def fetch(self, need: Need) -> Future[Outcome[PatchReader]]:
        """The fetch of a plan: one that is in flight or still at hand, else a new one."""
        key = (need.source, need.plan.fingerprint)
        if key not in self._kept:
            provider = self._provider(need.source)
            pool = self._pool(provider)
            future = pool.submit(
                lambda: retrying(
                    lambda: provider.open(need.plan),
                    self._settings.max_retries,
                    self._settings.retry_backoff_s,
                    pool.stopped.wait,
                )
            )
            self._kept[key] = future, bytes_of(need.plan)
            self._held += bytes_of(need.plan)
            self._forget_oldest()
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _forget_oldest(self) -> None:
        """Let go of the oldest patches at hand; places in flight hold their own."""
        while self._held > KEPT_BYTES and len(self._kept) > 1:
            _, (_, size) = self._kept.popitem(last=False)
            self._held -= size

    def scenes(self, needs: Iterable[tuple[int, FetchPlan]]) -> list[Future[Mapping[str, Any]]]:
        """Ask each source that lists scenes for those of many plans, given with their lanes.

        One future a source, of the scenes by fingerprint of the plan.
        """
        by_source: dict[int, dict[str, FetchPlan]] = {}
        for lane, fetch in needs:
            provider = self._lanes[lane].provider
            by_source.setdefault(id(provider), {})[fetch.fingerprint] = fetch
        asked = []
        for key, plans in by_source.items():
            provider = self._provider(key)
            asked.append(self._pool(provider).submit(lambda p=provider, f=plans: _scenes(p, f)))  # type: ignore[misc]
        return asked

    def _workers(self, provider: Provider) -> int:
        own = max(1, provider.workers)
        return min(own, self._settings.workers or own)

    def _pool(self, provider: Provider) -> Workers:
        key = id(provider)
        if key not in self._pools:
            # A source that takes one request at a time is asked by the caller's own thread.
            alone = max(1, provider.workers) == 1
            self._pools[key] = Workers(0 if alone else self._workers(provider), "fetch")
        return self._pools[key]

    def _provider(self, key: int) -> Provider:
        return next(lane.provider for lane in self._lanes if id(lane.provider) == key)


def retrying(
    call: Callable[[], Outcome[Any]],
    retries: int,
    backoff_s: float,
    wait: Callable[[float], bool],
) -> Outcome[Any]:
    """The outcome of a call, called again while it fails for now; ``wait`` is True once stopped."""
    outcome = call()
    for _ in range(retries):
        if isinstance(outcome, Success) or not outcome.failure().transient:
            return outcome
        if wait(backoff_s):
            return outcome
        outcome = call()
    return outcome


def _scenes(provider: Provider, plans: Mapping[str, FetchPlan]) -> Mapping[str, Any]:
    return dict(zip(plans, list_scenes(provider, list(plans.values())), strict=True))


def bytes_of(plan: FetchPlan) -> int:
    """Bytes of the pixels of a plan, float32."""
    height, width = plan.grid.shape
    return 4 * len(plan.bands) * max(1, len(plan.intervals)) * height * width
