"""Embed many dates of an array, and tell the memory that putting them together took.

``python -m tests.series_peak`` prints JSON: bytes of the result, and by how much the peak of
resident memory rose above what the dates' own cells take.
"""

from __future__ import annotations

import json
import resource

import numpy as np
import xarray as xr

import rs_embed
from rs_embed.core.model import InputSpec, Model, ModelSpec, Variant
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

DIM, SIDE, DATES = 512, 144, 12

WIDE = ModelSpec(
    id="wide",
    title="Wide",
    summary="A pixel, many times over.",
    modalities={"s2": (InputSpec("s2", ("B4",), "reflectance"),)},
    variants=(Variant("wide", DIM),),
    default_variant="wide",
    scale_m=10,
    window_px=144,
    token_px=1,
    prepare="tests.series_peak:prepare",
    encode="tests.series_peak:encode",
    device=False,
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The pixels as they are."""
    return {"pixels": windows.pixels[:, 0, 0]}


def encode(network: None, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """``(B, h, w, DIM)``: each pixel times 1, 2, ..."""
    return Tokens(arrays["pixels"][..., None] * np.arange(1, DIM + 1, dtype=np.float32))


def series(dates: int) -> xr.DataArray:
    """Pixels a little brighter at each of the dates."""
    values = np.full((dates, 1, SIDE, SIDE), 0.1, dtype=np.float32)
    values += 0.3 * np.arange(dates, dtype=np.float32)[:, None, None, None] / dates
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2022-01-01", "ns") + np.arange(dates) * np.timedelta64(5, "D"),
            "band": ["B4"],
            "y": 5_000_000 - 10 * (np.arange(SIDE) + 0.5),
            "x": 500_000 + 10 * (np.arange(SIDE) + 0.5),
        },
        attrs={"units": "reflectance", "crs": "EPSG:32631"},
    )


def peak() -> int:
    """Bytes, the largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    rs_embed.register_model(WIDE)
    series(2).rsembed.embed("wide", batch_size=1)  # everything imported
    array = series(DATES)
    before = peak()
    found = array.rsembed.embed("wide", batch_size=1)
    grown = peak() - before
    wanted = array.values[:, 0, None] * np.arange(1, DIM + 1)[:, None, None]
    print(
        json.dumps(
            {
                "output_bytes": int(found.nbytes),
                "grown": grown,
                "error": float(np.abs(found.values - wanted).max()),
                "shape": list(found.shape),
            }
        )
    )


if __name__ == "__main__":
    # The module that the model names is another one than __main__.
    from tests.series_peak import main as run

    run()
