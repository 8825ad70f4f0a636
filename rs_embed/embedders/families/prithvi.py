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
from rs_embed.core.model import Cadence, InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
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
    params_m: float,
    file: str,
    revision: str,
    sha256: str,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = _V2,
    source: str = "LFS record of the hub",
    **size: Any,
) -> Variant:
    dim, depth, heads, token_px = shape
    coded = name.endswith("_tl")
    config = {
        "img_size": 224, "patch_size": (1, token_px, token_px), "in_chans": 6, "embed_dim": dim,
        "depth": depth, "num_heads": heads, "mlp_ratio": 4, "norm_eps": 1e-5,
        "coords_encoding": _TL if coded else (), "coords_scale_learn": coded,
        "mean": statistics[0], "std": statistics[1],
    }  # fmt: skip
    version = "1.0" if statistics is _V1 else "2.0"
    weights = WeightRecord(
        f"Prithvi_EO_V{version[0]}_{file.replace('-', '_')}.pt",
        repo=f"ibm-nasa-geospatial/Prithvi-EO-{version}-{file}",
        revision=revision, sha256=sha256, licence="Apache-2.0", source=source, **size,
    )  # fmt: skip
    return Variant(name, dim, config, weights, token_px=token_px, params_m=params_m)


# Width, depth, heads, pixels a side of a patch.
_TINY, _100M = (192, 12, 3, 16), (768, 12, 12, 16)
_300M, _600M = (1024, 24, 16, 16), (1280, 32, 16, 14)
_OTHERS = "stated by another project that pins the file; its exact size is not known"
_VARIANTS = (
    _variant("tiny_tl", _TINY, 5.6, "tiny-TL", "335eadc2c45ad5abe7bd307223e1c48c5b60c41b",
        "d47326db9bad502b611f73e3e3f3a0e68b7b82640d67c22c795417f7209f8d70",
        approx_size=129_000_000, source=_OTHERS),
    _variant("100m_tl", _100M, 86.2, "100M-TL", "2c84e383194986040f883cc43d7869002c425e1b",
        "d45406d5fc51af1d9657d48f2e2c3ff077408a2e1113f9a242889a4fe4469b17", size=454_660_610),
    _variant("300m", _300M, 303.9, "300M", "9eb1b1102806593963daa333bcc491b1c6f8562f",
        "faab2c8b776f0723f93431747603a7ec586a54fc45473613b4322c29752486e7", size=1_326_658_396),
    _variant("300m_tl", _300M, 303.9, "300M-TL", "63adbd39c271da4c42f447e69b1a7c91a338cdc9",
        "3629cedfbb350faafcb0dac902ae0d3c927e25ce8d9e0024aa1276ec66956ddb", size=1_326_660_716),
    _variant("600m", _600M, 631.2, "600M", "87f15784813828dc37aa3197a143cd4689e4d080",
        "26a3f387ac6fc8e5eee8eb1986e6b9e99f36aa4d03aeb7fd5722feee5d5f88d0",
        approx_size=2_640_000_000, source=_OTHERS),
    _variant("600m_tl", _600M, 631.2, "600M-TL", "3d72adc6dfc4cc3862bf4f41da8c83db267193c9",
        "7b92c53b0204a76bb775bd8930f045e05776251caa8c83f7367ed0b75b594702", size=2_638_217_218),
    _variant("v1_100m", _100M, 86.2, "100M", "f3a9ea7a1723621b0aeceb4de993093704d712c5",
        "7fac0c8a8693198e32a055e0c5a967f8b005f382182b63df1b29fdcd5c880731", _V1, size=453_671_052),
)  # fmt: skip
_OPTIONS = (
    Option("frames", int, 1, "dates: a composite of each of as many equal parts of the temporal",
           minimum=1, sets="frames"),
    Option("coords", str, "auto", "codes to add; auto: what the variant knows and the imagery has",
           choices=("auto", "both", "time", "location", "none")),
    Option("window_px", int, 224, "pixels a side of a window; positions are interpolated off 224",
           minimum=14, sets="window_px"),
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
    links=("https://arxiv.org/abs/2412.02732", "https://huggingface.co/ibm-nasa-geospatial"),
)

