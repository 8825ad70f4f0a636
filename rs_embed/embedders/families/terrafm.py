"""TerraFM: Sentinel-2 or Sentinel-1 through one ViT, with a patch embedding of its own for each.

Danish et al. 2025, arXiv:2506.06281; github.com/mbzuai-oryx/TerraFM at e186ad8. A student and a
teacher were trained to agree across the two sensors and across Sentinel-2's two levels. The public
code takes pixels as they come: how they are to be scaled is published nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing, standardise
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

# Bands, pixels and inputs of each patch embedding, by its name in the published keys.
BRANCHES = {"s2_l2a": 12, "s2_l1c": 12, "s1": 2}

_S2 = InputSpec(
    "s2",
    ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    "reflectance_x10000",
    "COPERNICUS/S2_SR_HARMONIZED",
)
_S1 = InputSpec("s1", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)

KEYS = Keys(
    ignored=(("head*", "a head of training, which the authors' own loader leaves aside"),),
    beside=("head.weight",),
    stray="module.",
)


def _variant(
    name: str, shape: tuple[int, int, int], params_m: float, weights: WeightRecord
) -> Variant:
    dim, depth, heads = shape
    config = {
        "dim": dim, "depth": depth, "num_heads": heads, "mlp_ratio": 4, "patch_size": 16,
        "img_size": 224, "qkv_bias": True, "norm_eps": 1e-6, "token_projection_norm_eps": 1e-5,
        "attn_dim": 3 * dim,
    }  # fmt: skip
    return Variant(name, dim, config, weights, params_m=params_m)


_LICENCE = "Apache-2.0 on the hub page; the authors' code has no licence file"

SPEC = ModelSpec(
    id="terrafm_b",
    title="TerraFM",
    summary="Sentinel-2 or Sentinel-1, trained to agree across both; scaling never published.",
    modalities={"s2": (_S2,), "s1": (_S1,)},
    variants=(
        _variant(
            "base", (768, 12, 12), 113.0,
            WeightRecord(
                "TerraFM-B.pth",
                repo="MBZUAI/TerraFM",
                revision="3631173fec2c3a445a71e15985e0f3d5aaf4ecb3",
                size=451_862_010,
                sha256="8bdb6a4cfd707a09d79f4790119daa9d76bb316b6ea756c6eb305f99d1797a06",
                licence=_LICENCE,
                restricted=True,
                source="another project's record of the hub's own answer",
            ),
        ),
        _variant(
            "large", (1024, 24, 16), 345.0,
            WeightRecord(
                "TerraFM-L.pth",
                repo="MBZUAI/TerraFM",
                licence=_LICENCE,
                restricted=True,
                approx_size=1_380_000_000,
                source="name as one other project gives it, size computed; no source states a "
                "revision or a hash",
            ),
        ),
    ),
    default_variant="base",
    scale_m=10,
    window_px=224,
    token_px=16,
    module=__name__,
    options=(
        Option(
            "branch", str, "s2_l1c",
            "Sentinel-2's patch embedding; s2_l1c: the one that the authors' public forward takes, "
            "whatever the level of the pixels; s2_l2a: the one trained for surface reflectance",
            choices=("s2_l1c", "s2_l2a"),
        ),
        Option(
            "normalisation", str, "terramind",
            "terramind: (x - mean) / std with TerraMind's statistics of the same bands; "
            "reflectance: Sentinel-2 as reflectance, cut off at 0 and 1",
            choices=("terramind", "reflectance"),
        ),
        Option(
            "window_px", int, 224,
            "pixels a side of a window; off 224 the stored positions are interpolated (bicubic)",
            minimum=16, sets="window_px",
        ),
    ),
    image_vector="the class token after the last norm, the authors' embedding of an image",
    assumptions=(
        "normalisation (option): the authors publish none; TerraMind's means and deviations of "
        "Sentinel-2 level 2A and of Sentinel-1 GRD",
        "a missing value becomes 0 after the normalisation",
    ),
    aliases=("terrafm",),
    licence="weights: Apache-2.0 on the hub page; code: no licence file",
    citation="Danish et al. 2025, TerraFM: A Scalable Foundation Model for Unified Multisensor "
    "Earth Observation, arXiv:2506.06281",
    links=(
        "https://arxiv.org/abs/2506.06281",
        "https://github.com/mbzuai-oryx/TerraFM",
        "https://huggingface.co/MBZUAI/TerraFM",
    ),
)  # fmt: skip


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; an option of Sentinel-2 with Sentinel-1's pixels is refused.

    Raises
    ------
    ModelError
    """
    defaults = {option.name: option.default for option in SPEC.options}
    for name in ("branch", "normalisation"):
        if model.modality == "s1" and model.options[name] != defaults[name]:
            raise ModelError(
                f"{model.id}: {name}={model.options[name]!r} is about Sentinel-2, and modality "
                "'s1' has none of it; leave it out"
            )


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The image ``(B, C, H, W)`` float32 under the name of the patch embedding it goes through.

    Raises
    ------
    ModelError
        As `check`.
    """
    check(model, ())
    name = "s1" if model.modality == "s1" else str(model.options["branch"])
    pixels = windows.pixels[:, 0]
    if model.options["normalisation"] == "reflectance":
        image = np.clip(pixels / np.float32(10_000), 0, 1)
    else:
        image = standardise(pixels, *TERRAMIND["S1GRD" if name == "s1" else "S2L2A"])
    return {name: fill_missing(image, 0.0)}


def build(model: Model) -> Network:
    """The encoder with all three patch embeddings, under the published names."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, patch, wide = config["dim"], config["patch_size"], config["attn_dim"]
    places = (config["img_size"] // patch) ** 2
    embed: dict[str, Any] = {}
    for name, bands in BRANCHES.items():
        embed[f"conv2d_{name}"] = nn.Conv2d(bands, wide, patch, patch)
        embed[f"{name}_embed"] = nn.Parameter(torch.zeros(1, wide))
    embed["projection"] = nn.ModuleDict(
        {
            "proj1": nn.Linear(wide, wide, bias=False),
            "norm_input": nn.LayerNorm(wide, eps=config["token_projection_norm_eps"]),
            "proj2": nn.Linear(wide, wide),
            "proj3": nn.Linear(wide, dim),
        }
    )
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "pos_embed": nn.Parameter(torch.zeros(1, 1 + places, dim)),
        "patch_embed": Network(_patches, embed, {}),
        "embedded": nn.Identity(),
        "blocks": transformer(
            dim,
            config["depth"],
            config["num_heads"],
            eps=config["norm_eps"],
            mlp_ratio=config["mlp_ratio"],
            qkv_bias=config["qkv_bias"],
        ),
        "norm": nn.LayerNorm(dim, eps=config["norm_eps"]),
    }
    return Network(forward, parts, {})


