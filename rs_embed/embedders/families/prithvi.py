"""Prithvi-EO-2.0: a multi-temporal masked autoencoder over six bands of surface reflectance.

Szwarcman et al. 2024, arXiv 2412.02732; its first version Jakubik et al. 2023, arXiv 2310.18660.
Weights and reference code: Hugging Face ``ibm-nasa-geospatial``. A frame is cut into patches; every
patch gets a fixed 3-D position, the "TL" variants add learned multiples of a date and a place code.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import (
    Cadence,
    InputSpec,
    Model,
    ModelSpec,
    Option,
    Variant,
    WeightRecord,
)
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing, latlon, standardise, year_and_day
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

MISSING = 1e-4  # what a missing value becomes after normalisation, in the authors' inference.py

# Mean and standard deviation of reflectance x 10000, from each version's config.json.
_V2 = (
    (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0),
    (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0),
)
_V1 = (
    (775.0, 1081.0, 1229.0, 2497.0, 2204.0, 1611.0),
    (1282.0, 1270.0, 1399.0, 1368.0, 1292.0, 1155.0),
)
_TL = ("time", "location")


def _variant(
    name: str,
    shape: tuple[int, int, int, int],
    file: str,
    revision: str,
    sha256: str,
    params_m: float,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = _V2,
    **facts: Any,
) -> Variant:
    dim, depth, heads, token_px = shape
    config = {
        "img_size": 224, "patch_size": (1, token_px, token_px), "in_chans": 6, "embed_dim": dim,
        "depth": depth, "num_heads": heads, "mlp_ratio": 4, "norm_eps": 1e-5,
        "coords_encoding": _TL if name.endswith("_tl") else (),
        "coords_scale_learn": name.endswith("_tl"),
        "mean": statistics[0], "std": statistics[1],
    }  # fmt: skip
    version = "1.0" if statistics is _V1 else "2.0"
    weights = WeightRecord(
        f"Prithvi_EO_V{version[0]}_{file.replace('-', '_')}.pt",
        repo=f"ibm-nasa-geospatial/Prithvi-EO-{version}-{file}",
        revision=revision,
        sha256=sha256,
        licence="Apache-2.0",
        **{"source": "LFS record of the hub", **facts},
    )
    return Variant(name, dim, config, weights, token_px=token_px, params_m=params_m)


# Width, depth, heads, pixels a side of a patch.
_TINY, _100M = (192, 12, 3, 16), (768, 12, 12, 16)
_300M, _600M = (1024, 24, 16, 16), (1280, 32, 16, 14)
_OTHERS = "stated by another project that pins the file; its exact size is not known"
_VARIANTS = (
    _variant(
        "tiny_tl", _TINY, "tiny-TL", "335eadc2c45ad5abe7bd307223e1c48c5b60c41b",
        "d47326db9bad502b611f73e3e3f3a0e68b7b82640d67c22c795417f7209f8d70", 5.6,
        approx_size=129_000_000, source=_OTHERS,
    ),
    _variant(
        "100m_tl", _100M, "100M-TL", "2c84e383194986040f883cc43d7869002c425e1b",
        "d45406d5fc51af1d9657d48f2e2c3ff077408a2e1113f9a242889a4fe4469b17", 86.2, size=454_660_610,
    ),
    _variant(
        "300m", _300M, "300M", "9eb1b1102806593963daa333bcc491b1c6f8562f",
        "faab2c8b776f0723f93431747603a7ec586a54fc45473613b4322c29752486e7", 303.9,
        size=1_326_658_396,
    ),
    _variant(
        "300m_tl", _300M, "300M-TL", "63adbd39c271da4c42f447e69b1a7c91a338cdc9",
        "3629cedfbb350faafcb0dac902ae0d3c927e25ce8d9e0024aa1276ec66956ddb", 303.9,
        size=1_326_660_716,
    ),
    _variant(
        "600m", _600M, "600M", "87f15784813828dc37aa3197a143cd4689e4d080",
        "26a3f387ac6fc8e5eee8eb1986e6b9e99f36aa4d03aeb7fd5722feee5d5f88d0", 631.2,
        approx_size=2_640_000_000, source=_OTHERS,
    ),
    _variant(
        "600m_tl", _600M, "600M-TL", "3d72adc6dfc4cc3862bf4f41da8c83db267193c9",
        "7b92c53b0204a76bb775bd8930f045e05776251caa8c83f7367ed0b75b594702", 631.2,
        size=2_638_217_218,
    ),
    _variant(
        "v1_100m", _100M, "100M", "f3a9ea7a1723621b0aeceb4de993093704d712c5",
        "7fac0c8a8693198e32a055e0c5a967f8b005f382182b63df1b29fdcd5c880731", 86.2, _V1,
        size=453_671_052,
    ),
)  # fmt: skip
_OPTIONS = (
    Option(
        "frames", int, 1, "dates: a composite of each of as many equal parts of the temporal",
        minimum=1, sets="frames",
    ),
    Option(
        "coords", str, "auto", "codes to add; auto: what the variant knows and the imagery has",
        choices=("auto", "both", "time", "location", "none"),
    ),
    Option(
        "window_px", int, 224, "pixels a side of a window; positions are interpolated off 224",
        minimum=14, sets="window_px",
    ),
)  # fmt: skip

_BANDS = ("B2", "B3", "B4", "B8A", "B11", "B12")
_L30 = ("B2", "B3", "B4", "B5", "B6", "B7")
_UNITS = "reflectance_x10000"

SPEC = ModelSpec(
    id="prithvi_eo_v2_s2_6b",
    title="Prithvi-EO-2.0",
    summary="Masked autoencoder over one or more dates of six-band surface reflectance at 30 m.",
    modalities={
        "s2": (InputSpec("s2", _BANDS, _UNITS, "COPERNICUS/S2_SR_HARMONIZED"),),
        "hls": (InputSpec("hls", _BANDS, _UNITS, "NASA/HLS/HLSS30/v002"),),
        "hls_l30": (InputSpec("hls_l30", _BANDS, _UNITS, "NASA/HLS/HLSL30/v002", _L30),),
    },
    variants=_VARIANTS,
    default_variant="300m_tl",
    scale_m=30,
    window_px=224,
    token_px=16,
    module=__name__,
    cadence=Cadence("equal", 1),
    options=_OPTIONS,
    pad="reflect",
    assumptions=(
        "a code of which the imagery knows nothing is left out: no dates, no time code",
        "a date of which a window has no pixel is left out of that window",
        "the day of the year counts from 1; the place is latitude, longitude of a window's centre",
    ),
    aliases=("prithvi",),
    licence="Apache-2.0",
    citation="Szwarcman et al. 2024, Prithvi-EO-2.0, arXiv:2412.02732",
    links=(
        "https://arxiv.org/abs/2412.02732",
        "https://huggingface.co/ibm-nasa-geospatial",
    ),
)

_TABLE = "a fixed table for the frames of pretraining; computed for those in use"
_DECODER = "the decoder of pretraining, not needed to embed"
KEYS = Keys(
    rows=(("encoder.", ""),),  # the first version's older file has no prefix
    ignored=(
        ("encoder.pos_embed", _TABLE),
        ("pos_embed", _TABLE),
        ("decoder.*", _DECODER),
        ("decoder_*", _DECODER),
        ("mask_token", _DECODER),
    ),
    beside=(
        "encoder.pos_embed",
        "decoder.mask_token",
        "decoder.decoder_pos_embed",
        "decoder.decoder_embed.weight",
    ),
)


def check(model: Model, frames: tuple[Interval, ...]) -> None:
    """Nothing; raises ModelError as `coordinates`, before any pixel is fetched."""
    coordinates(model, dated=bool(frames))


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        ``image`` ``(B, 6, T, H, W)``, standardised; ``temporal`` ``(B, T, 2)``, year and 1-based
        day of the year of each frame's middle; ``location`` ``(B, 2)``, latitude and longitude of
        the window's centre, degrees; ``seen`` ``(B, T)`` bool, only where a frame of a window has
        no pixel at all: such a frame is left out. All but ``seen`` float32.
    """
    config = model.variant.config
    image = standardise(windows.pixels, config["mean"], config["std"])
    seen = (~np.isnan(image)).any(axis=(2, 3, 4))
    arrays = {"image": fill_missing(image, MISSING).swapaxes(1, 2)}
    # A window without any pixel keeps its frames; its tokens are masked in the end.
    seen |= ~seen.any(axis=1, keepdims=True)
    if not seen.all():
        arrays["seen"] = seen
    used = coordinates(model, dated=all(windows.intervals))
    if "time" in used:
        arrays["temporal"] = year_and_day(windows).astype(np.float32)
    if "location" in used:
        arrays["location"] = latlon(windows)
    return arrays