_TABLE = "a fixed table for the frames of pretraining; computed for those in use"
_DECODER = "the decoder of pretraining, not needed to embed"
KEYS = Keys(
    rows=(("encoder.", ""),),  # the first version's older file has no prefix
    ignored=(
        ("encoder.pos_embed", _TABLE), ("pos_embed", _TABLE),
        ("decoder.*", _DECODER), ("decoder_*", _DECODER), ("mask_token", _DECODER),
    ),
    beside=("encoder.pos_embed", "decoder.mask_token", "decoder.decoder_pos_embed",
            "decoder.decoder_embed.weight"),
)  # fmt: skip


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
    """The encoder, its parts under their published keys; raises ModelError as `coordinates`."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    coordinates(model)  # refuses a code that the variant lacks before anything is loaded
    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    depth, heads, mlp_ratio = config["depth"], config["num_heads"], config["mlp_ratio"]
    parts: dict[str, nn.Module | nn.Parameter] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "patch_embed": nn.ModuleDict({"proj": nn.Conv3d(config["in_chans"], dim, patch, patch)}),
        "blocks": transformer(dim, depth, heads, eps=eps, mlp_ratio=mlp_ratio),
        "norm": nn.LayerNorm(dim, eps=eps),
    }
    for code, name in (("time", "temporal_embed_enc"), ("location", "location_embed_enc")):
        if code in config["coords_encoding"]:
            parts[name] = nn.ParameterDict({"scale": torch.ones(1)})
    return Network(forward, parts, {"base": config["img_size"] // patch[-1]})


def forward(
    network: Any,
    image: Tensor,
    temporal: Tensor | None = None,
    location: Tensor | None = None,
    seen: Tensor | None = None,
) -> dict[str, Tensor]:
    """``grid`` ``(B, h, w, D)``: the mean over time of the patch tokens after the final norm.

    Parameters as `prepare` gives them: without ``temporal`` or ``location`` no such code is added,
    without ``seen`` every window has every frame.
    """
    import torch

    if seen is None:
        return {"grid": _grid(network, image, temporal, location)}
    # Windows that have the same frames go through the network together.
    patterns, which = torch.unique(seen, dim=0, return_inverse=True)
    grids = []
    for i, frames in enumerate(patterns):
        rows = which == i
        when = None if temporal is None else temporal[rows][:, frames]
        where = None if location is None else location[rows]
        grids.append(_grid(network, image[rows][:, :, frames], when, where))
    order = which.argsort(stable=True)  # of the windows, as they stand in `grids`
    return {"grid": torch.cat(grids)[order.argsort()]}


def _grid(network: Any, image: Tensor, temporal: Tensor | None, location: Tensor | None) -> Tensor:
    """`forward` for windows that have the same frames."""
    import torch

    from rs_embed.embedders.blocks import sincos

    patches = network.patch_embed["proj"](image)  # (B, D, T, h, w)
    frames, rows, cols = patches.shape[2:]
    x = patches.flatten(3).permute(0, 2, 3, 1)  # (B, T, h * w, D)
    table = position_table(x.shape[-1], frames, rows, cols, network.config["base"])
    x = x + torch.from_numpy(table).to(x)
    for name, pairs in (("temporal", temporal), ("location", location)):
        if pairs is not None:
            # Half of the width for each number of a pair, computed in float32.
            code = sincos(x.shape[-1] // 2, pairs.float()).flatten(-2).to(x)
            scale = getattr(network, f"{name}_embed_enc")["scale"]
            x = x + scale * code.reshape(len(x), -1, 1, x.shape[-1])  # T or 1 in the place of -1
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return tokens[:, 1:].reshape(len(x), frames, rows, cols, -1).mean(dim=1)


@lru_cache(maxsize=16)
def position_table(dim: int, frames: int, rows: int, cols: int, base: int) -> np.ndarray:
    """The fixed position table ``(T, h * w, D)`` float32.

    Sixteenths of the width: column 6, row 6, frame 4, on the integer places of the base grid; for
    a grid of another size each frame's table is resized, corners aligned.
    """
    import torch

    from rs_embed.embedders.blocks import resample_positions, sincos, sincos_2d

    unit = dim // 16
    with torch.device("cpu"):
        side, steps = (torch.arange(count, dtype=torch.float64) for count in (base, frames))
        where = sincos_2d(12 * unit, side, side, first="column").flatten(0, 1)
        when = sincos(4 * unit, steps)[:, None].expand(-1, len(where), -1)
        table = torch.cat([where.expand(frames, -1, -1), when], dim=-1).float()
        table = resample_positions(table, rows, cols, prefix=0, align_corners=True)
    positions: np.ndarray = table.numpy()
    return positions
