"""CROMA: a radar and an optical transformer, and a third one that joins them.

Fuller et al. 2023, arXiv:2311.00566; https://github.com/antofuller/CROMA at 59505a6. Patches of
8 x 8 pixels; no class token and no table of positions: every attention falls with the distance
between two patches, each head at its own rate (ALiBi in two dimensions).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders.keys import Keys, Row

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rs_embed.embedders.blocks import Network

S2 = InputSpec(
    "s2", ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    "reflectance_x10000", "COPERNICUS/S2_SR_HARMONIZED",
)  # fmt: skip
S1 = InputSpec("s1", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)
PRODUCTS = {"s2": "S2L2A", "s1": "S1GRD"}  # what TerraMind calls the same products


def _variant(name: str, dim: int, depth: int, params_m: float, size: int, sha256: str) -> Variant:
    config = {
        "dim": dim, "depth": depth, "num_heads": 16, "patch_size": 8, "image_resolution": 120,
        "mlp_ratio": 4, "norm_eps": 1e-5,
    }  # fmt: skip
    weights = WeightRecord(
        f"CROMA_{name}.pt",
        repo="antofuller/CROMA",
        revision="0dd28e3d633bd6715856ae9890e8c49360040598",
        size=size,
        sha256=sha256,
        licence="MIT",
        source="LFS record of the hub",
    )
    return Variant(name, dim, config, weights, params_m=params_m)


SPEC = ModelSpec(
    id="croma",
    title="CROMA",
    summary="Sentinel-2, Sentinel-1, or both joined by attention from the radar to the optical.",
    modalities={"s2": (S2,), "s1": (S1,), "s2s1": (S1, S2)},
    variants=(
        _variant("base", 768, 12, 194.4, 777_563_846,
                 "0238d814b53108f3574bf1ea240e38a0a6edd46173816d9a6962070561893b63"),
        _variant("large", 1024, 24, 672.6, 2_690_426_614,
                 "921e69ad4069201298bb5c860dc332f31e0cb01df6864f294a79fa8f921915a7"),
    ),
    default_variant="base",
    scale_m=10,
    window_px=120,
    token_px=8,
    module=__name__,
    modality_builds=True,
    options=(
        Option(
            "statistics", str, "terramind",
            "mean and deviation of each band. terramind: those of TerraMind's pretraining data; "
            "window: of the window's own pixels, the authors' way; given: `mean` and `std`",
            choices=("terramind", "window", "given"),
        ),
        Option("mean", str, None, "of statistics='given': one number a band in the model's order, "
               "with commas between"),
        Option("std", str, None, "of statistics='given': the same"),
        Option("eight_bit", bool, True, "cut values to 255 levels first, as the authors' images "
               "of pretraining were; false: keep them as they are, the other way of their README"),
        Option("window_px", int, 120, "pixels a side of a window, a multiple of 8; nothing is "
               "interpolated", minimum=8, sets="window_px"),
    ),
    image_vector="s2 and s1: the mean token through the head that pretraining contrasted; s2s1: "
    "the mean of the joint tokens",
    assumptions=(
        "the authors publish no statistics: those of TerraMind's data, unless statistics says else",
        "a missing pixel, and a band that is the same everywhere in a window whose own statistics "
        "count, lies in the middle of the range",
    ),
    licence="code: MIT; weights: MIT on the hub, not stated in the repository",
    citation="Fuller et al. 2023, CROMA: Remote Sensing Representations with Contrastive "
    "Radar-Optical Masked Autoencoders, NeurIPS, arXiv:2311.00566",
    links=(
        "https://arxiv.org/abs/2311.00566",
        "https://github.com/antofuller/CROMA",
        "https://huggingface.co/antofuller/CROMA",
    ),
)  # fmt: skip

_JOINT, _LAYER = "joint_encoder.layers.{}", "{}.transformer.layers.{}"
_ROWS = (
    (f"{_JOINT}.0.input_norm.", f"{_JOINT}.norm1."),
    (f"{_JOINT}.0.to_qkv.", f"{_JOINT}.attn.qkv."),
    (f"{_JOINT}.0.to_out.", f"{_JOINT}.attn.proj."),
    (f"{_JOINT}.1.input_norm.", f"{_JOINT}.norm2."),
    (f"{_JOINT}.1.to_q.", f"{_JOINT}.cross.q."),
    Row(f"{_JOINT}.1.to_[k,v].", f"{_JOINT}.cross.kv."),
    (f"{_JOINT}.1.to_out.", f"{_JOINT}.cross.proj."),
    (f"{_JOINT}.2.input_norm.", f"{_JOINT}.norm3."),
    (f"{_JOINT}.2.net.0.", f"{_JOINT}.mlp.fc1."),
    (f"{_JOINT}.2.net.3.", f"{_JOINT}.mlp.fc2."),
    ("joint_encoder.norm_out.", "joint_encoder.norm."),
    (f"{_LAYER}.0.input_norm.", "{}.blocks.{}.norm1."),
    (f"{_LAYER}.0.to_qkv.", "{}.blocks.{}.attn.qkv."),
    (f"{_LAYER}.0.to_out.", "{}.blocks.{}.attn.proj."),
    (f"{_LAYER}.1.input_norm.", "{}.blocks.{}.norm2."),
    (f"{_LAYER}.1.net.0.", "{}.blocks.{}.mlp.fc1."),
    (f"{_LAYER}.1.net.3.", "{}.blocks.{}.mlp.fc2."),
    ("{}.transformer.norm_out.", "{}.norm."),
)


def keys(model: Model) -> Keys:
    """The table of published keys: a file holds all three networks, a modality reads its own."""
    ignored: list[tuple[str, str]] = []
    if model.modality != "s2s1":
        other = "s1" if model.modality == "s2" else "s2"
        why = f"not needed to embed {model.modality} alone"
        ignored = [(f"{other}_*", why), ("joint_encoder.*", why)]
    return Keys(rows=_ROWS, ignored=tuple(ignored))


def check(model: Model, frames: tuple[Interval, ...]) -> None:
    """Nothing; raises ModelError as `given_statistics`, before any pixel is fetched."""
    given_statistics(model)


def given_statistics(model: Model) -> np.ndarray | None:
    """``(2, C)`` mean and deviation that the options give; None where they give none.

    Raises
    ------
    ModelError
        Where they contradict ``statistics``, or are not one number a band.
    """
    texts = [model.options["mean"], model.options["std"]]
    bands = len(model.bands)
    if model.options["statistics"] != "given":
        if texts != [None, None]:
            raise ModelError("croma: mean and std count with statistics='given' alone; set it too")
        return None
    try:
        values = np.array([[float(v) for v in str(text).split(",")] for text in texts])
    except ValueError:
        values = np.empty(0)
    if values.shape != (2, bands) or not np.isfinite(values).all() or (values[1] <= 0).any():
        raise ModelError(
            f"croma: statistics='given' needs mean and std, each {bands} numbers with commas "
            f"between, in the order {', '.join(model.bands)}, every std above 0; "
            f"not mean={texts[0]!r}, std={texts[1]!r}"
        )
    return values


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``s1`` ``(B, 2, H, W)`` and ``s2`` ``(B, 12, H, W)`` float32, 0..1, as the modality has them.

    Two standard deviations below a band's mean is 0 and two above it 1.

    Raises
    ------
    ModelError
        As `given_statistics`.
    """
    # Dates are images of their own; the statistics of a window are of all its pixels.
    pixels = windows.pixels.astype(np.float64)
    mean, std = (one[..., None, None] for one in _statistics(pixels, model))
    share = np.full(pixels.shape, np.nan)
    np.divide(pixels - (mean - 2 * std), 4 * std, out=share, where=std > 0)
    middle = 0.5
    if model.options["eight_bit"]:
        share, middle = np.floor(np.clip(share * 255, 0, 255)) / 255, 127 / 255
    image = fill_missing(np.clip(share, 0, 1), middle).astype(np.float32)
    image = image.reshape(-1, *image.shape[2:])
    starts = np.cumsum([len(item.bands) for item in model.inputs])[:-1]
    parts = np.split(image, starts, axis=1)
    return {item.name: part for item, part in zip(model.inputs, parts, strict=True)}


