"""What Prithvi is measured against: the published algorithm and timm's own, on ready tensors."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional

EPS = 1e-5


def published(state: dict[str, torch.Tensor], heads: int, image: torch.Tensor, positions: Any):
    """The published algorithm written down plainly, on the tensors of a published file."""
    weight = {key.removeprefix("encoder."): value for key, value in state.items()}
    dim = weight["cls_token"].shape[-1]
    kernel = weight["patch_embed.proj.weight"]
    x = functional.conv3d(image, kernel, weight["patch_embed.proj.bias"], kernel.shape[2:])
    x = x.flatten(2).transpose(1, 2) + positions
    x = torch.cat([weight["cls_token"].expand(len(x), -1, -1), x], dim=1)
    depth = sum(key.startswith("blocks.") and key.endswith("norm1.weight") for key in weight)
    for i in range(depth):
        w = {k: weight[f"blocks.{i}.{k}"] for k in BLOCK}
        y = functional.layer_norm(x, (dim,), w["norm1.weight"], w["norm1.bias"], EPS)
        y = functional.linear(y, w["attn.qkv.weight"], w["attn.qkv.bias"])
        q, k, v = y.unflatten(-1, (3, heads, dim // heads)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + functional.linear(y, w["attn.proj.weight"], w["attn.proj.bias"])
        y = functional.layer_norm(x, (dim,), w["norm2.weight"], w["norm2.bias"], EPS)
        y = functional.gelu(functional.linear(y, w["mlp.fc1.weight"], w["mlp.fc1.bias"]))
        x = x + functional.linear(y, w["mlp.fc2.weight"], w["mlp.fc2.bias"])
    return functional.layer_norm(x, (dim,), weight["norm.weight"], weight["norm.bias"], EPS)


BLOCK = [
    f"{part}.{kind}"
    for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for kind in ("weight", "bias")
]


def timms_own(state: dict[str, torch.Tensor], heads: int, depth: int, positions: torch.Tensor):
    """timm's whole vision transformer with the same weights; takes ``(B, 6, H, W)``."""
    from timm.models.vision_transformer import VisionTransformer

    own = {key.removeprefix("encoder."): value for key, value in state.items()}
    kernel = own["patch_embed.proj.weight"][:, :, 0]
    names = [key for key in own if key.startswith(("blocks.", "norm.", "cls_token"))]
    filled = {
        **{key: own[key] for key in names},
        "patch_embed.proj.weight": kernel,
        "patch_embed.proj.bias": own["patch_embed.proj.bias"],
        "pos_embed": functional.pad(positions, (0, 0, 1, 0)),
    }
    with torch.device("meta"):
        network = VisionTransformer(
            img_size=round(positions.shape[1] ** 0.5) * kernel.shape[-1],
            patch_size=kernel.shape[-1],
            in_chans=kernel.shape[1],
            num_classes=0,
            embed_dim=kernel.shape[0],
            depth=depth,
            num_heads=heads,
            norm_layer=partial(torch.nn.LayerNorm, eps=EPS),
        )
    network.load_state_dict(filled, assign=True)
    return network.eval().requires_grad_(False).forward_features
