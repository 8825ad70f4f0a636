"""AnySat's parts: what turns a sensor into vectors, and its two kinds of relative attention.

Facts as in github.com/gastruc/AnySat at e03e72e4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

# Channels of each sensor's series, by its name in the published keys.
SERIES = {"alos": 3, "l7": 6, "l8": 11, "modis": 7, "s1": 3, "s1-asc": 2, "s2": 10}
# Channels, and pixels a side of a vector, of the sensors with a single date.
IMAGES = {"aerial": (4, 10), "aerial-flair": (5, 10), "naip": (4, 8), "spot": (3, 10)}
METRES = {"aerial": 2, "aerial-flair": 2}  # a side of a vector, where it is not 10
DAYS = {"l8": 366}  # base of the date code, where it is not ``ltae["T"]``


def series_projector(name: str, channels: int, ltae: Mapping[str, Any]) -> nn.Module:
    """L-TAE under its published keys."""
    import torch
    from torch import nn

    widths, last = (channels, *ltae["mlp_in"]), ltae["mlp"][-1]
    layers: dict[str, nn.Module] = {}
    for i, (before, after) in enumerate(pairwise(widths)):
        layers |= {str(4 * i): nn.Linear(before, after), str(4 * i + 1): nn.GroupNorm(4, after)}
    dim, heads, key = widths[-1], ltae["n_head"], ltae["d_k"]
    attention = nn.ModuleDict({"fc1_k": nn.Linear(dim, heads * key)})
    attention.register_parameter("Q", nn.Parameter(torch.empty(heads, key)))
    parts = {
        "inconv": nn.ModuleDict(layers),
        "attention_heads": attention,
        "mlp": nn.ModuleDict({"0": nn.Linear(dim, last), "1": nn.GroupNorm(4, last)}),
        "out_norm": nn.GroupNorm(heads, last),
    }
    if name == "s2":
        parts["in_norm"] = nn.GroupNorm(heads, dim)
    out = nn.ModuleDict({"patch_embed": nn.ModuleDict(parts)})
    out.register_parameter("pad_parameter", nn.Parameter(torch.empty(())))
    return out


def image_projector(channels: int, side: int, dim: int) -> nn.Module:
    """A patch embedding and two layers with norms, under their published keys."""
    from torch import nn

    return nn.ModuleDict(
        {
            "patch_embed": nn.Conv2d(channels, dim, side, side, bias=False),
            "mlp": nn.ModuleDict(
                {
                    "0": nn.Linear(dim, 2 * dim), "1": nn.LayerNorm(2 * dim),
                    "3": nn.Linear(2 * dim, dim), "4": nn.LayerNorm(dim),
                }
            ),
        }
    )  # fmt: skip


def embedded(network: Any, name: str, sensors: Mapping[str, Tensor]) -> Tensor:
    """``(B, rows, cols, D)`` vectors of one sensor."""
    projector, pixels = getattr(network, f"projector_{name}"), sensors[name]
    if name in IMAGES:
        mlp = projector["mlp"]
        x = projector["patch_embed"](pixels).permute(0, 2, 3, 1)
        x = mlp["1"](mlp["0"](x)).relu()
        out: Tensor = mlp["4"](mlp["3"](x)).relu()
        return out
    batch, steps, _, rows, cols = pixels.shape
    series = pixels.permute(0, 3, 4, 1, 2).flatten(0, 2)  # (N, T, C)
    dates = sensors[f"{name}_dates"].repeat_interleave(rows * cols, dim=0).to(series)
    seen = sensors.get(f"{name}_seen")
    if seen is not None:
        seen = None if seen.all() else seen.permute(0, 2, 3, 1).reshape(-1, steps)
    ltae = network.config["ltae"]
    base = float(DAYS.get(name, ltae["T"]))
    return _series(projector["patch_embed"], series, dates, seen, ltae["n_head"], base).reshape(
        batch, rows, cols, -1
    )


def _series(
    parts: Any, series: Tensor, dates: Tensor, seen: Tensor | None, heads: int, base: float
) -> Tensor:
    """``(N, D)`` of series ``(N, T, C)``: each date by itself, then attention over them."""
    from rs_embed.embedders.blocks import sincos

    layers = list(parts["inconv"].values())
    x = series.flatten(0, 1)
    for linear, norm in zip(layers[::2], layers[1::2], strict=True):
        x = norm(linear(x)).relu()
    x = x.reshape(*series.shape[:2], -1)  # (N, T, D)
    if "in_norm" in parts:
        x = _norm_over_dates(parts["in_norm"], x, seen)
    x = x + sincos(x.shape[-1] // heads, dates, base=base, order="interleaved").repeat(1, 1, heads)
    keys = _heads(parts["attention_heads"]["fc1_k"](x), heads)  # (N, T, heads, d)
    scores = (keys * parts["attention_heads"].Q).sum(dim=-1) / keys.shape[-1] ** 0.5
    if seen is not None:
        scores = scores.masked_fill(~seen[..., None], -np.inf)
    share = scores.softmax(dim=1)[..., None]
    mixed = (share * _heads(x, heads)).sum(dim=1).flatten(1)
    mlp = parts["mlp"]
    out: Tensor = parts["out_norm"](mlp["1"](mlp["0"](mixed)).relu())
    return out


def _heads(x: Tensor, count: int) -> Tensor:
    """The last axis cut into ``count`` parts."""
    return x.reshape(*x.shape[:-1], count, -1)


def _norm_over_dates(norm: Any, x: Tensor, seen: Tensor | None) -> Tensor:
    """The group norm of ``(N, T, D)`` over a group's features and the dates that a pixel has."""
    if seen is None:
        whole: Tensor = norm(x.transpose(1, 2)).transpose(1, 2)
        return whole
    grouped = _heads(x, norm.num_groups)  # (N, T, groups, d)
    weight = seen[..., None, None].to(x)
    count = weight.sum(dim=(1, 3), keepdim=True) * grouped.shape[-1]
    mean = (grouped * weight).sum(dim=(1, 3), keepdim=True) / count
    apart = grouped - mean
    variance = (apart.square() * weight).sum(dim=(1, 3), keepdim=True) / count
    out: Tensor = (apart / (variance + norm.eps).sqrt()).flatten(2) * norm.weight + norm.bias
    return out