def _patches(embed: Any, name: str, image: Tensor) -> Tensor:
    """``(B, h, w, D)`` of ``(B, C, H, W)``: the branch's kernel and code, then three projections.

    No activation stands between them; the norm has an epsilon of its own.
    """
    x: Tensor = getattr(embed, f"conv2d_{name}")(image).permute(0, 2, 3, 1)
    x = x + getattr(embed, f"{name}_embed")
    for part in ("proj1", "norm_input", "proj2", "proj3"):
        x = embed.projection[part](x)
    return x


def forward(network: Any, **images: Tensor) -> dict[str, Tensor]:
    """The tokens after the final norm.

    Parameters
    ----------
    network : Network
    images : Tensor
        One ``(B, C, H, W)``, normalised, by the name of its patch embedding.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``, the patch tokens; ``image`` ``(B, D)``, the class token.
    """
    import torch

    from rs_embed.embedders.blocks import resample_positions

    ((name, image),) = images.items()
    patches = network.patch_embed(name, image)
    rows, cols = patches.shape[1:3]
    x = patches.flatten(1, 2)
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x], dim=1)
    x = network.embedded(x + resample_positions(network.pos_embed, rows, cols, offset=0.1))
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return {"grid": tokens[:, 1:].reshape(len(tokens), rows, cols, -1), "image": tokens[:, 0]}
