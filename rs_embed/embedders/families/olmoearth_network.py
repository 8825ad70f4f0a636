"""The network of `olmoearth`: its parts, and what it does with a batch of sensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

KERNEL = 8  # pixels a side that every patch is resized to
MODALITIES = ("sentinel2_l2a", "sentinel1", "landsat")
EPS = 1e-5


def build_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Modules and parameters under their published names, without the prefix."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import transformer

    dim, heads, sets = config["embedding_size"], config["num_heads"], config["band_sets"]
    quarter = dim // 4
    blocks = transformer(dim, config["depth"], heads, eps=EPS, mlp_ratio=config["mlp_ratio"])
    if config["position_encoding"] == "rope_3d_mixed":
        for block in blocks:
            rates = nn.Parameter(torch.empty(3, heads, dim // heads // 2))
            block.get_submodule("attn").register_parameter("rope_mixed_freqs", rates)
    channels = {name: nn.Parameter(torch.empty(len(sets[name]), quarter)) for name in MODALITIES}
    patches = {
        name: nn.ModuleDict(
            {f"{name}__{i}": _embedder(len(bands), config) for i, bands in enumerate(sets[name])}
        )
        for name in MODALITIES
    }
    parts: dict[str, Any] = {
        "patch_embeddings": nn.ModuleDict({"per_modality_embeddings": nn.ModuleDict(patches)}),
        "composite_encodings": nn.ModuleDict(
            {
                "month_embed": nn.Embedding(12, quarter),
                "per_modality_channel_embeddings": nn.ParameterDict(channels),
            }
        ),
        "blocks": blocks,
        "norm": nn.LayerNorm(dim, eps=EPS),
    }
    if "attention_pooler" in config:
        parts["attention_pooler"] = _pooler(config)
    return parts


def _embedder(bands: int, config: Mapping[str, Any]) -> nn.ModuleDict:
    from torch import nn

    dim = config["embedding_size"]
    if not config["use_linear_patch_embed"]:
        return nn.ModuleDict({"proj": nn.Conv2d(bands, dim, KERNEL, KERNEL)})
    (hidden,) = config["patch_embed_hidden_sizes"]
    pixel = nn.ModuleList([nn.Linear(bands, hidden)])
    return nn.ModuleDict({"pixel_proj": pixel, "proj": nn.Linear(KERNEL**2 * hidden, dim)})


def _pooler(config: Mapping[str, Any]) -> nn.Module:
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Mlp, Network, transformer

    dim, heads, depth = (
        config["attention_pooler"]["pooler_dim"], config["num_heads"],
        config["attention_pooler"]["pooler_depth"],
    )  # fmt: skip

    def read() -> nn.ModuleDict:
        names = ("q", "k", "v", "proj")
        return nn.ModuleDict(
            {
                "norm1": nn.LayerNorm(dim, eps=EPS),
                "attn": nn.ModuleDict({name: nn.Linear(dim, dim) for name in names}),
                "norm2": nn.LayerNorm(dim, eps=EPS),
                "mlp": Mlp(dim, int(dim * config["mlp_ratio"])),
            }
        )

    student = nn.Linear(dim, config["student_dim"])
    parts: dict[str, nn.Module | nn.Parameter] = {
        "learned_query": nn.Parameter(torch.empty(1, dim)),
        "input_norm": nn.LayerNorm(dim, eps=EPS),
        "read_blocks": nn.ModuleList(read() for _ in range(depth)),
        "self_attn_blocks": transformer(dim, depth, heads, eps=EPS, mlp_ratio=config["mlp_ratio"]),
        "norm": nn.LayerNorm(dim, eps=EPS),
        "student": nn.Sequential(student, nn.LayerNorm(config["student_dim"], eps=EPS)),
    }
    return Network(_located, parts, {"heads": heads, "base": config["rope_base"]})


def forward(
    network: Any,
    timestamps: Tensor,
    scale_m: Tensor,
    patch_px: Tensor,
    visible: Tensor | None = None,
    query_px: Tensor | None = None,
    **images: Tensor,
) -> dict[str, Tensor]:
    """The authors' means over the visible tokens after the final norm.

    Parameters
    ----------
    timestamps, scale_m, patch_px, images
        As ``prepare`` gives them.
    visible : Tensor, optional
        ``(B, T, M)`` bool over the sensors; None means all.
    query_px : Tensor, optional
        Pixels a side of a location token; None: a patch.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``, each sensor's mean over steps and sets, then the mean over the
        sensors, or the location tokens; ``image`` ``(B, D)``, the mean over all visible tokens;
        ``tokens_<sensor>`` ``(B, h, w, T, sets, D)``, zeros where hidden; of v1.3
        ``location_tokens`` and ``student_location_tokens``.
    """
    import torch

    patch, metres = int(patch_px), float(scale_m)
    unit = metres * patch / 10
    names = [name for name in MODALITIES if name in images]
    parts = {name: _tokens(network, name, images[name], timestamps, patch, unit) for name in names}
    if visible is None:
        visible = timestamps.new_ones((*timestamps.shape[:2], len(names)), dtype=torch.bool)
    shown = [
        visible[:, None, None, :, i, None].expand(parts[name].shape[:-1])
        for i, name in enumerate(names)
    ]
    seen = torch.cat([one.flatten(1) for one in shown], dim=1)
    places = torch.cat([_places(one, timestamps, unit) for one in parts.values()], dim=1)
    x = torch.cat([part.flatten(1, 4) for part in parts.values()], dim=1)
    mask = None if seen.all() else seen[:, None, None]
    weights, met, whence = seen.unsqueeze(-1).to(x), mask, places
    if network.config["hidden"] == "zeros":
        x, met, whence = x * weights, None, places * seen.unsqueeze(-1)
    for block in network.blocks:
        rates = getattr(block.attn, "rope_mixed_freqs", None)
        x = block(x, met, None if rates is None else _turning(whence, rates, network.config))
    x = network.norm(x) * weights
    sizes = [part.shape[1:5].numel() for part in parts.values()]
    whole = [
        flat.reshape(part.shape)
        for flat, part in zip(torch.split(x, sizes, dim=1), parts.values(), strict=True)
    ]
    found = {f"tokens_{name}": one for name, one in zip(names, whole, strict=True)}
    found["image"] = x.sum(dim=1) / weights.sum(dim=1)
    found["grid"] = _means(whole, [one.unsqueeze(-1).to(x) for one in shown])
    if hasattr(network, "attention_pooler"):
        rows, cols = parts[names[0]].shape[1:3]
        step = (int(query_px) if query_px is not None else patch) / patch
        located = network.attention_pooler(x, places[..., 1:], mask, (rows, cols), step, unit)
        found["location_tokens"] = located
        found["student_location_tokens"] = network.attention_pooler.student(located)
        if network.config["cells"] == "location":
            found["grid"] = located
    return found


def _means(tokens: list[Tensor], shown: list[Tensor]) -> Tensor:
    """``(B, h, w, D)``: the mean over steps and sets of each sensor, then over those seen."""
    import torch

    counts = [one.sum(dim=(3, 4)) for one in shown]
    each = [
        one.sum(dim=(3, 4)) / count.clamp(min=1) for one, count in zip(tokens, counts, strict=True)
    ]
    there = torch.stack([(count > 0).to(count) for count in counts]).sum(dim=0)
    return torch.stack(each).sum(dim=0) / there


def _tokens(
    network: Any, name: str, image: Tensor, timestamps: Tensor, patch: int, unit: float
) -> Tensor:
    """``(B, h, w, T, sets, D)`` tokens of one sensor with their codes."""
    import torch
    from torch.nn.functional import interpolate

    batch, steps, _, height, width = image.shape
    rows, cols = height // patch, width // patch
    pixels = image.flatten(0, 1)
    if patch != KERNEL:
        size = (rows * KERNEL, cols * KERNEL)
        pixels = interpolate(pixels, size, mode="bicubic", antialias=True)
    embed = network.patch_embeddings["per_modality_embeddings"][name]
    sets = network.config["band_sets"][name]
    flat = [
        _embedded(embed[f"{name}__{i}"], pixels[:, list(bands)]) for i, bands in enumerate(sets)
    ]
    whole = torch.stack(flat, dim=3)  # (B * T, h, w, sets, D)
    x = whole.reshape(batch, steps, *whole.shape[1:]).permute(0, 2, 3, 1, 4, 5).clone()
    quarter = x.shape[-1] // 4
    codes = network.composite_encodings
    x[..., :quarter] += codes["per_modality_channel_embeddings"][name]
    month = codes["month_embed"](timestamps[..., 1])
    x[..., 2 * quarter : 3 * quarter] += month[:, None, None, :, None]
    if network.config["position_encoding"] == "absolute":
        step = _rising(torch.arange(steps, device=x.device), quarter)
        x[..., quarter : 2 * quarter] += step[:, None].to(x)
        along = _rising(torch.arange(cols, device=x.device) * unit, quarter // 2)
        down = _rising(torch.arange(rows, device=x.device) * unit, quarter // 2)
        where = [along.expand(rows, -1, -1), down[:, None].expand(-1, cols, -1)]
        x[..., 3 * quarter :] += torch.cat(where, dim=-1)[:, :, None, None].to(x)
    return x


def _embedded(embed: Any, pixels: Tensor) -> Tensor:
    """``(N, h, w, D)`` of ``(N, C, 8 h, 8 w)``."""
    from torch.nn.functional import relu

    if "pixel_proj" not in embed:
        cells: Tensor = embed["proj"](pixels)
        return cells.permute(0, 2, 3, 1)
    x: Tensor = relu(embed["pixel_proj"][0](pixels.permute(0, 2, 3, 1)))
    number, rows, cols, width = x.shape
    x = x.reshape(number, rows // KERNEL, KERNEL, cols // KERNEL, KERNEL, width).transpose(2, 3)
    out: Tensor = embed["proj"](x.flatten(3))
    return out


def _rising(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines ``(n, width)``; the rates fall to a hundredth, as Galileo's do."""
    import torch

    rates = 10000.0 ** (-torch.arange(width // 2, device=positions.device).double() / (2 * width))
    angles = positions.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # days before a month


def _places(tokens: Tensor, timestamps: Tensor, unit: float) -> Tensor:
    """``(B, N, 3)`` float32: days since 2000, row and column of each token."""
    import torch

    rows, cols = tokens.shape[1:3]
    day, month, year = timestamps.unbind(-1)
    before = torch.tensor(_BEFORE, device=day.device)[month]
    days = (year - 2000).float() * 365.25 + (before + day - 1).float()
    row = torch.arange(rows, device=day.device).float() * unit
    col = torch.arange(cols, device=day.device).float() * unit
    axes = (days[:, None, None, :, None], row[:, None, None, None], col[:, None, None])
    return torch.stack([axis.expand(tokens.shape[:-1]) for axis in axes], dim=-1).flatten(1, 4)


def _turning(places: Tensor, rates: Tensor, config: Mapping[str, Any]) -> Any:
    """What turns ``(B, heads, N, D / heads)`` by date, row and column, at a head's own rates."""
    import torch

    scale = torch.tensor([config["rope_temporal_coordinate_scale"], 1.0, 1.0], device=places.device)
    angles = torch.einsum("bnc,chj->bhnj", places * scale, rates.float())
    return lambda x: _turned(x, angles)


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    """Neighbouring features ``(a, b)`` turned by an angle."""
    import torch

    cos, sin = angles.cos().to(x), angles.sin().to(x)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def _located(
    pooler: Any,
    tokens: Tensor,
    places: Tensor,
    mask: Tensor | None,
    grid: tuple[int, int],
    step: float,
    unit: float,
) -> Tensor:
    """``(B, h', w', D)`` location tokens, ``step`` patches apart, read off all visible tokens."""
    import torch

    rows, cols = (round(side / step) for side in grid)
    axes = [((torch.arange(n, device=tokens.device) + 0.5) * step - 0.5) * unit
            for n in (rows, cols)]  # fmt: skip
    centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 2)
    width = tokens.shape[-1] // pooler.config["heads"]
    mine = _axial(centres, width, pooler.config["base"])
    theirs = _axial(places, width, pooler.config["base"])
    x = pooler.learned_query.expand(len(tokens), rows * cols, -1)
    told = pooler.input_norm(tokens)
    for read, block in zip(pooler.read_blocks, pooler.self_attn_blocks, strict=True):
        x = x + _read(read["attn"], read["norm1"](x), told, mine, theirs, mask, pooler.config)
        x = x + read["mlp"](read["norm2"](x))
        x = block(x, None, lambda values: _turned(values, mine))
    out: Tensor = pooler.norm(x)
    return out.reshape(len(x), rows, cols, -1)


def _read(
    attention: Any, x: Tensor, told: Tensor, mine: Tensor, theirs: Tensor, mask: Tensor | None,
    config: Mapping[str, Any],
) -> Tensor:  # fmt: skip
    """Attention of queries to other tokens."""
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v = (
        attention[name](values).unflatten(-1, (config["heads"], -1)).transpose(1, 2)
        for name, values in (("q", x), ("k", told), ("v", told))
    )
    q, k = _turned(q, mine), _turned(k, theirs)
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out: Tensor = attention["proj"](mixed.transpose(1, 2).flatten(2))
    return out


def _axial(places: Tensor, width: int, base: float) -> Tensor:
    """Angles ``(B, 1, N, width / 2)``: half of the pairs by the row, half by the column."""
    import torch

    pairs = width // 4
    rates = base ** (-torch.arange(pairs, device=places.device).float() / pairs)
    return (places[..., None] * rates).flatten(-2)[:, None]
