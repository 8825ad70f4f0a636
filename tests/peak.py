"""Embed a whole Sentinel-2 tile that is never held whole, and tell the memory it took.

``python -m tests.peak SIDE`` prints JSON: bytes of the array, peak resident memory before and
after, chunks there are and chunks computed, and what check and tiles computed.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time

import dask
import dask.array as da
import numpy as np
import xarray as xr

import rs_embed
from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

CHUNK = 1024
BANDS = ("B2", "B3", "B4", "B8", "B11", "B12")
COMPUTED: list[tuple[int, ...]] = []
LOCK = threading.Lock()

MEANS = ModelSpec(
    id="peak_means",
    title="Means",
    summary="Band means of a token.",
    modalities={"s2": (InputSpec("s2", BANDS, "reflectance"),)},
    variants=(Variant("six", len(BANDS)),),
    default_variant="six",
    scale_m=10,
    window_px=256,
    token_px=16,
    prepare="tests.peak:prepare",
    encode="tests.peak:encode",
    device=False,
    options=(Option("window_px", int, 256, "pixels a side of a window", sets="window_px"),),
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The pixels as they are."""
    return {"pixels": windows.pixels[:, 0]}


def encode(network: None, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """``(B, h, w, 6)`` means."""
    pixels = arrays["pixels"]
    batch, bands, height, width = pixels.shape
    p = model.token_px
    blocks = pixels.reshape(batch, bands, height // p, p, width // p, p)
    return Tokens(blocks.mean(axis=(3, 5)).transpose(0, 2, 3, 1))


def block(block_info=None) -> np.ndarray:
    """One chunk: its band and place, and a note that it was computed."""
    info = block_info[None]
    with LOCK:
        COMPUTED.append(tuple(info["chunk-location"]))
    (band, _), (top, _), (left, _) = info["array-location"]
    shape = info["chunk-shape"]
    rows = np.arange(top, top + shape[1], dtype=np.uint16)[:, None]
    cols = np.arange(left, left + shape[2], dtype=np.uint16)[None, :]
    return ((rows // 16 + cols // 16 + 100 * band)[None]).astype(np.uint16)


def tile(side: int) -> xr.DataArray:
    """The lazy array."""
    edges = tuple(min(CHUNK, side - i) for i in range(0, side, CHUNK))
    data = da.map_blocks(block, chunks=((1,) * len(BANDS), edges, edges), dtype=np.uint16)
    coords = {
        "band": list(BANDS),
        "y": 5_000_000 - 10 * (np.arange(side) + 0.5),
        "x": 500_000 + 10 * (np.arange(side) + 0.5),
    }
    attrs = {"units": "reflectance_x10000", "crs": "EPSG:32631"}
    return xr.DataArray(data, dims=("band", "y", "x"), coords=coords, attrs=attrs)


def main(side: int) -> None:
    rs_embed.register_model(MEANS)
    small = tile(64)
    small.rsembed.embed("peak_means")  # everything imported
    COMPUTED.clear()
    array = tile(side)
    assert array.rsembed.check("peak_means").ok
    array.rsembed.tiles("peak_means")
    looked = len(COMPUTED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        found = array.rsembed.embed("peak_means")
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cells = np.arange(found.sizes["y"])[:, None] + np.arange(found.sizes["x"])[None, :]
    wanted = (cells[None] + 100 * np.arange(len(BANDS))[:, None, None]) / 1e4
    inside = side // 16  # the last cell may hold fewer pixels than a token has
    error = np.abs(found.values - wanted)[:, :inside, :inside].max()
    print(
        json.dumps(
            {
                "array_bytes": int(array.nbytes),
                "output_bytes": int(found.nbytes),
                "before": before,
                "after": after,
                "grown": after - before,
                "chunks": int(np.prod(array.data.numblocks)),
                "computed": len(COMPUTED),
                "twice": len(COMPUTED) - len(set(COMPUTED)),
                "looked": looked,
                "error": float(error),
                "shape": list(found.shape),
                "seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    # The module that the model names is another one than __main__.
    from tests.peak import main as run

    run(int(sys.argv[1]))
