"""Presto over pixels of twelve months of Sentinel-2, against its own matrix products alone.

A plain run of the tests is a smoke test on few pixels, which shows that the products are those that
the network makes. The figures, in pixels a minute::

    pytest tests/benchmarks/test_presto_speed.py --benchmark-enable -s

Ours runs from windows of raw pixels to 128 features a pixel, at float32. The other makes the
products of the weights, and of attention, with tensors of the same shapes that are ready. They run
in turns, and medians are compared.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from rs_embed.core.model import ModelChoice
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import presto
from rs_embed.embedders.runtime import encode, forward, load, prepare, unload_models
from rs_embed.parity import write_checkpoint

ROUNDS = 7
ALLOWED = 0.5  # of the rate of the products
YEAR = tuple((f"2022-{month:02d}-05", f"2022-{month:02d}-25") for month in range(1, 13))
TOKENS = 1 + 6 * len(YEAR)  # the place; five groups of bands and NDVI a month


def test_pixels_a_minute(request: pytest.FixtureRequest, tmp_path) -> None:
    measured = request.config.getoption("--benchmark-enable", default=False)
    path = write_checkpoint((presto.SPEC, "default"), tmp_path / "w.pt")
    model = unwrap_or_raise(find_model(ModelChoice("presto", weights=str(path))))
    loaded = unwrap_or_raise(load(model, "cpu"))
    count, side = (2, model.window_px) if measured else (1, 4)
    pixels = np.random.default_rng(0).uniform(
        200, 6000, (count, len(YEAR), len(model.bands), side, side)
    )
    windows = Windows(
        pixels.astype(np.float32), model.bands, (YEAR,) * count, np.zeros((count, 2)), 10.0
    )

    def ours() -> np.ndarray:
        return encode(loaded, prepare(model, windows), model).grid

    products = Products(loaded.network, count * side * side)
    assert ours().shape == (count, side, side, 128)
    _same_work(loaded.network, model, windows, products)
    if not measured:
        return
    times: dict[str, list[float]] = {"ours": [], "products": []}
    for _ in range(ROUNDS):
        for name, run in (("ours", ours), ("products", products)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    unload_models()
    rates = {
        name: 60 * count * side * side / statistics.median(taken) for name, taken in times.items()
    }
    share = rates["ours"] / rates["products"]
    shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    threads = torch.get_num_threads()
    print(f"\npixels a minute on {threads} threads: {shown}; {share:.2f}, at least {ALLOWED:g}")
    assert share >= ALLOWED


class Products:
    """The matrix products of the blocks, in the same portions of pixels."""

    def __init__(self, network: torch.nn.Module, pixels: int) -> None:
        self.network, self.pixels = network, pixels
        made = torch.Generator().manual_seed(0)
        at_once, heads = min(presto.AT_ONCE, pixels), network.blocks[0].attn.heads
        wide = network.norm.normalized_shape[0]
        self.x = torch.rand(at_once, TOKENS, wide, generator=made)
        self.hidden = torch.rand(at_once, TOKENS, 4 * wide, generator=made)
        self.query = torch.rand(at_once * heads, TOKENS, wide // heads, generator=made)
        self.scores = torch.rand(at_once * heads, TOKENS, TOKENS, generator=made)

    @torch.inference_mode()
    def __call__(self) -> None:
        for _ in range(0, self.pixels, presto.AT_ONCE):
            for block in self.network.blocks:
                for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1):
                    linear(self.x, layer.weight, layer.bias)
                linear(self.hidden, block.mlp.fc2.weight, block.mlp.fc2.bias)
                torch.bmm(self.query, self.query.transpose(1, 2))
                torch.bmm(self.scores, self.query)


def _same_work(network, model, windows: Windows, products: Products) -> None:
    """The products are those that the network makes, the first embedding and the code apart."""
    arrays = prepare(model, windows)
    with FlopCounterMode(display=False) as alone:
        products()
    # The counter knows attention as plain products only.
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.inference_mode(), plain, FlopCounterMode(display=False) as whole:
        forward(model.spec, network, arrays)
    assert alone.get_total_flops() <= whole.get_total_flops() <= 1.05 * alone.get_total_flops()
