"""AnySat: series of Sentinel-2 and Sentinel-1 with their dates, any number of them, in one map.

Astruc et al. 2024, arXiv:2412.14123; github.com/gastruc/AnySat at e03e72e4. The series of a pixel
becomes one vector (L-TAE, Garnot and Landrieu 2020); the pixels of a patch go through a spatial
encoder, the patches of all sensors through the main one. The authors normalise each data set by its
own statistics and publish none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import (
    Cadence,
    InputSpec,
    Model,
    ModelSpec,
    Option,
    Variant,
    WeightRecord,
)
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, standardise, year_and_day
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders.families import anysat_layers as layers
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

S2 = InputSpec(
    "s2",
    ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
    "reflectance_x10000",
    "COPERNICUS/S2_SR_HARMONIZED",
)
S1 = InputSpec("s1-asc", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)

KEYS = Keys(wrapper="state_dict")

SPEC = ModelSpec(
    id="anysat",
    title="AnySat",
    summary="Dated series of Sentinel-2 and Sentinel-1, down to a vector for each pixel.",
    modalities={"s2": (S2,), "s1_asc": (S1,), "s2s1_asc": (S2, S1)},
    variants=(
        Variant(
            "base",
            768,
            {
                "embed_dim": 768, "spatial_depth": 6, "depth": 6, "num_heads": 12, "mlp_ratio": 4,
                "ltae": {"n_head": 16, "d_k": 8, "T": 367, "mlp_in": (96, 384, 768, 1536, 768),
                         "mlp": (768,)},
                "spatial_eps": 1e-5, "norm_eps": 1e-6,
            },
            WeightRecord(
                "models/AnySat.pth",
                repo="g-astruc/AnySat",
                revision="63f252119babfe896d200f88631496f86eddacd3",
                size=503_756_453,
                sha256="ce1246527a28bade624048c448a1fa473ca85791b998f562ce2bcc3dcac93d4f",
                licence="MIT",
                source="the hub's LFS pointer",
            ),
            params_m=125.9,
        ),
    ),
    default_variant="base",
    scale_m=10,
    window_px=24,
    token_px=1,
    module=__name__,
    cadence=Cadence("equal", 8),
    options=(
        Option("frames", int, 8, "equal parts of the window of dates, one composite each",
               minimum=1, sets="frames"),
        Option("token_px", int, 1, "pixels a side of a cell: a patch, or 1 for features='dense'",
               minimum=1, sets="token_px"),
        Option("window_px", int, 24, "pixels a side of a window, a multiple of the patch",
               minimum=1, sets="window_px"),
        Option("features", str, "patch",
               "patch: a vector for each patch; dense: for each pixel, the vector of its patch and "
               "its own within the patch, side by side",
               choices=("patch", "dense"), widens=(("dense", 2),)),
        Option("patch_px", int, None, "pixels a side of a patch with features='dense'", minimum=1),
        Option("day", int, None, "day of the year, 1 to 366, of pixels without a date",
               minimum=1, maximum=366),
    ),
    image_vector="the class token, the authors' tile feature",
    assumptions=(
        "the authors publish no statistics: TerraMind's means and deviations of the same bands",
        "a date that a pixel lacks is left out of its series; a pixel without any is at the mean",
    ),
    licence="MIT",
    citation="Astruc et al. 2024, AnySat: An Earth Observation Model for Any Resolutions, Scales, "
    "and Modalities, arXiv:2412.14123",
    links=("https://github.com/gastruc/AnySat", "https://arxiv.org/abs/2412.14123"),
)  # fmt: skip


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; sizes that do not fit, and days that cannot be told, are refused before any fetch.

    Raises
    ------
    ModelError
    """
    _patch_px(model)
    _days(model, np.zeros((1, len(intervals), 2)), max(1, len(intervals)))


def _patch_px(model: Model) -> int:
    """Pixels a side of a patch."""
    token, given = model.token_px, model.options["patch_px"]
    patch = token if given is None else int(given)
    if model.options["features"] == "dense":
        if token != 1 or model.window_px % patch:
            raise ModelError(
                f"anysat: dense features have cells of one pixel, and patch_px={patch} has to "
                f"divide window_px={model.window_px}; leave token_px at 1, choose another patch_px"
            )
    elif patch != token:
        raise ModelError(
            f"anysat: a cell of patch features is a patch, and token_px={token} is not "
            f"patch_px={patch}; set token_px alone"
        )
    return patch


def _days(model: Model, told: np.ndarray, steps: int) -> np.ndarray:
    """``(B, T)`` day of the year from 0, of ``(B, T, 2)`` years and days from 1."""
    day = model.options["day"]
    if told.shape[1]:
        if day is not None:
            raise ModelError(
                "anysat: these pixels are dated and their own days count; leave out day"
            )
        return np.asarray(told[..., 1] - 1)
    if day is None or steps > 1:
        raise ModelError(
            f"anysat needs the day of each of the {steps} dates, and these pixels have none; pass "
            "temporal= or give the array a time coordinate, or, for one step of a source without "
            "dates, ModelChoice('anysat', options={'day': 190})"
        )
    return np.full((len(told), 1), float(int(day) - 1))


