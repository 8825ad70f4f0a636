"""SatMAE and SatMAE++ on red, green and blue: masked autoencoders of high-resolution photographs.

Cong et al. 2022, arXiv:2207.08051, github.com/sustainlab-group/SatMAE; Noman et al. 2024,
arXiv:2403.05419, github.com/techmn/satmae_pp. One encoder, a ViT-L/16, two trainings of it on
fMoW-RGB: the second also reconstructs the image at twice its size. Pretraining shuffles the patches
before it hides some; here none is hidden and none moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core import photographs
from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows
from rs_embed.core.resample import resize_and_crop
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

# fMoW-RGB's, of values 0..1: util/datasets.py of both repositories.
MEAN = (0.4182007312774658, 0.4214799106121063, 0.3991275727748871)
STD = (0.28774282336235046, 0.27541765570640564, 0.2764017581939697)

KEYS = Keys(
    wrapper="model",
    arguments=True,
    ignored=(
        ("decoder_*", "the decoder of pretraining, not needed to embed"),
        ("mask_token", "the same: stands for masked patches in pretraining"),
        ("proj_up_*", "the larger reconstruction of SatMAE++, after its decoder"),
        ("up_block.*", "the same"),
    ),
    beside=("decoder_embed.weight", "decoder_blocks.0.norm1.bias", "decoder_pos_embed",
            "mask_token", "proj_up_conv.weight", "proj_up_norm.bias", "up_block.0.weight"),
)  # fmt: skip

_LARGE = {
    "embed_dim": 1024, "depth": 24, "num_heads": 16, "decoder_embed_dim": 512, "decoder_depth": 8,
    "decoder_num_heads": 16, "mlp_ratio": 4, "img_size": 224, "patch_size": 16, "in_chans": 3,
    "norm_eps": 1e-6, "mean": MEAN, "std": STD,
}  # fmt: skip

_OPTIONS = (
    Option(
        "scale_m", float, 10.0,
        "metres a pixel that the model sees; it was trained on photographs of less than one to a "
        "few metres, and 10 m is where Sentinel-2's pixels end",
        minimum=0.01, sets="scale_m",
    ),
    photographs.REFLECTANCE_MAX,
    Option(
        "prepare", str, "native",
        "native: windows of pixels as they are; official: the whole region as one image, resized "
        "and cropped as the authors' evaluation does, so that its margins have no cells",
        choices=("native", "official"),
    ),
    Option(
        "antialias", bool, False,
        "of prepare='official': resize as torchvision does by default since 0.17; false: as in "
        "0.12, which the authors pin",
    ),
    Option(
        "window_px", int, 224,
        "pixels a side of a window; off 224 the stored positions are interpolated (bicubic)",
        minimum=16, sets="window_px",
    ),
)  # fmt: skip


def _spec(name: str, weights: WeightRecord, **facts: Any) -> ModelSpec:
    return ModelSpec(
        id=name,
        modalities=photographs.INPUTS,
        variants=(Variant("large", 1024, _LARGE, weights, params_m=303.3),),
        default_variant="large",
        scale_m=10,
        window_px=224,
        token_px=16,
        module=__name__,
        options=_OPTIONS,
        official_crop=224 / 256,
        assumptions=photographs.ASSUMPTIONS,
        **facts,
    )


SPECS = (
    _spec(
        "satmae_rgb",
        WeightRecord(
            "model.safetensors",
            repo="MVRL/satmae-vitlarge-fmow-pretrain-800",
            revision="deb650b7e58d9de4748fefd4e864c3e516e73ab2",
            approx_size=1_320_000_000,
            licence="not stated on the hub page (the authors' code is CC BY-NC 4.0)",
            restricted=True,
            source="the hub's list of files at that revision; nobody states a hash",
        ),
        title="SatMAE, fMoW-RGB",
        summary="Masked autoencoder (ViT-L/16) of high-resolution photographs in RGB.",
        aliases=("satmae",),
        licence="weights: not stated; code: CC BY-NC 4.0",
        citation="Cong et al. 2022, SatMAE: Pre-training Transformers for Temporal and "
        "Multi-Spectral Satellite Imagery, NeurIPS, arXiv:2207.08051",
        links=(
            "https://arxiv.org/abs/2207.08051",
            "https://github.com/sustainlab-group/SatMAE",
            "https://huggingface.co/MVRL/satmae-vitlarge-fmow-pretrain-800",
        ),
    ),
    _spec(
        "satmaepp_rgb",
        WeightRecord(
            "checkpoint_ViT-L_pretrain_fmow_rgb.pth",
            repo="mubashir04/checkpoint_ViT-L_pretrain_fmow_rgb",
            revision="8f4c97f767fb633c635e0c23f6e1441be9487f0f",
            size=3_952_618_663,
            sha256="95e3feff830ecd945161dacdc791c9c9d433d9943baa0f000d71af3765843d30",
            licence="Apache-2.0",
            source="the hub's LFS pointer at that revision",
        ),
        title="SatMAE++, fMoW-RGB",
        summary="SatMAE's RGB encoder, pretrained to reconstruct at two scales.",
        aliases=("satmaepp", "satmae++"),
        licence="Apache-2.0",
        citation="Noman et al. 2024, Rethinking Transformers Pre-training for Multi-Spectral "
        "Satellite Imagery, CVPR, arXiv:2403.05419",
        links=(
            "https://arxiv.org/abs/2403.05419",
            "https://github.com/techmn/satmae_pp",
            "https://huggingface.co/mubashir04/checkpoint_ViT-L_pretrain_fmow_rgb",
        ),
    ),
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``image`` ``(B, 3, H, W)`` float32: display values, normalised with fMoW-RGB's constants.

    With ``prepare="official"`` each is then resized (bicubic) so that its shorter side is
    ``window_px / 0.875``, and cropped to the middle square.
    """
    config = model.variant.config
    levels = photographs.display_levels(windows.pixels[:, 0], model, config["mean"])
    image = photographs.normalised(levels, config["mean"], config["std"])
    if model.options["prepare"] == "official":
        smooth = bool(model.options["antialias"])
        image = resize_and_crop(image, model.window_px, model.image_px, antialias=smooth)
    return {"image": image}


def build(model: Model) -> Network:
    """The encoder, with the parts and names of the published files."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    places = (config["img_size"] // patch) ** 2
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "pos_embed": nn.Parameter(torch.zeros(1, 1 + places, dim)),
        "patch_embed": nn.ModuleDict({"proj": nn.Conv2d(config["in_chans"], dim, patch, patch)}),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=eps, mlp_ratio=config["mlp_ratio"]
        ),
        "norm": nn.LayerNorm(dim, eps=eps),
    }
    return Network(forward, parts, {})


def forward(network: Any, image: Tensor) -> dict[str, Tensor]:
    """``grid`` ``(B, h, w, D)``: the patch tokens after the final norm, row by row.

    ``image`` is ``(B, 3, H, W)``, normalised. The stored positions are added as they are, the
    class token's to the class token; they are interpolated where the image is of another size.
    """
    import torch

    from rs_embed.embedders.blocks import resample_positions

    patches = network.patch_embed["proj"](image)  # (B, D, h, w)
    rows, cols = patches.shape[2:]
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x], dim=1)
    x = x + resample_positions(network.pos_embed, rows, cols)
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return {"grid": tokens[:, 1:].reshape(len(tokens), rows, cols, -1)}
