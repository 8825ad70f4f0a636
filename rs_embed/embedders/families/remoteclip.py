"""RemoteCLIP: the image tower of a CLIP trained on remote-sensing images and captions.

Liu et al. 2024, arXiv:2306.11029; github.com/ChenDelong1999/RemoteCLIP. The networks are timm's
own, and timm's converters turn the published keys (open_clip's) into theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.extras import missing_text
from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

# open_clip's own constants (its OPENAI_DATASET_MEAN and OPENAI_DATASET_STD), for RGB in 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# More than float32 takes from a level that is a whole number, before the rest is cut off.
_ROUNDING = 4e-5
_TEXT = re.compile(
    r"positional_embedding|text_projection|logit_scale|token_embedding\.weight"
    r"|ln_final\.(weight|bias)|transformer\.resblocks\..+"
)
# Parts of the networks' keys, in turn, and what open_clip calls them.
_PUBLISHED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^cls_token$", "class_embedding"),
    (r"pos_embed$", "positional_embedding"),
    (r"^head\.weight$", "proj"),
    (r"^patch_embed\.proj\.", "conv1."),
    (r"^norm_pre\.", "ln_pre."),
    (r"^norm\.", "ln_post."),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"\.qkv\.", ".in_proj_"),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.fc1\.", ".c_fc."),
    (r"\.fc2\.", ".c_proj."),
    (r"^stem\.conv([123])\.(conv|bn)\.", r"\2\1."),
    (r"^stages\.(\d)\.", lambda m: f"layer{int(m[1]) + 1}."),
    (r"\.conv([123])_(?:1x1|kxk)\.(conv|bn)\.", r".\2\1."),
    (r"\.shortcut\.conv\.conv\.", ".downsample.0."),
    (r"\.shortcut\.conv\.bn\.", ".downsample.1."),
    (r"^head\.([qkv])\.", r"attnpool.\1_proj."),
    (r"^head\.proj\.", "attnpool.c_proj."),
    (r"^head\.positional", "attnpool.positional"),
)


def _published(filename: str, size: int, sha256: str) -> WeightRecord:
    return WeightRecord(
        filename,
        repo="chendelong/RemoteCLIP",
        revision="bf1d8a3ccf2ddbf7c875705e46373bfe542bce38",
        size=size,
        sha256=sha256,
        licence="not stated on the hub page (the authors' code is Apache-2.0)",
        restricted=True,
        source="the hub's LFS pointers at that revision",
    )


SPEC = ModelSpec(
    id="remoteclip_s2rgb",
    title="RemoteCLIP",
    summary="CLIP fine-tuned on remote-sensing images and captions; red, green and blue only.",
    modalities={
        "s2_rgb": (
            InputSpec("s2", ("B4", "B3", "B2"), "reflectance", "COPERNICUS/S2_SR_HARMONIZED"),
        ),
        "rgb": (InputSpec("rgb", ("red", "green", "blue"), "uint8"),),
    },
    variants=(
        Variant(
            "vit_b_32",
            768,
            {"embed_dim": 512, "width": 768, "layers": 12, "heads": 12, "patch_size": 32,
             "image_size": 224},
            _published(
                "RemoteCLIP-ViT-B-32.pt", 605_208_421,
                "60014e395d930a3f2963d1d89c8522bf4ad56775571e4356e866864789af85c4",
            ),
            params_m=87.8,
        ),
        Variant(
            "vit_l_14",
            1024,
            {"embed_dim": 768, "width": 1024, "layers": 24, "heads": 16, "patch_size": 14,
             "image_size": 224},
            _published(
                "RemoteCLIP-ViT-L-14.pt", 1_710_613_765,
                "fcc2a7e21e171f4ffcb7a9c0206b8b74ac0c9eb83c67b576958b7a4ed6c8cecb",
            ),
            token_px=14,
            params_m=304.0,
        ),
        Variant(
            "rn50",
            2048,
            {"embed_dim": 1024, "width": 64, "layers": (3, 4, 6, 3), "heads": 32,
             "image_size": 224},
            _published(
                "RemoteCLIP-RN50.pt", 408_397_807,
                "11657d33a87fc197e19a7654a76a632415ebea42feb8a61025ef389f8990c0f9",
            ),
            params_m=38.3,
        ),
    ),
    default_variant="vit_b_32",
    scale_m=10,
    window_px=224,
    token_px=32,
    prepare="rs_embed.embedders.families.remoteclip:prepare",
    encode="rs_embed.embedders.families.remoteclip:encode",
    build="rs_embed.embedders.families.remoteclip:build",
    checkpoint_filter="rs_embed.embedders.families.remoteclip:checkpoint_filter",
    options=(
        Option(
            "activation", str, "gelu",
            "activation of the transformers: exact GELU, as the authors' README loads them, or "
            "QuickGELU, as their retrieval script does; rn50 has neither",
            choices=("gelu", "quickgelu"), builds=True,
        ),
        Option(
            "reflectance_max", float, 0.3,
            "reflectance that becomes display value 255; 0.3 is this project's own rule, since "
            "the authors give none, and 1.0 is reflectance x 255",
            minimum=0.01, maximum=10,
        ),
        Option(
            "prepare", str, "native",
            "native: windows of pixels as they are; official: the whole region as one window, "
            "resized and cropped as the authors' evaluation does (needs pillow)",
            choices=("native", "official"),
        ),
        Option(
            "window_px", int, 224,
            "pixels a side of a window; positions are interpolated (bicubic, antialiased)",
            minimum=14, sets="window_px",
        ),
    ),
    image_vector="class token (rn50: attention pooling) projected to the space shared with text",
    assumptions=(
        "reflectance 0..reflectance_max (option, 0.3) becomes display values 0..255",
        "a missing pixel becomes the display value next to the mean of the normalisation",
    ),
    aliases=("remoteclip",),
    licence="weights: not stated; code: Apache-2.0 (RemoteCLIP), MIT (open_clip)",
    citation="Liu et al. 2024, RemoteCLIP: A Vision Language Foundation Model for Remote Sensing, "
    "IEEE Transactions on Geoscience and Remote Sensing 62, arXiv:2306.11029",
    links=(
        "https://arxiv.org/abs/2306.11029",
        "https://github.com/ChenDelong1999/RemoteCLIP",
        "https://huggingface.co/chendelong/RemoteCLIP",
    ),
    parity="rs_embed.parity.remoteclip:run",
)  # fmt: skip


def build(model: Model) -> nn.Module:
    """The VisionTransformer or modified ResNet of timm, with the projection as its head.

    Takes ``(B, 3, H, W)`` normalised RGB of any size that is whole tokens.
    """
    config = model.variant.config
    network: nn.Module = (
        _resnet(config) if _is_resnet(config) else _vit(config, str(model.options["activation"]))
    )
    return network


def checkpoint_filter(state: Mapping[str, Tensor], model: Model) -> dict[str, Tensor]:
    """Published keys to timm's: ``visual.*``, or ``model.visual.*`` of the mirrors; text dropped.

    Raises
    ------
    ModelError
        Naming, as published, every key that is missing or unknown, or a patch size or number of
        positions that is not the variant's (timm would resample those without a word).
    """
    import torch
    from timm.models import byobnet, vision_transformer

    with torch.device("meta"):
        like: Any = build(model)
    start = "model." if any(key.startswith("model.visual.") for key in state) else ""
    named = {key.removeprefix(start): tensor for key, tensor in state.items()}
    image = {key: tensor for key, tensor in named.items() if not _TEXT.fullmatch(key)}
    wanted = {name for key in like.state_dict() if (name := published_name(key))}
    _check_keys(model, wanted, set(image))
    if _is_resnet(model.variant.config):
        return dict(byobnet.checkpoint_filter_fn(image, like))
    _check_shape(model, "visual.conv1.weight", image, like.patch_embed.proj.weight.shape)
    _check_shape(model, "visual.positional_embedding", image, like.pos_embed.shape[1:])
    return dict(vision_transformer.checkpoint_filter_fn(image, like))


def published_name(key: str) -> str | None:
    """What a key of the network is called in the authors' files; None for the zero bias.

    Examples
    --------
    >>> published_name("blocks.3.attn.qkv.weight"), published_name("stages.0.1.conv2_kxk.bn.bias")
    ('visual.transformer.resblocks.3.attn.in_proj_weight', 'visual.layer1.1.bn2.bias')
    """
    if key == "head.bias":  # the published projection is a plain matrix
        return None
    for pattern, name in _PUBLISHED:
        key = re.sub(pattern, name, key)
    return f"visual.{key}"


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``image`` ``(B, 3, H, W)`` float32: display values, normalised with open_clip's constants.

    With ``prepare="official"`` each window is first resized (Pillow, bicubic, antialiased) so that
    its shorter side is ``window_px``, and cropped to the middle square.
    """
    levels = display_levels(windows.pixels[:, 0], model)
    if model.options["prepare"] == "official":
        levels = np.stack([_resized_and_cropped(one, model.window_px) for one in levels])
    mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (MEAN, STD))
    levels *= 1 / (255 * std)
    levels -= mean / std
    return {"image": levels}