def within_patches(network: Any, name: str, pixels: Tensor, metres: int) -> Tensor:
    """``(B, h, w, 1 + n, D)``: of each patch by itself, its own token and those of its pixels."""
    import torch
    from torch.nn import functional

    from rs_embed.embedders.blocks import sincos_2d

    encoder, size = network.spatial_encoder, METRES.get(name, 10)
    side = metres // size
    batch, rows, cols, width = pixels.shape
    x = pixels.reshape(batch, rows // side, side, cols // side, side, width)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, width)
    if size != 10:
        x = _by_cell(x, side, 10 // size)
    steps = torch.arange(side, dtype=torch.float32, device=x.device) * size
    x = x + sincos_2d(width, steps, steps, first="column").flatten(0, 1).to(x)
    x = torch.cat([encoder.cls_token.expand(len(x), -1, -1), x], dim=1)
    buckets = torch.from_numpy(_buckets(side, side)).to(x.device)
    for block in encoder["predictor_blocks"]:
        heads = block.attn.heads
        qkv = block.attn.qkv(block.norm1(x)).unflatten(-1, (3, heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # The table is asked by the first head's query, for all heads.
        asked = q[:, 0] * q.shape[-1] ** -0.5 @ block.attn.rpe_k["lookup_table_weight"][0]
        bias = asked.gather(-1, buckets.expand(len(x), -1, -1))[:, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + block.attn.proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    out: Tensor = encoder["predictor_norm"](x)
    return out.reshape(batch, rows // side, cols // side, -1, width)


def _by_cell(x: Tensor, side: int, cell: int) -> Tensor:
    """Vectors of a patch, cell of 10 m by cell, which is their order for the finest sensors."""
    cells = x.reshape(len(x), side // cell, cell, side // cell, cell, -1)
    return cells.transpose(2, 3).flatten(1, 4)


def across_patches(network: Any, patches: Sequence[Tensor], scale: int) -> tuple[Tensor, Tensor]:
    """The class token ``(B, D)`` and the patches ``(B, h, w, D)`` of all sensors together."""
    import torch
    from torch.nn import functional

    from rs_embed.embedders.blocks import sincos_2d

    batch, rows, cols, width = patches[0].shape
    down, along = (torch.arange(n, dtype=torch.float32) * scale for n in (rows, cols))
    place = sincos_2d(width, down, along, first="column").flatten(0, 1).to(patches[0])
    cls = network.cls_token.expand(batch, -1, -1)
    x = torch.cat([cls, *(one.flatten(1, 2) + place for one in patches)], dim=1)
    *blocks, last = network.blocks
    for block in blocks:
        x = block(x)
    attention, heads = last["attn"], network.config["heads"]
    known = last["norm1"](x)
    asked = attention.q_learned + functional.pad(place, (0, 0, 1, 0))[None]
    q, k, v = (
        _heads(one, heads).transpose(1, 2)
        for one in (asked, attention["wk"](known), attention["wv"](known))
    )
    buckets = torch.from_numpy(_buckets(rows, cols)).to(x.device)
    buckets = torch.cat([buckets[:, :1], *(buckets[:, 1:] for _ in patches)], dim=1)
    # Here the first head's query is not scaled.
    bias = (q[:, 0] @ attention["rpe_k"]["lookup_table_weight"][0]).gather(-1, buckets[None])
    mixed = functional.scaled_dot_product_attention(
        q.expand(batch, -1, -1, -1), k, v, attn_mask=bias[:, None]
    )
    x = attention["proj"](mixed.transpose(1, 2).flatten(2))
    x = x + last["mlp"](last["norm2"](x))
    return x[:, 0], x[:, 1:].reshape(batch, rows, cols, width)


def _buckets(rows: int, cols: int) -> np.ndarray:
    """``(1 + n, 1 + n)`` row of the table for each pair: by distance; 7 with the class token."""
    down, along = np.indices((rows, cols)).reshape(2, -1)
    apart = np.hypot(down[:, None] - down, along[:, None] - along)
    near = np.array([3, 4, 5, 5, 6])[np.minimum(np.rint(apart), 4).astype(int)]
    return np.pad(near, ((1, 0), (1, 0)), constant_values=7)


def by_pixel(patch: Tensor, inside: Tensor) -> Tensor:
    """``(B, H, W, 2 D)``: the vector of a pixel's patch beside the pixel's own."""
    import torch

    batch, rows, cols, count, width = inside.shape
    side = round(count**0.5)
    both = torch.cat([patch[:, :, :, None].expand(-1, -1, -1, count, -1), inside], dim=-1)
    both = both.reshape(batch, rows, cols, side, side, 2 * width).transpose(2, 3)
    return both.reshape(batch, rows * side, cols * side, 2 * width)
