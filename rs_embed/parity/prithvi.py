"""Prithvi's fixtures through its own network and prepare step."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import numpy as np

from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.embedders.families import prithvi
from rs_embed.parity.case import Case

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.parity.checkpoint import Entry

_DECODER = 512  # width of every variant's decoder


def run(case: Case) -> dict[str, np.ndarray]:
    """The outputs of a fixture."""
    if "embed_dim" not in case.config:
        return _prepared(case)
    import torch

    from rs_embed.embedders.blocks import as_tensor

    inputs = case.inputs()
    model = _model(case)
    network = case.network(model)
    given = [
        as_tensor(network, inputs[name]) if name in inputs else None
        for name in ("image", "temporal", "location")
    ]
    hidden: list[Tensor] | None = [] if "hidden_first_block" in case.outputs else None
    with torch.inference_mode():
        tokens = network(*given, hidden=hidden)
        cells = prithvi.grid_per_frame(tokens, inputs["image"].shape, model.token_px)
        results = {
            "tokens": tokens,
            "pooled": cells.mean(dim=(1, 2, 3)),
            "grid": cells.mean(dim=1).permute(0, 3, 1, 2),
            "grid_per_frame": cells.permute(0, 1, 4, 2, 3),
        }
        if hidden:
            results["hidden_first_block"] = hidden[0]
    return {name: value.numpy() for name, value in results.items()}


def published(entries: list[Entry], model: Model) -> list[Entry]:
    """The encoder's keys carry a prefix."""
    return [(f"encoder.{key}", shape, dtype) for key, shape, dtype in entries]


def left_out(model: Model) -> list[Entry]:
    """The stored position table, and the decoder (its first block stands for all)."""
    dim, width = model.dim, _DECODER
    side = int(model.variant.config["base_px"]) // model.token_px
    frames = 3 if model.variant.name.startswith("v1") else 4
    tokens = 1 + frames * side**2
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.pos_embed": (1, tokens, dim),
        "decoder.mask_token": (1, 1, width),
        "decoder.decoder_pos_embed": (1, tokens, width),
        "decoder.decoder_embed.weight": (width, dim),
        "decoder.decoder_embed.bias": (width,),
        "decoder.decoder_blocks.0.norm1.weight": (width,),
        "decoder.decoder_blocks.0.norm1.bias": (width,),
        "decoder.decoder_norm.weight": (width,),
        "decoder.decoder_norm.bias": (width,),
    }
    return [(key, shape, "float32") for key, shape in shapes.items()]


def _model(case: Case) -> Model:
    config = case.config
    token = int(config["patch_size"][-1])
    return case.model(
        prithvi.SPEC,
        dim=int(config["embed_dim"]),
        config={
            "depth": config["depth"],
            "heads": config["num_heads"],
            "coords": tuple(config["coords_encoding"]),
            "base_px": config["img_size"],
        },
        window_px=int(config["img_size"]),
        token_px=token,
    )


def _prepared(case: Case) -> dict[str, np.ndarray]:
    """Raw integers with holes, prepared; the dates stand in the notes, as in the file names."""
    inputs, config = case.inputs(), case.config
    raw = np.round(inputs["image"]).astype(np.int16).transpose(1, 0, 2, 3)  # (T, C, H, W)
    pixels = np.where(inputs["hole"][:, None] > 0.9, np.float32(np.nan), raw.astype(np.float32))
    days = [
        dt.datetime.strptime(text, "%Y%j" if len(text) == 7 else "%Y%m%d").date()
        for text in re.findall(r"\b\d{7,8}\b", case.data["notes"])
    ]
    frames = tuple((day.isoformat(), (day + dt.timedelta(days=1)).isoformat()) for day in days)
    model = case.model(
        prithvi.SPEC,
        dim=64,
        config={"coords": ("time",), "mean": config["mean"], "std": config["std"]},
    )
    windows = Windows(pixels[None], model.bands, (frames,), np.zeros((1, 2)), model.scale_m)
    arrays = prithvi.prepare(windows, model)
    named = {"model_input": "image", "temporal": "temporal"}
    return {name: arrays[key] for name, key in named.items() if key in arrays}
