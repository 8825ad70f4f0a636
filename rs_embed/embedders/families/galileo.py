"""Galileo: a transformer over monthly Sentinel-2 and Sentinel-1, and layers about the place.

Tseng et al. 2025, arXiv:2502.09356; https://github.com/nasaharvest/galileo at 0f0b5b95. Every
channel group gives tokens of its own: space-time groups one a patch and month, space groups one a
patch, time groups one a month, static groups one a window. A group or month without pixels is
hidden: it takes no part in attention nor in the means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import Cadence, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, months_of_series
from rs_embed.embedders.families import galileo_groups as layers
from rs_embed.embedders.families.galileo_groups import GROUPS, KINDS, Group, on_the_globe, values_of
from rs_embed.embedders.keys import Keys, Row

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rs_embed.embedders.blocks import Network

KERNEL = 8  # pixels a side of the published patch kernels, resized for any other patch
MONTHS = 24  # rows of the table of step positions


def _variant(name: str, shape: tuple[int, int, int], params_m: float, **file: Any) -> Variant:
    """One size; ``file`` is what is known of its weights."""
    dim, depth, heads = shape
    config = {
        "embedding_size": dim, "depth": depth, "num_heads": heads, "mlp_ratio": 4,
        "max_sequence_length": MONTHS, "max_patch_size": KERNEL, "base_gsd": 10,
        "norm_eps": 1e-5, "mean": layers.MEAN, "std": layers.STD,
    }  # fmt: skip
    weights = WeightRecord(
        f"models/{name}/encoder.pt", repo="nasaharvest/galileo", licence="MIT",
        revision="f039dd5dde966a931baeda47eb680fa89b253e4e", **file,
    )  # fmt: skip
    return Variant(name, dim, config, weights, params_m=params_m)


SPEC = ModelSpec(
    id="galileo",
    title="Galileo",
    summary="Monthly Sentinel-2 and Sentinel-1 with weather, terrain and land cover as options.",
    modalities={"s2": (layers.S2,), "s1": (layers.S1,), "s2s1": (layers.S2, layers.S1)},
    variants=(
        _variant(
            "nano", (128, 4, 8), 1.04, size=4_189_406, approx_size=4_189_406,
            sha256="eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c",
            source="the file in the authors' repository; that the hub's is it is inferred",
        ),
        _variant(
            "tiny", (192, 12, 3), 5.7, approx_size=22_000_000,
            source="size computed; no source states a hash",
        ),
        _variant(
            "base", (768, 12, 12), 86.5, approx_size=346_000_000,
            sha256="935f4912f08483d052d69d8e96518f52ef6827fe718a435cb5536fd9bb7737a7",
            source="size computed; hash as one independent project pins it",
        ),
    ),
    default_variant="nano",
    scale_m=10,
    window_px=64,
    token_px=KERNEL,
    module=__name__,
    cadence=Cadence("months", MONTHS),
    options=(
        Option("patch_px", int, KERNEL, "pixels a side of a patch, one cell of the grid",
               minimum=1, maximum=KERNEL, sets="token_px"),
        Option("window_px", int, 64, "pixels a side of a window, a multiple of patch_px",
               minimum=1, sets="window_px"),
        Option("month", int, None, "calendar month, 1 to 12, of pixels without a date",
               minimum=1, maximum=12),
        *layers.OPTIONS,
    ),
    image_vector="the mean over all visible tokens of the window",
    shows_windows=True,
    masks_missing=True,
    licence="MIT",
    citation="Tseng et al. 2025, Galileo: Learning Global & Local Features of Many Remote Sensing "
    "Modalities, arXiv:2502.09356",
    links=("https://github.com/nasaharvest/galileo", "https://arxiv.org/abs/2502.09356"),
)  # fmt: skip

KEYS = Keys(rows=(Row("blocks.{}.attn.[q,k,v].{}", "blocks.{}.attn.qkv.{}"),), stray=".backbone")


def groups(model: Model) -> tuple[Group, ...]:
    """The channel groups that a model runs with, in the order of `GROUPS`.

    Raises
    ------
    ModelError
        Where NDVI is asked for without Sentinel-2.
    """
    if model.options["ndvi"] and "B8" not in model.bands:
        raise ModelError(
            f"galileo: ndvi comes from Sentinel-2, which modality {model.modality!r} leaves out; "
            "use modality 's2' or 's2s1'"
        )
    return tuple(
        group
        for group in GROUPS
        if (model.options[group.option] if group.option else set(group.bands) <= set(model.bands))
    )


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; raises ModelError as `groups` and `prepare`, before any pixel is fetched."""
    groups(model)
    months_of_series(model, [intervals], max(1, len(intervals)))


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The normalised channel groups of a batch of windows, by their published names.

    Returns
    -------
    dict of ndarray
        Each group ``(B, T, C, H, W)`` float32, with 1 for T where it has no time and for H and W
        where it has no place. ``visible`` ``(B, T, G)`` bool over `groups`, ``months`` ``(B, T)``
        from 0 for January, ``scale_m`` and ``patch_px`` ``()``.

    Raises
    ------
    ModelError
        For pixels without a date and no ``month``, a date and a ``month``, or over 24 steps.
    """
    months = months_of_series(model, windows.intervals, windows.pixels.shape[1])
    arrays: dict[str, np.ndarray] = {
        "months": months,
        "scale_m": np.array(windows.scale_m),
        "patch_px": np.array(model.token_px),
    }
    visible = []
    for group in groups(model):
        if group.name == "location":
            values, seen = on_the_globe(windows.lonlat), np.ones(months.shape, dtype=bool)
        else:
            picked = [windows.bands.index(band) for band in group.bands]
            values, seen = values_of(group, windows.pixels[:, :, picked])
        arrays[group.name] = values.astype(np.float32)
        visible.append(np.broadcast_to(seen, months.shape))
    return {**arrays, "visible": np.stack(visible, axis=-1)}


def build(model: Model) -> Network:
    """The encoder, its parts under their published keys."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    width, eps, kernel = config["embedding_size"], config["norm_eps"], config["max_patch_size"]
    depth, heads, mlp_ratio = config["depth"], config["num_heads"], config["mlp_ratio"]

    def table(rows: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(rows, width // 4))

    def embedder(group: Group) -> nn.Module:
        if group.kind in ("time", "static"):
            return nn.Linear(group.channels, width)
        return nn.ModuleDict({"proj": nn.Conv2d(group.channels, width, kernel)})

    parts: dict[str, nn.Module | nn.Parameter] = {
        "pos_embed": table(config["max_sequence_length"]),
        "month_embed": nn.Embedding(12, width // 4),
        "blocks": transformer(width, depth, heads, eps=eps, mlp_ratio=mlp_ratio),
        "norm": nn.LayerNorm(width, eps=eps),
    }
    for kind, code in KINDS.items():
        mine = [group for group in GROUPS if group.kind == kind]
        parts[f"{code}_channel_embed"] = table(len(mine))
        parts[f"{kind}_embed"] = nn.ModuleDict({group.name: embedder(group) for group in mine})
    return Network(forward, parts, {"base_gsd": config["base_gsd"]})


def forward(
    network: Any,
    months: Tensor,
    scale_m: Tensor,
    patch_px: Tensor,
    visible: Tensor | None = None,
    **groups: Tensor,
) -> dict[str, Tensor]:
    """The authors' means over the visible tokens after the final norm.

    Parameters
    ----------
    months, scale_m, patch_px, groups
        As `prepare` gives them.
    visible : Tensor, optional
        ``(B, T, G)`` bool over the groups; None means all, and 1 for G all alike.

    Returns
    -------
    dict
        ``grid`` ``(B, h, w, D)``: of each patch's own space-time and space tokens with all time and
        static tokens; ``image`` ``(B, D)``: of every token. NaN for a window without any pixel.
    """
    import torch

    if visible is None:
        visible = torch.ones_like(months, dtype=torch.bool)[..., None]
    x, seen, shapes = _embedded(
        network, groups, visible.expand(-1, -1, len(groups)), months, int(patch_px), float(scale_m)
    )
    tokens = _attended(network, x, seen)
    sizes = [rows * cols * count for rows, cols, count in shapes]

    def per_patch(values: Tensor) -> Tensor:
        parts = zip(torch.split(values, sizes, dim=1), shapes, strict=True)
        first, *rest = (part.reshape(len(part), *shape, -1).sum(dim=3) for part, shape in parts)
        # A kind without a place has one row and column, which all patches share by broadcasting.
        return sum(rest, start=first)

    weights = seen.unsqueeze(-1).to(tokens)
    tokens = tokens * weights
    return {
        "grid": per_patch(tokens) / per_patch(weights),
        "image": tokens.sum(dim=1) / weights.sum(dim=1),
    }


def _embedded(
    network: Any,
    inputs: Mapping[str, Tensor],
    visible: Tensor,
    months: Tensor,
    patch_px: int,
    scale_m: float,
) -> tuple[Tensor, Tensor, list[tuple[int, int, int]]]:
    """The tokens of a batch of windows before the blocks, and which of them are visible.

    ``(B, N, D)``, ``(B, N)`` bool, and the rows, columns and tokens a patch of each kind of group.
    Kinds follow each other in the order space-time, space, time, static, each by row, column, step
    and group, as in the authors' own sequence.
    """
    import torch

    from rs_embed.embedders.blocks import sincos_2d

    columns = {name: i for i, name in enumerate(inputs)}
    month, step = network.month_embed(months), network.pos_embed[: months.shape[1]]
    tokens, seen, shapes = [], [], []
    for kind, code in KINDS.items():
        names = [group.name for group in GROUPS if group.kind == kind]
        mine = [name for name in names if name in inputs]
        if not mine:
            continue
        x = _projected(getattr(network, f"{kind}_embed"), inputs, mine, patch_px)
        rows, cols, steps, count, width = x.shape[1:]
        quarter = width // 4
        channel = getattr(network, f"{code}_channel_embed")
        x[..., :quarter] += channel[[names.index(name) for name in mine]]
        if "time" in kind:
            x[..., quarter : 2 * quarter] += step[:, None]
            x[..., 2 * quarter : 3 * quarter] += month[:, None, None, :, None]
        if "space" in kind:
            cell = scale_m * patch_px / network.config["base_gsd"]
            down, along = (
                torch.arange(count, dtype=torch.float64, device="cpu") * cell
                for count in (rows, cols)
            )
            # The authors' rates, 10000 to the minus k / (2 * width), fall as those of base 10 do.
            place = sincos_2d(quarter, down, along, first="column", base=10.0)
            x[..., 3 * quarter :] += place[:, :, None, None].to(x)
        shown = visible[:, None, None, :steps, [columns[n] for n in mine]]
        seen.append(shown.expand(-1, rows, cols, -1, -1).flatten(1))
        tokens.append(x.flatten(1, 4))
        shapes.append((rows, cols, steps * count))
    return torch.cat(tokens, dim=1), torch.cat(seen, dim=1), shapes


def _projected(
    parts: Any, inputs: Mapping[str, Tensor], names: Sequence[str], patch_px: int
) -> Tensor:
    """``(B, h, w, T, G, D)`` tokens of the groups of one kind, 1 along the axes it has not."""
    import torch
    from torch.nn.functional import conv2d

    if not hasattr(parts[names[0]], "proj"):
        flat = [parts[name](inputs[name][..., 0, 0]) for name in names]  # (B, T, D)
        return torch.stack(flat, dim=2)[:, None, None]
    # One resize for all groups: it acts on each channel of a kernel by itself.
    kernels = torch.cat([parts[name].proj.weight for name in names], dim=1)
    if patch_px != kernels.shape[-1]:
        from timm.layers.patch_embed import resample_patch_embed

        kernels = resample_patch_embed(kernels, [patch_px, patch_px], "bicubic", True)
    out = []
    channels = [inputs[name].shape[2] for name in names]
    for name, kernel in zip(names, torch.split(kernels, channels, dim=1), strict=True):
        pixels = inputs[name].flatten(0, 1)  # (B * T, C, H, W)
        cells = conv2d(pixels, kernel, parts[name].proj.bias, stride=patch_px)
        cells = cells.reshape(*inputs[name].shape[:2], *cells.shape[1:])  # (B, T, D, h, w)
        out.append(cells.permute(0, 3, 4, 1, 2))
    return torch.stack(out, dim=4)


def _attended(network: Any, x: Tensor, seen: Tensor) -> Tensor:
    """The visible tokens through the blocks and the norm; hidden ones are not looked at."""
    import torch

    kept = seen.any(dim=0)
    some = x[:, kept]
    mask = None if seen[:, kept].all() else seen[:, None, None, kept]
    for block in network.blocks:
        some = block(some, mask)
    out = torch.zeros_like(x)
    out[:, kept] = network.norm(some)
    return out
