"""A bad day: every tenth request fails in one of six transient ways.

A plain run of the tests makes 200 fetches. The whole soak of 2,000::

    pytest tests/benchmarks/test_gee_soak.py --benchmark-enable -s

Every fetch succeeds with the right pixels, no thread is left, and memory stays flat.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rs_embed.core.patch import Patch
from tests.benchmarks.gee_fetches import ours
from tests.earth_engine import connected, serve

FETCHES, FAULTS, THREADS, PLACES = 2000, 0.1, 8, 32
ALLOWED_GROWTH = 20_000_000  # bytes; the patches fetched meanwhile are 98 MB


def test_soak(request: pytest.FixtureRequest) -> None:
    measured = request.config.getoption("--benchmark-enable", default=False)
    count = FETCHES if measured else 200
    with serve() as server, connected(server, retries=5):
        # Every place has pixels of its own, known from a day without faults.
        expected = [patch.data for patch in _fetched(range(PLACES))]
        assert len({data.tobytes() for data in expected}) == PLACES
        threads = threading.active_count()
        server.reset()
        server.fail_randomly(FAULTS, seed=7)
        warm = count // 4  # until then the allocator and the thread pool still grow
        wrong, memory = 0, 0
        for i, patch in enumerate(_fetched(i % PLACES for i in range(count))):
            wrong += not np.array_equal(patch.data, expected[i % PLACES])
            memory = _resident_bytes() if i == warm else memory
        counters = server.counters
        grown = _resident_bytes() - memory
    failed = counters["requests"] - counters["200"]
    print(
        f"{count} fetches, {counters['requests']} requests, {failed} answered with an error or "
        f"not at all, {wrong} wrong, memory {grown / 1e6:+.1f} MB"
    )
    assert wrong == 0
    assert counters["requests"] - count >= 0.08 * count  # that many were asked for again
    assert threading.active_count() == threads
    assert grown <= ALLOWED_GROWTH


def _resident_bytes() -> int:
    """What the process holds in memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _fetched(numbers: Iterable[int]) -> Iterator[Patch]:
    """The patches of places under threads, in order; one that fails raises."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(ours, numbers)