def _statistics(pixels: np.ndarray, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation ``(1 or B, 1, C)`` of ``(B, T, C, H, W)`` pixels."""
    if model.options["statistics"] == "window":
        axes = (1, 3, 4)
        count = np.isfinite(pixels).sum(axis=axes, keepdims=True)
        mean = np.nansum(pixels, axis=axes, keepdims=True) / np.maximum(count, 1)
        squares = np.nansum((pixels - mean) ** 2, axis=axes, keepdims=True)
        spread = np.sqrt(squares / np.maximum(count - 1, 1))
        return mean[..., 0, 0], spread[..., 0, 0]
    given = given_statistics(model)
    if given is None:
        tables = [TERRAMIND[PRODUCTS[item.name]] for item in model.inputs]
        given = np.concatenate([np.array(table) for table in tables], axis=1)
    return given[0][None, None], given[1][None, None]


def build(model: Model) -> Network:
    """The networks that the modality needs, their parts under our own names of `keys`."""
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, heads, eps = config["dim"], config["num_heads"], config["norm_eps"]
    hidden, depth = dim * config["mlp_ratio"], config["depth"]
    parts: dict[str, nn.Module] = {}
    for item in model.inputs:
        layers = depth if item.name == "s2" else depth // 2
        blocks = transformer(dim, layers, heads, eps=eps, qkv_bias=False)
        patch = len(item.bands) * config["patch_size"] ** 2
        parts[f"{item.name}_encoder"] = nn.ModuleDict(
            {
                "linear_input": nn.Linear(patch, dim),
                "blocks": blocks,
                "norm": nn.LayerNorm(dim, eps=eps),
            }
        )
        parts[f"{item.name}_GAP_FFN"] = nn.Sequential(
            nn.LayerNorm(dim, eps=eps), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )
    if len(model.inputs) == 2:
        joint = (_joint_layer(dim, heads, hidden, eps) for _ in range(depth // 2))
        parts["joint_encoder"] = nn.ModuleDict(
            {"layers": nn.ModuleList(joint), "norm": nn.LayerNorm(dim, eps=eps)}
        )
    return Network(forward, parts, {"heads": heads, "patch": config["patch_size"]})


def _joint_layer(dim: int, heads: int, hidden: int, eps: float) -> nn.Module:
    """A layer in which the radar tokens look at each other, then at the optical ones."""
    from torch import nn

    from rs_embed.embedders.blocks import Attention, Mlp, Network

    def run(layer: Any, x: Tensor, optical: Tensor, bias: Tensor) -> Tensor:
        x = x + layer.attn(layer.norm1(x), bias)
        # One norm for both sides.
        x = x + layer.cross(layer.norm2(x), layer.norm2(optical), bias)
        out: Tensor = x + layer.mlp(layer.norm3(x))
        return out

    norms = {f"norm{i}": nn.LayerNorm(dim, eps=eps) for i in (1, 2, 3)}
    cross = {
        "q": nn.Linear(dim, dim, bias=False),
        "kv": nn.Linear(dim, 2 * dim, bias=False),
        "proj": nn.Linear(dim, dim),
    }
    parts = {
        **norms,
        "attn": Attention(dim, heads, qkv_bias=False),
        "cross": Network(_cross_attention, cross, {"heads": heads}),
        "mlp": Mlp(dim, hidden),
    }
    return Network(run, parts, {})


def _cross_attention(layer: Any, x: Tensor, context: Tensor, bias: Tensor) -> Tensor:
    """``(B, N, D)``: what ``x`` finds in ``context``."""
    from torch.nn.functional import scaled_dot_product_attention

    heads = layer.config["heads"]
    q = layer.q(x).unflatten(-1, (heads, -1)).transpose(1, 2)
    k, v = layer.kv(context).unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias)
    out: Tensor = layer.proj(mixed.transpose(1, 2).flatten(2))
    return out


def forward(network: Any, s1: Tensor | None = None, s2: Tensor | None = None) -> dict[str, Tensor]:
    """The tokens after the last norm of the one encoder, or of the joint one.

    Parameters
    ----------
    network : Network
    s1, s2 : Tensor, optional
        ``(B, 2, H, W)`` and ``(B, 12, H, W)``, 0..1: those that the modality has.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``; ``image`` ``(B, D)``. With both also the contrasted vectors of
        each, ``image_s1`` and ``image_s2``.
    """
    import torch

    given = {name: x for name, x in (("s1", s1), ("s2", s2)) if x is not None}
    patch, shape = network.config["patch"], next(iter(given.values())).shape[2:]
    rows, cols = shape[0] // patch, shape[1] // patch
    first = next(iter(given.values()))
    bias = torch.from_numpy(distance_bias(network.config["heads"], rows, cols)).to(first)
    tokens, images = {}, {}
    for name, x in given.items():
        encoder = network.get_submodule(f"{name}_encoder")
        # A patch is a vector by band, row and column.
        cells = x.reshape(len(x), -1, rows, patch, cols, patch).permute(0, 2, 4, 1, 3, 5)
        x = encoder["linear_input"](cells.reshape(len(x), rows * cols, -1))
        for block in encoder["blocks"]:
            x = block(x, bias)
        tokens[name] = encoder["norm"](x)
        images[name] = network.get_submodule(f"{name}_GAP_FFN")(tokens[name].mean(dim=1))
    if len(tokens) == 1:
        (name,) = tokens
        return {"grid": tokens[name].unflatten(1, (rows, cols)), "image": images[name]}
    x = tokens["s1"]
    for layer in network.joint_encoder["layers"]:
        x = layer(x, tokens["s2"], bias)
    x = network.joint_encoder["norm"](x)
    return {
        "grid": x.unflatten(1, (rows, cols)),
        "image": x.mean(dim=1),
        **{f"image_{name}": image for name, image in images.items()},
    }


@lru_cache(maxsize=4)
def distance_bias(heads: int, rows: int, cols: int) -> np.ndarray:
    """``(heads, N, N)`` float32, added to attention: less the distance of two patches, in patches.

    Times ``2 ** -((h + 1) / 2)`` for head h.
    """
    row, col = (place.ravel() for place in np.indices((rows, cols)))
    distance = np.hypot(row[:, None] - row, col[:, None] - col)
    slopes = 2.0 ** (-(np.arange(heads) + 1) / 2)
    return np.asarray((-slopes[:, None, None] * distance).astype(np.float32))
