"""RemoteCLIP: the image tower of a CLIP trained on remote-sensing images and captions.

Liu et al. 2024, arXiv:2306.11029; github.com/ChenDelong1999/RemoteCLIP. The networks are timm's
own; the published keys are open_clip's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core import photographs
from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows
from rs_embed.embedders.keys import Keys, Row

if TYPE_CHECKING:
    from torch import Tensor, nn

# open_clip's own constants (its OPENAI_DATASET_MEAN and OPENAI_DATASET_STD), for RGB in 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def _variant(
    name: str, dim: int, params_m: float, file: str, size: int, sha256: str, **config: Any
) -> Variant:
    weights = WeightRecord(
        f"RemoteCLIP-{file}.pt",
        repo="chendelong/RemoteCLIP", revision="bf1d8a3ccf2ddbf7c875705e46373bfe542bce38",
        size=size, sha256=sha256, source="the hub's LFS pointers at that revision",
        licence="not stated on the hub page (the authors' code is Apache-2.0)", restricted=True,
    )  # fmt: skip
    config = {**config, "image_size": 224, "norm_eps": 1e-5, "mean": MEAN, "std": STD}
    token_px = config.get("patch_size", 32)
    return Variant(name, dim, config, weights, token_px=token_px, params_m=params_m)


SPEC = ModelSpec(
    id="remoteclip_s2rgb",
    title="RemoteCLIP",
    summary="CLIP fine-tuned on remote-sensing images and captions; red, green and blue only.",
    modalities=photographs.INPUTS,
    variants=(
        _variant(
            "vit_b_32", 768, 87.8, "ViT-B-32", 605_208_421,
            "60014e395d930a3f2963d1d89c8522bf4ad56775571e4356e866864789af85c4",
            embed_dim=512, width=768, layers=12, heads=12, patch_size=32,
        ),
        _variant(
            "vit_l_14", 1024, 304.0, "ViT-L-14", 1_710_613_765,
            "fcc2a7e21e171f4ffcb7a9c0206b8b74ac0c9eb83c67b576958b7a4ed6c8cecb",
            embed_dim=768, width=1024, layers=24, heads=16, patch_size=14,
        ),
        _variant(
            "rn50", 2048, 38.3, "RN50", 408_397_807,
            "11657d33a87fc197e19a7654a76a632415ebea42feb8a61025ef389f8990c0f9",
            embed_dim=1024, width=64, layers=(3, 4, 6, 3), heads=32,
        ),
    ),
    default_variant="vit_b_32",
    scale_m=10,
    window_px=224,
    token_px=32,
    module=__name__,
    options=(
        Option("activation", str, "gelu",
               "activation of the transformers: exact GELU, as the authors' README loads them, or "
               "QuickGELU, as their retrieval script does; rn50 has neither",
               choices=("gelu", "quickgelu"), builds=True),
        photographs.REFLECTANCE_MAX,
        Option("prepare", str, "native",
               "native: windows of pixels as they are; official: the whole region as one window, "
               "resized and cropped as the authors' evaluation does (needs pillow)",
               choices=("native", "official")),
        Option("window_px", int, 224,
               "pixels a side of a window; positions are interpolated (bicubic, antialiased)",
               minimum=14, sets="window_px"),
    ),
    image_vector="class token (rn50: attention pooling) projected to the space shared with text",
    assumptions=photographs.ASSUMPTIONS,
    aliases=("remoteclip",),
    licence="weights: not stated; code: Apache-2.0 (RemoteCLIP), MIT (open_clip)",
    citation="Liu et al. 2024, RemoteCLIP: A Vision Language Foundation Model for Remote Sensing, "
    "IEEE Transactions on Geoscience and Remote Sensing 62, arXiv:2306.11029",
    links=(
        "https://arxiv.org/abs/2306.11029",
        "https://github.com/ChenDelong1999/RemoteCLIP",
        "https://huggingface.co/chendelong/RemoteCLIP",
    ),
)  # fmt: skip


_TEXT = (
    "positional_embedding", "text_projection", "logit_scale", "token_embedding.weight",
    "transformer.resblocks.*", "ln_final.*",
)  # fmt: skip
_FILE: dict[str, Any] = {
    "ignored": tuple((key, "the text tower, not needed to embed images") for key in _TEXT),
    "beside": ("positional_embedding", "logit_scale", "transformer.resblocks.0.ln_1.weight"),
    "copies": "model.",
}
_VIT_KEYS = Keys(
    rows=(
        Row("visual.class_embedding", "cls_token", lead=2),
        Row("visual.positional_embedding", "pos_embed", lead=1),
        Row("visual.proj", "head.weight", turned=True),
        ("visual.conv1.", "patch_embed.proj."),
        ("visual.ln_pre.", "norm_pre."),
        ("visual.ln_post.", "norm."),
        ("visual.transformer.resblocks.{}.ln_1.", "blocks.{}.norm1."),
        ("visual.transformer.resblocks.{}.ln_2.", "blocks.{}.norm2."),
        ("visual.transformer.resblocks.{}.attn.in_proj_{}", "blocks.{}.attn.qkv.{}"),
        ("visual.transformer.resblocks.{}.attn.out_proj.", "blocks.{}.attn.proj."),
        ("visual.transformer.resblocks.{}.mlp.c_fc.", "blocks.{}.mlp.fc1."),
        ("visual.transformer.resblocks.{}.mlp.c_proj.", "blocks.{}.mlp.fc2."),
    ),
    **_FILE,
)
_RESNET_KEYS = Keys(
    rows=(
        *((f"visual.conv{i}.", f"stem.conv{i}.conv.") for i in (1, 2, 3)),
        *((f"visual.bn{i}.", f"stem.conv{i}.bn.") for i in (1, 2, 3)),
        *(
            (f"visual.layer{stage + 1}.{{}}.{theirs}.", f"stages.{stage}.{{}}.{ours}.")
            for stage in range(4)
            for theirs, ours in (
                ("conv1", "conv1_1x1.conv"), ("bn1", "conv1_1x1.bn"),
                ("conv2", "conv2_kxk.conv"), ("bn2", "conv2_kxk.bn"),
                ("conv3", "conv3_1x1.conv"), ("bn3", "conv3_1x1.bn"),
                ("downsample.0", "shortcut.conv.conv"), ("downsample.1", "shortcut.conv.bn"),
            )
        ),
        *((f"visual.attnpool.{part}_proj.", f"head.{part}.") for part in "qkv"),
        ("visual.attnpool.c_proj.", "head.proj."),
        ("visual.attnpool.positional_embedding", "head.pos_embed"),
    ),
    **_FILE,
)  # fmt: skip


def keys(model: Model) -> Keys:
    """The published keys of the image tower: a transformer's or a ResNet's."""
    return _RESNET_KEYS if _is_resnet(model.variant.config) else _VIT_KEYS


def build(model: Model) -> nn.Module:
    """The VisionTransformer or modified ResNet of timm, with the projection as its head.

    Takes ``(B, 3, H, W)`` normalised RGB of any size that is whole tokens.
    """
    config = model.variant.config
    activation = str(model.options["activation"])
    network: nn.Module = _resnet(config) if _is_resnet(config) else _vit(config, activation)
    return network


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``image`` ``(B, 3, H, W)`` float32: display values, normalised with open_clip's constants.

    With ``prepare="official"`` each window is first resized (Pillow, bicubic, antialiased) so that
    its shorter side is ``window_px``, and cropped to the middle square. The authors have no rule
    for missing pixels; here they become the level next to the mean of the normalisation.
    """
    mean, std = (model.variant.config[name] for name in ("mean", "std"))
    levels = photographs.display_levels(windows.pixels[:, 0], model, mean)
    if model.options["prepare"] == "official":
        from rs_embed.embedders.blocks import resize_photographs

        levels = resize_photographs(levels, model.window_px, "bicubic")
    return {"image": photographs.normalised(levels, mean, std)}


