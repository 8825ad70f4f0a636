"""A patch in memory to its embedding, against networks that are given ready tensors.

A plain run of the tests is a smoke test: one round on the smallest variant, which also shows that
all three compute the same. The figures::

    pytest tests/benchmarks/test_embedding.py --benchmark-enable -s

Each round runs ours, the published algorithm and timm's own once, in turns; medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rs_embed import OutputSpec, PointBuffer, TemporalSpec
from rs_embed.core.model import ModelChoice
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import prithvi
from rs_embed.embedders.runtime import load, prepare, unload_models
from rs_embed.parity import write_checkpoint
from rs_embed.pipeline import (
    TiledInput,
    encode_inputs,
    fetch,
    plan,
    stack_windows,
    tiled_input,
    windows,
)
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.providers.memory import MemoryProvider
from tests.benchmarks.plain import published, timms_own

ROUNDS = 15
ALLOWED = 1.05


@dataclass(frozen=True)
class Contest:
    """The three, each a call without arguments that gives ``(B, h, w, D)``."""

    ours: Callable[[], np.ndarray]
    published: Callable[[], torch.Tensor]
    timm: Callable[[], torch.Tensor]


@pytest.fixture(params=["100m_tl", "300m_tl"], ids=["vit-b", "vit-l"])
def variant(request) -> str:
    measured = request.config.getoption("--benchmark-enable", default=False)
    return request.param if measured else "tiny_tl"


@pytest.mark.parametrize("batch", [1, 8])
def test_patch_to_embedding(request, tmp_path, variant, batch) -> None:
    contest = _contest(write_checkpoint((prithvi.SPEC, variant), tmp_path / "w.pt"), variant, batch)
    cells = contest.ours()
    for other in (contest.published(), contest.timm()):
        np.testing.assert_allclose(other.numpy(), cells, rtol=1e-3, atol=1e-4)
    if not request.config.getoption("--benchmark-enable", default=False):
        return
    benchmark = request.getfixturevalue("benchmark")
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    times = {(name, clock): [] for name in ("ours", "published", "timm") for clock in clocks}

    def timed(name: str) -> None:
        before = {clock: read() for clock, read in clocks.items()}
        getattr(contest, name)()
        for clock, read in clocks.items():
            times[name, clock].append(read() - before[clock])

    def others_first() -> None:
        timed("published")
        timed("timm")

    benchmark.pedantic(lambda: timed("ours"), setup=others_first, rounds=ROUNDS, warmup_rounds=1)
    unload_models()
    found = {key: statistics.median(values[1:]) for key, values in times.items()}
    ratios = {
        clock: found["ours", clock] / min(found["published", clock], found["timm", clock])
        for clock in clocks
    }
    benchmark.extra_info.update(ratios=ratios, threads=torch.get_num_threads())
    shown = ", ".join(f"{name} {clock} {value:.3f} s" for (name, clock), value in found.items())
    print(f"\n{variant} x {batch}: {shown}; ratios {ratios}")
    # On a machine that others use, wall time says more of them: see the processor's.
    assert ratios["wall"] <= ALLOWED


def _contest(path, variant: str, batch: int) -> Contest:
    choice = ModelChoice(prithvi.SPEC.id, variant, options={"coords": "none"}, weights=str(path))
    model = unwrap_or_raise(find_model(choice))
    loaded = unwrap_or_raise(load(model, "cpu"))
    jobs = [_job(model, 31.0 + 0.1 * i) for i in range(batch)]

    def ours() -> np.ndarray:
        fields = encode_inputs(loaded, jobs, batch_size=batch)
        results = [
            unwrap_or_raise(assemble_embedding(one.plan, field, OutputSpec.grid(), {}))
            for one, field in zip(jobs, fields, strict=True)
        ]
        return np.stack([result.data.values for result in results]).transpose(0, 2, 3, 1)

    state = torch.load(path, mmap=True, weights_only=True)
    ready = prepare(model, stack_windows([window for one in jobs for window in windows(one)]))
    image = torch.from_numpy(np.ascontiguousarray(ready["image"]))
    side, config = model.window_px // model.token_px, model.variant.config
    table = prithvi.position_table(model.dim, 1, side, side, side)
    positions = torch.from_numpy(table).clone()
    network = timms_own(state, config["num_heads"], config["depth"], positions)

    def cells(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(batch, side, side, -1)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        return cells(published(state, config["num_heads"], image, positions))

    @torch.inference_mode()
    def timm() -> torch.Tensor:
        return cells(network(image[:, :, 0]))

    return Contest(ours, plain, timm)


def _job(model, lat: float) -> TiledInput:
    provider = MemoryProvider()
    place = PointBuffer(121.5, lat, model.window_px * model.scale_m / 2)
    season = TemporalSpec.range("2022-06-01", "2022-09-01")
    planned = unwrap_or_raise(plan(model, place, season, provider))
    return unwrap_or_raise(fetch(planned, provider).bind(lambda patch: tiled_input(planned, patch)))
