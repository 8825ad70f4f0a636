"""256 fetches of 64 KiB under 8 threads at 50 ms latency, against the bare client's rate.

Canned answers from a server in its own process; both ways in turns. A plain run of the tests makes
16 fetches of each. The figure::

    pytest tests/benchmarks/test_gee_rate.py --benchmark-enable -s
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.benchmarks.gee_fetches import bare, canned, expression, ours

FETCHES, THREADS, LATENCY_S, ROUNDS = 256, 8, 0.05, 3
ALLOWED = 0.9


def test_rate_under_threads(request: pytest.FixtureRequest) -> None:
    measured = request.config.getoption("--benchmark-enable", default=False)
    count = FETCHES if measured else 16
    with canned() as server:
        ours(0)
        requests = [expression(i) for i in range(count)]
        server.set(latency=LATENCY_S)
        ratios = []
        for _ in range(ROUNDS if measured else 1):
            plain = _rate(bare, requests)
            own = _rate(ours, range(count))
            ratios.append(own / plain)
            print(f"bare {plain:.0f}/s, ours {own:.0f}/s, ratio {own / plain:.3f}")
        assert server.counters["200"] == server.counters["requests"]
    if measured:
        print(f"median ratio {statistics.median(ratios):.3f}, at least {ALLOWED:g}")
        assert statistics.median(ratios) >= ALLOWED


def _rate(fetch: Callable[[Any], object], items: Iterable[Any]) -> float:
    listed = list(items)
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        list(pool.map(fetch, listed))
        return len(listed) / (time.perf_counter() - began)
