"""Panopticon: a DINOv2 network that takes any channels, each told by what it measures.

Waldmann et al. 2025, arXiv:2503.10845; https://github.com/Panopticon-FM/panopticon at 5ad7f82.
Every channel is cut into patches by itself and gets the code of its wavelength, or of its radar
polarisation and orbit; at each place one learned query attends over the channels. A ViT-B/14 of
DINOv2 follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows, fill_missing, standardise
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_L2A = tuple(band for band in _L1C if band != "B10")
S2 = InputSpec("s2", _L1C, "reflectance_x10000", "COPERNICUS/S2_HARMONIZED")
S2_L2A = InputSpec("s2_l2a", _L2A, "reflectance_x10000", "COPERNICUS/S2_SR_HARMONIZED")
S1 = InputSpec("s1", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)

# Mean and standard deviation by band: of pretraining (FmowDataset, fmow_s2), and of the authors'
# evaluation on BigEarthNet v2 (benv2.py), whose radar numbers stand as VH, VV there.
STATISTICS = {
    "s2": (
        (1569.197, 1383.9951, 1338.4231, 1408.1113, 1537.2856, 1926.5183, 2136.5127,
         2033.4019, 2262.4558, 674.1297, 16.7465, 2027.3674, 1501.4686),
        (517.7932, 595.0351, 690.2477, 994.7734, 994.4599, 1079.4558, 1192.3668,
         1170.9979, 1278.2103, 474.7933, 15.1294, 1362.3807, 1134.5983),
    ),
    "s2_l2a": (
        (360.6468, 438.37207, 614.05566, 588.4096, 942.7477, 1769.8486,
         2049.4758, 2193.292, 2235.4868, 2241.106, 1568.2115, 997.7151),
        (563.1734, 607.02686, 603.2968, 684.56885, 727.5784, 1087.4288,
         1261.4303, 1369.3717, 1342.4905, 1294.3555, 1063.9198, 806.88464),
    ),
    "s1": ((-12.643864, -19.352558), (5.133494, 5.5905056)),
}  # fmt: skip

# Central wavelengths in nanometres, cut to whole ones as the authors' int16 does.
CODES = dict(
    zip(
        _L1C,
        (442, 492, 559, 664, 704, 740, 782, 827, 864, 945, 1373, 1613, 2203),
        strict=True,
    )
) | {"VV": -1, "VH": -2}
ORBITS = {"mean": 0, "ascending": 4, "descending": 8}  # how far a radar code is from the mean's

SPEC = ModelSpec(
    id="panopticon",
    title="Panopticon",
    summary="DINOv2 over any optical or radar channels, fused by attention over what they measure.",
    modalities={"s2": (S2,), "s2_l2a": (S2_L2A,), "s1": (S1,), "s2s1": (S2_L2A, S1)},
    variants=(
        Variant(
            "vitb14",
            768,
            {
                "embed_dim": 768, "depth": 12, "num_heads": 12, "attn_dim": 2304, "chn_heads": 16,
                "patch_size": 14, "pos_grid": 37, "mlp_ratio": 4, "norm_eps": 1e-6,
            },
            WeightRecord(
                "panopticon_vitb14_teacher.pth",
                repo="lewaldm/panopticon",
                revision="c8c2bb9555819e8b2bcedf5b3b00e3bf531554e7",
                size=395_965_930,
                sha256="55024f411a7f383ed1a646d9b833b65683a4443846603fc7d37591d5afe9d26e",
                licence="CC BY 4.0",
                source="four public projects that pin the file",
            ),
            params_m=99.0,
        ),
    ),
    default_variant="vitb14",
    scale_m=10,
    window_px=224,
    token_px=14,
    module=__name__,
    options=(
        Option(
            "orbit", str, "mean",
            "the radar's orbit to tell the network; mean: not known, or both",
            choices=tuple(ORBITS),
        ),
        Option(
            "window_px", int, 224,
            "pixels a side of a window, a multiple of 14; the stored positions are of 518 and "
            "interpolated for any other",
            minimum=14, sets="window_px",
        ),
    ),
    image_vector="the class token after the last norm",
    assumptions=(
        "a missing pixel becomes the mean of its band; a channel without any pixel is left out",
        "the orbit of the radar is not read from the imagery: option orbit tells it",
    ),
    licence="weights: CC BY 4.0; code: Apache-2.0",
    citation="Waldmann et al. 2025, Panopticon: Advancing Any-Sensor Foundation Models for Earth "
    "Observation, arXiv:2503.10845",
    links=(
        "https://arxiv.org/abs/2503.10845",
        "https://github.com/Panopticon-FM/panopticon",
        "https://huggingface.co/lewaldm/panopticon",
    ),
)  # fmt: skip

KEYS = Keys(
    ignored=(("mask_token", "stands for masked patches in pretraining"),), beside=("mask_token",)
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        ``imgs`` ``(B, C, H, W)`` float32, standardised; ``chn_ids`` ``(B, C)`` int64, nanometres
        or the negative code of a radar channel; ``seen`` ``(B, C)`` bool, only where a channel of
        a window has no pixel at all: such a channel is left out.
    """
    tables = [np.array(STATISTICS[item.name]) for item in model.inputs]
    mean, std = np.concatenate(tables, axis=1)
    image = standardise(windows.pixels[:, 0], mean, std)
    arrays = {"imgs": fill_missing(image, 0.0)}
    orbit = ORBITS[str(model.options["orbit"])]
    codes = [CODES[band] - (orbit if CODES[band] < 0 else 0) for band in windows.bands]
    arrays["chn_ids"] = np.tile(np.array(codes, dtype=np.int64), (len(image), 1))
    seen = np.isfinite(image).any(axis=(2, 3))
    # A window without any pixel keeps its channels; its tokens are masked in the end.
    seen |= ~seen.any(axis=1, keepdims=True)
    return arrays if seen.all() else {**arrays, "seen": seen}


