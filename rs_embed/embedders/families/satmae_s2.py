"""SatMAE and SatMAE++ on ten bands of Sentinel-2, in three groups with tokens of their own.

Cong et al. 2022, arXiv:2207.08051, github.com/sustainlab-group/SatMAE; Noman et al. 2024,
arXiv:2403.05419, github.com/techmn/satmae_pp. Bands of like resolution and colour share a patch
embedding; every place has a token a group, which carries the place and the group. One encoder, two
trainings of it on fMoW-Sentinel. Pretraining shuffles the tokens over places and groups before it
hides some; here none is hidden and none moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows, fill_missing
from rs_embed.core.resample import resize_and_crop
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
# fMoW-Sentinel's, of reflectance x 10000: util/datasets.py of both repositories. They have thirteen
# bands and drop B1, B9 and B10 after the normalisation, which is by band.
MEAN = (1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151,
        1846.87040806, 1762.59530783, 1972.62420416, 1732.16362238, 1247.91870117)  # fmt: skip
STD = (650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639,
       1258.36394548, 1233.1492281, 1364.38688993, 1310.36996126, 1087.6020813)  # fmt: skip
# B2 B3 B4 B8, B5 B6 B7 B8A, B11 B12
GROUPS = ((0, 1, 2, 6), (3, 4, 5, 7), (8, 9))

KEYS = Keys(
    wrapper="model",
    arguments=True,
    ignored=(
        ("decoder_*", "the decoder of pretraining, not needed to embed"),
        ("mask_token", "the same: stands for masked patches in pretraining"),
        ("proj_up_*", "the larger reconstructions of SatMAE++, after its decoder"),
        ("up_block?.*", "the same"),
    ),
    beside=("decoder_embed.weight", "decoder_pred.0.bias", "decoder_channel_embed", "mask_token",
            "proj_up_conv.weight", "proj_up_norm.bias", "up_block1.0.weight"),
)  # fmt: skip


def _variant(name: str, dim: int, depth: int, heads: int, params_m: float, **file: Any) -> Variant:
    config = {
        "embed_dim": dim, "depth": depth, "num_heads": heads, "decoder_embed_dim": 512,
        "decoder_depth": 8, "decoder_num_heads": 16, "mlp_ratio": 4, "channel_embed": 256,
        "decoder_channel_embed": 128, "img_size": 96, "patch_size": 8, "in_chans": 10,
        "norm_eps": 1e-6, "channel_groups": GROUPS, "mean": MEAN, "std": STD,
    }  # fmt: skip
    return Variant(name, dim, config, WeightRecord(**file), params_m=params_m)


def _zenodo(filename: str, **facts: Any) -> dict[str, Any]:
    return {
        "filename": filename,
        "url": f"https://zenodo.org/records/7338613/files/{filename}?download=1",
        "licence": "CC BY 4.0 (the authors' code is CC BY-NC 4.0)",
        **facts,
    }


def _spec(name: str, variants: tuple[Variant, ...], **facts: Any) -> ModelSpec:
    return ModelSpec(
        id=name,
        modalities={
            "s2": (InputSpec("s2", BANDS, "reflectance_x10000", "COPERNICUS/S2_HARMONIZED"),)
        },
        variants=variants,
        default_variant="large",
        scale_m=10,
        window_px=96,
        token_px=8,
        module=__name__,
        options=(
            Option(
                "groups", str, "mean",
                "what a cell is of the three tokens of its place: their mean, or all three side by "
                "side, in the order of the groups",
                choices=("mean", "separate"), builds=True, widens=(("separate", len(GROUPS)),),
            ),
            Option(
                "prepare", str, "native",
                "native: windows of pixels as they are; official: the whole region as one image, "
                "resized and cropped as the authors' evaluation does, so that its margins have no "
                "cells",
                choices=("native", "official"),
            ),
            Option(
                "antialias", bool, False,
                "of prepare='official': resize as torchvision does by default since 0.17; false: "
                "as in 0.12, which the authors pin",
            ),
            Option(
                "window_px", int, 96,
                "pixels a side of a window; off 96 the stored positions are interpolated (bicubic)",
                minimum=8, sets="window_px",
            ),
        ),
        official_crop=224 / 256,
        assumptions=("a missing pixel becomes the mean of its band, 127 of 255 levels",),
        **facts,
    )  # fmt: skip


SPECS = (
    _spec(
        "satmae_s2_10b",
        (
            _variant(
                "large", 1024, 24, 16, 303.1,
                **_zenodo(
                    "pretrain-vit-large-e199.pth",
                    size=3_949_597_273,
                    sha256="1b120cbe1beac0b70a53cc3554b13f1c1025ee3b3e360986d01095010ef9bb64",
                    md5="436bcd815194afdae38f3e023c74e9cd",
                    source="Zenodo's MD5; SHA-256 of the same bytes computed by two other projects",
                ),
            ),
            _variant(
                "base", 768, 12, 12, 85.6,
                **_zenodo(
                    "pretrain-vit-base-e199.pth",
                    approx_size=1_340_000_000,
                    md5="1269e6a8255cee0affdeb6bb75776c86",
                    source="Zenodo's MD5, stated by another project; the size is three times that "
                    "of the weights alone, since the optimiser's two moments lie beside them",
                ),
            ),
        ),
        title="SatMAE, fMoW-Sentinel",
        summary="Masked autoencoder of ten Sentinel-2 bands in three groups.",
        licence="weights: CC BY 4.0; code: CC BY-NC 4.0",
        citation="Cong et al. 2022, SatMAE: Pre-training Transformers for Temporal and "
        "Multi-Spectral Satellite Imagery, NeurIPS, arXiv:2207.08051",
        links=(
            "https://arxiv.org/abs/2207.08051",
            "https://github.com/sustainlab-group/SatMAE",
            "https://zenodo.org/records/7338613",
        ),
    ),
    _spec(
        "satmaepp_s2_10b",
        (
            _variant(
                "large", 1024, 24, 16, 303.1,
                filename="checkpoint_ViT-L_pretrain_fmow_sentinel.pth",
                repo="mubashir04/checkpoint_ViT-L_pretrain_fmow_sentinel",
                revision="e6792ae99987b96569993306b396c232f27ba8cc",
                size=3_951_109_525,
                sha256="a3c71857fa8c00394d40dd83bdd0a54c92b640c1909bfea148b069b857048af2",
                licence="Apache-2.0",
                source="the hub's LFS pointer at that revision",
            ),
        ),
        title="SatMAE++, fMoW-Sentinel",
        summary="SatMAE's ten-band encoder, pretrained to reconstruct at three scales.",
        licence="Apache-2.0",
        citation="Noman et al. 2024, Rethinking Transformers Pre-training for Multi-Spectral "
        "Satellite Imagery, CVPR, arXiv:2403.05419",
        links=(
            "https://arxiv.org/abs/2403.05419",
            "https://github.com/techmn/satmae_pp",
            "https://huggingface.co/mubashir04/checkpoint_ViT-L_pretrain_fmow_sentinel",
        ),
    ),
)  # fmt: skip


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``image`` ``(B, 10, H, W)`` float32: 8-bit levels as 0..1.

    With ``prepare="official"`` each is then resized (bicubic) so that its shorter side is
    ``window_px / 0.875``, and cropped to the middle square.
    """
    config = model.variant.config
    levels = band_levels(windows.pixels[:, 0], config["mean"], config["std"])
    image = (fill_missing(levels, 127.0) / 255).astype(np.float32)
    if model.options["prepare"] == "official":
        smooth = bool(model.options["antialias"])
        image = resize_and_crop(image, model.window_px, model.image_px, antialias=smooth)
    return {"image": image}


