"""What `get_embedding` itself takes: the memory provider and a model that computes nothing.

A plain run of the tests is a smoke test: it shows that both outputs come out. The figures::

    pytest tests/benchmarks/test_own_time.py --benchmark-enable -s

Each place is new, so that nothing is taken from an earlier call; pooled and grid run in turns.
"""

from __future__ import annotations

import statistics
import time

import pytest

from rs_embed import OutputSpec, PointBuffer, TemporalSpec, get_embedding
from tests.places import registered
from tests.toys import toy

ROUNDS = 200
ALLOWED_MS = {"pooled": 1.0, "grid": 3.0}
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
OUTPUTS = {"pooled": OutputSpec.pooled(), "grid": OutputSpec.grid()}
TRIVIAL = toy(
    "trivial", prepare="tests.toys:trivial_prepare", encode="tests.toys:trivial_encode"
)  # fmt: skip


def embed(name: str, i: int):
    return get_embedding(
        "trivial",
        spatial=PointBuffer(5.0 + i * 1e-4, 52.0, 160),
        temporal=SUMMER,
        output=OUTPUTS[name],
        backend="memory",
    )


def test_own_time(request: pytest.FixtureRequest) -> None:
    with registered(TRIVIAL):
        _measure(request)


def _measure(request: pytest.FixtureRequest) -> None:
    assert embed("pooled", 0).data.shape == (10,)
    assert embed("grid", 0).data.shape == (10, 4, 4)
    if not request.config.getoption("--benchmark-enable", default=False):
        return
    times: dict[str, list[float]] = {"pooled": [], "grid": []}
    for i in range(ROUNDS):
        for name, taken in times.items():
            start = time.perf_counter()
            embed(name, i)
            taken.append((time.perf_counter() - start) * 1e3)
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name}: {median:.2f} ms, at most {ALLOWED_MS[name]:g}")
        assert median <= ALLOWED_MS[name]