def display_levels(pixels: np.ndarray, model: Model) -> np.ndarray:
    """Whole numbers 0..255, float32 ``(B, 3, H, W)``: cut off, as a conversion to uint8 does.

    Reflectance from 0 to the option ``reflectance_max`` becomes 0..255. The authors have no rule
    for missing pixels; here they become the level next to the mean of the normalisation.
    """
    top = 255.0 if model.units[0] == "uint8" else float(model.options["reflectance_max"] or 0)
    levels = pixels * np.float32(255 / top)
    levels += np.float32(_ROUNDING)
    np.floor(np.clip(levels, 0, 255, out=levels), out=levels)
    there = np.isfinite(pixels)
    if not there.all():
        mean = np.round(np.array(MEAN, dtype=np.float32) * 255)[:, None, None]
        levels = np.where(there, levels, mean)
    return levels


def encode(network: nn.Module, arrays: dict[str, Any], model: Model) -> Tokens:
    """Patch tokens after the last norm, unprojected; the image vector is the projected one.

    ViT: grid ``(B, h, w, 768 | 1024)``, image ``(B, 512 | 768)``. rn50: the last stage
    ``(B, h, w, 2048)``, and its attention pooling ``(B, 1024)``. Nothing is L2-normalised.
    """
    from rs_embed.embedders.blocks import as_array, as_tensor

    features = network.forward_features(as_tensor(network, arrays["image"]))  # type: ignore[operator]
    image = network.forward_head(features)  # type: ignore[operator]
    if _is_resnet(model.variant.config):
        grid = features.permute(0, 2, 3, 1)  # (B, h, w, D)
    else:
        rows, cols = (size // model.token_px for size in arrays["image"].shape[2:])
        grid = features[:, 1:].unflatten(1, (rows, cols))  # the class token is first
    return Tokens(as_array(grid), as_array(image))


def _is_resnet(config: Mapping[str, Any]) -> bool:
    return "patch_size" not in config


def _vit(config: Mapping[str, Any], activation: str) -> Any:
    from functools import partial

    from timm.layers.norm import LayerNorm
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        num_classes=config["embed_dim"],
        embed_dim=config["width"],
        depth=config["layers"],
        num_heads=config["heads"],
        pre_norm=True,
        norm_layer=partial(LayerNorm, eps=1e-5),
        act_layer="quick_gelu" if activation == "quickgelu" else None,  # None: exact GELU
        dynamic_img_size=True,
    )