def coordinates(model: Model, *, dated: bool = True) -> tuple[str, ...]:
    """Which codes a model adds to its tokens.

    Raises
    ------
    ModelError
        Where the option asks for a code that the variant was not trained with, or for time where
        the imagery has no dates.
    """
    asked, known = model.options["coords"], model.variant.config["coords_encoding"]
    if asked == "auto":
        return tuple(name for name in known if dated or name != "time")
    wanted = _TL if asked == "both" else () if asked == "none" else (str(asked),)
    if not set(wanted) <= set(known):
        raise ModelError(
            f"{model.id}:{model.variant.name} was trained without time and location; take a "
            "variant whose name ends in _tl, or leave coords out"
        )
    if "time" in wanted and not dated:
        raise ModelError(
            f"coords={asked!r} needs dates, and the imagery has none; use coords='location', or "
            "pass temporal= where the source takes it"
        )
    return wanted


def build(model: Model) -> Network:
    """The encoder, with the parts and names of the published files.

    Raises
    ------
    ModelError
        As `coordinates`.
    """
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    coordinates(model)  # refuses a code that the variant lacks before anything is loaded
    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "patch_embed": nn.ModuleDict({"proj": nn.Conv3d(config["in_chans"], dim, patch, patch)}),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=eps, mlp_ratio=config["mlp_ratio"]
        ),
        "norm": nn.LayerNorm(dim, eps=eps),
    }
    if "time" in config["coords_encoding"]:
        parts["temporal_embed_enc"] = nn.ParameterDict({"scale": torch.ones(1)})
    if "location" in config["coords_encoding"]:
        parts["location_embed_enc"] = nn.ParameterDict({"scale": torch.ones(1)})
    return Network(forward, parts, {"base": config["img_size"] // patch[-1]})


def forward(
    network: Any,
    image: Tensor,
    temporal: Tensor | None = None,
    location: Tensor | None = None,
    seen: Tensor | None = None,
) -> dict[str, Tensor]:
    """``grid`` ``(B, h, w, D)``: the mean over time of the patch tokens after the final norm.

    Parameters
    ----------
    network : Network
    image : Tensor
        ``(B, 6, T, H, W)`` standardised.
    temporal, location : Tensor, optional
        ``(B, T, 2)`` year and day of the year; ``(B, 2)`` latitude and longitude. What is None
        adds nothing.
    seen : Tensor, optional
        ``(B, T)`` bool: the frames that a window has; None means all.
    """
    import torch

    if seen is None:
        return {"grid": _tokens(network, image, temporal, location).mean(dim=1)}
    grids: list[tuple[Tensor, Tensor]] = []
    for pattern in torch.unique(seen, dim=0):
        rows = (seen == pattern).all(dim=1)
        when = None if temporal is None else temporal[rows][:, pattern]
        where = None if location is None else location[rows]
        cells = _tokens(network, image[rows][:, :, pattern], when, where).mean(dim=1)
        grids.append((rows.nonzero()[:, 0], cells))
    order = torch.cat([rows for rows, _ in grids]).argsort()
    return {"grid": torch.cat([cells for _, cells in grids])[order]}


def _tokens(
    network: Any, image: Tensor, temporal: Tensor | None, location: Tensor | None
) -> Tensor:
    """The patch tokens ``(B, T, h, w, D)`` after the final norm."""
    import torch

    patches = network.patch_embed["proj"](image)  # (B, D, T, h, w)
    frames, rows, cols = patches.shape[2:]
    x = patches.flatten(3).permute(0, 2, 3, 1)  # (B, T, h * w, D)
    table = position_table(x.shape[-1], frames, rows, cols, network.config["base"])
    x = x + torch.from_numpy(table).to(x)
    if temporal is not None:
        code = _code(temporal, x)[:, :, None]  # (B, T, 1, D)
        x = x + network.temporal_embed_enc["scale"] * code
    if location is not None:
        code = _code(location, x)[:, None, None]  # (B, 1, 1, D)
        x = x + network.location_embed_enc["scale"] * code
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return tokens[:, 1:].reshape(len(x), frames, rows, cols, -1)


def _code(values: Tensor, like: Tensor) -> Tensor:
    """The code ``(..., D)`` of pairs ``(..., 2)``: half of the width each, computed in float32."""
    from rs_embed.embedders.blocks import sincos

    return sincos(like.shape[-1] // 2, values.float()).flatten(-2).to(like)


@lru_cache(maxsize=16)
def position_table(dim: int, frames: int, rows: int, cols: int, base: int) -> np.ndarray:
    """The fixed position table ``(T, h * w, D)`` float32.

    Sixths of the width: column, row (6/16 each), frame (4/16), on the integer places of the base
    grid; for a grid of another size each frame's table is resized, corners aligned.
    """
    import torch
    from torch.nn.functional import interpolate

    from rs_embed.embedders.blocks import sincos

    unit = dim // 16
    with torch.device("cpu"):
        place = torch.arange(base, dtype=torch.float64)
        along = sincos(6 * unit, place)
        when = sincos(4 * unit, torch.arange(frames, dtype=torch.float64))
        table = torch.cat(
            [
                along.expand(frames, base, base, -1),
                along[:, None].expand(frames, base, base, -1),
                when[:, None, None].expand(frames, base, base, -1),
            ],
            dim=-1,
        ).float()
        if (rows, cols) != (base, base):
            chw = table.permute(0, 3, 1, 2)
            chw = interpolate(chw, (rows, cols), mode="bicubic", align_corners=True)
            table = chw.permute(0, 2, 3, 1)
    positions: np.ndarray = table.flatten(1, 2).numpy()
    return positions