def forward(network: Any, image: Tensor) -> dict[str, Tensor]:
    """Patch tokens after the last norm, unprojected; the image vector is the projected one.

    ViT: grid ``(B, h, w, 768 | 1024)``, image ``(B, 512 | 768)``. rn50: the last stage
    ``(B, h, w, 2048)``, and its attention pooling ``(B, 1024)``. Nothing is L2-normalised.
    """
    features = network.forward_features(image)
    vector = network.forward_head(features)
    if features.ndim == 4:  # (B, D, h, w) of the ResNet
        return {"grid": features.permute(0, 2, 3, 1), "image": vector}
    side = network.patch_embed.patch_size[0]
    rows, cols = (size // side for size in image.shape[2:])
    # The class token is first.
    return {"grid": features[:, 1:].unflatten(1, (rows, cols)), "image": vector}


def _is_resnet(config: Mapping[str, Any]) -> bool:
    return "patch_size" not in config


def _vit(config: Mapping[str, Any], activation: str) -> Any:
    from functools import partial

    from timm.layers.norm import LayerNorm
    from timm.models.vision_transformer import VisionTransformer
    from torch.nn import Linear

    network = VisionTransformer(
        img_size=config["image_size"], patch_size=config["patch_size"], dynamic_img_size=True,
        embed_dim=config["width"], depth=config["layers"], num_heads=config["heads"],
        num_classes=config["embed_dim"], pre_norm=True,
        norm_layer=partial(LayerNorm, eps=config["norm_eps"]),
        act_layer="quick_gelu" if activation == "quickgelu" else None,  # None: exact GELU
    )  # fmt: skip
    # The published projection is a plain matrix.
    network.head = Linear(config["width"], config["embed_dim"], bias=False)
    return network


def _resnet(config: Mapping[str, Any]) -> Any:
    from timm.layers.attention_pool2d import AttentionPool2d
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

    width = config["width"]
    stages = tuple(
        ByoBlockCfg(type="bottle", d=depth, c=4 * width * 2**i, s=1 if i == 0 else 2, br=0.25)
        for i, depth in enumerate(config["layers"])
    )
    layout = ByoModelCfg(
        stages, stem_type="", stem_chs=(width // 2, width // 2, width), stem_pool="avg2",
        downsample="avg", aa_layer="avg", head_type="attn_abs",
    )  # fmt: skip
    network: Any = ByobNet(layout, num_classes=config["embed_dim"], img_size=config["image_size"])
    # timm's own head has 64 channels a head, which is the published 32 heads at full width only.
    network.head = AttentionPool2d(
        network.num_features, feat_size=network.head.feat_size, qkv_separate=True,
        out_features=config["embed_dim"], num_heads=config["heads"],
    )  # fmt: skip
    return network