def build(model: Model) -> Network:
    """The network, with the parts and names of the published file."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, wide, patch = config["embed_dim"], config["attn_dim"], config["patch_size"]

    def table(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(shape))

    names = ("embed_transmit", "embed_receive", "embed_orbit")
    fusion: dict[str, Any] = {
        "query": table(1, 1, wide),
        "chnemb": nn.ParameterDict({name: table(2, wide // 3) for name in names}),
        "xattn": nn.ModuleDict(
            {f"inproj_{name}": nn.Linear(wide, wide, bias=False) for name in "kv"}
        ),
    }
    size = (1, patch, patch)  # a channel at a time
    parts: dict[str, Any] = {
        "cls_token": table(1, 1, dim),
        "pos_embed": table(1, 1 + config["pos_grid"] ** 2, dim),
        "patch_embed": nn.ModuleDict(
            {
                "conv3d": nn.ModuleDict({"conv3d": nn.Conv3d(1, wide, size, size)}),
                "chnfus": Network(fused, fusion, {"heads": config["chn_heads"]}),
                "proj": nn.Linear(wide, dim),
            }
        ),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=config["norm_eps"],
            mlp_ratio=config["mlp_ratio"], layer_scale=True,
        ),
        "norm": nn.LayerNorm(dim, eps=config["norm_eps"]),
    }  # fmt: skip
    return Network(forward, parts, {})


def forward(
    network: Any, imgs: Tensor, chn_ids: Tensor, seen: Tensor | None = None
) -> dict[str, Tensor]:
    """The tokens after the last norm.

    Parameters
    ----------
    network : Network
    imgs, chn_ids, seen
        As `prepare` gives them; None for ``seen`` means every channel.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``, the patch tokens; ``image`` ``(B, D)``, the class token.
    """
    import torch

    from rs_embed.embedders.blocks import resample_positions

    embed = network.patch_embed
    patches = embed["conv3d"]["conv3d"](imgs[:, None])  # (B, W, C, h, w)
    rows, cols = patches.shape[3:]
    x = patches.flatten(3).permute(0, 2, 3, 1)  # (B, C, h * w, W)
    x = embed["proj"](embed["chnfus"](x, chn_ids, seen))
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x], dim=1)
    x = x + resample_positions(network.pos_embed, rows, cols, offset=0.1)  # as DINOv2 does
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return {"grid": tokens[:, 1:].reshape(len(x), rows, cols, -1), "image": tokens[:, 0]}


def fused(layer: Any, x: Tensor, chn_ids: Tensor, seen: Tensor | None) -> Tensor:
    """``(B, N, W)`` of ``(B, C, N, W)``: what the query finds in the channels of each place.

    The matrices of key and value act after the sums over features and channels, which is the same
    and spares them C times a place.
    """
    import torch

    heads = layer.config["heads"]
    x = x + channel_codes(layer.chnemb, chn_ids, x.shape[-1])[:, :, None].to(x)
    key, value = (layer.xattn[f"inproj_{n}"].weight.unflatten(0, (heads, -1)) for n in "kv")
    query = layer.query.reshape(heads, -1) * key.shape[1] ** -0.5
    logits = torch.einsum("bcnw,hw->bcnh", x, torch.einsum("he,hew->hw", query, key))
    if seen is not None:
        logits = logits.masked_fill(~seen[:, :, None, None], -torch.inf)
    mixed = torch.einsum("bcnh,bcnw->bnhw", logits.softmax(dim=1), x)
    return torch.einsum("bnhw,hew->bnhe", mixed, value).flatten(2)


def channel_codes(tables: Any, chn_ids: Tensor, width: int) -> Tensor:
    """``(B, C, width)`` float32 codes of channels.

    Of a wavelength, sines then cosines; of a radar channel, the learned rows of its transmitted
    and received polarisation (V, H) and of its orbit (ascending, descending, or their mean).
    """
    import torch

    from rs_embed.embedders.blocks import sincos

    # The authors compute the code in single precision, whatever the network's.
    optical = sincos(width, chn_ids.clamp(min=0).float())
    orbits = tables["embed_orbit"]
    orbits = torch.cat([orbits.mean(dim=0, keepdim=True), orbits])
    # -1 to -4 are VV, VH, HH, HV of the mean orbit, -5 to -8 ascending, -9 to -12 descending.
    number = (-chn_ids - 1).clamp(min=0)
    crossed = number % 2
    sent = number % 4 // 2
    received = torch.where(sent == 0, crossed, 1 - crossed)
    radar = torch.cat(
        [
            tables["embed_transmit"][sent],
            tables["embed_receive"][received],
            orbits[number // 4],
        ],
        dim=-1,
    )
    return torch.where(chn_ids[..., None] < 0, radar.float(), optical)
