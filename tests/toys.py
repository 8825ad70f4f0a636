"""Small models for tests: plain numpy, quick, and honest about what they saw."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from rs_embed.core.model import Cadence, InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.plan import midpoint
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

BANDS = ("B4", "B3", "B2")
# Features of a toy token: band means of its pixels, then of its window, then place and time.
FEATURES = ("red", "green", "blue", "w_red", "w_green", "w_blue", "lon", "lat", "day", "scale")


def toy(
    id: str = "toy",
    *,
    window_px: int = 32,
    token_px: int = 8,
    scale_m: float = 10,
    cadence: Cadence = Cadence(),  # noqa: B008  # frozen
    static: bool = False,
    **fields: Any,
) -> ModelSpec:
    """A model whose tokens say what they saw: ten features, each with a meaning."""
    item = InputSpec("s2", BANDS, "reflectance", "TOY/S2", static=static)
    defaults: dict[str, Any] = {
        "modalities": {"s2": (item,)},
        "variants": (Variant("ten", len(FEATURES)),),
        "default_variant": "ten",
        "prepare": "tests.toys:prepare",
        "encode": "tests.toys:encode",
        "device": False,
        "image_vector": "means of the window",
        "licence": "Apache-2.0",
        "citation": "none",
        "options": (
            Option("window_px", int, window_px, "pixels a side of a window", sets="window_px"),
            Option("frames", int, cadence.frames, "how many dates", minimum=1, sets="frames"),
        ),
    }
    return ModelSpec(
        id=id, title="Toy", summary="A toy.", scale_m=scale_m, window_px=window_px,
        token_px=token_px, cadence=cadence, **{**defaults, **fields},
    )  # fmt: skip


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """Pixels with the band's mean over the window where one is missing; places, days, scales."""
    pixels = windows.pixels.astype(np.float64)
    mean = np.nanmean(np.where(np.isfinite(pixels), pixels, np.nan), axis=(1, 3, 4), keepdims=True)
    filled = np.where(np.isfinite(pixels), pixels, np.nan_to_num(mean))
    days = [
        np.mean([midpoint(f).toordinal() for f in intervals]) if intervals else 0.0
        for intervals in windows.intervals
    ]
    scale = np.full(len(pixels), windows.scale_m)
    return {"pixels": filled, "lonlat": windows.lonlat, "days": np.array(days), "scale": scale}


def encode(network: None, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """Tokens ``(B, h, w, 10)`` and the image vector ``(B, 3)``."""
    pixels = arrays["pixels"].mean(axis=1)
    batch, bands, height, width = pixels.shape
    p = model.token_px
    h, w = height // p, width // p
    cells = pixels.reshape(batch, bands, h, p, w, p).mean(axis=(3, 5)).transpose(0, 2, 3, 1)
    window = pixels.mean(axis=(2, 3))
    told = np.concatenate(
        [window, arrays["lonlat"], arrays["days"][:, None], arrays["scale"][:, None]], axis=1
    )
    seen = np.broadcast_to(told[:, None, None, :], (batch, h, w, told.shape[1]))
    return Tokens(
        np.concatenate([cells, seen], axis=-1).astype(np.float32), window.astype(np.float32)
    )


def place_encode(network: None, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """Tokens that also show their place in the window: 0.1 a row and 0.2 a column."""
    tokens = encode(network, arrays, model).grid
    _, h, w, _ = tokens.shape
    place = 0.1 * np.arange(h)[:, None] + 0.2 * np.arange(w)[None, :]
    return Tokens((tokens + place[None, :, :, None]).astype(np.float32))


def day_of(text: str) -> int:
    """The day number of a date, as the toys report it."""
    return dt.date.fromisoformat(text).toordinal()


def trivial_prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The pixels as they are."""
    return {"pixels": windows.pixels}


def trivial_encode(network: None, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """Tokens of zeros, whose first feature is the first pixel of the window."""
    pixels = arrays["pixels"]
    side = model.window_px // model.token_px
    grid = np.zeros((len(pixels), side, side, model.dim), dtype=np.float32)
    grid[..., 0] = pixels[:, 0, 0, 0, 0, None, None]
    return Tokens(grid)


def linear(id: str = "linear") -> ModelSpec:
    """A torch model of one matrix, whose weights are published nowhere that can be reached."""
    record = WeightRecord("own.pt", repo="acme/linear", licence="MIT")
    return toy(
        id, device=True, build="tests.toys:linear_build", prepare="tests.toys:linear_prepare",
        encode="tests.toys:linear_encode", image_vector=None,
        variants=(Variant("one", 2, weights=record),), default_variant="one",
    )  # fmt: skip


def linear_build(model: Model) -> Any:
    """Three bands to two features, without bias."""
    import torch

    return torch.nn.Linear(3, 2, bias=False)


def linear_prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """Band means of each token, ``(B, h, w, 3)``; missing pixels are 0."""
    pixels = np.nan_to_num(windows.pixels.mean(axis=1))
    batch, bands, height, width = pixels.shape
    p = model.token_px
    cells = pixels.reshape(batch, bands, height // p, p, width // p, p).mean(axis=(3, 5))
    return {"cells": cells.transpose(0, 2, 3, 1).astype(np.float32)}


def linear_encode(network: Any, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """Two features a token."""
    import torch

    return Tokens(network(torch.from_numpy(arrays["cells"])).numpy())
