"""Many places against a source that takes 50 ms a request, as shares of what that alone takes.

A plain run of the tests is a smoke test on few places. The figures::

    pytest tests/benchmarks/test_export_speed.py --benchmark-enable -s

The ideal is requests / workers x latency; own time is the CPU time a place, beside that of
``np.savez`` of the same arrays in the same run.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from rs_embed import PointBuffer, TemporalSpec, export_batch, get_embeddings_batch
from rs_embed.core.model import InputSpec
from rs_embed.providers import base
from rs_embed.providers.memory import MemoryProvider
from rs_embed.providers.source import Provider
from tests.places import registered
from tests.toys import toy

LATENCY_S, WORKERS = 0.05, 8
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
YEAR = TemporalSpec.year(2022)
MODELS = [
    toy(
        name, window_px=64, prepare="tests.toys:trivial_prepare",
        encode="tests.toys:trivial_encode",
        modalities={"s2": (InputSpec("s2", BANDS, "reflectance", "TOY/S2"),)},
    )
    for name in ("trivial", "second")
]  # fmt: skip


class Distant(Provider):
    name = "distant"
    workers = WORKERS

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.requests = 0

    def describe(self, item, sensor):
        return MemoryProvider().describe(item, sensor)

    def fetch(self, plan):
        self.requests += 1
        time.sleep(self.latency_s)
        return MemoryProvider().fetch(plan)


@pytest.fixture
def full(request) -> bool:
    return bool(request.config.getoption("--benchmark-enable", default=False))


@pytest.fixture
def distant(monkeypatch, full):
    provider = Distant(LATENCY_S if full else 0)
    monkeypatch.setattr(base, "_FACTORIES", {"distant": lambda source: provider})
    with registered(*MODELS):
        get_embeddings_batch("trivial", spatials=places(1), temporal=YEAR, backend="distant")
        provider.requests = 0  # what is imported and built once is there by now
        yield provider


def places(count: int) -> list[PointBuffer]:
    return [PointBuffer(5 + 0.01 * i, 50, 320) for i in range(count)]


def export(tmp_path, count: int, layout: str, models, **keywords) -> None:
    where = {"out_dir": str(tmp_path / "out")} if layout == "folder" else {
        "out_path": str(tmp_path / "all.npz")
    }  # fmt: skip
    export_batch(
        spatials=places(count), temporal=YEAR, models=models, backend="distant",
        show_progress=False, **where, **keywords,
    )  # fmt: skip


def timed(run) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_places_of_two_models(tmp_path, distant, full, layout):
    count = 64 if full else 4
    wall, _ = timed(lambda: export(tmp_path, count, layout, ["trivial", "second"]))
    assert distant.requests == count
    if full:
        ideal = count / WORKERS * LATENCY_S
        print(f"{layout}: {wall:.2f} s, {wall / ideal:.2f} x ideal, at most 1.35")
        assert wall <= 1.35 * ideal


@pytest.mark.parametrize("inputs", [True, False])
def test_own_time_of_a_place(tmp_path, distant, full, inputs):
    distant.latency_s = 0
    count = 500 if full else 4
    _, cpu = timed(lambda: export(tmp_path, count, "folder", ["trivial"], save_inputs=inputs))
    if not full:
        return
    arrays = {"embedding": np.zeros(10, np.float32)}
    if inputs:
        arrays["input"] = np.zeros((12, 64, 64), np.float32)

    def savez() -> None:
        for i in range(count):
            np.savez(tmp_path / f"plain{i}.npz", **arrays)

    _, plain = timed(savez)
    print(
        f"inputs {inputs}: {cpu / count * 1e3:.2f} ms of CPU a place, "
        f"np.savez alone {plain / count * 1e3:.2f} ms"
    )


def test_vectors_of_one_model(distant, full):
    count = 64 if full else 4
    found: list = []
    wall, _ = timed(
        lambda: found.extend(
            get_embeddings_batch(
                "trivial", spatials=places(count), temporal=YEAR, backend="distant"
            )
        )
    )
    assert len(found) == count
    if full:
        ideal = count / WORKERS * LATENCY_S
        print(f"get_embeddings_batch: {wall:.2f} s, {wall / ideal:.2f} x ideal, at most 1.10")
        assert wall <= 1.10 * ideal


def test_resume_of_finished_places(tmp_path, distant, full):
    distant.latency_s = 0
    count = 500 if full else 4
    export(tmp_path, count, "folder", ["trivial"], save_inputs=False)
    before = distant.requests
    _, cpu = timed(
        lambda: export(tmp_path, count, "folder", ["trivial"], save_inputs=False, resume=True)
    )
    assert distant.requests == before
    if full:
        print(f"resume: {cpu / count * 1e3:.2f} ms of CPU a finished place")
