"""A model that averages the bands of each cell, and a source whose values tell where they are."""

import numpy as np
from returns.result import Success

from rs_embed.core.model import InputSpec, ModelSpec, Variant
from rs_embed.core.patch import Patch
from rs_embed.core.plan import SourceInfo
from rs_embed.core.tokens import Tokens

MODEL = ModelSpec(
    id="plain",
    title="Plain",
    summary="Means of the bands.",
    modalities={"s2": (InputSpec("s2", ("B4", "B3", "B2"), "reflectance"),)},
    variants=(Variant("means", dim=3),),
    default_variant="means",
    scale_m=10,
    window_px=32,
    token_px=8,
    prepare="rs_embed_plain:prepare",
    encode="rs_embed_plain:encode",
    device=False,
)


def prepare(windows, model):
    return {"pixels": np.nan_to_num(windows.pixels[:, 0])}  # (B, C, H, W) of the one date


def encode(network, arrays, model):
    batch, bands, height, width = arrays["pixels"].shape
    p = model.token_px
    cells = arrays["pixels"].reshape(batch, bands, height // p, p, width // p, p)
    return Tokens(cells.mean(axis=(3, 5)).transpose(0, 2, 3, 1))  # (B, h, w, D)


class Slope:
    name, workers = "slope", 4

    def __init__(self, source):  # what the caller passed as source=
        self.content = str(source)

    def describe(self, item, sensor):
        units = ("reflectance",) * len(item.bands)
        return Success(
            SourceInfo("SLOPE", item.bands, units, dated=False, content_hash=self.content)
        )

    def fetch(self, plan):
        plane = plan.grid.x()[None, :] % 1e4 / 1e5 + plan.grid.y()[:, None] % 1e4 / 1e5
        data = np.stack([plane / (i + 1) for i in range(len(plan.bands))])[None]
        return Success(Patch(data.astype("float32"), plan.bands, plan.units, plan.grid))
