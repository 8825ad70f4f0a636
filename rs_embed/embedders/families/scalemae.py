"""Scale-MAE: a masked autoencoder whose positions are metres on the ground.

Reed et al. 2023, arXiv:2212.14532; github.com/bair-climate-initiative/scale-mae. A ViT-L/16 on RGB.
The code of a patch is that of its row and column times the size of a pixel, so that the network
knows how large what it sees is. The authors' evaluation takes the class token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core import photographs
from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

# ImageNet's, of values 0..1, which the authors' fmow.yaml and FMOW_DATASET_STATS hold.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

KEYS = Keys(
    wrapper="model",
    ignored=(
        ("pos_embed", "a stored table that the authors' code never reads"),
        ("decoder_*", "the decoder of pretraining, not needed to embed"),
        ("mask_token*", "the same: stands for masked patches in pretraining"),
        ("fpn.*", "the reconstruction at two scales, after the decoder"),
        ("fcn*", "the same"),
        ("pos_emb_projection.*", "the same"),
    ),
    beside=("pos_embed",),
)

SPEC = ModelSpec(
    id="scalemae_rgb",
    title="Scale-MAE",
    summary="Masked autoencoder (ViT-L/16) of RGB photographs that knows the size of a pixel.",
    modalities=photographs.INPUTS,
    variants=(
        Variant(
            "large",
            1024,
            {
                "embed_dim": 1024, "depth": 24, "num_heads": 16, "img_size": 224, "patch_size": 16,
                "mlp_ratio": 4, "norm_eps": 1e-6, "mean": MEAN, "std": STD,
            },
            WeightRecord(
                "vit_large_patch16_224_fmow_rgb_scalemae-386989c9.pth",
                repo="isaaccorley/vit_large_patch16_224_fmow_rgb_scalemae",
                revision="75650aaca720ef9c6638d16f5b4375f0022c56c9",
                size=1_213_304_038,
                sha256="386989c9cf349a5045c2ac76f7d0225ae3a54b2a2c158fa87e5df5103e5d9ed9",
                licence="CC BY-NC 4.0",
                restricted=True,
                source="the hub's LFS pointer of the same bytes under an older name",
            ),
            params_m=303.1,
        ),
    ),
    default_variant="large",
    scale_m=10,
    window_px=224,
    token_px=16,
    module=__name__,
    options=(
        Option(
            "scale_m", float, 10.0,
            "metres a pixel that the model sees and is told; it was trained at 0.3 to some 5 m, "
            "and 10 m is where Sentinel-2's pixels end",
            minimum=0.01, sets="scale_m",
        ),
        photographs.REFLECTANCE_MAX,
        Option(
            "input_res", float, None,
            "metres a pixel to tell the network instead of the pixels' own, such as 1.0, the "
            "relative scale of the authors' evaluation",
            minimum=0.001,
        ),
        Option(
            "prepare", str, "native",
            "native: windows of pixels as they are; official: the whole region as one window, "
            "resized and cropped as the authors' evaluation does (needs pillow)",
            choices=("native", "official"),
        ),
        Option(
            "window_px", int, 224, "pixels a side of a window; positions follow, nothing is "
            "interpolated", minimum=16, sets="window_px",
        ),
    ),
    image_vector="the class token after the last norm, as the authors' linear probe takes it",
    assumptions=photographs.ASSUMPTIONS,
    aliases=("scalemae",),
    licence="CC BY-NC 4.0",
    citation="Reed et al. 2023, Scale-MAE: A Scale-Aware Masked Autoencoder for Multiscale "
    "Geospatial Representation Learning, ICCV, arXiv:2212.14532",
    links=(
        "https://arxiv.org/abs/2212.14532",
        "https://github.com/bair-climate-initiative/scale-mae",
        "https://huggingface.co/isaaccorley/vit_large_patch16_224_fmow_rgb_scalemae",
    ),
)  # fmt: skip


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        ``image`` ``(B, 3, H, W)`` float32, display values normalised with ImageNet's constants;
        ``res`` ``(B,)`` float32, metres a pixel of the image as fed. With ``prepare="official"``
        the image was first resized (Pillow, bilinear), and its pixels are then larger or smaller.
    """
    config, metres = model.variant.config, windows.scale_m
    levels = photographs.display_levels(windows.pixels[:, 0], model, config["mean"])
    if model.options["prepare"] == "official":
        from rs_embed.embedders.blocks import resize_photographs

        metres *= min(levels.shape[2:]) / model.window_px
        levels = resize_photographs(levels, model.window_px, "bilinear")
    told = model.options["input_res"] or metres
    image = photographs.normalised(levels, config["mean"], config["std"])
    return {"image": image, "res": np.full(len(image), told, dtype=np.float32)}


def build(model: Model) -> Network:
    """The encoder, with the parts and names of the published files."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "patch_embed": nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)}),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=eps, mlp_ratio=config["mlp_ratio"]
        ),
        "norm": nn.LayerNorm(dim, eps=eps),
    }
    return Network(forward, parts, {})


def forward(network: Any, image: Tensor, res: Tensor) -> dict[str, Tensor]:
    """The tokens after the final norm.

    Parameters
    ----------
    network : Network
    image : Tensor
        ``(B, 3, H, W)`` normalised.
    res : Tensor
        ``(B,)`` metres a pixel.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``, the patch tokens; ``image`` ``(B, D)``, the class token.
    """
    import torch

    from rs_embed.embedders.blocks import sincos_2d

    patches = network.patch_embed["proj"](image)  # (B, D, h, w)
    rows, cols = patches.shape[2:]
    x = patches.permute(0, 2, 3, 1)
    # The authors compute positions in single precision, whatever the network's.
    steps = torch.arange(max(rows, cols), dtype=torch.float32, device=x.device)
    codes = [
        sincos_2d(x.shape[-1], steps[:rows] * metres, steps[:cols] * metres, first="column")
        for metres in res.float()
    ]
    x = (x + torch.stack(codes).to(x)).flatten(1, 2)
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x], dim=1)
    for block in network.blocks:
        x = block(x)
    tokens: Tensor = network.norm(x)
    return {"grid": tokens[:, 1:].reshape(len(tokens), rows, cols, -1), "image": tokens[:, 0]}