def band_levels(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Whole numbers 0..255, float64: two standard deviations about the mean of each band, cut off.

    ``(..., C, H, W)`` to the same; NaN stays.
    """
    centre, spread = (np.array(one, dtype=np.float64)[:, None, None] for one in (mean, std))
    lowest = centre - 2 * spread
    return np.asarray(np.floor(np.clip((pixels - lowest) / (4 * spread) * 255, 0, 255)))


def build(model: Model) -> Network:
    """The encoder, with the parts and names of the published files."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    groups, width = config["channel_groups"], config["channel_embed"]
    places = (config["img_size"] // patch) ** 2
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "pos_embed": nn.Parameter(torch.zeros(1, 1 + places, dim - width)),
        "channel_embed": nn.Parameter(torch.zeros(1, len(groups), width)),
        "patch_embed": nn.ModuleList(
            nn.ModuleDict({"proj": nn.Conv2d(len(group), dim, patch, patch)}) for group in groups
        ),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=eps, mlp_ratio=config["mlp_ratio"]
        ),
        "norm": nn.LayerNorm(dim, eps=eps),
    }
    return Network(forward, parts, {"groups": groups, "cell": model.options["groups"]})


def forward(network: Any, image: Tensor) -> dict[str, Tensor]:
    """``grid`` ``(B, h, w, D)``: the mean over the groups of the tokens after the final norm.

    With the option ``groups="separate"`` it is ``(B, h, w, 3 * D)``.

    ``image`` is ``(B, 10, H, W)``, 0..1. The stored codes of place and group are added as they
    are, side by side; those of places are interpolated where the image is of another size. The
    class token gets none, as in the masked autoencoder.
    """
    import torch

    from rs_embed.embedders.blocks import resample_positions

    groups = network.config["groups"]
    patches = [
        embed["proj"](image[:, list(group)])  # (B, D, h, w)
        for embed, group in zip(network.patch_embed, groups, strict=True)
    ]
    rows, cols = patches[0].shape[2:]
    place = resample_positions(network.pos_embed, rows, cols)[0, 1:]
    codes = torch.cat(
        [
            place.expand(len(groups), -1, -1),
            network.channel_embed[0, :, None].expand(-1, len(place), -1),
        ],
        dim=-1,
    )  # (groups, h * w, D)
    x = torch.stack(patches, dim=1).flatten(3).transpose(2, 3) + codes
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    cells = tokens[:, 1:].reshape(len(tokens), len(groups), rows, cols, -1)
    if network.config["cell"] == "separate":
        return {"grid": cells.permute(0, 2, 3, 1, 4).flatten(3)}
    return {"grid": cells.mean(dim=1)}