def _resnet(config: Mapping[str, Any]) -> Any:
    from timm.layers.attention_pool2d import AttentionPool2d
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

    width = config["width"]
    stages = tuple(
        ByoBlockCfg(type="bottle", d=depth, c=4 * width * 2**i, s=1 if i == 0 else 2, br=0.25)
        for i, depth in enumerate(config["layers"])
    )
    layout = ByoModelCfg(
        stages,
        stem_chs=(width // 2, width // 2, width),
        stem_type="",
        stem_pool="avg2",
        downsample="avg",
        aa_layer="avg",
        head_type="attn_abs",
    )
    network: Any = ByobNet(layout, num_classes=config["embed_dim"], img_size=config["image_size"])
    # timm's own head has 64 channels a head, which is the published 32 heads at full width only.
    network.head = AttentionPool2d(
        network.num_features,
        feat_size=network.head.feat_size,
        out_features=config["embed_dim"],
        num_heads=config["heads"],
        qkv_separate=True,
    )
    return network


def _check_keys(model: Model, wanted: set[str], found: set[str]) -> None:
    problems = [
        f"{len(keys)} {what}: {', '.join(sorted(keys)[:6])}"
        + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
        for what, keys in (
            ("missing from the file", wanted - found),
            ("in the file only", found - wanted),
        )
        if keys
    ]
    if problems:
        raise ModelError(
            f"the weights do not fit {model.id}:{model.variant.name}: {'; '.join(problems)}"
        )


def _check_shape(
    model: Model, key: str, image: Mapping[str, Tensor], wanted: tuple[int, ...]
) -> None:
    if tuple(image[key].shape) != tuple(wanted):
        raise ModelError(
            f"the weights do not fit {model.id}:{model.variant.name}: {key} is "
            f"{tuple(image[key].shape)} where {tuple(wanted)} is wanted"
        )


def _resized_and_cropped(levels: np.ndarray, size: int) -> np.ndarray:
    """``(3, size, size)`` from ``(3, H, W)`` levels: shorter side to ``size``, then the middle."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ModelError(missing_text('prepare="official"', "models", "pillow")) from error
    _, height, width = levels.shape
    short = min(height, width)
    target = (int(size * width / short), int(size * height / short))
    image = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0), dtype=np.uint8))
    resized = np.asarray(image.resize(target, Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = round((target[1] - size) / 2), round((target[0] - size) / 2)
    return resized[top : top + size, left : left + size].transpose(2, 0, 1)
