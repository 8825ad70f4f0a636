"""A fresh process to its first embedding, against one that does no more than it must.

The bare process imports the same libraries, maps the file and runs the published algorithm. A plain
run of the tests is a smoke test: one pair on the smallest variant. The figures::

    pytest tests/benchmarks/test_start.py --benchmark-enable -s
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from rs_embed.embedders.families import prithvi
from rs_embed.parity import write_checkpoint

ROUNDS = 15
ALLOWED = 1.25
ROOT = Path(__file__).parents[2]

OURS = """
import sys
from rs_embed import ModelChoice, OutputSpec, PointBuffer, TemporalSpec, get_embedding

variant, weights, out = sys.argv[1:]
result = get_embedding(
    ModelChoice("prithvi", variant, options={"coords": "none"}, weights=weights),
    spatial=PointBuffer(121.5, 31.2, 3360),
    temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
    output=OutputSpec.grid(),
    backend="memory",
)
import numpy
numpy.save(out, result.data.values)
print(" ".join(name for name in LIBRARIES if name in sys.modules))
"""

BARE = """
import sys
import LOADED
import numpy
import torch
from tests.benchmarks.plain import published

variant, weights, out, heads, ready = sys.argv[1:]
state = torch.load(weights, weights_only=True)  # read, as ours is: a mapped file may change
with numpy.load(ready) as arrays, torch.inference_mode():
    image, positions = (torch.from_numpy(arrays[name]) for name in ("image", "positions"))
    tokens = published(state, int(heads), image, positions)[:, 1:]
side = round(tokens.shape[1] ** 0.5)
numpy.save(out, tokens.reshape(side, side, -1).permute(2, 0, 1).numpy())
"""

# What ours is allowed to import, so that the bare process imports it as well.
LIBRARIES = (
    "numpy", "xarray", "pandas", "pyproj", "rioxarray", "rasterio", "affine", "returns", "torch",
    "timm", "timm.models.vision_transformer", "huggingface_hub",
)  # fmt: skip


def test_fresh_process(request, tmp_path) -> None:
    measured = request.config.getoption("--benchmark-enable", default=False)
    variant = "300m_tl" if measured else "tiny_tl"
    weights = write_checkpoint((prithvi.SPEC, variant), tmp_path / "w.pt")
    _write_ready(tmp_path / "ready.npz", variant)
    heads = next(v for v in prithvi.SPEC.variants if v.name == variant).config["num_heads"]
    ours = [OURS.replace("LIBRARIES", repr(LIBRARIES)), variant, weights, tmp_path / "ours.npy"]
    loaded = _run(ours).stdout.split()
    script = BARE.replace("LOADED", ", ".join(loaded))
    bare = [script, variant, weights, tmp_path / "bare.npy", heads, tmp_path / "ready.npz"]
    _run(bare)
    found, wanted = np.load(tmp_path / "ours.npy"), np.load(tmp_path / "bare.npy")
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    if not measured:
        return
    benchmark = request.getfixturevalue("benchmark")
    times: list[float] = []

    def bare_first() -> None:
        start = time.perf_counter()
        _run(bare)
        times.append(time.perf_counter() - start)

    benchmark.pedantic(lambda: _run(ours), setup=bare_first, rounds=ROUNDS)
    median, other = benchmark.stats.stats.median, statistics.median(times)
    benchmark.extra_info.update(bare=other, ratio=median / other)
    print(f"\nfresh process, {variant}: {median:.2f} s, bare {other:.2f} s, {median / other:.3f}")
    assert median / other <= ALLOWED


def _run(script: list[object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", *map(str, script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def _write_ready(path: Path, variant: str) -> None:
    """The tensors of the place that ours embeds, as ``prepare`` makes them."""
    from rs_embed import ModelChoice, PointBuffer, TemporalSpec
    from rs_embed.core.result import unwrap_or_raise
    from rs_embed.embedders.catalog import find_model
    from rs_embed.pipeline import fetch, plan, tiled_input, windows
    from rs_embed.providers.memory import MemoryProvider

    choice = ModelChoice("prithvi", variant, options={"coords": "none"})
    model, provider = unwrap_or_raise(find_model(choice)), MemoryProvider()
    season = TemporalSpec.range("2022-06-01", "2022-09-01")
    planned = unwrap_or_raise(plan(model, PointBuffer(121.5, 31.2, 3360), season, provider))
    ready = unwrap_or_raise(
        fetch(planned, provider).bind(lambda patch: tiled_input(planned, patch))
    )
    image = prithvi.prepare(next(iter(windows(ready))), model)["image"]
    side = model.window_px // model.token_px
    np.savez(path, image=image, positions=prithvi.position_table(model.dim, 1, side, side, side))