def _statistics(item: InputSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations of the bands: TerraMind's, whose Sentinel-2 has B1 and B9 too."""
    if item is S1:
        return TERRAMIND["S1GRD"]
    mean, std = TERRAMIND["S2L2A"]
    return (*mean[1:9], *mean[10:]), (*std[1:9], *std[10:])


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The normalised series, by the authors' names.

    Returns
    -------
    dict of ndarray
        For each sensor ``(B, T, C, H, W)`` float32, 0 where a value is missing; ``<name>_dates``
        ``(B, T)`` day of the year from 0; ``<name>_seen`` ``(B, T, H, W)`` bool, whether a pixel
        has the date. ``patch_size`` ``()`` metres; ``wide`` ``()`` bool, for dense features.

    Raises
    ------
    ModelError
        As `check`.
    """
    batch, steps = windows.pixels.shape[:2]
    told = year_and_day(windows).reshape(batch, -1, 2)
    days = _days(model, told, steps).astype(np.float32)
    arrays: dict[str, np.ndarray] = {
        "patch_size": np.array(_patch_px(model) * 10),
        "wide": np.array(model.options["features"] == "dense"),
    }
    for item in model.inputs:
        places = [windows.bands.index(band) for band in item.bands]
        values = standardise(windows.pixels[:, :, places], *_statistics(item))
        seen = np.isfinite(values).all(axis=2)
        arrays[item.name] = np.where(seen[:, :, None], values, np.float32(0))
        arrays[f"{item.name}_dates"] = days
        arrays[f"{item.name}_seen"] = seen | ~seen.any(axis=1, keepdims=True)
    return arrays


def build(model: Model) -> Network:
    """The network of all sensors, its parts under their published keys.

    What a file holds of sensors that are not asked for is mapped and never read.
    """
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Mlp, Network, transformer

    config = model.variant.config
    dim, heads, eps = config["embed_dim"], config["num_heads"], config["norm_eps"]
    ratio, spatial_eps = config["mlp_ratio"], config["spatial_eps"]

    def table() -> nn.Module:
        return nn.ParameterDict(
            {"lookup_table_weight": nn.Parameter(torch.empty(1, dim // heads, 8))}
        )

    spatial: Any = transformer(
        dim, config["spatial_depth"], heads, eps=spatial_eps, mlp_ratio=ratio
    )
    for block in spatial:
        block.attn.add_module("rpe_k", table())
    encoder = nn.ModuleDict(
        {"predictor_blocks": spatial, "predictor_norm": nn.LayerNorm(dim, eps=spatial_eps)}
    )
    encoder.register_parameter("cls_token", nn.Parameter(torch.empty(1, 1, dim)))
    last = nn.ModuleDict(
        {"wk": nn.Linear(dim, dim), "wv": nn.Linear(dim, dim), "proj": nn.Linear(dim, dim)}
    )
    last.add_module("rpe_k", table())
    last.register_parameter("q_learned", nn.Parameter(torch.empty(1, 1, dim)))
    blocks = transformer(dim, config["depth"], heads, eps=eps, mlp_ratio=ratio)
    blocks.append(
        nn.ModuleDict(
            {
                "norm1": nn.LayerNorm(dim, eps=eps), "attn": last,
                "norm2": nn.LayerNorm(dim, eps=eps), "mlp": Mlp(dim, int(dim * ratio)),
            }
        )
    )  # fmt: skip
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.empty(1, 1, dim)),
        "spatial_encoder": encoder,
        "blocks": blocks,
    }
    for name, channels in layers.SERIES.items():
        parts[f"projector_{name}"] = layers.series_projector(name, channels, config["ltae"])
    for name, (channels, side) in layers.IMAGES.items():
        parts[f"projector_{name}"] = layers.image_projector(channels, side, dim)
    return Network(forward, parts, {"heads": heads, "ltae": config["ltae"]})


def forward(
    network: Any, patch_size: Tensor, wide: Tensor | None = None, **sensors: Tensor
) -> dict[str, Tensor]:
    """The authors' features; there is no norm after the last block.

    Parameters as `prepare` gives them; without ``<name>_seen`` every pixel has every date.

    Returns
    -------
    dict of Tensor
        ``patch`` ``(B, h, w, D)``; ``dense`` ``(B, H, W, 2 D)``, of Sentinel-2 where given, else
        of the first sensor; ``grid``, one of the two; ``image`` ``(B, D)``, the class token.
    """
    metres, patches, inside = int(patch_size), [], {}
    names = [name for name in sensors if f"projector_{name}" in network._modules]
    for name in names:
        pixels = layers.embedded(network, name, sensors)  # (B, rows, cols, D)
        tokens = layers.within_patches(network, name, pixels, metres)
        patches.append(tokens[:, :, :, 0])
        inside[name] = tokens[:, :, :, 1:]
    image, patch = layers.across_patches(network, patches, metres // 10)
    dense = layers.by_pixel(patch, inside["s2" if "s2" in inside else names[0]])
    grid = dense if wide is not None and bool(wide) else patch
    return {"grid": grid, "image": image, "patch": patch, "dense": dense}
